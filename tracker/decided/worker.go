package decided

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// restShare is how many times as long as it worked a worker rests: it
	// calculates everything anew, and must leave ClickHouse to others.
	restShare = 4
	restMax   = 15 * time.Second // beyond it, who looks at a balance would wonder
)

// Worker decides anew whenever there is news of what its decisions follow from,
// or the time of one has come.
type Worker struct {
	Interval     time.Duration // between two looks for news
	Now          func() time.Time
	Logger       *slog.Logger
	Failed, Over string             // what the log says of failures, see trouble
	Failures     prometheus.Counter // attempts that failed

	// Mark changes whenever there is news.
	Mark func(context.Context) (string, error)
	// Decide writes down what follows from all that there is. It returns when
	// something follows from the time alone, the zero time for never.
	Decide func(context.Context) (wake time.Time, err error)
}

// Run ends with its context. What fails is tried again.
func (w *Worker) Run(ctx context.Context) error {
	seen, again, wake := "", false, time.Time{}
	failing := trouble{logger: w.Logger, failed: w.Failed, over: w.Over}
	for {
		began := time.Now()
		mark, err := w.Mark(ctx)
		if err == nil && (mark != seen || again || !wake.IsZero() && !w.Now().Before(wake)) {
			var next time.Time
			next, err = w.Decide(ctx)
			// What changed the mark may not be in every table yet: look once more.
			again = mark != seen || err != nil
			if err == nil {
				seen, wake = mark, next
			}
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			w.Failures.Inc()
		}
		failing.note(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(w.Interval, min(restShare*time.Since(began), restMax), failing.wait(w.Interval, restMax))):
		}
	}
}
