package rewards

import (
	"errors"
	"fmt"
	"time"
)

// ErrState says that a reward is in no state to be decided about.
var ErrState = errors.New("the reward is in another state")

// Approve is the entry by which a person, named by a key, approves what was
// calculated.
func (c *Chain) Approve(actor, reason string, now time.Time) (*Entry, error) {
	if c.State != Calculated {
		return nil, fmt.Errorf("approve a reward: %w: it is %s, and only a calculated one can be approved", ErrState, c.State)
	}
	e := move(c, Eligible, now)
	e.Actor, e.Reason = actor, reason
	return e, nil
}

// Reject is the entry by which a person cancels what was not paid yet, for
// good.
func (c *Chain) Reject(actor, reason string, now time.Time) (*Entry, error) {
	if c.Settlement != nil || c.State != Pending && c.State != Calculated && c.State != Eligible {
		return nil, fmt.Errorf("reject a reward: %w: it is %s; what was paid is taken back by an event reject or refund", ErrState, c.State)
	}
	e := move(c, Cancelled, now)
	e.Kind, e.Value, e.Actor, e.Reason = Reverse, c.Balance.Neg(), actor, reason
	return e, nil
}
