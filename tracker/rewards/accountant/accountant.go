// Package accountant keeps the ledger of rewards: it brings it to what the
// facts are worth, pays parties, and enters what people decide.
//
// The ledger is events. An entry names its place in a chain, and the place is
// the event's identity, of which the first counts for ever. So several
// accountants may work at once, be killed at any moment, or look at a
// ClickHouse that lags behind: who wants to move something writes the entry
// that follows those it has seen, waits until the place is taken, and looks by
// whom.
package accountant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
	"waymark/tracker/decided"
	"waymark/tracker/rewards"
)

// Store reads what the ledger is made from and what it says. ClickHouse
// implements it.
type Store interface {
	// RewardsMark changes when there may be something to do.
	RewardsMark(ctx context.Context) (string, error)
	RewardTerms(ctx context.Context, program string) (*rewards.Terms, error)
	RewardFacts(ctx context.Context, program string, countries bool) ([]*rewards.Fact, error)
	// RewardEntries yields the entries of all parties where none is named, those
	// of a chain in their order.
	RewardEntries(ctx context.Context, program string, parties []string, yield func(*rewards.Entry) error) error
	// FindRewardEntries returns what stands at the places of entries, by id.
	FindRewardEntries(ctx context.Context, program string, places []*rewards.Entry) (map[string]*rewards.Entry, error)
	RewardChain(ctx context.Context, chain string) (program string, entries []rewards.Entry, err error)
	RewardBatch(ctx context.Context, batch string) ([]rewards.Entry, error)
}

// Options is what New needs; the last group may be left out.
type Options struct {
	Store    Store
	Sink     tracker.ActionSink
	Programs func() []tracker.Program

	Interval   time.Duration // between two looks for news, 2 s
	Patience   time.Duration // for an entry to become visible, decided.Patience
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Accountant is safe for concurrent use.
type Accountant struct {
	Options
	entries  *prometheus.CounterVec
	failures prometheus.Counter
	duration prometheus.Histogram
}

// New returns an accountant that does nothing of itself before Run.
func New(o Options) *Accountant {
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
	a := &Accountant{
		Options: o,
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waymark_rewards_entries_total", Help: "Entries written into the ledger of rewards, by kind.",
		}, []string{"entry"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_rewards_failures_total", Help: "Attempts to bring the ledger of a programme up to date that failed; each is tried again.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "waymark_rewards_reconcile_seconds", Help: "Time to bring the ledger of a programme up to date.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(a.entries, a.failures, a.duration)
	}
	return a
}

// Run brings the ledgers of all programmes up to date whenever there is news,
// or the time of a reward has come. It ends with its context. What fails is
// tried again.
func (a *Accountant) Run(ctx context.Context) error {
	worker := decided.Worker{
		Interval: a.Interval, Now: a.Now, Logger: a.Logger, Failures: a.failures,
		Failed: "the ledger of rewards could not be brought up to date; it is tried again",
		Over:   "the ledger of rewards is brought up to date again",
		Mark:   a.Store.RewardsMark,
		Decide: a.all,
	}
	return worker.Run(ctx)
}

// all brings every programme's ledger up to date, one that fails not holding
// up the others. It returns when the next reward moves by the clock.
func (a *Accountant) all(ctx context.Context) (wake time.Time, err error) {
	for _, program := range a.Programs() {
		next, failed := a.Reconcile(ctx, program.Name)
		if failed != nil {
			err = errors.Join(err, failed)
		}
		if !next.IsZero() && (wake.IsZero() || next.Before(wake)) {
			wake = next
		}
	}
	return wake, err
}

// roundsMax bounds the entries that one chain gets in one go; a reward has
// seldom more than three to make up for.
const roundsMax = 10

// Reconcile brings the ledger of a programme up to date. It returns when the
// next reward moves by the clock, the zero time for never.
func (a *Accountant) Reconcile(ctx context.Context, program string) (wake time.Time, err error) {
	began := time.Now()
	book, err := a.open(ctx, program, nil)
	if err != nil || book == nil {
		return time.Time{}, err
	}
	for range roundsMax {
		entries := book.next(a.Now())
		if len(entries) == 0 {
			break
		}
		found, err := a.claim(ctx, program, book.currency, entries)
		if err != nil {
			return time.Time{}, fmt.Errorf("write %d entries of the programme %s: %w", len(entries), program, err)
		}
		for _, e := range entries {
			book.ledger.Add(found[e.ID()])
		}
		a.Logger.Info("wrote into the ledger of rewards", "program", program, "entries", len(entries))
	}
	a.duration.Observe(time.Since(began).Seconds())
	return book.wakes(a.Now()), nil
}

const claimBatch = 5000 // entries that are handed to Kafka at once

// claim writes entries, and returns what stands at their places once all of
// them are taken: it, or what somebody else wrote there first.
func (a *Accountant) claim(ctx context.Context, program, currency string, entries []*rewards.Entry) (map[string]*rewards.Entry, error) {
	var payloads [][]byte
	for i, e := range entries {
		e.RecordedAt = a.Now().UTC().Truncate(time.Millisecond)
		payload, err := e.Event(program, currency).MarshalVT()
		if err != nil {
			panic("BUG: encode a ledger entry: " + err.Error())
		}
		if payloads = append(payloads, payload); len(payloads) < claimBatch && i+1 < len(entries) {
			continue
		}
		if err := a.Sink.Append(ctx, payloads...); err != nil {
			return nil, err
		}
		payloads = payloads[:0]
	}
	found := make(map[string]*rewards.Entry, len(entries))
	err := decided.Await(ctx, a.Patience, entries, func(pending []*rewards.Entry) (left []*rewards.Entry, err error) {
		taken, err := a.Store.FindRewardEntries(ctx, program, pending)
		for _, e := range pending {
			other := taken[e.ID()]
			if other == nil {
				left = append(left, e)
				continue
			}
			found[e.ID()] = other
			if other.RecordedAt.Equal(e.RecordedAt) {
				a.entries.WithLabelValues(string(e.Kind)).Inc()
			}
		}
		return left, err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
