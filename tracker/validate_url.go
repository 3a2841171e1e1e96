package tracker

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// destinationBytesMax is what every browser and proxy takes in a Location.
const destinationBytesMax = 2048

// schemesRefused are never a destination, whatever the programme says.
var schemesRefused = []string{
	"javascript", "vbscript", "data", "blob", "file", "filesystem", "about", "view-source", "jar", "mhtml",
	"chrome", "chrome-extension", "moz-extension", "resource",
}

// checkDestination returns a *FieldError unless a visitor may be sent there:
// by https, http or an app scheme of the programme, to a host that every
// browser understands alike.
func checkDestination(field, raw string, p *Program) error {
	if raw == "" {
		return fieldErrorf(field, "must not be empty")
	}
	if err := checkText(field, raw, destinationBytesMax); err != nil {
		return err
	}
	// A browser takes \ for /, which moves the end of the host.
	if strings.ContainsAny(raw, " \\\"<>") {
		return fieldErrorf(field, "must not contain spaces, \\, \", < or >: percent-encode them")
	}
	u, err := url.Parse(raw)
	if err != nil {
		var reason *url.Error
		errors.As(err, &reason)
		return fieldErrorf(field, "is no URL: %v", reason.Err)
	}
	web := u.Scheme == "https" || u.Scheme == "http"
	switch {
	case u.Scheme == "":
		return fieldErrorf(field, "must begin with https:// or http://")
	case slices.Contains(schemesRefused, u.Scheme):
		return fieldErrorf(field, "must not have the scheme %s", u.Scheme)
	case !web && !slices.Contains(p.AppSchemes, u.Scheme):
		return fieldErrorf(field, "must begin with https:// or http://; the programme's app_schemes do not include %s", u.Scheme)
	case u.User != nil:
		return fieldErrorf(field, "must not contain a user name or password")
	case web:
		return checkWebHost(field, u)
	}
	return nil
}

func checkWebHost(field string, u *url.URL) error {
	if u.Host == "" {
		return fieldErrorf(field, "has no host: write %s://host/path", u.Scheme)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fieldErrorf(field, "has port %s, which is none", port)
		}
	}
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		if address, err := netip.ParseAddr(host); err != nil || !address.Is6() || address.Zone() != "" {
			return fieldErrorf(field, "has the host [%s], which is no IPv6 address", host)
		}
		return nil
	}
	return checkHostname(field, strings.ToLower(strings.TrimSuffix(host, ".")), "_")
}

// checkDomain checks the name under which a link answers: without port, in
// lower case, as visits are compared with it.
func checkDomain(field, domain string) error {
	if strings.ToLower(domain) != domain {
		return fieldErrorf(field, "must be in lower case")
	}
	return checkHostname(field, domain, "")
}

// checkHostname checks a name of letters, digits, hyphens and what else is
// given, by the lengths of RFC 1035.
func checkHostname(field, name, also string) error {
	if len(name) > domainBytesMax {
		return fieldErrorf(field, "has a host name of %d bytes, at most %d are allowed", len(name), domainBytesMax)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fieldErrorf(field, "has the host name %q, of which a part is empty, too long, or begins or ends with -", name)
		}
		for _, r := range label {
			if !isASCIILetterOrDigit(r) && r != '-' && !strings.ContainsRune(also, r) {
				return fieldErrorf(field, "has the host name %q, which must not contain %q; write other alphabets in punycode (xn--…)", name, r)
			}
		}
	}
	return nil
}

// destinationHas reports whether the query of a URL has a parameter.
func destinationHas(raw, name string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Query().Has(name)
}
