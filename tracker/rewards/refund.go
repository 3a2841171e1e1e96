package rewards

import (
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

// refunded is what was taken back of a fact.
type refunded struct {
	amount decimal.Decimal
	whole  bool      // nothing is left of it
	last   time.Time // of the refunds
}

// refunds finds what each fact lost by refunds. One that names an order is of
// the facts with that order, whenever it came. One that names none is of what
// its user paid before it, the latest first. A refund without a value is of
// all of the order, or of the latest payment.
func refunds(facts []*Fact) map[*Fact]*refunded {
	byOrder, byParty := map[string][]*Fact{}, map[string][]*Fact{}
	for _, f := range facts {
		if f.Event == tracker.EventRefund || !f.Value.IsPositive() && f.Order == "" {
			continue
		}
		if f.Order != "" {
			byOrder[f.Order] = append(byOrder[f.Order], f)
		}
		if f.Value.IsPositive() {
			byParty[f.Party] = append(byParty[f.Party], f)
		}
	}
	lost := map[*Fact]*refunded{}
	for _, r := range facts {
		switch {
		case r.Event != tracker.EventRefund:
		case r.Order != "":
			for _, f := range byOrder[r.Order] {
				take(lost, f, r, r.Value)
			}
		default:
			takeFromLatest(lost, byParty[r.Party], r)
		}
	}
	return lost
}

// takeFromLatest divides a refund among the payments before it.
func takeFromLatest(lost map[*Fact]*refunded, paid []*Fact, r *Fact) {
	left := r.Value
	for _, f := range slices.Backward(paid) {
		if f.Time.After(r.Time) || lost[f] != nil && lost[f].whole {
			continue
		}
		left = take(lost, f, r, left)
		if !left.IsPositive() {
			return
		}
	}
}

// take takes an amount, or all for an amount of 0, from a fact. It returns what
// the fact could not bear.
func take(lost map[*Fact]*refunded, f, r *Fact, amount decimal.Decimal) (left decimal.Decimal) {
	l := lost[f]
	if l == nil {
		l = &refunded{}
		lost[f] = l
	}
	if l.last.Before(r.Time) {
		l.last = r.Time
	}
	rest := f.Value.Sub(l.amount)
	if !r.Value.IsPositive() || amount.GreaterThanOrEqual(rest) {
		l.amount, l.whole = f.Value, true
		return amount.Sub(rest)
	}
	l.amount = l.amount.Add(amount)
	return decimal.Zero
}
