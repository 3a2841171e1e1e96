package rewards

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

const everything = `{"rewards":{"decimals":2,"rules":[{"name":"r","on":"converted","each":"every","fixed":"10","cap":"25","cap_monthly":"40",
   "multipliers":[{"name":"first two","times":"1.5","first_referrals":2}]}]},
  "tiers":[{"name":"two","conversions":2,"multiplier":"2"}],
  "campaigns":[{"name":"spring","starts_at":"2026-01-01T00:00:00Z","budget":"90"}]}`

// purchase is what the recount knows of a fact, and what it found.
type purchase struct {
	day                 int
	user, party, order  int
	campaign, gone, bad bool // part of the campaign; refunded whole; its user was rejected
	cents               int
}

// recountAll goes through purchases in order of their days and looks back over
// all earlier ones for each: no counters, no state, whole cents.
func recountAll(all []*purchase) {
	for i, p := range all {
		if p.gone || p.bad {
			continue
		}
		referrals, conversions, month, spent := map[int]bool{}, map[int]bool{}, 0, 0
		for _, q := range all[:i] {
			if q.party == p.party && q.cents > 0 {
				referrals[q.user] = true
			}
			if q.party == p.party && !q.bad {
				conversions[q.user] = true
			}
			if q.party == p.party && q.day/30 == p.day/30 {
				month += q.cents
			}
			if q.campaign {
				spent += q.cents
			}
		}
		cents := 1000
		if referrals[p.user] && numberOf(all[:i], p) <= 2 || !referrals[p.user] && len(referrals) < 2 {
			cents = cents * 3 / 2
		}
		if len(conversions) >= 2 {
			cents *= 2
		}
		cents = min(cents, 2500, max(0, 4000-month))
		if p.campaign {
			cents = min(cents, max(0, 9000-spent))
		}
		p.cents = cents
	}
}

// numberOf is the place of a user among those who earned the party something.
func numberOf(earlier []*purchase, p *purchase) int {
	var users []int
	for _, q := range earlier {
		if q.party == p.party && q.cents > 0 && !slices.Contains(users, q.user) {
			users = append(users, q.user)
		}
	}
	return slices.Index(users, p.user) + 1
}

// Tiers, caps, a budget, first referrals, refunds and rejections together, and
// the facts in any order: always what a naive recount says.
func TestRecount(t *testing.T) {
	terms := terms(t, everything)
	start := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC) // of a month with thirty days
	rapid.Check(t, func(t *rapid.T) {
		bad := rapid.IntRange(-1, 5).Draw(t, "rejected")
		var all []*purchase
		var facts []*Fact
		for i := range rapid.IntRange(1, 25).Draw(t, "purchases") {
			user := rapid.IntRange(0, 5).Draw(t, "user")
			p := &purchase{
				day: 2 * i, user: user, party: user % 2, order: i, campaign: rapid.Bool().Draw(t, "campaign"),
				gone: rapid.IntRange(0, 5).Draw(t, "refund") == 0, bad: user == bad,
			}
			all = append(all, p)
			f := fact(fmt.Sprintf("purchase o:%d 2026-01-01 u%d by s%d value 7", i, user, p.party))
			f.Time = start.AddDate(0, 0, 2*i)
			if p.campaign {
				f.Campaign = "spring"
			}
			facts = append(facts, f)
			if p.gone {
				facts = append(facts, fact(fmt.Sprintf("refund o:%d 2026-09-01 u%d value 7", i, user)))
			}
		}
		if bad >= 0 {
			facts = append(facts, fact(fmt.Sprintf("reject i:1 2026-09-01 u%d", bad)))
		}
		recountAll(all)
		got := map[string]decimal.Decimal{}
		for _, r := range Calculate(terms, rapid.Permutation(facts).Draw(t, "arrival")) {
			got[r.Fact] = r.Amount
		}
		for _, p := range all {
			if want := decimal.New(int64(p.cents), -2); !got[fmt.Sprintf("purchase o:%d", p.order)].Equal(want) {
				t.Fatalf("order %d of u%d on day %d is worth %s, got %s", p.order, p.user, p.day, want, got[fmt.Sprintf("purchase o:%d", p.order)])
			}
		}
	})
}
