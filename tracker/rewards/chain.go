package rewards

import (
	"time"

	"github.com/shopspring/decimal"
)

// Chain is what the ledger says of a reward: its entries summed up.
type Chain struct {
	ID       string
	Party    string
	Rule     string
	Referral Referral
	Length   int             // entries, and so the place of the next one
	Balance  decimal.Decimal // sum of their values
	Lapsed   decimal.Decimal // what expired of it
	State    State           // after the last
	Earned   time.Time       // of the first
	Since    time.Time       // of the last
	Eligible time.Time       // when it last became eligible, the zero time for never
	Derived  Derivation      // of the last that gave or changed the amount

	Approved  bool // a person made it eligible
	Dismissed bool // a person cancelled it

	// What payouts settled of it, which the payouts say and not its own entries:
	// there may be none yet that says paid.
	Settled    decimal.Decimal
	Settlement *Settlement // the last payout that it stands in, nil for none
}

// Derivation is how an amount came about, as an entry says it.
type Derivation struct{ Base, Multipliers, Cap string }

// Settlement is a payout, as far as the rewards in it must know.
type Settlement struct {
	Time         time.Time
	Actor, Batch string
}

// Add adds the next entry of the chain.
func (c *Chain) Add(e *Entry) {
	if c.Length == 0 {
		c.ID, c.Party, c.Rule, c.Referral, c.Earned = e.Chain, e.Party, e.Rule, Referral{e.Referrer, e.Referee}, e.Time
	}
	if e.State == Eligible && c.State != Eligible {
		c.Eligible = e.Time
	}
	if e.Kind == Expire {
		c.Lapsed = c.Lapsed.Sub(e.Value)
	}
	if e.Base != "" {
		c.Derived = Derivation{e.Base, e.Multipliers, e.Cap}
	}
	c.Approved = c.Approved || e.Actor != System && e.State == Eligible
	c.Dismissed = c.Dismissed || e.Actor != System && e.State == Cancelled
	c.Length, c.Balance, c.State, c.Since = e.N+1, c.Balance.Add(e.Value), e.State, e.Time
}

// Settle adds a line of a payout.
func (c *Chain) Settle(line Line, by Settlement) {
	c.Settled = c.Settled.Add(line.Amount)
	if c.Settlement == nil || c.Settlement.Time.Before(by.Time) {
		c.Settlement = &by
	}
}

// Open is what the next payout has to settle of the reward: what it is worth
// and was not paid or, negative, what was paid too much.
func (c *Chain) Open() decimal.Decimal {
	if c.Settlement != nil || c.State == Eligible {
		return c.Balance.Sub(c.Settled)
	}
	return decimal.Zero
}

// Next is the entry that brings a reward closer to what it should be, nil if
// it is that. want is nil where nothing earns it any more. It gives one entry
// at a time: whoever writes it looks what the chain has become before he asks
// for the next, or an entry could follow one that never came to be.
func Next(want *Reward, have *Chain, now time.Time) *Entry {
	worth, reason := Worth(want, have), "it is earned no more"
	if want != nil {
		reason = want.Reason
	}
	switch {
	case have.Settlement == nil && have.State == Expired:
		return nil
	case have.Length == 0 && worth.IsZero():
		return nil
	case have.Length == 0:
		return want.entry(have, Earn, Pending, worth, want.Time)
	case !have.Balance.Equal(worth), !worth.IsZero() && want.derivation() != have.Derived:
		return change(want, have, worth, reason, now)
	case have.Settlement != nil && have.State != Paid:
		return MarkPaid(have)
	case have.State == Paid || have.State == Cancelled:
		return nil
	}
	return advance(want, have, now)
}

// Worth is what the balance of a reward should be: nothing once somebody
// rejected it, or nobody claimed it in time.
func Worth(want *Reward, have *Chain) decimal.Decimal {
	if want == nil || have.Dismissed || have.Settlement == nil && have.State == Expired {
		return decimal.Zero
	}
	return want.Amount
}

