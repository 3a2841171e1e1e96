package rewards

import (
	"cmp"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Account is what the ledger says of a party: its rewards, and how many
// payouts its chain of payouts has.
type Account struct {
	Party   string
	Payouts int
	Chains  []*Chain
}

// Balances sum an account up; none of them is ever negative. Eligible is what
// the rewards are worth that can be paid, before Owed is deducted, which was
// paid for what was taken back later.
type Balances struct {
	Pending  decimal.Decimal // calculated ones, too
	Eligible decimal.Decimal
	Owed     decimal.Decimal
	Payable  decimal.Decimal // Eligible less Owed, 0 at least
	Paid     decimal.Decimal
}

// Balances of the account.
func (a *Account) Balances() Balances {
	var b Balances
	for _, c := range a.Chains {
		b.Paid = b.Paid.Add(c.Settled)
		switch open := c.Open(); {
		case open.IsNegative():
			b.Owed = b.Owed.Sub(open)
		case open.IsPositive():
			b.Eligible = b.Eligible.Add(open)
		case c.State == Pending || c.State == Calculated:
			b.Pending = b.Pending.Add(c.Balance)
		}
	}
	b.Payable = decimal.Max(decimal.Zero, b.Eligible.Sub(b.Owed))
	return b
}

// PayoutLimits restrict what a payout takes.
type PayoutLimits struct {
	Until   time.Time       // only what was eligible by then; the zero time for all
	Minimum decimal.Decimal // parties that would get less get nothing
	Rewards []string        // only these; nil for all
}

// Lines are what a payout to the party settles, the oldest first: everything
// that can be paid, and of what is owed as much as that covers. They sum to at
// least 0, and there are LinesMax at most. None: there is nothing to pay.
func (a *Account) Lines(limits PayoutLimits) []Line {
	if a.Balances().Payable.LessThan(limits.Minimum) {
		return nil
	}
	chains := slices.SortedFunc(slices.Values(a.Chains), func(x, y *Chain) int {
		return cmp.Or(x.Eligible.Compare(y.Eligible), cmp.Compare(x.ID, y.ID))
	})
	var lines []Line
	left := decimal.Zero
	for _, c := range chains {
		open := c.Open()
		if !open.IsPositive() || len(lines) == LinesMax/2 ||
			!limits.Until.IsZero() && c.Eligible.After(limits.Until) || limits.Rewards != nil && !slices.Contains(limits.Rewards, c.ID) {
			continue
		}
		lines, left = append(lines, Line{c.ID, open}), left.Add(open)
	}
	for _, c := range chains {
		owed := decimal.Min(left, c.Open().Neg())
		if !owed.IsPositive() || len(lines) == LinesMax {
			continue
		}
		lines, left = append(lines, Line{c.ID, owed.Neg()}), left.Sub(owed)
	}
	return lines
}

// Pay is the entry of a payout with some lines.
func (a *Account) Pay(program, batch, actor string, lines []Line, at time.Time) *Entry {
	sum := decimal.Zero
	for _, line := range lines {
		sum = sum.Add(line.Amount)
	}
	return &Entry{
		Chain: PayoutChain(program, a.Party), N: a.Payouts, Party: a.Party, Time: at, Value: sum.Neg(), Kind: Payout, State: Paid,
		Actor: actor, Batch: batch, Lines: lines, RecordedAt: at,
	}
}
