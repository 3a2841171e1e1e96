package decided

import (
	"log/slog"
	"time"
)

// trouble follows whether a worker that tries again and again gets on. The log
// has when a failure begins, when it turns into another, and when it is over:
// that ClickHouse is away for a night is three lines, and not one every two
// seconds. It is for one goroutine.
type trouble struct {
	logger       *slog.Logger
	failed, over string // what the log says

	last     error
	failures int // in a row
}

// note takes the outcome of an attempt.
func (t *trouble) note(err error) {
	switch {
	case err != nil && (t.last == nil || t.last.Error() != err.Error()):
		t.logger.Warn(t.failed, "error", err)
	case err == nil && t.last != nil:
		t.logger.Info(t.over, "attempts", t.failures)
	}
	if t.last = err; err == nil {
		t.failures = 0
	} else {
		t.failures++
	}
}

// wait is how long to leave alone what failed: first, twice that after another
// failure, and so on, most at most. It is 0 where nothing did.
func (t *trouble) wait(first, most time.Duration) time.Duration {
	if t.failures == 0 {
		return 0
	}
	length := first
	for n := 1; n < t.failures && length < most; n++ {
		length *= 2
	}
	return min(length, most)
}
