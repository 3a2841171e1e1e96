package pipeline

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline/spool"
	"waymark/tracker"
	"waymark/tracker/wire"
)

// BenchmarkShipEvent is what the shipper does for an event before the client
// has it: decode, enrich, encode.
func BenchmarkShipEvent(b *testing.B) {
	s := encodingSession(b)
	batch := spool.Batch{Node: spool.Node{Number: 7, Known: true}}
	payload := hit(b, 1)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if len(s.records) == shipEventsMax {
			s.records, s.values = s.records[:0], s.values[:0]
		}
		if err := s.add(b.Context(), &batch, &spool.Frame{Ordinal: uint64(i), Payload: payload}); err != nil {
			b.Fatal(err)
		}
	}
}

func encodingSession(t testing.TB) *shipSession {
	shipper := &Shipper{topic: TopicClicks, opts: ShipperOptions{Enricher: testEnricher(t), Logger: testLogger(t)}, metrics: newShipperMetrics(nil, TopicClicks)}
	return &shipSession{
		Shipper: shipper, routes: &nodeRouter{partitions: 4, number: 7, confirmed: true},
		records: make([]kgo.Record, 0, shipEventsMax), values: make([]byte, 0, shipEventsMax*512),
	}
}

// BenchmarkDecodeRows is what ingest does for a record before the insert.
func BenchmarkDecodeRows(b *testing.B) {
	s := encodingSession(b)
	batch := spool.Batch{Node: spool.Node{Number: 7, Known: true}}
	for i := range 1000 {
		if err := s.add(b.Context(), &batch, &spool.Frame{Ordinal: uint64(i + 1), Payload: hit(b, i)}); err != nil {
			b.Fatal(err)
		}
	}
	records := make([]*kgo.Record, len(s.records))
	for i := range s.records {
		records[i] = &s.records[i]
	}
	b.ReportAllocs()
	for b.Loop() {
		sifter := &ordinalSifter{last: map[uint16]uint64{}}
		rows := decodeRows(TopicClicks, records, func(_ *kgo.Record, err error) { b.Fatal(err) })
		if kept, _, err := sifter.sift(b.Context(), topicPartition{}, plan{}, rows); err != nil || len(kept) != 1000 {
			b.Fatal(len(kept), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
}

// BenchmarkParseAgent is a user agent that is not in the cache.
func BenchmarkParseAgent(b *testing.B) {
	a := testAgents(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a.parseUncached(browsers[i%len(browsers)].agent)
	}
}

var sinkReasons tracker.Reasons

// BenchmarkMatchCrawlers is the list of crawlers alone.
func BenchmarkMatchCrawlers(b *testing.B) {
	a := testAgents(b)
	for i := 0; b.Loop(); i++ {
		sinkReasons |= a.crawlers.match(browsers[i%len(browsers)].agent)
	}
}

// BenchmarkEnrich is an event whose user agent and address are known.
func BenchmarkEnrich(b *testing.B) {
	e := testEnricher(b)
	var event wire.Event
	payload := hit(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		event.Reset()
		if err := event.UnmarshalVTUnsafe(payload); err != nil { // enriching empties it
			b.Fatal(err)
		}
		e.Enrich(&event)
	}
}
