package fraud

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
	"waymark/tracker/decided"
)

// Store computes assessments and reads the log. ClickHouse implements it.
type Store interface {
	// FraudMark changes when there may be something to assess.
	FraudMark(ctx context.Context) (string, error)
	// FraudChanges returns the assessments that should follow in the log, limit at
	// most, their times not set.
	FraudChanges(ctx context.Context, limit int) ([]*Entry, error)
	// FraudChain returns the entries of both chains of a referral, each in its
	// order; none for a referral that there is not.
	FraudChain(ctx context.Context, id string) ([]*Entry, error)
	// FindFraudEntries returns the entries that stand at the places of others of
	// one kind, by EventID.
	FindFraudEntries(ctx context.Context, kind Kind, places []*Entry) (map[string]*Entry, error)
}

// Options is what NewAssessor needs; the last group may be left out.
type Options struct {
	Store Store
	Sink  tracker.ActionSink

	Interval   time.Duration // between two looks for news, 2 s
	Patience   time.Duration // for an entry to become visible, decided.Patience
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Assessor writes the log. It is safe for concurrent use.
type Assessor struct {
	Options
	entries  *prometheus.CounterVec
	failures prometheus.Counter
	duration prometheus.Histogram
}

// NewAssessor returns an assessor that does nothing of itself before Run.
func NewAssessor(o Options) *Assessor {
	if o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = decided.Patience
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &Assessor{
		Options: o,
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waymark_fraud_entries_total", Help: "Entries written into the log of fraud, by kind.",
		}, []string{"entry"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_fraud_failures_total", Help: "Attempts to assess the referrals that failed; each is tried again.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waymark_fraud_assess_seconds", Help: "Time to assess the referrals of all programmes.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(a.entries, a.failures, a.duration)
	}
	return a
}

const (
	// assessBatch bounds the assessments that are in memory at a time, a kilobyte
	// each; what is beyond is found again by another look, which measures all
	// referrals anew.
	assessBatch = 50_000
	claimBatch  = 10_000 // of them are on their way at a time
)

// Run assesses the referrals whenever there is news. It ends with its context.
// What fails is tried again.
func (a *Assessor) Run(ctx context.Context) error {
	worker := decided.Worker{
		Interval: a.Interval, Now: a.Now, Logger: a.Logger, Failures: a.failures,
		Failed: "the referrals could not be assessed for fraud; it is tried again",
		Over:   "the referrals are assessed for fraud again",
		Mark:   a.Store.FraudMark,
		Decide: func(ctx context.Context) (never time.Time, err error) {
			_, err = a.Assess(ctx)
			return never, err
		},
	}
	return worker.Run(ctx)
}

// Assess brings the log up to date, and returns how many assessments it wrote. A
// batch that is not full was the last: to see that nothing is left would take as
// long as to find it did.
func (a *Assessor) Assess(ctx context.Context) (written int, err error) {
	began := time.Now()
	for {
		entries, err := a.Store.FraudChanges(ctx, assessBatch)
		if err != nil {
			return written, err
		}
		for _, e := range entries {
			e.Kind, e.Actor = Assessment, System
		}
		for window := range slices.Chunk(entries, claimBatch) {
			if _, err := a.claim(ctx, window); err != nil {
				return written, fmt.Errorf("write %d assessments: %w", len(window), err)
			}
			written += len(window)
		}
		if len(entries) > 0 {
			a.Logger.Info("wrote into the log of fraud", "assessments", len(entries))
		}
		if len(entries) < assessBatch {
			a.duration.Observe(time.Since(began).Seconds())
			return written, nil
		}
	}
}

// claim writes entries of one kind, and returns what stands at their places
// once all of them are taken: they, or what somebody else wrote there first.
func (a *Assessor) claim(ctx context.Context, entries []*Entry) (map[string]*Entry, error) {
	payloads := make([][]byte, len(entries))
	for i, e := range entries {
		e.Time = a.Now().UTC().Truncate(time.Millisecond)
		payload, err := e.Event().MarshalVT()
		if err != nil {
			panic("BUG: encode an entry of the log of fraud: " + err.Error())
		}
		payloads[i] = payload
	}
	if err := a.Sink.Append(ctx, payloads...); err != nil {
		return nil, err
	}
	found := make(map[string]*Entry, len(entries))
	err := decided.Await(ctx, a.Patience, entries, func(pending []*Entry) (left []*Entry, err error) {
		taken, err := a.Store.FindFraudEntries(ctx, pending[0].Kind, pending)
		for _, e := range pending {
			if first := taken[e.EventID()]; first != nil {
				found[e.EventID()] = first
			} else {
				left = append(left, e)
			}
		}
		return left, err
	})
	if err != nil {
		return nil, err
	}
	a.entries.WithLabelValues(string(entries[0].Kind)).Add(float64(len(entries)))
	return found, nil
}
