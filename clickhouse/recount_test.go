package clickhouse

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// The recount says in Go what the views say in SQL, event by event, with maps
// and loops, and shares nothing with them.

// click is the identity of a hit.
type click struct {
	time           uint64
	node, sequence uint32
}

// fact is an event with what it is credited to.
type fact struct {
	*wire.Event
	program, campaign, channel, link, referrer, referrerType, refereeType string
	number                                                                uint32 // of the link
	party                                                                 string
	click                                                                 click
	visit                                                                 *wire.Event // whose country and device count
}

// path is what is known of a party in a programme.
type path struct {
	credit *wire.Event
	first  map[string]uint64 // stage → milliseconds
}

type partyKey struct{ program, party string }

type recount struct {
	facts []fact
	paths map[partyKey]*path
}

func linkKey(e *wire.Event) string {
	if e.Domain != "" {
		return e.Domain + "/" + e.Code
	}
	return e.Code
}

func partyOf(e *wire.Event) string {
	switch {
	case e.UserId != "":
		return e.UserId
	case e.VisitorId != 0:
		return fmt.Sprintf("visitor:%016x", e.VisitorId)
	case e.ClickTimeMs != 0:
		return fmt.Sprintf("click:%d-%d-%d", e.ClickTimeMs, e.ClickNode, e.ClickSequence)
	}
	return "action:" + e.Id
}

func hasLink(e *wire.Event) bool { return e.Link != 0 || e.ReferrerId != "" }

// brought reports whether a click, if there is one, lies within the window: one
// before it stays named, but tells nothing. An imported one may know its
// campaign or channel only.
func brought(e *wire.Event) bool { return e.Link != 0 || e.Campaign != "" || e.Channel != "" }

// unverified by the bit as the design lists it.
func unverified(e *wire.Event) bool { return e.Reasons&128 != 0 }

// better reports whether a says more about who brought a party than b does.
func better(a, b *wire.Event) bool {
	if b == nil {
		return true
	}
	rank := func(e *wire.Event) int {
		rank := 3
		switch signup := e.Stage == "signed_up"; {
		case hasLink(e) && signup:
			rank = 0
		case hasLink(e):
			rank = 1
		case signup:
			rank = 2
		}
		if unverified(e) {
			rank += 10 // behind everything that is verified
		}
		return rank
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.TimeMs, b.TimeMs)) < 0
}

func (w *world) recount() *recount {
	events := slices.Clone(w.events)
	slices.SortFunc(events, func(a, b *wire.Event) int { return cmp.Compare(a.TimeMs, b.TimeMs) })
	hits, home, vouched := map[click]*wire.Event{}, map[string]string{}, map[partyKey]bool{}
	for _, e := range events {
		switch e.Stage {
		case "clicked":
			hits[click{e.TimeMs, e.Node, e.Sequence}] = e
		case "invited":
		default:
			vouched[partyKey{e.Program, partyOf(e)}] = vouched[partyKey{e.Program, partyOf(e)}] || !unverified(e)
		}
	}
	for _, verified := range []bool{true, false} { // a home that something verified speaks for goes first
		for _, e := range events {
			_, known := home[partyOf(e)]
			if !known && e.Stage == "signed_up" && e.Program != "" && vouched[partyKey{e.Program, partyOf(e)}] == verified {
				home[partyOf(e)] = e.Program
			}
		}
	}
	programOf := func(e *wire.Event, party string) string {
		if e.Program == "" {
			return home[party]
		}
		return e.Program
	}
	r := &recount{paths: map[partyKey]*path{}}
	for _, e := range events {
		if e.Stage == "clicked" || e.Stage == "invited" {
			continue
		}
		key := partyKey{programOf(e, partyOf(e)), partyOf(e)}
		if r.paths[key] == nil {
			r.paths[key] = &path{first: map[string]uint64{}}
		}
		if better(e, r.paths[key].credit) {
			r.paths[key].credit = e
		}
		if _, known := r.paths[key].first[e.Stage]; !known {
			r.paths[key].first[e.Stage] = e.TimeMs
		}
	}
	for _, p := range r.paths {
		if brought(p.credit) && p.credit.ClickTimeMs != 0 {
			p.first["clicked"] = p.credit.ClickTimeMs
		}
	}
	for _, e := range events {
		r.facts = append(r.facts, r.fact(e, programOf(e, e.UserId), hits))
	}
	return r
}

