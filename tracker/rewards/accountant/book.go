package accountant

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/rewards"
)

// book is what a programme's rewards should be, and what its ledger says.
type book struct {
	program  string
	currency string
	wants    map[string]*rewards.Reward // by id
	ledger   *rewards.Ledger
}

// open reads a book; with a draft as if that version of the programme had been
// written last. It is nil for a programme that has nothing to do with rewards.
func (a *Accountant) open(ctx context.Context, program string, draft *tracker.Program) (*book, error) {
	terms, err := a.Store.RewardTerms(ctx, program)
	if err != nil {
		return nil, err
	}
	if draft != nil {
		number := uint64(1)
		for _, v := range terms.Versions {
			number = max(number, v.Number+1)
		}
		terms.Versions = append(terms.Versions, rewards.Version{Number: number, Since: orTime(draft.EffectiveFrom, a.Now()), Program: draft})
	}
	if len(terms.Versions) == 0 {
		return nil, nil
	}
	b := &book{program: program, currency: terms.Versions[len(terms.Versions)-1].Program.Currency, wants: map[string]*rewards.Reward{}}
	if b.ledger, err = a.ledger(ctx, program, nil); err != nil {
		return nil, err
	}
	earns, countries := asks(terms)
	if !earns {
		if len(b.ledger.Chains) == 0 {
			return nil, nil
		}
		return b, nil // whatever was earned is earned no more
	}
	facts, err := a.Store.RewardFacts(ctx, program, countries)
	if err != nil {
		return nil, err
	}
	all := rewards.Calculate(terms, facts)
	for i := range all {
		b.wants[all[i].ID] = &all[i]
	}
	return b, nil
}

// orTime is the first time, or the second where that is zero.
func orTime(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}

// asks reports whether any version of a programme rewards anything, and
// whether it takes the country of a click to know.
func asks(terms *rewards.Terms) (earns, countries bool) {
	for _, v := range terms.Versions {
		r := &v.Program.Rewards
		earns = earns || len(r.Rules)+len(r.Milestones) > 0
		for i := range r.Rules {
			countries = countries || len(r.Rules[i].When.Country) > 0 ||
				slices.ContainsFunc(r.Rules[i].Multipliers, func(m tracker.Multiplier) bool { return len(m.When.Country) > 0 })
		}
	}
	return earns, countries
}

// ledger reads the ledger of a programme, that of some parties only unless
// there are none.
func (a *Accountant) ledger(ctx context.Context, program string, parties []string) (*rewards.Ledger, error) {
	ledger := rewards.NewLedger()
	err := a.Store.RewardEntries(ctx, program, parties, func(e *rewards.Entry) error {
		ledger.Add(e)
		return nil
	})
	return ledger, err
}

// ids are those of all rewards that should be or are, in one order.
func (b *book) ids() []string {
	for id := range b.wants {
		b.ledger.Chain(id)
	}
	return slices.Sorted(maps.Keys(b.ledger.Chains))
}

// next is one entry for each chain that is not as it should be.
func (b *book) next(now time.Time) []*rewards.Entry {
	var entries []*rewards.Entry
	for _, id := range b.ids() {
		if e := rewards.Next(b.wants[id], b.ledger.Chains[id], now); e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

func (b *book) wakes(now time.Time) (wake time.Time) {
	for id, want := range b.wants {
		at := rewards.Wakes(want, b.ledger.Chain(id), now)
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	return wake
}

// Difference is a reward whose balance is not what the facts are worth.
type Difference struct {
	Reward string
	Party  string
	Rule   string
	Fact   string
	Before decimal.Decimal
	After  decimal.Decimal
	Reason string
}

// PartyDifference sums the differences of a party up.
type PartyDifference struct {
	Party   string
	Rewards int
	Before  decimal.Decimal
	After   decimal.Decimal
}

// Preview is what a recomputation changes.
type Preview struct {
	Program string
	Rewards int
	Before  decimal.Decimal
	After   decimal.Decimal
	Parties []PartyDifference
	Changes []Difference
}

// changesMax bounds the differences that a preview lists one by one.
const changesMax = 1000

// Preview compares the ledger of a programme with the facts, with a draft of
// a version that is not written yet, unless that is nil. Rewards of facts
// before a time are left out, the zero time leaves out none. It writes nothing.
func (a *Accountant) Preview(ctx context.Context, program string, draft *tracker.Program, from time.Time) (*Preview, error) {
	out := &Preview{Program: program, Parties: []PartyDifference{}, Changes: []Difference{}}
	b, err := a.open(ctx, program, draft)
	if err != nil || b == nil {
		return out, err
	}
	parties := map[string]*PartyDifference{}
	for _, id := range b.ids() {
		want, have := b.wants[id], b.ledger.Chains[id]
		if want != nil && want.Time.Before(from) || want == nil && have.Earned.Before(from) {
			continue
		}
		worth := rewards.Worth(want, have)
		out.Rewards++
		out.Before, out.After = out.Before.Add(have.Balance), out.After.Add(worth)
		if worth.Equal(have.Balance) {
			continue
		}
		d := Difference{Reward: id, Party: have.Party, Rule: have.Rule, Before: have.Balance, After: worth, Reason: "it is earned no more"}
		if want != nil {
			d.Party, d.Rule, d.Fact, d.Reason = want.Party, want.Rule, want.Fact, want.Reason
		}
		if len(out.Changes) < changesMax {
			out.Changes = append(out.Changes, d)
		}
		p := parties[d.Party]
		if p == nil {
			p = &PartyDifference{Party: d.Party}
			parties[d.Party] = p
		}
		p.Rewards, p.Before, p.After = p.Rewards+1, p.Before.Add(d.Before), p.After.Add(d.After)
	}
	for _, p := range parties {
		out.Parties = append(out.Parties, *p)
	}
	slices.SortFunc(out.Parties, func(x, y PartyDifference) int { return cmp.Compare(x.Party, y.Party) })
	return out, nil
}
