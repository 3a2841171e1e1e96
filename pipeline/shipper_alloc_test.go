//go:build !race

package pipeline

import (
	"testing"

	"waymark/pipeline/spool"
)

// An event whose user agent and address are known costs no allocation: the
// shipper shares a core, and a garbage collector, with redirects.
func TestShipEventAllocates(t *testing.T) {
	s := encodingSession(t)
	batch := spool.Batch{Node: spool.Node{Number: 7, Known: true}}
	frame := spool.Frame{Ordinal: 1, Payload: hit(t, 1)}
	if allocs := testing.AllocsPerRun(1000, func() {
		s.records, s.values = s.records[:0], s.values[:0]
		if err := s.add(t.Context(), &batch, &frame); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per event, want none", allocs)
	}
}
