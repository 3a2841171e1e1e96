package pipeline

import (
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline/spool"
	"waymark/tracker/wire"
)

// TestEventSize bounds what a click takes on its way: the ring, the network and
// the broker's disk all pay by the byte.
func TestEventSize(t *testing.T) {
	const (
		eventsPerBatch = 300
		framesMax      = 340 // bytes in the ring: what a browser sends of itself, before it is enriched
		recordMax      = 180 // bytes as a record
		compressedMax  = 48  // bytes in a batch
	)
	s := encodingSession(t)
	batch := spool.Batch{Node: spool.Node{Number: 7, Known: true}}
	ring := 0
	for i := range eventsPerBatch {
		payload, err := (&wire.Event{
			Link: uint32(1000 + i*37%400), Code: "LOVE-7G2K9" + string(rune('A'+i%20)), Program: "wedding", Campaign: "spring", Channel: "qr",
			ReferrerId: "s-" + string(rune('a'+i%20)), ReferrerType: "supplier", RefereeType: "couple",
			Event: "click", Stage: "clicked", TimeMs: 1_790_000_000_000 + uint64(i/2), Sequence: uint32(i % 2), Node: 7,
			VisitorId: uint64(i)*0x9e3779b97f4a7c15 + 1,
			Address:   []byte{81, byte(i), 69, byte(i * 7)}, UserAgent: browsers[i%len(browsers)].agent,
			Referer: "https://www.instagram.com/", AcceptLanguage: "de-DE,de;q=0.9,en;q=0.8",
		}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		ring += (32 + len(payload) + 7) / 8 * 8 // header, and padding to a word
		if err := s.add(t.Context(), &batch, &spool.Frame{Ordinal: uint64(i + 1), Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	records := 0
	var all []byte
	for _, record := range s.records {
		records += kgoRecordBytes(&record)
		all = append(all, record.Value...)
	}
	compressed := len(snappy.Encode(nil, all))
	t.Logf("a click takes %d bytes in the ring, %d as a record, %d in a batch", ring/eventsPerBatch, records/eventsPerBatch, compressed/eventsPerBatch)
	for _, c := range []struct {
		what     string
		got, max int
	}{{"in the ring", ring, framesMax}, {"as a record", records, recordMax}, {"in a batch", compressed, compressedMax}} {
		if each := c.got / eventsPerBatch; each > c.max {
			t.Errorf("a click takes %d bytes %s, more than %d", each, c.what, c.max)
		}
	}
}

// kgoRecordBytes is a record with what Kafka adds to each: some ten bytes of
// lengths, time and offset.
func kgoRecordBytes(r *kgo.Record) int { return len(r.Value) + 10 }
