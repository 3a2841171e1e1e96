package decided

import (
	"log/slog"
	"time"
)

// Trouble follows whether a worker that tries again and again gets on. The log
// has when a failure begins, when it turns into another, and when it is over:
// that ClickHouse is away for a night is three lines, and not one every two
// seconds. It is for one goroutine.
type Trouble struct {
	Logger       *slog.Logger
	Failed, Over string // what the log says

	last     error
	failures int // in a row
}

// Note takes the outcome of an attempt.
func (t *Trouble) Note(err error) {
	switch {
	case err != nil && (t.last == nil || t.last.Error() != err.Error()):
		t.Logger.Warn(t.Failed, "error", err)
	case err == nil && t.last != nil:
		t.Logger.Info(t.Over, "attempts", t.failures)
	}
	if t.last = err; err == nil {
		t.failures = 0
	} else {
		t.failures++
	}
}

// Wait is how long to leave alone what failed: first, twice that after another
// failure, and so on, most at most. It is 0 where nothing did.
func (t *Trouble) Wait(first, most time.Duration) time.Duration {
	if t.failures == 0 {
		return 0
	}
	wait := first
	for n := 1; n < t.failures && wait < most; n++ {
		wait *= 2
	}
	return min(wait, most)
}
