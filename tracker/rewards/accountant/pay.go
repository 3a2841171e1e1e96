package accountant

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker/rewards"
)

// PayoutRequest asks for a payout of what can be paid.
type PayoutRequest struct {
	Program string
	Key     string   // the caller's own; the same key is the same batch. "" for a new one.
	Parties []string // only these; nil for all
	Rewards []string // only these; nil for all
	Until   time.Time
	Minimum decimal.Decimal // parties that would get less get nothing
	Actor   string
}

// Batch is a batch of payouts, as the ledger has it.
type Batch struct {
	ID       string
	Program  string
	Currency string
	OpenedAt time.Time
	Until    time.Time
	Closed   bool
	Actor    string
	Total    decimal.Decimal
	Payments []Payment
}

// Payment is what a batch pays a party.
type Payment struct {
	Party  string
	Amount decimal.Decimal
	Time   time.Time
	Lines  []Settled
}

// Settled is a reward in a payment; negative is what was paid too much before.
type Settled struct {
	Reward string
	Amount decimal.Decimal
}

// Pay pays what can be paid, and returns the batch as the ledger has it. It may
// be killed, and called, at any time and as often as anybody likes: a payout is
// the next entry of its party's chain of payouts, and names the rewards that it
// settles. Of two that both saw a reward unpaid, one finds the place taken, and
// looks again.
func (a *Accountant) Pay(ctx context.Context, r PayoutRequest) (*Batch, error) {
	batch, err := a.openBatch(ctx, &r)
	if err != nil || batch.Closed {
		return batch, err
	}
	// The ledger shall be up to date: who was found to cheat is not paid.
	if _, err := a.Reconcile(ctx, r.Program); err != nil {
		return nil, err
	}
	// As long as somebody else's payouts come in between, or a party has more
	// rewards than one entry can name.
	for {
		more, err := a.payRound(ctx, &r, batch)
		if err != nil {
			return nil, fmt.Errorf("pay the batch %s: %w", batch.ID, err)
		}
		if !more {
			break
		}
	}
	end := &rewards.Entry{Chain: batch.ID, N: 1, Time: a.Now().UTC(), Kind: rewards.Close, Actor: r.Actor}
	if _, err := a.claim(ctx, r.Program, batch.Currency, []*rewards.Entry{end}); err != nil {
		return nil, err
	}
	return a.Batch(ctx, batch.ID)
}

// openBatch begins a batch, or finds the one that was begun with its key.
func (a *Accountant) openBatch(ctx context.Context, r *PayoutRequest) (*Batch, error) {
	id := rewards.BatchID(r.Program, cmp.Or(r.Key, rand.Text()))
	if r.Key != "" {
		batch, err := a.Batch(ctx, id)
		if err == nil {
			return batch, nil
		}
		if !errors.Is(err, ErrNoBatch) {
			return nil, err
		}
	}
	begin := &rewards.Entry{Chain: id, Time: orTime(r.Until, a.Now()).UTC().Truncate(time.Millisecond), Kind: rewards.Open, Actor: r.Actor}
	if _, err := a.claim(ctx, r.Program, a.currency(r.Program), []*rewards.Entry{begin}); err != nil {
		return nil, err
	}
	return a.Batch(ctx, id)
}

func (a *Accountant) currency(program string) string {
	for _, p := range a.Programs() {
		if p.Name == program {
			return p.Currency
		}
	}
	return ""
}

// payRound pays each party once, and reports whether there may be more to pay.
func (a *Accountant) payRound(ctx context.Context, r *PayoutRequest, batch *Batch) (more bool, err error) {
	ledger, err := a.ledger(ctx, r.Program, r.Parties)
	if err != nil {
		return false, err
	}
	now := a.Now().UTC().Truncate(time.Millisecond)
	var payouts []*rewards.Entry
	for _, party := range slices.Sorted(maps.Keys(ledger.Accounts)) {
		account := ledger.Accounts[party]
		lines := account.Lines(rewards.PayoutLimits{Until: batch.Until, Minimum: r.Minimum, Rewards: r.Rewards})
		if len(lines) > 0 {
			payouts = append(payouts, account.Pay(r.Program, batch.ID, r.Actor, lines, now))
		}
	}
	if len(payouts) > 0 {
		found, err := a.claim(ctx, r.Program, batch.Currency, payouts)
		if err != nil {
			return false, err
		}
		for _, e := range payouts {
			ledger.Add(found[e.ID()])
		}
	}
	// What a payout killed before this left undone is done, too.
	var moves []*rewards.Entry
	for _, id := range slices.Sorted(maps.Keys(ledger.Chains)) {
		if e := rewards.MarkPaid(ledger.Chains[id]); e != nil {
			moves = append(moves, e)
		}
	}
	if len(moves) > 0 {
		_, err = a.claim(ctx, r.Program, batch.Currency, moves)
	}
	return len(payouts) > 0, err
}

// ErrNoBatch says that there is no batch of that id.
var ErrNoBatch = errors.New("there is no such batch of payouts")

// Batch is a batch as the ledger has it, or ErrNoBatch.
func (a *Accountant) Batch(ctx context.Context, id string) (*Batch, error) {
	program, chain, err := a.Store.RewardChain(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 || chain[0].Kind != rewards.Open {
		return nil, ErrNoBatch
	}
	payouts, err := a.Store.RewardBatch(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &Batch{
		ID: id, Program: program, Currency: a.currency(program), OpenedAt: chain[0].RecordedAt, Until: chain[0].Time, Closed: len(chain) > 1,
		Actor: chain[0].Actor, Payments: []Payment{},
	}
	for _, e := range payouts {
		p := Payment{Party: e.Party, Amount: e.Value.Neg(), Time: e.Time, Lines: []Settled{}}
		for _, line := range e.Lines {
			p.Lines = append(p.Lines, Settled(line))
		}
		out.Payments, out.Total = append(out.Payments, p), out.Total.Add(p.Amount)
	}
	return out, nil
}
