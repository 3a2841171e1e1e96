package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// importEnricher adds what the shipper adds to a hit, as far as the row has
// not said it. It keeps no trace of an address: the keys that hash them live
// for a day, and that of history is over.
type importEnricher struct {
	*Enricher
}

func newImportEnricher(geo *Geo) (*importEnricher, error) {
	enricher, err := NewEnricher(geo, nil)
	return &importEnricher{enricher}, err
}

func (n *importEnricher) enrich(e *wire.Event, row *importRow) error {
	e.UserAgent = row.texts[fieldUserAgent]
	if e.UserAgent != "" { // without one it would pass for a robot
		n.enrichAgent(e)
		e.UserAgent = ""
	}
	if text := row.texts[fieldAddress]; text != "" {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return &tracker.FieldError{Field: "address", Detail: "must be an IPv4 or IPv6 address"}
		}
		found := n.geo.lookup(addr.Unmap())
		e.Country, e.Region, e.City, e.Network = found.country, found.region, found.city, found.network
		if hostingNetworks[found.network] {
			e.Reasons |= uint32(tracker.Datacenter)
		}
	}
	e.ReferrerHost = refererHost(row.texts[fieldReferer])
	takeUTM(e, strings.TrimPrefix(row.texts[fieldQuery], "?"))
	if err := n.override(e, row); err != nil {
		return err
	}
	return n.judge(e, row)
}

// override writes what the row says of the visit.
func (n *importEnricher) override(e *wire.Event, row *importRow) error {
	for _, part := range []struct {
		field importField
		bytes int
		at    *string
	}{
		{fieldRegion, 64, &e.Region}, {fieldCity, 128, &e.City}, {fieldBrowser, 64, &e.Browser}, {fieldOS, 64, &e.Os},
		{fieldReferrerHost, hostBytesMax, &e.ReferrerHost}, {fieldUTMSource, utmBytesMax, &e.UtmSource}, {fieldUTMMedium, utmBytesMax, &e.UtmMedium},
		{fieldUTMCampaign, utmBytesMax, &e.UtmCampaign}, {fieldUTMTerm, utmBytesMax, &e.UtmTerm}, {fieldUTMContent, utmBytesMax, &e.UtmContent},
	} {
		text := row.texts[part.field]
		if text == "" {
			continue
		}
		if err := tracker.CheckText(importNames[part.field], text, part.bytes); err != nil {
			return err
		}
		*part.at = text
	}
	if text := row.texts[fieldLanguage]; text != "" {
		e.Language = languageOf(text)
	}
	if text := row.texts[fieldCountry]; text != "" {
		if e.Country = strings.ToUpper(text); len(text) != 2 || strings.Trim(e.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return &tracker.FieldError{Field: "country", Detail: "must be an ISO 3166-1 code of two letters, such as DE; or leave it out with --map country="}
		}
	}
	if text := row.texts[fieldDevice]; text != "" {
		if e.Device = strings.ToLower(text); !slices.Contains(importDevices, e.Device) {
			return &tracker.FieldError{Field: "device", Detail: "must be one of " + strings.Join(importDevices, ", ") + "; or leave it out with --map device="}
		}
	}
	return nil
}

var importDevices = []string{"desktop", "mobile", "tablet", "tv", "bot", "other"}

// judge sets the reasons that the row gives.
func (n *importEnricher) judge(e *wire.Event, row *importRow) error {
	reasons, bot := row.texts[fieldReasons], row.texts[fieldBot]
	if reasons == "" && bot == "" && e.Device != "bot" {
		return nil
	}
	if e.Stage != tracker.StageClicked && reasons != "" {
		return &tracker.FieldError{Field: "reasons", Detail: "belongs to clicks and scans; leave it out of actions"}
	}
	given, err := parseReasons(reasons)
	if err != nil {
		return err
	}
	if bot != "" {
		is, err := strconv.ParseBool(strings.ToLower(bot))
		if err != nil {
			return &tracker.FieldError{Field: "bot", Detail: "must be true or false"}
		}
		if is {
			given |= tracker.Bot
		}
	}
	if e.Stage == tracker.StageClicked && e.Device == "bot" && reasons == "" {
		given |= tracker.Bot
	}
	e.Reasons |= uint32(given)
	return nil
}

// importReasons are what reasons may name: what is special about a hit.
const importReasons = tracker.Invalid | tracker.Repeat | tracker.GPC

var reasonByName = func() map[string]tracker.Reasons {
	byName := map[string]tracker.Reasons{}
	for bit := tracker.Reasons(1); bit <= importReasons; bit <<= 1 {
		if bit&importReasons != 0 {
			byName[bit.String()] = bit
		}
	}
	return byName
}()

// parseReasons reads names with commas, semicolons, bars or spaces between.
func parseReasons(text string) (tracker.Reasons, error) {
	var reasons tracker.Reasons
	for name := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",;| ", r) }) {
		bit, ok := reasonByName[name]
		if !ok {
			return 0, &tracker.FieldError{Field: "reasons", Detail: fmt.Sprintf("%q is none; there are %s", name, importReasons)}
		}
		reasons |= bit
	}
	return reasons, nil
}
