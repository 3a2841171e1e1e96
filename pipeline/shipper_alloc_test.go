//go:build !race

package pipeline

import (
	"bytes"
	"testing"

	"waymark/pipeline/spool"
	"waymark/tracker/wire"
)

// An event whose user agent and address are known costs no allocation: the
// shipper shares a core, and a garbage collector, with redirects.
func TestShipEventAllocates(t *testing.T) {
	s := encodingSession(t)
	batch := spool.Batch{Node: spool.Node{Number: 7, Known: true}}
	for name, agent := range map[string]string{
		"a browser": firefox, "a robot": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	} {
		payload, err := (&wire.Event{
			Event: "click", Code: "hello", TimeMs: 1_750_000_000_000, Address: []byte{81, 2, 69, 1}, UserAgent: agent,
			Referer: "https://news.example/", Query: "utm_source=x", AcceptLanguage: "de",
		}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		frame := spool.Frame{Ordinal: 1, Payload: payload}
		if allocs := testing.AllocsPerRun(1000, func() {
			s.records, s.values = s.records[:0], s.values[:0]
			if err := s.add(t.Context(), &batch, &frame); err != nil {
				t.Fatal(err)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations per event, want none", name, allocs)
		}
	}
}

// The client hands the same buffer in again and again.
func TestSlicedSnappyAllocatesOnce(t *testing.T) {
	src := bytes.Repeat([]byte("click scan https://shop.example/landing "), 5_000)
	var buffer bytes.Buffer
	if allocs := testing.AllocsPerRun(20, func() {
		buffer.Reset()
		slicedSnappy{}.Compress(&buffer, src)
	}); allocs != 0 {
		t.Errorf("%v allocations for a batch, want none", allocs)
	}
}
