package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// storyEnd is the end of the stories of tests, in no season and no December.
var storyEnd = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixMilli()

func on(date string) int64 {
	at, err := time.Parse(time.DateTime, date+":00")
	if err != nil {
		panic(err)
	}
	return at.UnixMilli()
}

func TestFraction(t *testing.T) {
	for _, test := range []struct{ n, d, want int64 }{
		{0, 1, 0}, {1, 2, 0}, {3, 2, 2}, {5, 2, 2}, {7, 2, 4}, {249, 100, 2}, {251, 100, 3}, {250, 100, 2}, {1_000_01, 1, 100_001},
	} {
		if got := (fraction{test.n, test.d}).round(); got != test.want {
			t.Errorf("%d/%d cents round to %d, want %d", test.n, test.d, got, test.want)
		}
	}
	for _, test := range []struct {
		exact  fraction
		limits []limit
		want   string
	}{
		{fraction{5000, 1}, []limit{{"cap", 5000}}, "5000 "},
		{fraction{50001, 10}, []limit{{"cap", 5000}}, "5000 cap"},
		{fraction{6000, 1}, []limit{{"cap", 5000}, {"budget", 700}}, "700 budget"},
		{fraction{6000, 1}, []limit{{"cap", 5000}, {"budget", 5000}}, "5000 cap"},
		{fraction{10, 1}, []limit{{"budget", -3}}, "0 budget"},
	} {
		cents, cut := test.exact.within(test.limits...)
		if got := fmt.Sprint(cents, " ", cut); got != test.want {
			t.Errorf("%v within %v is %q, want %q", test.exact, test.limits, got, test.want)
		}
	}
}

// tiny is a story of which all is written by hand: who was brought by whom in
// which campaign, and what the referee did when.
func tiny(program string) *story { return newStory(program, scripts[program], 1, "t", storyEnd) }

func (s *story) tell(referrer, kind, referee, refereeType, campaign, signup string, actions ...worldAction) *deal {
	link := &worldLink{referrer: referrer, referrerType: kind, refereeType: refereeType, campaign: s.campaign + campaign}
	d := &deal{action: "approve", journey: &journey{link: link, user: referee, actions: append([]worldAction{{event: "signup", at: on(signup)}}, actions...)}}
	s.deals = append(s.deals, d)
	return d
}

func paid(date string, cents int64, plan, billing string) worldAction {
	return worldAction{event: "purchase", at: on(date), cents: cents, order: date, plan: plan, properties: map[string]string{"billing": billing}}
}

