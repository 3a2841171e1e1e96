package webhooks

import (
	"errors"
	"time"
)

// errRefused says that a receiver answers, and will not have a change.
var errRefused = errors.New("the receiver refused it")

const (
	refusalWaitMax = 15 * time.Minute
	// heldMax bounds the changes that are read past because they are held up, and
	// so how often a receiver that refuses everything is asked. What lies behind
	// so many waits until the receiver takes one of them.
	heldMax = 5000
)

// refusals are the referrals of which a hook refused a change. The next changes
// of each wait with the refused one, so as to keep their order; those of all
// others are told. Whoever reads pending changes, the oldest first, asks for held
// more than it could send, or as many refused ones would hide the rest.
type refusals struct {
	of   map[referral]refusal
	held int // changes that waited in the last round

	now     time.Time
	seen    map[referral]bool
	waiting int
}

type refusal struct {
	wait   time.Duration
	resume time.Time
}

// begin begins a round.
func (r *refusals) begin(now time.Time) {
	r.now, r.seen, r.waiting = now, map[referral]bool{}, 0
}

// holds reports whether a change of a referral has to wait, and counts it.
func (r *refusals) holds(whose referral) bool {
	refused, known := r.of[whose]
	if !known {
		return false
	}
	r.seen[whose] = true
	if r.now.Before(refused.resume) {
		r.waiting++
		return true
	}
	return false
}

// add notes a refusal: the referral waits twice as long as the last time, first
// for a given time.
func (r *refusals) add(whose referral, first time.Duration) {
	wait := first
	if last, again := r.of[whose]; again {
		wait = min(2*last.wait, refusalWaitMax)
	}
	r.of[whose] = refusal{wait, r.now.Add(max(wait, 1))}
	r.seen[whose] = true
	r.waiting++
}

// forget ends what a referral waits for: its change was taken.
func (r *refusals) forget(whose referral) { delete(r.of, whose) }

// end ends a round, and forgets the referrals of which nothing is pending.
func (r *refusals) end() {
	for whose := range r.of {
		if !r.seen[whose] {
			delete(r.of, whose)
		}
	}
	r.held = min(r.waiting, heldMax)
}
