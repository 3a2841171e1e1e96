package tracker

import (
	"bytes"
	"slices"

	"waymark/tracker/wire"
)

// Prepared is a link made ready for the redirect path: everything that can be
// computed before a visit is. It is immutable and shared between requests.
//
// What most visits read comes first and lies close together, copied from Link
// where need be. By the next visit of a link the processor's cache has been
// through thousands of other requests, so that each place in memory which a
// visit looks at costs as much as encrypting its click id.
type Prepared struct {
	number    LinkNumber
	status    uint16 // 301, 302, 307 or 308
	inactive  bool
	index     bool
	dropQuery bool
	startsMS  uint64 // Unix milliseconds; 0: at once
	expiresMS uint64 // Unix milliseconds; 0: never
	code      []byte // in Event
	domain    string
	Program   *Program // never nil: an unknown programme gives the defaults
	Event     []byte   // fields 1 to 9 of a wire.Event, encoded: what the link contributes to every event of it
	utm       []byte   // the link's UTM, encoded as fields 49 to 53
	destination
	expiredURL []byte // where the link leads after its end, empty for nowhere

	Link *wire.Link
}

// prepare makes a link ready. It copies nothing that it can share with l but
// what visits read.
func prepare(l *wire.Link, p *Program) *Prepared {
	status := 302
	if l.Status != 0 {
		status = int(l.Status)
	}
	made := &Prepared{
		number: LinkNumber(l.Number), status: uint16(status), inactive: l.Inactive, index: l.Index, dropQuery: l.DropQuery,
		startsMS: l.StartsAtMs, expiresMS: l.ExpiresAtMs, domain: l.Domain, Program: p,
		Event: appendLinkFields(nil, l), utm: appendUTMFields(nil, l), destination: newDestination(l),
		expiredURL: appendURL(nil, []byte(l.ExpiredUrl)), Link: l,
	}
	made.pack()
	at := bytes.Index(made.Event, []byte(l.Code)) // be it there as another field, it reads the same
	made.code = made.Event[at : at+len(l.Code)]
	return made
}

// pack moves the text of most answers and events into one piece of memory.
func (p *Prepared) pack() {
	parts := [...]*[]byte{&p.Event, &p.utm, &p.head, &p.fragment}
	packed := slices.Concat(p.Event, p.utm, p.head, p.fragment)
	for _, part := range parts {
		n := len(*part)
		*part, packed = packed[:n:n], packed[n:]
	}
}

// state says why the link leads nowhere at a time (Unix milliseconds):
// Inactive, Early or Expired. It is 0 if it does lead somewhere.
func (p *Prepared) state(nowMS uint64) Reasons {
	switch {
	case p.inactive:
		return Inactive
	case nowMS < p.startsMS:
		return Early
	case p.expiresMS != 0 && nowMS >= p.expiresMS:
		return Expired
	}
	return 0
}

// appendLocation appends where a visit with this raw query leads; ids makes
// the click id.
func (p *Prepared) appendLocation(dst, visit []byte, ids *ClickIDs, click Click) []byte {
	if len(visit) == 0 || p.dropQuery {
		dst = append(dst, p.head...) // fast path
	} else {
		dst = p.appendHead(dst, visit)
	}
	if len(p.click) > 0 {
		dst = ids.Append(dst, click)
	}
	return append(dst, p.fragment...)
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
