package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A story is a world of which the money and the cheats are known. What happens
// in it is drawn from a seed; what it is worth is settled by the story of each
// programme, in its own words and not by reading the programme.
//
// Its time ends now and begins long enough before that rewards of every state
// are among those that it gives: see the eras.
type story struct {
	world
	draw    *rand.Rand
	taken   map[int64]bool // times at which something happens, so that nothing happens at once
	busy    map[string]int // referrals of a referrer on a day
	persons int
	deals   []*deal
	refunds map[string]int64 // cents, by order; the whole order for -1

	// What happens once the rewards are right: people decide, parties are paid,
	// and some of it is refunded after that.
	decisions []decision
	late      []func() demoAction

	settled  map[earningKey]int64
	paidFor  map[string]bool // referees for whom the referrer was paid
	records  []demoPartner
	mailings map[string]*mailing // by message, and by segment
	*script

	approved, dismissed map[earningKey]bool // by people, one by one
}

// decision is what a person decides about a referral that is held.
type decision struct {
	*deal
	verdict string
}

// demoPartner is what the record of a partner says, from a time on.
type demoPartner struct {
	member
	status string
	rate   int64 // commission in hundredths of a per cent, -1 for that of the rule
	since  int64
}

// script is the story of a programme.
type script struct {
	hold, expires      int            // days that a reward is pending, and eligible after that, 0 for any number
	flow               [2]string      // types of a referrer and of whom he refers
	converts           string         // the event by which a referral converts
	old, ripe          era            // what was earned in them is expired by now, and eligible
	manual             bool           // referrals must be accepted, and rewards approved
	dailyMax           int            // referrals of one referrer on a day that are no sign of fraud
	weights            map[string]int // of the signals of fraud, in hundredths
	medium, high       string         // actions above 40 and 70 of them
	rules, multipliers []string       // a line of the table for each
	milestones         []string       // rules whose rewards have no fact of their own
	write              func(s *story, users int)
	earn               func(s *story) book
	campaigns          func(s *story) []demoCampaign
	// look adds what the programme has besides money and fraud; nil for nothing.
	look func(ctx context.Context, client *apiClient, s *story, truth, found ledger) error
}

// deal is a referral: a journey with what the story knows of it.
type deal struct {
	*journey
	signals  []string // of fraud, that it must show
	action   string   // that must follow from them: approve, review, hold or reject
	decided  string   // by a person: approve, reject or "" for nothing
	rejected bool     // the customer reported it so
	accepted bool
	judged   int64 // when
}

// era is a part of a story's time, in days before its end.
type era struct{ from, to int }

// The eras of programmes that hold for 14 or 30 days and let expire what was not
// claimed within 365 after that.
var (
	eraOld   = era{440, 400} // expired by now
	eraRipe  = era{340, 40}  // eligible by now
	eraFresh = era{2, 1}     // pending
)

const storyDays = 600

// dailyReferrals are at most so many of one honest referrer: fewer than any
// signal of fraud that counts by day begins with.
const dailyReferrals = 4

func newStory(program string, script *script, seed uint64, run string, end int64) *story {
	return &story{
		world:  world{program: program, run: run, campaign: "demo-" + run, start: end - storyDays*dayMS, end: end},
		script: script, draw: rand.New(rand.NewPCG(seed, 1)),
		taken: map[int64]bool{}, busy: map[string]int{}, refunds: map[string]int64{}, settled: map[earningKey]int64{},
		paidFor: map[string]bool{}, mailings: map[string]*mailing{}, approved: map[earningKey]bool{}, dismissed: map[earningKey]bool{},
	}
}

// at returns a time that nothing else happens at, the first from t on. It keeps
// away from the limits at which the state of a reward changes: what is almost
// old enough is old enough.
func (s *story) at(t int64) int64 {
	for _, days := range []int{s.hold, s.hold + s.expires} {
		limit := s.end - int64(days)*dayMS
		if almost := limit + 6*hourMS; limit <= t && t < almost {
			t = limit - (almost-t)/1000
		}
	}
	for s.taken[t] {
		t++
	}
	s.taken[t] = true
	return t
}

func (s *story) in(e era) int64 {
	from, to := s.end-int64(e.from)*dayMS, s.end-int64(e.to)*dayMS
	return from + s.draw.Int64N(to-from)
}

// between draws a whole number, both ends included.
func (s *story) between(low, high int64) int64 { return low + s.draw.Int64N(high-low+1) }

func (s *story) chance(probability float64) bool { return s.draw.Float64() < probability }

func pick[T any](s *story, from []T) T { return from[s.draw.IntN(len(from))] }

// email makes one that resembles no other.
func (s *story) email() string {
	local := make([]byte, 12)
	for i := range local {
		local[i] = byte('a' + s.draw.IntN(26))
	}
	return string(local) + "@example.com"
}

// address is one that nobody else has. It counts where the server trusts the
// demo as a proxy; elsewhere all of the story comes from one address, which
// must not matter for it.
func (s *story) address() string {
	s.persons++
	return fmt.Sprintf("10.%d.%d.%d", s.persons>>16&255, s.persons>>8&255, s.persons&255)
}

// member is a party that was there before, with its own sign-up.
func (s *story) member(name, kind string) member {
	m := member{id: s.run + "-" + name, kind: kind, joined: s.at(s.start + s.draw.Int64N(20*dayMS)), email: s.email()}
	s.reports = append(s.reports, demoAction{
		ID: m.id + "-joined", Event: "signup", Time: formatMS(m.joined), Program: s.program, UserID: m.id, Properties: map[string]string{"email": m.email},
	})
	return m
}

