package fraud_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/decided/decidedtest"
	"waymark/tracker/fraud"
	"waymark/tracker/fraud/fraudtest"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newTestAssessor has a clock of its own, no two readings of which are equal.
func newTestAssessor(l *fraudtest.Log) *fraud.Assessor {
	var ticks atomic.Int64
	return fraud.NewAssessor(fraud.Options{
		Store: l, Sink: l, Interval: time.Millisecond, Patience: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now.Add(time.Duration(ticks.Add(1)) * time.Millisecond) },
	})
}

func assessment(id string, score float64, action string) fraud.Entry {
	return fraud.Entry{
		Referral: fraud.Referral{ID: id, Program: "p", Referrer: "r", ReferrerType: "supplier", Referee: "of " + id, ReferredAt: now.AddDate(0, -1, 0)},
		Score:    score, Risk: "low", Action: action, Version: 3,
		Signals: []fraud.Signal{{Name: "speed", Value: 1.5, Threshold: 5, Weight: 0.1, Triggered: true}, {Name: "velocity", Value: 2, Threshold: 10, Weight: 0.3}},
	}
}

// An entry comes back from the event that carries it.
func TestEntryAndEvent(t *testing.T) {
	l := fraudtest.New()
	a := newTestAssessor(l)
	want := assessment("x", 0.1, "approve")
	l.Want(want)
	if n, err := a.Assess(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := a.Decide(t.Context(), "x", fraud.Reject, "key", strings.Repeat("ä", 600)); err != nil {
		t.Fatal(err)
	}
	chain, err := a.Chain(t.Context(), "x")
	if err != nil || len(chain) != 2 {
		t.Fatal(len(chain), err)
	}
	want.Kind, want.Actor, want.Time = fraud.Assessment, fraud.System, chain[0].Time
	if !reflect.DeepEqual(*chain[0], want) {
		t.Errorf("got\n%+v, want\n%+v", *chain[0], want)
	}
	decided := fraud.Entry{Referral: want.Referral, Kind: fraud.Decision, Actor: "key", Decision: fraud.Reject, Reason: strings.Repeat("ä", 512), Time: chain[1].Time}
	if !reflect.DeepEqual(*chain[1], decided) {
		t.Errorf("got\n%+v, want\n%+v", *chain[1], decided)
	}
	if event := chain[1].Event(); event.OrderId != "" || event.Id != "x/0" || event.Event != tracker.EventFraudDecision {
		t.Errorf("the event is %+v", event)
	}
}

// Two who decide at the same time: one is told, and the log has one decision in each place.
func TestDecideAtOnce(t *testing.T) {
	l := fraudtest.New()
	l.Want(assessment("x", 0.1, "hold"))
	if _, err := newTestAssessor(l).Assess(t.Context()); err != nil {
		t.Fatal(err)
	}
	var won, lost atomic.Int64
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			switch err := newTestAssessor(l).Decide(t.Context(), "x", fraud.Approve, fmt.Sprint("key ", i), ""); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, fraud.ErrLost):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	chain, err := newTestAssessor(l).Chain(t.Context(), "x")
	if err != nil || won.Load()+lost.Load() != 16 || int64(len(chain)-1) != won.Load() {
		t.Errorf("%d won, %d lost, %d decisions were kept, %v", won.Load(), lost.Load(), len(chain)-1, err)
	}
}

// Assessors that work at once and are killed now and then write what should
// be, and no place twice.
func TestAssessConcurrently(t *testing.T) {
	l := fraudtest.New()
	fault, calm := decidedtest.Kills(7, 50)
	l.Fault = fault
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := newTestAssessor(l).Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range 300 {
		l.Want(assessment(fmt.Sprint(n%40), float64(n)/1000, "approve"))
		time.Sleep(50 * time.Microsecond)
	}
	calm()
	stop()
	group.Wait()
	if _, err := newTestAssessor(l).Assess(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := map[string]fraud.Entry{}
	entries, _ := l.Entries()
	for _, e := range entries {
		if e.N >= last[e.ID].N {
			last[e.ID] = e
		}
	}
	for id := range 40 {
		n := 299 - (299-id)%40
		if got := last[fmt.Sprint(id)]; got.Score != float64(n)/1000 {
			t.Errorf("referral %d has the score %v, want %v", id, got.Score, float64(n)/1000)
		}
	}
}

// What Kafka took and ClickHouse does not show is reported as such.
func TestAssessInvisible(t *testing.T) {
	l := fraudtest.New()
	l.Want(assessment("x", 0.1, "hold"))
	a := fraud.NewAssessor(fraud.Options{Store: l, Sink: nowhere{}, Patience: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if _, err := a.Assess(t.Context()); !errors.Is(err, tracker.ErrUnavailable) {
		t.Errorf("assess: %v", err)
	}
	if _, err := a.Chain(t.Context(), "x"); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("chain: %v", err)
	}
}

type nowhere struct{}

func (nowhere) Append(context.Context, ...[]byte) error { return nil }
