package main

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// Rounds can be compared, and so can runs, only while the same seed makes the
// same events; and each must be one that ingest keeps.
func TestTrafficIsTheSameAndHasNoRepeats(t *testing.T) {
	options := trafficOptions{Events: 20_000, PerSecond: 1000, Links: 500, Actions: 0.05, Seed: 7}
	first, err := newTraffic(options)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newTraffic(options)
	if err != nil {
		t.Fatal(err)
	}
	next := map[uint32]uint64{} // ordinal by node
	seen := map[tracker.ActionIdentity]bool{}
	hits := map[[3]uint64]bool{}
	byEvent := map[string]int{}
	for i := range options.Events {
		e := first.next()
		if !proto.Equal(e, second.next()) {
			t.Fatalf("event %d differs from that of the same seed", i)
		}
		byEvent[e.Event]++
		if e.Stage == "clicked" {
			if e.Ordinal != next[e.Node] {
				t.Fatalf("event %d: node %d has ordinal %d, want %d", i, e.Node, e.Ordinal, next[e.Node])
			}
			next[e.Node]++
			checkHit(t, e, hits)
			continue
		}
		identity, ok := tracker.IdentityOfAction(e)
		if !ok || seen[identity] {
			t.Fatalf("event %d, %q: its identity %v is none or not new", i, e.Event, identity)
		}
		seen[identity] = true
	}
	actions := options.Events - byEvent["click"] - byEvent["scan"]
	for name, share := range map[string][2]float64{
		"actions": {float64(actions) / float64(options.Events), 0.05},
		"scans":   {float64(byEvent["scan"]) / float64(options.Events-actions), 0.15},
		"signups": {float64(byEvent["signup"]) / float64(actions), 0.4},
	} {
		// Four standard deviations of the smallest sample are 0.06; a mix that is
		// wrong misses by more, but for the actions, whose visitors must click first.
		if share[0] < share[1]-0.06 || share[0] > share[1]+0.06 {
			t.Errorf("share of %s: got %.3f, want %.2f", name, share[0], share[1])
		}
	}
}

func checkHit(t *testing.T, e *wire.Event, seen map[[3]uint64]bool) {
	t.Helper()
	identity := [3]uint64{uint64(e.Node), e.TimeMs, uint64(e.Sequence)}
	if seen[identity] {
		t.Fatalf("two hits are %v", identity)
	}
	seen[identity] = true
	if len(e.Address) > 0 || e.UserAgent != "" || e.Device == "" || e.Country == "" {
		t.Fatalf("a hit is not as the shipper makes it: %v", e)
	}
}
