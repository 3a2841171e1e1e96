package tracker

import (
	"bytes"

	"waymark/tracker/wire"
)

// destination is a link's URL, taken apart once so that a visit only has to
// copy pieces. Everything up to the query is the link's alone: no part of a
// request can reach it.
type destination struct {
	// head is what precedes the click id when the visit has no parameters of
	// its own: base, params and click.
	head     []byte
	click    []byte   // `wm_click=`, or empty for none
	fragment []byte   // with its number sign, or empty
	base     []byte   // up to the question mark
	params   [][]byte // of the URL, then of the link's UTM, as written
	name     []byte   // `wm_click`, or empty
}

// newDestination takes the link's URL apart.
func newDestination(l *wire.Link) destination {
	click := DefaultClickParam
	if l.ClickParam != nil {
		click = *l.ClickParam
	}
	var d destination
	if click != "" {
		d.click = []byte(click + "=")
		d.name = d.click[:len(click)]
	}
	url := appendURL(nil, []byte(l.Url))
	if i := bytes.IndexByte(url, '#'); i >= 0 {
		url, d.fragment = url[:i], url[i:]
	}
	base, query, _ := bytes.Cut(url, []byte{'?'})
	d.base = base
	for rest := query; len(rest) > 0; {
		var param []byte
		param, rest, _ = bytes.Cut(rest, []byte{'&'})
		if len(param) > 0 && (len(d.name) == 0 || !sameClickName(paramName(param), d.name)) {
			d.params = append(d.params, param)
		}
	}
	if added := d.addUTM(l); added || len(d.click) > 0 {
		d.head = d.appendHead(nil, nil)
	} else {
		d.head = url // to the last ampersand
	}
	return d
}

// addUTM adds the link's UTM parameters that the URL does not have itself. It
// reports whether there were any.
func (d *destination) addUTM(l *wire.Link) (added bool) {
	for _, utm := range [...]struct{ name, value string }{
		{"utm_source", l.UtmSource}, {"utm_medium", l.UtmMedium}, {"utm_campaign", l.UtmCampaign},
		{"utm_term", l.UtmTerm}, {"utm_content", l.UtmContent},
	} {
		if utm.value != "" && !hasParam(d.params, []byte(utm.name)) {
			d.params = append(d.params, appendEscaped([]byte(utm.name+"="), utm.value))
			added = true
		}
	}
	return added
}

func hasParam(params [][]byte, name []byte) bool {
	for _, param := range params {
		if sameName(paramName(param), name) {
			return true
		}
	}
	return false
}

// appendHead appends the location up to where the click id belongs: the base,
// then the link's parameters that the visit does not override, then those of
// the visit, then the click parameter. Both keep their order and their bytes,
// only what a URL cannot hold is percent-encoded. Appending the visit's
// was preferred to putting them where the overridden ones stood: repeated ones
// have no one such place. The visit never gets to set the click parameter, and
// its `qr=1` is ours.
func (d *destination) appendHead(dst, visit []byte) []byte {
	dst = append(dst, d.base...)
	separator := byte('?')
	for _, param := range d.params {
		if len(visit) > 0 && d.overridden(visit, paramName(param)) {
			continue
		}
		dst = append(append(dst, separator), param...)
		separator = '&'
	}
	for len(visit) > 0 {
		var param []byte
		param, visit = cutParam(visit)
		if d.forwards(param) {
			dst = appendSafe(append(dst, separator), param)
			separator = '&'
		}
	}
	if len(d.click) > 0 {
		dst = append(append(dst, separator), d.click...)
	}
	return dst
}

// overridden reports whether the visit brings a parameter of this name.
func (d *destination) overridden(visit, name []byte) bool {
	for len(visit) > 0 {
		var param []byte
		param, visit = cutParam(visit)
		if sameName(paramName(param), name) && d.forwards(param) {
			return true
		}
	}
	return false
}

// forwards reports whether a parameter of the visit is passed on.
func (d *destination) forwards(param []byte) bool {
	return len(param) > 0 && !isScan(param) && (len(d.name) == 0 || !sameClickName(paramName(param), d.name))
}

// isScan reports whether a parameter says that the visit came from a QR code.
func isScan(param []byte) bool { return string(param) == "qr=1" }

// hasScan reports whether a query has the parameter of a QR code.
func hasScan(query []byte) bool {
	for len(query) > 0 {
		var param []byte
		if param, query = cutParam(query); isScan(param) {
			return true
		}
	}
	return false
}

// cutParam splits a query after its first parameter.
func cutParam(query []byte) (param, rest []byte) {
	if i := bytes.IndexByte(query, '&'); i >= 0 {
		return query[:i], query[i+1:]
	}
	return query, nil
}

// paramName is the name of a parameter as written.
func paramName(param []byte) []byte {
	if i := bytes.IndexByte(param, '='); i >= 0 {
		return param[:i]
	}
	return param
}

// sameName reports whether two names as written are the same once decoded: the
// destination will not tell utm%5Fsource and utm_source apart.
func sameName(a, b []byte) bool { return sameDecoded(a, b, false) }

// sameClickName is sameName without regard to case, for the name of the click
// parameter: some frameworks ignore the case of names, so a visit could set it
// otherwise.
func sameClickName(a, b []byte) bool { return sameDecoded(a, b, true) }

func sameDecoded(a, b []byte, fold bool) bool {
	for len(a) > 0 && len(b) > 0 {
		var x, y byte
		x, a = decodeByte(a)
		y, b = decodeByte(b)
		if fold {
			x, y = lower(x), lower(y)
		}
		if x != y {
			return false
		}
	}
	return len(a) == 0 && len(b) == 0
}

// decodeByte takes one byte off a name. A malformed escape stands for itself.
func decodeByte(b []byte) (c byte, rest []byte) {
	if b[0] == '+' {
		return ' ', b[1:]
	}
	if b[0] == '%' && len(b) >= 3 {
		if high, low := unhex(b[1]), unhex(b[2]); high|low < 16 {
			return high<<4 | low, b[3:]
		}
	}
	return b[0], b[1:]
}

// unhex is the value of a hexadecimal digit, 255 for anything else.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

const hexDigits = "0123456789ABCDEF"

// appendSafe appends bytes of a visit, percent-encoding those that a URL or a
// header cannot hold (RFC 3986): space, control bytes, all that is not ASCII,
// and the number sign, which would begin a fragment.
func appendSafe(dst, b []byte) []byte {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '#' {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendURL appends a link's URL, percent-encoding what RFC 3986 does not allow
// in one: control bytes, space, and everything that is not ASCII.
func appendURL(dst, url []byte) []byte {
	for _, c := range url {
		if c <= ' ' || c >= 0x7f {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendEscaped appends a plain text as the value of a parameter: all but the
// unreserved characters of RFC 3986 are percent-encoded.
func appendEscaped(dst []byte, text string) []byte {
	for i := range len(text) {
		c := text[i]
		l := lower(c)
		if l >= 'a' && l <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}
