package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

func newTestActionWriter(t *testing.T, brokers ...string) *ActionWriter {
	t.Helper()
	w, err := NewActionWriter(ClientOptions{Brokers: brokers, Logger: quiet})
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

// Two writers that race for the same identities: events has each of them once,
// from one writer or the other, and a writer that appends again changes nothing.
func TestActionWriterRaces(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	const entries = 100
	var group sync.WaitGroup
	for w := range 2 {
		writer := newTestActionWriter(t, k.brokers...)
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
	found := map[string]int{}
	for row := range store.rows("events") {
		found[row.event.Id]++
	}
	for i := range entries {
		if id := fmt.Sprint("r/", i); found[id] != 1 {
			t.Errorf("%s is in events %d times", id, found[id])
		}
	}
	if len(found) != entries {
		t.Errorf("%d identities, want %d", len(found), entries)
	}
}

func TestActionWriterNeedsIdentity(t *testing.T) {
	w := newTestActionWriter(t, "127.0.0.1:1")
	payload, err := (&wire.Event{Event: "reward_entry", Program: "p"}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(testContext(t), payload); err == nil || errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("an event without an identity: %v", err)
	}
	if err := w.Append(testContext(t), []byte{0xff}); err == nil || errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("no event: %v", err)
	}
}

func TestActionWriterKafkaAway(t *testing.T) {
	w := newTestActionWriter(t, "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
	defer cancel()
	if err := w.Append(ctx, decided(t, "r/0", "u")); !errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("got %v, want that it is unavailable", err)
	}
}
