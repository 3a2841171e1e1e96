package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

func newTestDecisionWriter(t *testing.T, brokers ...string) *DecisionWriter {
	t.Helper()
	w, err := NewDecisionWriter(ClientOptions{Brokers: brokers, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func decided(t *testing.T, id, user string) []byte {
	t.Helper()
	payload, err := (&wire.Event{Event: "reward_entry", Program: "p", Id: id, UserId: user, TimeMs: 1}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// Two writers that race for the same identities: of each the first in the log is
// there, once, and a writer that appends again changes nothing.
func TestDecisionWriterRaces(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	const entries = 100
	var group sync.WaitGroup
	for w := range 2 {
		writer := newTestDecisionWriter(t, k.brokers...)
		group.Go(func() {
			for range 2 {
				for i := range entries {
					if err := writer.Append(testContext(t), decided(t, fmt.Sprint("r/", i), fmt.Sprint("writer-", w))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	eventually(t, "all is ingested", k.settled)
	first := map[string]string{} // by id, its user as the log has it
	for _, records := range k.logged(TopicDecisions) {
		for _, record := range records {
			var event wire.Event
			if err := event.UnmarshalVT(record.Value); err != nil {
				t.Fatal(err)
			}
			if _, known := first[event.Id]; !known {
				first[event.Id] = event.UserId
			}
		}
	}
	found := map[string]string{}
	for row := range store.rows("events") {
		if _, again := found[row.event.Id]; again {
			t.Errorf("%s is there twice", row.event.Id)
		}
		found[row.event.Id] = row.event.UserId
	}
	if len(found) != entries || !maps.Equal(found, first) {
		t.Errorf("%d identities, want %d; by their writers\n%v, want\n%v", len(found), entries, found, first)
	}
}

func TestDecisionWriterNeedsIdentity(t *testing.T) {
	w := newTestDecisionWriter(t, "127.0.0.1:1")
	payload, err := (&wire.Event{Event: "reward_entry", Program: "p"}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(testContext(t), payload); err == nil || errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("an event without an identity: %v", err)
	}
	if payload, err = (&wire.Event{Event: "purchase", Program: "p", Id: "1"}).MarshalVT(); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(testContext(t), payload); err == nil || errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("an action: %v", err)
	}
	if err := w.Append(testContext(t), []byte{0xff}); err == nil || errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("no event: %v", err)
	}
}

func TestDecisionWriterKafkaAway(t *testing.T) {
	w := newTestDecisionWriter(t, "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
	defer cancel()
	if err := w.Append(ctx, decided(t, "r/0", "u")); !errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("got %v, want that it is unavailable", err)
	}
}
