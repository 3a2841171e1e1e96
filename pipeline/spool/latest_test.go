package spool

import "testing"

// TestLatest: the latest time is that of any record, in whatever order they came, and outlives every kind of end.
func TestLatest(t *testing.T) {
	opts := options(t)
	check := func(s *Spool, want uint64) {
		t.Helper()
		if got := s.LatestMs(); got != want {
			t.Fatalf("latest time is %d, want %d", got, want)
		}
	}
	s := mustOpen(t, opts)
	check(s, 0)
	for _, takenMs := range []uint64{4000, 5000, 4500} {
		if _, err := s.Append([]byte("x"), takenMs); err != nil {
			t.Fatal(err)
		}
	}
	check(s, 5000)
	s.kill()
	s = mustOpen(t, opts)
	check(s, 5000)
	// An orderly stop removes the ring.
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, opts)
	check(s, 5000)
}