// share makes a link of a member.
func (s *story) share(m member, referee, campaign string, tags ...string) *worldLink {
	link := &worldLink{
		code: fmt.Sprintf("%s-s%d", s.run, len(s.links)), referrer: m.id, referrerType: m.kind, refereeType: referee,
		channel: pick(s, channels[:]), campaign: campaign, tags: tags,
	}
	s.links = append(s.links, link)
	return link
}

// refer lets somebody follow a link on the day of a time, and sign up within
// the hour, at the time or some hours beside it.
func (s *story) refer(link *worldLink, near int64) *deal {
	var clicked int64
	for {
		day := near / dayMS
		clicked = day*dayMS + hourMS + s.draw.Int64N(20*hourMS)
		if clicked < s.end-dayMS/2 && s.busy[fmt.Sprint(link.referrer, day)] < dailyReferrals {
			s.busy[fmt.Sprint(link.referrer, day)]++
			break
		}
		near -= dayMS
	}
	return s.arrive(link, clicked, s.between(6, 50)*60_000, map[string]string{"email": s.email()})
}

// arrive is a referral without further ado: a click, and a sign-up so much
// later.
func (s *story) arrive(link *worldLink, clicked, lag int64, properties map[string]string) *deal {
	s.users++
	d := &deal{action: "approve", journey: &journey{
		link: link, userAgent: pick(s, browsers[:]), address: s.address(), user: fmt.Sprintf("%s-p%d", s.run, s.users),
		hits: []worldHit{{at: s.at(clicked), scan: link.channel == "qr"}},
	}}
	s.journeys = append(s.journeys, d.journey)
	s.deals = append(s.deals, d)
	d.then(worldAction{event: "signup", at: s.at(clicked + lag), properties: properties})
	return d
}

// then adds what the referee does.
func (d *deal) then(a worldAction) { d.actions = append(d.actions, a) }

// buy lets the referee pay at a time, and gives the name of the order.
func (s *story) buy(d *deal, at, cents int64, more worldAction) (order string) {
	more.event, more.at, more.cents, more.order = cmp.Or(more.event, "purchase"), s.at(at), cents, fmt.Sprintf("%s-o%d", d.user, len(d.actions))
	d.then(more)
	return more.order
}

// refund takes a part of an order back, in cents, -1 for all of it.
func (s *story) refund(d *deal, order string, at, part int64) demoAction {
	s.refunds[order] = part
	r := demoAction{ID: order + "-back", Event: "refund", Time: formatMS(at), UserID: d.user, OrderID: order, Program: s.program}
	if part > 0 {
		r.Value = cents(part)
	}
	return r
}

// judge reports that a referral was accepted or rejected.
func (s *story) judge(d *deal, event string, at int64) {
	d.rejected, d.accepted = event == "reject", event == "accept"
	d.judged = s.at(at)
	s.reports = append(s.reports, demoAction{ID: d.user + "-" + event, Event: event, Time: formatMS(d.judged), UserID: d.user, Program: s.program})
}

// deed is something that a referee does.
type deed struct {
	*deal
	*worldAction
	fact string // as the ledger names it
}

// deeds are what all referees did, in order of time.
func (s *story) deeds() []deed {
	var all []deed
	for _, d := range s.deals {
		for i := range d.actions {
			a := &d.actions[i]
			fact := fmt.Sprintf("%s i:%s-%d", a.event, d.user, i)
			if a.order != "" {
				fact = a.event + " o:" + a.order
			}
			all = append(all, deed{d, a, fact})
		}
	}
	slices.SortFunc(all, func(a, b deed) int { return cmp.Compare(a.at, b.at) })
	return all
}

// left is what refunds left of a payment, and whether there is anything.
func (s *story) left(a *worldAction) (cents int64, any bool) {
	lost, refunded := s.refunds[a.order]
	switch {
	case !refunded:
		return a.cents, true
	case lost < 0 || lost >= a.cents:
		return 0, false
	}
	return a.cents - lost, true
}

// reward enters what a party gets by a rule.
func (s *story) reward(b book, d deed, party, rule string, cents int64, cut string, multipliers []string) {
	key := earningKey{party, rule, d.fact}
	if slices.Contains(s.milestones, rule) {
		key.fact = ""
	}
	if cents > 0 && !s.dismissed[key] {
		b[key] = &earning{earningKey: key, referee: d.user, campaign: d.link.campaign, at: d.at, cents: cents, state: s.state(d, key), cut: cut, multipliers: multipliers}
	}
}

// state is what time and people have made of a reward.
func (s *story) state(d deed, key earningKey) string {
	age := s.end - d.at
	switch {
	case d.verdict() == "hold", age < int64(s.hold)*dayMS, s.manual && !d.accepted:
		return "pending"
	case s.manual && !s.approved[key]:
		return "calculated"
	case s.expires > 0 && age > int64(s.hold+s.expires)*dayMS:
		return "expired"
	}
	return "eligible"
}

// verdict is what holds of a referral in the end.
func (d *deal) verdict() string { return cmp.Or(d.decided, d.action) }

// refused reports whether a referral earns nothing, whatever comes of it.
func (d *deal) refused() bool {
	return d.rejected || d.verdict() == "reject" || d.link.referrer == d.user
}

// settle enters what was paid into a book that was made anew.
func (s *story) settle(b book) book {
	for key, cents := range s.settled {
		if b[key] == nil {
			b[key] = &earning{earningKey: key}
		}
		b[key].settled, b[key].state = cents, "paid"
	}
	return b
}

// parties are all who may be paid.
func (b book) parties() []string {
	var parties []string
	for key := range b {
		parties = append(parties, key.party)
	}
	slices.Sort(parties)
	return slices.Compact(parties)
}

// month is that of a time, in UTC.
func month(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01") }

// dayOfYear is MM-DD, in UTC.
func dayOfYear(ms int64) string { return time.UnixMilli(ms).UTC().Format("01-02") }
