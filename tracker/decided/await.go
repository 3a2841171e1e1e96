// Package decided has what those share who write down what this installation
// itself decides (ledger entries, assessments, records of partners) as events
// of waymark.decisions. An entry names its place, and the place is the event's
// identity, of which the first counts for ever. So who has written one waits
// until its place is taken, and looks by whom.
package decided

import (
	"context"
	"fmt"
	"time"

	"waymark/tracker"
)

// Patience is how long an entry may take to show in ClickHouse where nobody
// says otherwise.
const Patience = 30 * time.Second

const (
	poll    = 20 * time.Millisecond
	pollMax = 500 * time.Millisecond
)

// Await returns nil once the places of all entries are taken. look returns those
// of pending whose places are not yet; its error ends the waiting. When nothing
// has shown for as long as patience, it is tracker.ErrUnavailable, wrapped: the
// entries are in Kafka, and may show later.
func Await[E any](ctx context.Context, patience time.Duration, entries []E, look func(pending []E) (left []E, err error)) error {
	pending, wait := entries, poll
	for deadline := time.Now().Add(patience); ; wait = min(2*wait, pollMax) {
		asked := time.Now()
		left, err := look(pending)
		if err != nil || len(left) == 0 {
			return err
		}
		if len(left) < len(pending) {
			deadline = time.Now().Add(patience)
		}
		if pending = left; time.Now().After(deadline) {
			return fmt.Errorf("%w: %d entries are in Kafka and do not show in ClickHouse; does `waymark ingest` run?", tracker.ErrUnavailable, len(pending))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(wait, time.Since(asked))): // who asks for much leaves ingest the time to bring it
		}
	}
}
