//go:build !race

package spool

import (
	"context"
	"testing"
)

// TestNoAllocations: neither accepting a record nor shipping it allocates. The race detector allocates by itself.
func TestNoAllocations(t *testing.T) {
	opts := options(t)
	opts.RingBytes = 8 << 20
	s := mustOpen(t, opts)
	payload, buf := make([]byte, 300), make([]byte, FrameBytesMax)
	ctx := context.Background()
	at := Position(0)
	cycle := func() {
		for range 10 {
			if _, err := s.Append(payload, 1); err != nil {
				t.Fatal(err)
			}
		}
		b, err := s.Next(ctx, at, buf)
		if err != nil || len(b.Frames) != 10 {
			t.Fatalf("%d frames, %v", len(b.Frames), err)
		}
		at = b.End
		s.Ack(at)
	}
	cycle() // the reader's slice of frames
	if got := testing.AllocsPerRun(1000, func() { _, _ = s.Append(payload, 1) }); got != 0 {
		t.Errorf("append allocates %v times", got)
	}
	_, at = readFrom(t, s, at)
	s.Ack(at)
	if got := testing.AllocsPerRun(100, cycle); got > 1 { // the closure that Next polls with
		t.Errorf("append, read and acknowledge allocate %v times", got)
	}
}
