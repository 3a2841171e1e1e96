package tracker

import "waymark/tracker/wire"

// Prepared is a link made ready for the redirect path: everything that can be
// computed before a visit is. It is immutable and shared between requests.
type Prepared struct {
	Link    *wire.Link
	Program *Program // never nil: an unknown programme gives the defaults

	// Event holds fields 1 to 9 of a wire.Event, encoded: what the link
	// contributes to every event of it.
	Event []byte

	utm         []byte // the link's UTM, encoded as fields 49 to 53
	destination destination
	expiredURL  []byte // where the link leads after its end, empty for nowhere
	status      int    // 301, 302, 307 or 308
}

// prepare makes a link ready. It copies nothing that it can share with l.
func prepare(l *wire.Link, p *Program) *Prepared {
	status := 302
	if l.Status != 0 {
		status = int(l.Status)
	}
	return &Prepared{
		Link: l, Program: p, Event: appendLinkFields(nil, l),
		utm:         appendUTMFields(nil, l),
		destination: newDestination(l),
		expiredURL:  appendURL(nil, []byte(l.ExpiredUrl)),
		status:      status,
	}
}

// state says why the link leads nowhere at a time (Unix milliseconds):
// Inactive, Early or Expired. It is 0 if it does lead somewhere.
func (p *Prepared) state(nowMS uint64) Reasons {
	switch l := p.Link; {
	case l.Inactive:
		return Inactive
	case nowMS < l.StartsAtMs:
		return Early
	case l.ExpiresAtMs != 0 && nowMS >= l.ExpiresAtMs:
		return Expired
	}
	return 0
}

// appendLocation appends where a visit with this raw query leads; ids makes
// the click id.
func (p *Prepared) appendLocation(dst, visit []byte, ids *ClickIDs, click Click) []byte {
	d := &p.destination
	if len(visit) == 0 || p.Link.DropQuery {
		dst = append(dst, d.head...) // fast path
	} else {
		dst = d.appendHead(dst, visit)
	}
	if len(d.click) > 0 {
		dst = ids.Append(dst, click)
	}
	return append(dst, d.fragment...)
}

// appendLinkFields appends the encoded fields of a wire.Event that describe
// its link.
func appendLinkFields(dst []byte, l *wire.Link) []byte {
	e := wire.Event{
		Program: l.Program, Campaign: l.Campaign, Channel: l.Channel, Link: l.Number, Code: l.Code, Domain: l.Domain,
		ReferrerId: l.ReferrerId, ReferrerType: l.ReferrerType, RefereeType: l.RefereeType,
	}
	return appendEvent(dst, &e)
}

// appendUTMFields appends the encoded fields of a wire.Event that a hit takes
// from its link's UTM, unless its own query says otherwise.
func appendUTMFields(dst []byte, l *wire.Link) []byte {
	e := wire.Event{
		UtmSource: l.UtmSource, UtmMedium: l.UtmMedium, UtmCampaign: l.UtmCampaign,
		UtmTerm: l.UtmTerm, UtmContent: l.UtmContent,
	}
	return appendEvent(dst, &e)
}

func appendEvent(dst []byte, e *wire.Event) []byte {
	encoded, err := e.MarshalVT()
	if err != nil {
		panic("BUG: encode the fields that a link gives to its events: " + err.Error())
	}
	return append(dst, encoded...)
}
