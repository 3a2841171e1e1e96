package fraud

import (
	"context"
	"errors"
	"fmt"

	"waymark/tracker"
)

var (
	// ErrLost says that somebody else decided first.
	ErrLost = errors.New("somebody else decided at the same time")
	// ErrNothing says that there is no decision that could be withdrawn.
	ErrNothing = errors.New("there is no decision to withdraw")
)

// Chain returns the entries of a referral: assessments, then decisions, each in
// their order. The error is tracker.ErrNotFound for a referral that was never
// assessed.
func (a *Assessor) Chain(ctx context.Context, id string) ([]*Entry, error) {
	entries, err := a.Store.FraudChain(ctx, id)
	if err == nil && len(entries) == 0 {
		err = fmt.Errorf("find the referral %s: %w", id, tracker.ErrNotFound)
	}
	return entries, err
}

// Decide enters what somebody decides about a referral: Approve, Reject, or
// Withdraw for what was decided before. It counts instead of the assessments,
// those that come later included, until the next decision. The errors are
// tracker.ErrNotFound, ErrNothing, ErrLost, and tracker.ErrUnavailable, after
// which it may have been entered nevertheless.
func (a *Assessor) Decide(ctx context.Context, id, decision, actor, reason string) error {
	entries, err := a.Chain(ctx, id)
	if err != nil {
		return err
	}
	e := &Entry{Referral: entries[0].Referral, Kind: Decision, Decision: decision, Actor: actor, Reason: reason}
	last := entries[len(entries)-1]
	if last.Kind == Decision {
		e.N = last.N + 1
	}
	if decision == Withdraw && (last.Kind != Decision || last.Decision == Withdraw) {
		return fmt.Errorf("decide about the referral %s: %w", id, ErrNothing)
	}
	found, err := a.claim(ctx, []*Entry{e})
	if err != nil {
		return err
	}
	if first := found[e.EventID()]; first.Actor != e.Actor || first.Decision != e.Decision || !first.Time.Equal(e.Time) {
		return fmt.Errorf("decide about the referral %s: %w", id, ErrLost)
	}
	return nil
}
