package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// The recount says what the reports must say, from the ledger, by loops and
// maps. It follows the definitions in the design, and shares nothing with the
// program and its SQL.

// e2eFact is a hit or an action with what it is credited to.
type e2eFact struct {
	stage, event, program, campaign, channel string
	link, referrer, referrerType, want       string
	number                                   *e2eLink
	at                                       int64
	visitor                                  int
	party                                    string
	micros                                   int64
	hit                                      *e2eHit // of a hit
	click                                    *e2eHit // of an action
	visit                                    e2eVisit
}

// e2eJourney is what a party did in a programme.
type e2eJourney struct {
	program, party string
	credit         *e2eAction
	first          map[string]int64 // stage → time
}

type e2eRecount struct {
	facts    []*e2eFact
	invites  map[*e2eLink][]int64      // times of the invitations by link
	journeys map[[2]string]*e2eJourney // by programme and party
}

// own reports whether an action says itself whom it is owed to. What the
// visitor alone says does not count where there is a user's journey.
func (a *e2eAction) own() bool {
	return a.event == "invite" || (a.link != nil || a.referrer != "") && (!a.unverified() || a.user == "")
}

// rank orders the actions of a party by how much they say about who brought
// it: a signup with a link or referrer says most, what is unverified least.
func (a *e2eAction) rank() int {
	rank := 0
	if a.link == nil && a.referrer == "" {
		rank = 2
	}
	if a.event != "signup" {
		rank++
	}
	if a.unverified() {
		rank += 4
	}
	return rank
}

// homes are the programmes of parties: that of the earliest signup, where those
// of which only the visitor's browser has told come last.
func (b *books) homes() map[string]string {
	type stay struct {
		told   bool  // by somebody else than the browser
		signup int64 // the earliest, 0 for none
	}
	stays := map[[2]string]*stay{} // by party and programme
	for _, a := range b.actions {
		if a.program == "" || a.event == "invite" {
			continue
		}
		key := [2]string{a.party(), a.program}
		if stays[key] == nil {
			stays[key] = &stay{}
		}
		s := stays[key]
		s.told = s.told || !a.unverified()
		if a.event == "signup" && (s.signup == 0 || a.at < s.signup) {
			s.signup = a.at
		}
	}
	homes, best := map[string]string{}, map[string]*stay{}
	for key, s := range stays {
		if other := best[key[0]]; s.signup != 0 && (other == nil || s.told && !other.told || s.told == other.told && s.signup < other.signup) {
			homes[key[0]], best[key[0]] = key[1], s
		}
	}
	return homes
}

func (b *books) recount() *e2eRecount {
	r := &e2eRecount{invites: map[*e2eLink][]int64{}, journeys: map[[2]string]*e2eJourney{}}
	homes := b.homes()
	programOf := func(a *e2eAction) string { return cmp.Or(a.program, homes[a.party()]) }
	for _, a := range b.actions {
		if a.event == "invite" {
			continue
		}
		key := [2]string{programOf(a), a.party()}
		j := r.journeys[key]
		if j == nil {
			j = &e2eJourney{program: key[0], party: key[1], credit: a, first: map[string]int64{}}
			r.journeys[key] = j
		}
		if cmp.Or(cmp.Compare(a.rank(), j.credit.rank()), cmp.Compare(a.at, j.credit.at)) < 0 {
			j.credit = a
		}
		if first, known := j.first[a.stage()]; !known || a.at < first {
			j.first[a.stage()] = a.at
		}
	}
	for _, j := range r.journeys {
		if j.credit.click != nil && j.credit.link != nil {
			j.first["clicked"] = j.credit.click.at
		}
	}
	for _, h := range b.hits {
		l := h.link
		r.facts = append(r.facts, &e2eFact{stage: "clicked", event: h.event, program: l.program.name, campaign: l.campaign, channel: l.channel, link: l.key(), number: l,
			referrer: l.referrer, referrerType: l.referrerType, want: l.wanted, at: h.at, visitor: h.visitor, hit: h, visit: h.visit})
	}
	for _, a := range b.actions {
		r.facts = append(r.facts, r.factOf(a, programOf(a)))
		if a.event == "invite" && a.link != nil {
			r.invites[a.link] = append(r.invites[a.link], a.at)
		}
	}
	return r
}