// MarkPaid is the entry that says of a reward what a payout made of it, nil
// where it is said.
func MarkPaid(have *Chain) *Entry {
	if have.Length == 0 || have.Settlement == nil || have.State == Paid {
		return nil
	}
	e := move(have, Paid, have.Settlement.Time)
	e.Actor, e.Batch = have.Settlement.Actor, have.Settlement.Batch
	return e
}

// change is the entry that corrects the amount of a reward, or by a value of 0
// how it came about: two changes of the facts may leave the amount as it was, and
// whoever asks why it is so shall not read what holds no more.
func change(want *Reward, have *Chain, worth decimal.Decimal, reason string, now time.Time) *Entry {
	at, kind, state := now, Adjust, have.State
	if want != nil && want.Changed.After(have.Since) && want.Changed.Before(now) {
		at = want.Changed
	}
	switch {
	case worth.IsZero():
		kind = Reverse
		if state != Paid {
			state = Cancelled
		}
	case state == Cancelled:
		kind, state = Earn, Pending
	case reason == "" && worth.Equal(have.Balance):
		reason = "the same amount, calculated from something else"
	case reason == "":
		reason = "calculated anew"
	}
	var e *Entry
	if want == nil {
		e = move(have, state, at)
		e.Kind, e.Value = kind, worth.Sub(have.Balance)
	} else {
		e = want.entry(have, kind, state, worth.Sub(have.Balance), at)
	}
	e.Reason = reason
	return e
}

// advance is the entry that moves a reward to the state that its time has come
// for.
func advance(want *Reward, have *Chain, now time.Time) *Entry {
	target, at, reason := Eligible, want.Due, ""
	switch {
	case want.Waiting != "":
		target, at, reason = Pending, now, "it waits for "+want.Waiting
	case now.Before(want.Due):
		target, at, reason = Pending, now, "it is held for some days more"
	case want.Manual && !have.Approved:
		target = Calculated
	}
	if have.State != target {
		e := move(have, target, at)
		e.Reason = reason
		return e
	}
	if end := have.Eligible.AddDate(0, 0, want.ExpiresIn); target == Eligible && want.ExpiresIn > 0 && !now.Before(end) {
		e := move(have, Expired, end)
		e.Kind, e.Value, e.Reason = Expire, have.Balance.Neg(), "nobody claimed it"
		return e
	}
	return nil
}

// Wakes is when a reward moves next by the clock alone, the zero time for
// never.
func Wakes(want *Reward, have *Chain, now time.Time) time.Time {
	switch {
	case want == nil || want.Waiting != "" || have.Length == 0:
		return time.Time{}
	case now.Before(want.Due):
		return want.Due
	case have.State == Eligible && want.ExpiresIn > 0:
		return have.Eligible.AddDate(0, 0, want.ExpiresIn)
	}
	return time.Time{}
}

// move is an entry of the system that changes the state alone. Times never run
// backwards within a chain.
func move(have *Chain, state State, at time.Time) *Entry {
	if at.Before(have.Since) {
		at = have.Since
	}
	return &Entry{Chain: have.ID, N: have.Length, Party: have.Party, Time: at, Kind: Move, State: state, Actor: System,
		Rule: have.Rule, Referrer: have.Referral.Referrer, Referee: have.Referral.Referee}
}

// entry is one that gives or changes the amount.
func (r *Reward) entry(have *Chain, kind Kind, state State, value decimal.Decimal, at time.Time) *Entry {
	if at.Before(have.Since) {
		at = have.Since
	}
	terms := r.derivation()
	return &Entry{
		Chain: r.ID, N: have.Length, Party: r.Party, Time: at, Value: value, Kind: kind, State: state, Actor: System,
		Rule: r.Rule, Fact: r.Fact, Referee: r.Referral.Referee, Referrer: r.Referral.Referrer, ReferrerType: r.Type,
		Campaign: r.Campaign, Base: terms.Base, Multipliers: terms.Multipliers, Cap: terms.Cap, Version: r.Version,
	}
}

// derivation is how the amount came about. The version of the programme is not
// part of it: one that pays the same for the same is no news of every reward.
func (r *Reward) derivation() Derivation {
	return Derivation{r.Base.String(), cut(r.Multipliers), r.Cap}
}
