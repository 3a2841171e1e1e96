package main

import (
	"cmp"
	"slices"
)

// The demo's own arithmetic of money: whole cents, and exact fractions of them
// until the end. It shares nothing with what it checks.

// fraction is an exact amount of cents: n/d, d above 0. What the programmes of
// the demo multiply stays far below 2^63.
type fraction struct{ n, d int64 }

func (f fraction) times(n, d int64) fraction { return fraction{f.n * n, f.d * d} }

// round gives whole cents, half to even.
func (f fraction) round() int64 {
	whole, rest := f.n/f.d, f.n%f.d
	if 2*rest > f.d || 2*rest == f.d && whole%2 != 0 {
		whole++
	}
	return whole
}

// limit is what an amount is cut to, in cents.
type limit struct {
	name  string
	cents int64
}

// within rounds an amount that limits cut, and names the one that did, the
// tightest.
func (f fraction) within(limits ...limit) (cents int64, cut string) {
	cents = f.round()
	for _, l := range limits {
		if left := max(0, l.cents); cut == "" && left*f.d < f.n || cut != "" && left < cents {
			cents, cut = left, l.name
		}
	}
	return cents, cut
}

// earning is a reward: as it must be, or as the views have it.
type earning struct {
	earningKey
	id          string // as the views have it
	referee     string
	campaign    string // of the link
	at          int64  // when it was earned, as the story has it
	cents       int64  // what it is worth now
	settled     int64  // what payouts have paid of it
	state       string
	multipliers []string // those that a programme's story counts
	cut         string   // by which limit
}

// earningKey tells rewards apart: a fact gives a party one by each rule.
type earningKey struct{ party, rule, fact string }

// book is all rewards of a story.
type book map[earningKey]*earning

// pay settles what is eligible, and returns what each party gets.
func (b book) pay() map[string]int64 {
	sums := map[string]int64{}
	for _, e := range b {
		if e.state == "eligible" {
			sums[e.party] += e.cents
			e.settled, e.state = e.cents, "paid"
		}
	}
	return sums
}

// calculated are the rewards that wait for approval, in the order of their keys.
func (b book) calculated() (waiting []*earning) {
	for _, e := range b {
		if e.state == "calculated" {
			waiting = append(waiting, e)
		}
	}
	slices.SortFunc(waiting, func(x, y *earning) int {
		return cmp.Or(cmp.Compare(x.party, y.party), cmp.Compare(x.rule, y.rule), cmp.Compare(x.fact, y.fact))
	})
	return waiting
}

// multipliedMin is the least amount, in cents, in which a tenth more always shows.
const multipliedMin = 100

// tally adds a line for each rule, multiplier and state.
func (b book) tally(l ledger, rules, multipliers []string) {
	for _, rule := range rules {
		l["rule "+rule+", rewards"], l["rule "+rule+", amount"] = 0, 0
	}
	for _, name := range multipliers {
		l["multiplied by "+name] = 0
	}
	for _, e := range b {
		if e.cents == 0 {
			continue
		}
		l["rule "+e.rule+", rewards"]++
		l["rule "+e.rule+", amount"] += float64(e.cents) / 100
		l["state "+e.state+", rewards"]++
		if e.cut != "" {
			l["cut by "+e.cut]++
		}
		// What did not change an amount need not be told with it: the ledger
		// explains an amount when it changes. So only those count that show in it.
		if e.cut != "" || e.cents < multipliedMin {
			continue
		}
		for _, name := range e.multipliers {
			if slices.Contains(multipliers, name) {
				l["multiplied by "+name]++
			}
		}
	}
}

// balances adds what the states of the rewards sum up to.
func (b book) balances(l ledger) {
	var pending, eligible, owed, paid, expired int64
	for _, e := range b {
		paid += e.settled
		switch {
		case e.settled > e.cents:
			owed += e.settled - e.cents
		case e.settled != 0 || e.state == "eligible":
			eligible += e.cents - e.settled
		case e.state == "pending" || e.state == "calculated":
			pending += e.cents
		case e.state == "expired":
			expired += e.cents
		}
	}
	for name, cents := range map[string]int64{"pending": pending, "eligible": eligible, "owed": owed, "paid": paid, "expired": expired} {
		l["balance "+name] = float64(cents) / 100
	}
}

// unlike counts the rewards that only one of two books has, or that differ in
// amount, state or what was paid. What is worth nothing need not be there.
func (b book) unlike(other book) int {
	n := 0
	for key, e := range b {
		if o := other[key]; o == nil && (e.cents != 0 || e.settled != 0) || o != nil && (o.cents != e.cents || o.settled != e.settled || e.cents != 0 && o.state != e.state) {
			n++
		}
	}
	for key, o := range other {
		if b[key] == nil && (o.cents != 0 || o.settled != 0) {
			n++
		}
	}
	return n
}