// factOf credits an action: to what it brought itself, else to what its user's
// journey is credited to. An invitation is made by the referrer.
func (r *e2eRecount) factOf(a *e2eAction, program string) *e2eFact {
	credit, click := a, a.click
	if !a.own() {
		credit = &e2eAction{}
		if j := r.journeys[[2]string{program, a.user}]; a.user != "" && j != nil {
			credit = j.credit
		}
		if click == nil && credit.link != nil {
			click = credit.click
		}
	}
	f := &e2eFact{stage: a.stage(), event: a.event, program: program, campaign: credit.campaign, channel: cmp.Or(a.channel, credit.channel),
		referrer: credit.referrer, referrerType: credit.referrerType, want: credit.want, at: a.at, visitor: a.visitor, party: a.party(),
		micros: a.micros, click: click, number: credit.link, visit: a.visit}
	if a.own() {
		f.channel = a.channel
	}
	if a.unverified() {
		f.micros = 0 // it earns nothing
	}
	if credit.link != nil {
		f.link = credit.link.key()
	}
	if a.event == "invite" && f.referrer == "" {
		f.referrer = a.user
	}
	if f.click != nil {
		f.visit = f.click.visit
	}
	return f
}

// dimension is a fact's value of `by`.
func (f *e2eFact) dimension(by string) string {
	for i, name := range utmNames {
		if by == "utm_"+name {
			return f.visit.utm[i]
		}
	}
	switch by {
	case "program":
		return f.program
	case "campaign":
		return f.campaign
	case "channel":
		return f.channel
	case "link":
		return f.link
	case "referrer":
		return f.referrer
	case "referrer_type":
		return f.referrerType
	case "referee_type":
		return f.want
	case "country":
		return f.visit.place.country
	case "region":
		return f.visit.place.region
	case "city":
		return f.visit.place.city
	case "network":
		return strconv.Itoa(f.visit.place.network)
	case "device":
		return f.visit.agent.device
	case "browser":
		return f.visit.agent.browser
	case "os":
		return f.visit.agent.os
	case "language":
		return f.visit.language
	case "referrer_host":
		return f.visit.referrerHost
	}
	return ""
}

// e2eQuery is a question to a report.
type e2eQuery struct {
	name, by, hits, program, granularity string
	from, to                             time.Time
	zone                                 *time.Location
	limit                                int
}

func (q e2eQuery) String() string {
	return fmt.Sprintf("%s by %q of hits %s, programme %q, %s to %s, by %s in %s, limit %d", q.name, q.by, q.hits, q.program,
		q.from.Format(time.RFC3339Nano), q.to.Format(time.RFC3339Nano), q.granularity, q.zone, q.limit)
}

func (q e2eQuery) holds(ms int64) bool { return ms >= q.from.UnixMilli() && ms < q.to.UnixMilli() }

// facts are those in the query's period and programme; of the hits, those that
// it counts.
func (r *e2eRecount) chosen(q e2eQuery) []*e2eFact {
	var chosen []*e2eFact
	for _, f := range r.facts {
		if q.holds(f.at) && (q.program == "" || q.program == f.program) && (f.hit == nil || f.hit.counts(q.hits)) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// e2eTally counts facts of one key.
type e2eTally struct {
	key                                         string
	clicks, alone, gross, valid, unique, invits float64
	visitors                                    map[int]bool
	referrers                                   map[string]bool
	parties                                     map[string]map[string]bool // stage → party
	value, refunds                              int64
}

func newTally(key string) *e2eTally {
	return &e2eTally{key: key, visitors: map[int]bool{}, referrers: map[string]bool{}, parties: map[string]map[string]bool{}}
}

func (t *e2eTally) add(f *e2eFact) {
	if f.referrer != "" {
		t.referrers[f.referrer] = true
	}
	switch {
	case f.hit != nil:
		t.clicks++
		if f.visitor == 0 {
			t.alone++ // nobody knows whose, so it counts as one of its own
		} else {
			t.visitors[f.visitor] = true
		}
		return
	case f.event == "invite":
		t.invits++
		return
	case f.event == "refund":
		t.refunds += f.micros
		return
	case f.event == "purchase":
		t.value += f.micros
	}
	if t.parties[f.stage] == nil {
		t.parties[f.stage] = map[string]bool{}
	}
	t.parties[f.stage][f.party] = true
}

func (t *e2eTally) visits() float64              { return float64(len(t.visitors)) + t.alone }
func (t *e2eTally) reached(stage string) float64 { return float64(len(t.parties[stage])) }

// tally counts the facts that keep accepts by their dimension.
func tallyBy(facts []*e2eFact, key func(*e2eFact) string, keep func(*e2eFact) bool) []*e2eTally {
	all := map[string]*e2eTally{}
	for _, f := range facts {
		if !keep(f) {
			continue
		}
		k := key(f)
		if all[k] == nil {
			all[k] = newTally(k)
		}
		all[k].add(f)
	}
	return slices.Collect(maps.Values(all))
}

// rate is a/b, or nil where there is no denominator.
func rate(a, b float64) any {
	if b == 0 {
		return nil
	}
	return a / b
}

// quantile interpolates between neighbours.
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	low := int(math.Floor(at))
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}
