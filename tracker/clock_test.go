package tracker

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestClockNeverRunsBackwards(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	c := NewClock(7, 1000)
	steps := []struct {
		now  time.Time
		want Identity
	}{
		{at(900), Identity{1001, 7, 0}}, // after the floor
		{at(1000), Identity{1001, 7, 1}},
		{at(1001), Identity{1001, 7, 2}},
		{at(2000), Identity{2000, 7, 0}},
		{at(1500), Identity{2000, 7, 1}}, // the machine's clock was put back
		{at(2001), Identity{2001, 7, 0}},
	}
	for i, step := range steps {
		if got := c.Next(step.now); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestClockSpillsIntoTheNextMillisecond(t *testing.T) {
	c := NewClock(0, 0)
	var last Identity
	for range 8192 {
		last = c.Next(time.UnixMilli(5))
	}
	if want := (Identity{5, 0, 8191}); last != want {
		t.Errorf("%v, want %v", last, want)
	}
	if got, want := c.Next(time.UnixMilli(5)), (Identity{6, 0, 0}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestClocksAreUnique(t *testing.T) {
	const workers, each = 4, 5000
	c, s := NewClock(1, 0), NewSimulatedClock(1)
	identities := make([][]Identity, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range each {
				ms := int64(1_000_000 + i/1000)
				identities[w] = append(identities[w], c.Next(time.UnixMilli(ms)), s.Next(uint64(ms)))
			}
		})
	}
	wait.Wait()
	seen := make(map[Identity]bool)
	for _, id := range slices.Concat(identities...) {
		if seen[id] {
			t.Fatalf("%v was given twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 2*workers*each {
		t.Errorf("%d identities, want %d", len(seen), 2*workers*each)
	}
}

func TestSimulatedClock(t *testing.T) {
	s := NewSimulatedClock(9)
	seen := make(map[uint16]bool)
	for range 8192 {
		id := s.Next(77)
		if id.TimeMS != 77 || id.Node != 9 || id.Sequence < 8192 || id.Sequence > 16383 || seen[id.Sequence] {
			t.Fatalf("%v", id)
		}
		seen[id.Sequence] = true
	}
	if id := s.Next(77); id.TimeMS != 78 {
		t.Errorf("%v, want one of the next millisecond", id)
	}
	// What was seen before simulatedTimesMax others is still known.
	before := s.Next(1)
	for ms := range uint64(simulatedTimesMax) {
		s.Next(1000 + ms)
	}
	if after := s.Next(1); after.Sequence != 8192|(before.Sequence+1)%8192 {
		t.Errorf("sequence %d after %d", after.Sequence, before.Sequence)
	}
	if len(s.recent) > simulatedTimesMax || len(s.older) > simulatedTimesMax {
		t.Errorf("%d and %d milliseconds are kept", len(s.recent), len(s.older))
	}
}

func TestSimulatedTime(t *testing.T) {
	isAdmin := func(secret []byte) bool { return string(secret) == "adm" }
	now := time.UnixMilli(1795000000123)
	for _, test := range []struct {
		authorization, header string
		want                  uint64
		bad                   bool
	}{
		{"Bearer adm", "2026-10-01T12:00:00.250Z", 1790856000250, false},
		{"bearer adm", "2026-10-01T14:00:00+02:00", 1790856000000, false},
		{"Bearer other", "2026-10-01T12:00:00.250Z", 0, false},
		{"", "2026-10-01T12:00:00.250Z", 0, false},
		{"", "nonsense", 0, false},
		{"Bearer adm", "", 0, false},
		{"Bearer adm", "nonsense", 0, true},
		{"Bearer adm", "1999-12-31T23:59:59Z", 0, true},
		{"Bearer adm", "1969-12-31T23:59:59Z", 0, true},
		{"Bearer adm", "2027-10-01T12:00:00Z", 0, true},
	} {
		var h fasthttp.RequestHeader
		h.Set("Authorization", test.authorization)
		h.Set(HeaderTime, test.header)
		got, err := simulatedTime(&h, now, isAdmin)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%+v: %d, %v", test, got, err)
		}
	}
}
