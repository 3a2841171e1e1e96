package accountant

import (
	"context"
	"errors"
	"fmt"

	"waymark/tracker"
	"waymark/tracker/rewards"
)

// ErrLost says that somebody else moved a reward first.
var ErrLost = errors.New("somebody else moved the reward at the same time")

// Reward is a reward with its entries, and its programme, or
// tracker.ErrNotFound.
func (a *Accountant) Reward(ctx context.Context, id string) (program string, entries []rewards.Entry, err error) {
	program, entries, err = a.Store.RewardChain(ctx, id)
	if err == nil && (len(entries) == 0 || entries[0].Kind != rewards.Earn) {
		err = fmt.Errorf("find the reward %s: %w", id, tracker.ErrNotFound)
	}
	return program, entries, err
}

// Approve lets a calculated reward be paid. The error is rewards.ErrState for
// one in another state, ErrLost where somebody was faster.
func (a *Accountant) Approve(ctx context.Context, id, actor, reason string) error {
	return a.decide(ctx, id, func(c *rewards.Chain) (*rewards.Entry, error) { return c.Approve(actor, reason, a.Now().UTC()) })
}

// Reject cancels a reward that was not paid yet, for good; its errors are
// those of Approve.
func (a *Accountant) Reject(ctx context.Context, id, actor, reason string) error {
	return a.decide(ctx, id, func(c *rewards.Chain) (*rewards.Entry, error) { return c.Reject(actor, reason, a.Now().UTC()) })
}

func (a *Accountant) decide(ctx context.Context, id string, entry func(*rewards.Chain) (*rewards.Entry, error)) error {
	program, entries, err := a.Reward(ctx, id)
	if err != nil {
		return err
	}
	// A payout of the reward stands in the chain of its party.
	ledger, err := a.ledger(ctx, program, []string{entries[0].Party})
	if err != nil {
		return err
	}
	e, err := entry(ledger.Chain(id))
	if err != nil {
		return err
	}
	found, err := a.claim(ctx, program, a.currency(program), []*rewards.Entry{e})
	if err != nil {
		return err
	}
	if first := found[e.ID()]; first.Actor != e.Actor || first.State != e.State || !first.RecordedAt.Equal(e.RecordedAt) {
		return fmt.Errorf("move the reward %s: %w", id, ErrLost)
	}
	return nil
}