func (r *recount) fact(e *wire.Event, program string, hits map[click]*wire.Event) fact {
	f := fact{Event: e, program: program, party: partyOf(e), visit: e}
	credit, channel := e, e.Channel
	if path := r.paths[partyKey{program, e.UserId}]; e.Stage != "clicked" && e.Stage != "invited" && e.UserId != "" && (!hasLink(e) && e.Campaign == "" || unverified(e)) {
		credit = &wire.Event{}
		if path != nil {
			credit = path.credit
		}
		channel = cmp.Or(e.Channel, credit.Channel)
	}
	f.campaign, f.channel, f.link, f.number = credit.Campaign, channel, linkKey(credit), credit.Link
	f.referrer, f.referrerType, f.refereeType = credit.ReferrerId, credit.ReferrerType, credit.RefereeType
	if e.Stage == "invited" {
		f.referrer = cmp.Or(e.ReferrerId, e.UserId)
	}
	if e.Stage != "clicked" {
		of := credit
		if e.ClickTimeMs != 0 {
			of = e
		}
		if of == e || brought(credit) {
			f.click = click{of.ClickTimeMs, of.ClickNode, of.ClickSequence}
		}
		if hit := hits[f.click]; hit != nil {
			f.visit = hit
		}
	}
	return f
}

// dimension is the value of `by`.
func (f fact) dimension(by string) string {
	v := f.visit
	return map[string]string{
		"": "", "program": f.program, "campaign": f.campaign, "channel": f.channel, "link": f.link, "referrer": f.referrer,
		"referrer_type": f.referrerType, "referee_type": f.refereeType,
		"country": v.Country, "region": v.Region, "city": v.City, "network": strconv.Itoa(int(v.Network)), "device": v.Device,
		"browser": v.Browser, "os": v.Os, "language": v.Language, "referrer_host": v.ReferrerHost,
		"utm_source": v.UtmSource, "utm_medium": v.UtmMedium, "utm_campaign": v.UtmCampaign, "utm_term": v.UtmTerm, "utm_content": v.UtmContent,
	}[by]
}

// counts reports whether a hit counts, by the bits as the design lists them.
func counts(hits string, reasons uint32) bool {
	const head, repeat, invalid = 4, 32, 1 | 2 | 4 | 8 | 16 | 256 | 512 | 1024
	switch hits {
	case "gross":
		return reasons&head == 0
	case "unique":
		return reasons&(invalid|repeat) == 0
	}
	return reasons&invalid == 0
}

// tally is everything that is counted under one key.
type tally struct {
	clicks, gross, valid, unique, lone, invitations float64
	visitors                                        map[uint64]bool
	referrers                                       map[string]bool
	parties                                         map[string]map[string]bool // stage →
	value, refunds                                  decimal.Decimal
}

func (t *tally) visits() float64              { return float64(len(t.visitors)) + t.lone }
func (t *tally) reached(stage string) float64 { return float64(len(t.parties[stage])) }

// tallies counts the facts of a query under the keys that it names for each.
func (r *recount) tallies(q tracker.ReportQuery, keys func(fact) []string) map[string]*tally {
	all := map[string]*tally{}
	for _, f := range r.facts {
		at := time.UnixMilli(int64(f.TimeMs))
		if at.Before(q.From) || !at.Before(q.To) || q.Program != "" && f.program != q.Program {
			continue
		}
		for _, key := range keys(f) {
			if all[key] == nil {
				all[key] = &tally{visitors: map[uint64]bool{}, referrers: map[string]bool{}, parties: map[string]map[string]bool{}}
			}
			all[key].add(f, q.Hits)
		}
	}
	return all
}

func (t *tally) add(f fact, hits string) {
	one := func(when bool) float64 {
		if when {
			return 1
		}
		return 0
	}
	value, _ := decimal.NewFromString(cmp.Or(f.Value, "0"))
	if unverified(f.Event) {
		value = decimal.Zero
	}
	switch {
	case f.Stage == "clicked":
		t.gross += one(counts("gross", f.Reasons))
		t.valid += one(counts("valid", f.Reasons))
		t.unique += one(counts("unique", f.Reasons))
		if !counts(hits, f.Reasons) {
			return
		}
		t.clicks++
		if f.VisitorId == 0 {
			t.lone++
		} else {
			t.visitors[f.VisitorId] = true
		}
	case f.Stage == "invited":
		t.invitations++
	case f.Stage == "converted":
		t.value = t.value.Add(value)
	case f.Event.Event == "refund":
		t.refunds = t.refunds.Add(value)
	case f.Stage == "":
		return
	}
	if f.Stage != "clicked" && f.Stage != "invited" && f.Stage != "" {
		if t.parties[f.Stage] == nil {
			t.parties[f.Stage] = map[string]bool{}
		}
		t.parties[f.Stage][f.party] = true
	}
	if f.referrer != "" && (f.Stage == "clicked" || f.Stage == "invited" || f.Stage == "signed_up" || f.Stage == "converted" || f.Event.Event == "refund") {
		t.referrers[f.referrer] = true
	}
}

// ratio is a/b, or nil where there is no denominator.
func ratio(a, b float64) any {
	if b == 0 {
		return nil
	}
	return a / b
}