// told writes a book as lines in order.
func told(b book) string {
	var lines []string
	for _, e := range b {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s %s", e.fact, e.party, e.rule, cents(e.cents), e.state, strings.TrimSpace(strings.Join(e.multipliers, "+")+" "+e.cut))))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func checkTold(t *testing.T, s *story, want string) {
	t.Helper()
	if got := told(s.earn(s)); got != strings.TrimSpace(want) {
		t.Errorf("the story is worth\n%s\nwant\n%s", got, strings.TrimSpace(want))
	}
}

func TestWeddingTruth(t *testing.T) {
	s := tiny("wedding")
	s.tell("s", "supplier", "a", "supplier", "-plain", "2026-05-01 10:00", paid("2026-05-01 12:00", 1_00, "starter", "annual")) // 10 × 2 × 1.5
	s.tell("s", "supplier", "b", "supplier", "-plain", "2026-05-02 10:00", paid("2026-05-02 12:00", 1_00, "professional", "monthly"))
	s.tell("s", "supplier", "none", "supplier", "-plain", "2026-05-02 10:00", paid("2026-05-02 13:00", 1_00, "trial", "annual"))
	back := s.tell("s", "supplier", "back", "supplier", "-plain", "2026-05-02 10:00", paid("2026-05-02 14:00", 9_00, "scale", ""))
	s.refund(back, "2026-05-02 14:00", on("2026-05-03 10:00"), -1)
	s.tell("s", "supplier", "c", "supplier", "-bonus", "2026-02-07 10:00", paid("2026-02-07 12:00", 1_00, "scale", "")) // the first: 50 × 1.5 × 1.2 × 1.25
	s.tell("s", "supplier", "d", "supplier", "-plain", "2026-05-04 10:00", paid("2026-05-04 12:00", 1_00, "enterprise", "annual"))
	s.tell("c", "couple", "e", "couple", "-plain", "2026-11-19 10:00", paid("2026-11-19 12:00", 10_10, "", "")) // half a cent, to the even one
	s.tell("c", "couple", "f", "couple", "-plain", "2025-10-01 10:00", paid("2025-10-01 12:00", 1000_01, "", ""), paid("2025-10-02 12:00", 500_00, "", ""))
	s.tell("c", "couple", "g", "couple", "-bonus", "2026-01-06 10:00", paid("2026-01-06 12:00", 100_00, "", "")) // 5 × 1.2 × 1.5
	half := s.tell("c", "couple", "h", "couple", "-budget", "2026-05-05 10:00", paid("2026-05-05 12:00", 800_00, "", ""))
	s.refund(half, "2026-05-05 12:00", on("2026-05-06 10:00"), 300_00)
	s.tell("s", "supplier", "s", "supplier", "-plain", "2026-05-06 10:00", paid("2026-05-06 12:00", 1_00, "starter", "")) // himself
	s.tell("s", "supplier", "i", "couple", "-plain", "2025-10-10 10:00", paid("2026-10-11 12:00", 90_00, "", ""))         // after 366 days
	held := s.tell("s", "supplier", "j", "couple", "-plain", "2026-05-07 10:00", paid("2026-05-07 12:00", 90_00, "", ""))
	held.action = "hold"
	checkTold(t, s, `
purchase o:2025-10-01 12:00 c couple-booking 50.00 expired cap
purchase o:2026-01-06 12:00 c couple-booking 9.00 eligible campaign+season
purchase o:2026-02-07 12:00 s supplier-plan 112.50 eligible first three+campaign+season
purchase o:2026-05-01 12:00 s supplier-plan 30.00 eligible annual+first three
purchase o:2026-05-02 12:00 s supplier-plan 37.50 eligible first three
purchase o:2026-05-04 12:00 s supplier-plan 200.00 eligible annual
purchase o:2026-05-05 12:00 c couple-booking 25.00 eligible
purchase o:2026-05-07 12:00 s couple-booking 4.50 pending
purchase o:2026-11-19 12:00 c couple-booking 0.50 pending`)
}

func TestGeneralTruth(t *testing.T) {
	s := tiny("general")
	s.tell("top", "", "mid", "", "-plain", "2026-05-01 10:00")
	s.tell("mid", "", "low", "", "-plain", "2026-05-02 10:00")
	s.tell("low", "", "a", "", "-bonus", "2025-12-03 10:00", worldAction{event: "activate", at: on("2025-12-03 11:00")}, paid("2025-12-03 12:00", 20_30, "", ""),
		paid("2025-12-04 12:00", 19_99, "", ""), paid("2025-12-05 12:00", 5000_00, "", ""), worldAction{event: "retain", at: on("2026-01-03 12:00")})
	checkTold(t, s, `
activate i:a-1 low activation 3.00 eligible campaign
purchase o:2025-12-03 12:00 a welcome 7.50 eligible campaign
purchase o:2025-12-03 12:00 low first-purchase 30.00 eligible december+campaign
purchase o:2025-12-03 12:00 low share-of-purchases 0.30 eligible campaign
purchase o:2025-12-03 12:00 mid second-level 3.75 eligible campaign
purchase o:2025-12-03 12:00 top third-level 1.50 eligible campaign
purchase o:2025-12-05 12:00 low share-of-purchases 20.00 eligible campaign cap
retain i:a-5 low loyalty 4.50 eligible campaign`)

	// The month's cap of 500 leaves 20 of the thirty-fourth to the referrer who
	// has 15 for each from November on; from the twenty-first on it is a tenth more.
	s = tiny("general")
	for i := range 40 {
		d := s.tell("x", "", fmt.Sprint("u", i), "", "-bonus", "2026-05-01 10:00")
		d.actions = append(d.actions, worldAction{event: "purchase", at: on("2026-05-02 10:00") + int64(i), cents: 1_00, order: fmt.Sprint("o", i)})
	}
	l := ledger{}
	s.earn(s).tally(l, s.rules, nil)
	for line, want := range map[string]float64{
		"rule first-purchase, rewards": 33, // 20 at 15, 12 at 16.50, and 2 of the next
		"rule first-purchase, amount":  500, "cut by cap_monthly": 1, "rule welcome, amount": 300,
		"rule five-friends, amount": 15, "rule ten-friends, amount": 40, "rule twenty-five-friends, amount": 150,
	} {
		if l[line] != want {
			t.Errorf("%s is %v, want %v", line, l[line], want)
		}
	}
}

func TestInsuranceTruth(t *testing.T) {
	s := tiny("insurance")
	policy := func(date string, cents int64) worldAction {
		return worldAction{event: "policy_issued", at: on(date), cents: cents, order: date}
	}
	s.records = []demoPartner{
		{member{id: "own", kind: "agent"}, "active", 12_50, on("2026-03-01 00:00")}, {member{id: "out", kind: "affiliate"}, "suspended", 20_00, on("2026-04-01 00:00")},
	}
	s.tell("own", "agent", "a", "lead", "", "2026-05-01 10:00", policy("2026-05-01 12:00", 20)).accepted = true // 2.5 cents
	s.tell("own", "agent", "b", "lead", "", "2026-05-01 10:00", policy("2026-05-01 13:00", 1234_56))            // nobody accepted it
	s.tell("out", "affiliate", "c", "lead", "", "2026-03-31 10:00", policy("2026-03-31 12:00", 100_05)).accepted = true
	s.tell("out", "affiliate", "d", "lead", "", "2026-04-01 10:00", policy("2026-04-01 12:00", 100_00)).accepted = true
	s.tell("own", "agent", "e", "lead", "", "2026-05-01 10:00", policy("2026-08-01 12:00", 100_00)).accepted = true // after 92 days
	s.tell("own", "agent", "f", "lead", "", "2026-05-01 10:00", policy("2026-05-05 12:00", 100_00)).rejected = true
	yes := s.tell("own", "agent", "g", "lead", "", "2026-05-01 10:00", policy("2026-05-06 12:00", 80_00))
	yes.accepted, s.approved[earningKey{"own", "commission", "policy_issued o:2026-05-06 12:00"}] = true, true
	checkTold(t, s, `
policy_issued o:2026-03-31 12:00 out commission 10.00 calculated
policy_issued o:2026-05-01 12:00 own commission 0.02 calculated
policy_issued o:2026-05-01 13:00 own commission 154.32 pending
policy_issued o:2026-05-06 12:00 own commission 10.00 eligible`)
	var lives []string
	s.paidFor["g"] = true
	for _, d := range s.deals {
		lives = append(lives, d.user+" "+s.life(d))
	}
	if got, want := strings.Join(lives, ", "), "a converted, b converted, c converted, d converted, e expired, f rejected, g paid"; got != want {
		t.Errorf("the referrals are %s, want %s", got, want)
	}
}

func TestContestTruth(t *testing.T) {
	s := tiny("contest")
	for i := range 12 {
		s.tell("x", "participant", fmt.Sprint("u", i), "participant", "-plain", "2026-10-01 10:00", worldAction{event: "entered", at: on("2026-10-01 12:00") + int64(i)})
	}
	s.deals[3].rejected = true
	s.tell("y", "participant", "late", "participant", "-plain", "2026-09-01 10:00", worldAction{event: "entered", at: on("2026-10-02 12:00")})
	l, b := ledger{}, s.earn(s)
	b.tally(l, s.rules, nil)
	b.balances(l)
	for line, want := range map[string]float64{
		"rule entry-voucher, amount": 10, "rule five-friends, amount": 10, "rule ten-friends, amount": 25, "rule fifty-friends, amount": 0, "balance eligible": 45,
	} {
		if l[line] != want {
			t.Errorf("%s is %v, want %v", line, l[line], want)
		}
	}
	if got := s.standings(); got["x"] != (standing{12, 12, "finalist"}) || got["y"] != (standing{1, 1, "participant"}) {
		t.Errorf("the standings are %v", got)
	}
}

// Each story exercises everything that its table shows, and the same seed tells
// the same story.
func TestStories(t *testing.T) {
	for program, script := range scripts {
		for _, users := range []int{2, 300, 2000} {
			tell := func() *story {
				s := newStory(program, script, 1, "t", storyEnd)
				script.write(s, users)
				s.writeChannels()
				return s
			}
			s := tell()
			if again := tell(); told(s.earn(s)) != told(again.earn(again)) || len(s.reports) != len(again.reports) {
				t.Errorf("%s: the same seed tells two stories", program)
			}
			l := ledger{}
			b := s.earn(s)
			b.tally(l, script.rules, script.multipliers)
			tallyFraud(l, s.planted(), s.planted())
			if l["state expired, rewards"] == 0 && script.expires > 0 && users > 2 {
				t.Errorf("%s with %d users: no reward expires", program, users)
			}
			for line, n := range l {
				if users > 2 && n == 0 && line != "fraud, honest people suspected" {
					t.Errorf("%s with %d users: %s is 0", program, users, line)
				}
			}
			for _, d := range s.deals {
				for i, a := range d.actions {
					if a.at < s.start || a.at > s.end || i > 0 && a.at < d.actions[0].at {
						t.Errorf("%s: %s does %s at %s", program, d.user, a.event, formatMS(a.at))
					}
				}
			}
		}
	}
}

// A payout pays what is eligible; what is refunded after it is owed.
func TestBookPay(t *testing.T) {
	s := tiny("contest")
	d := s.tell("x", "participant", "u", "participant", "-plain", "2026-10-01 10:00", worldAction{event: "entered", at: on("2026-10-01 12:00")})
	b := s.earn(s)
	if got := fmt.Sprint(b.pay()); got != "map[x:100]" {
		t.Errorf("%s was paid", got)
	}
	for key, e := range b {
		s.settled[key] = e.settled
	}
	l := ledger{}
	d.rejected = true
	after := s.settle(s.earn(s))
	after.balances(l)
	if l["balance owed"] != 1 || l["balance paid"] != 1 || l["balance eligible"] != 0 {
		t.Errorf("the balances are %v", l)
	}
	if n := after.unlike(b); n != 1 {
		t.Errorf("%d rewards differ, want 1", n)
	}
}

func TestMovePromotions(t *testing.T) {
	document, err := exampleDocument("general")
	if err != nil {
		t.Fatal(err)
	}
	rules := document["rewards"].(map[string]any)["rules"]
	movePromotions(rules, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if got := fmt.Sprint(rules); !strings.Contains(got, "from:2025-12-01T00:00:00Z to:2026-01-01T00:00:00Z") {
		t.Errorf("the promotion was not moved to the December before: %s", got)
	}
}

// Money by campaign, by month, and by what a webhook tells, of a story that is
// counted by hand.
func TestClosingTruth(t *testing.T) {
	s := tiny("wedding")
	a := s.tell("s", "supplier", "a", "supplier", "-bonus", "2026-05-01 10:00", paid("2026-05-01 12:00", 90_00, "starter", "annual")) // 10 × 2 × 1.5 × 1.2
	s.tell("s", "supplier", "b", "couple", "-bonus", "2026-06-01 10:00", paid("2026-06-01 12:00", 100_00, "", ""))                    // 5 × 1.2
	back := s.tell("s", "supplier", "c", "couple", "-bonus", "2026-06-02 10:00", paid("2026-06-02 12:00", 80_00, "", ""))             // 2 × 1.2
	s.refund(back, "2026-06-02 12:00", on("2026-06-03 10:00"), 40_00)
	s.tell("s", "supplier", "old", "couple", "-bonus", "2025-10-01 10:00", paid("2025-10-01 12:00", 20_00, "", "")) // 1.20, expired
	b := s.earn(s)
	l := ledger{}
	addCampaign(l, "", s.countCampaigns(b, b)[s.campaign+"-bonus"], 20_00)
	for line, want := range map[string]float64{"conversions": 4, "value": 290, "refunds": 40, "spend": 64.40, "roi": (290 - 40 - 64.40) / 64.40} {
		if !equal(l[line], want) {
			t.Errorf("%s is %v, want %v", line, l[line], want)
		}
	}
	b.pay()
	if got := fmt.Sprint(*s.accounts(b)["s"]); got != "{map[2026-05:3600 2026-06:840] 4440 0}" {
		t.Errorf("the account is %s", got)
	}
	a.accepted, a.judged, s.paidFor["b"], back.rejected, back.judged = true, 7, true, true, 8
	want := map[hookChange]int64{
		{"referral.converted", "s", "a"}: on("2026-05-01 12:00"), {"referral.converted", "s", "b"}: on("2026-06-01 12:00"),
		{"referral.converted", "s", "c"}: on("2026-06-02 12:00"), {"referral.converted", "s", "old"}: on("2025-10-01 12:00"),
		{"referral.accepted", "s", "a"}: 7, {"referral.rejected", "s", "c"}: 8, {"referral.paid", "s", "b"}: 0,
	}
	if got := s.changes(); !maps.Equal(got, want) {
		t.Errorf("told must be %v, want %v", got, want)
	}
}
