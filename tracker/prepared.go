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
}

// prepare makes a link ready. It copies nothing that it can share with l.
func prepare(l *wire.Link, p *Program) *Prepared {
	return &Prepared{Link: l, Program: p, Event: appendLinkFields(nil, l)}
}

// appendLinkFields appends the encoded fields of a wire.Event that describe
// its link.
func appendLinkFields(dst []byte, l *wire.Link) []byte {
	e := wire.Event{
		Program: l.Program, Campaign: l.Campaign, Channel: l.Channel, Link: l.Number, Code: l.Code, Domain: l.Domain,
		ReferrerId: l.ReferrerId, ReferrerType: l.ReferrerType, RefereeType: l.RefereeType,
	}
	encoded, err := e.MarshalVT()
	if err != nil {
		panic("BUG: encode the link fields of an event: " + err.Error())
	}
	return append(dst, encoded...)
}
