package spool

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats is the state of a spool or journal at a moment. A journal has no ring.
type Stats struct {
	RingBytes    uint64 // neither acknowledged nor on disk
	RingBytesMax uint64
	RingLost     bool  // at the last start, with the records that were not on disk
	SegmentBytes int64 // files, those set aside as corrupt included
	Segments     int   // files still to be read
	UnackedBytes uint64
	// OldestAge is the age of the oldest record that is not acknowledged, 0 without one. Wall clock.
	OldestAge time.Duration
	// Shedding: a record was refused and no room was made since.
	Shedding bool
	// DiskErr is why the ring can't be relieved (ErrFull for the budget), nil if it can. Records are shed once the ring is full too.
	DiskErr error

	// Since the start of the process:
	Appended     uint64 // frames
	Shed         uint64 // frames
	SpilledBytes uint64 // moved from the ring to disk
	CorruptSpans uint64 // stretches passed over by the reader
	CorruptBytes uint64 // in them
}

// Stats may be called at any time; after Close it is zero.
func (s *Spool) Stats() Stats {
	st := Stats{
		SegmentBytes: s.segments.diskBytes(), Segments: s.segments.count(),
		Shedding: s.shedding.Load(), Shed: s.shed.Load(), SpilledBytes: s.spilledBytes.Load(),
		CorruptSpans: s.reader.corruptSpans.Load(), CorruptBytes: s.reader.corruptBytes.Load(),
	}
	if err := s.diskErr.Load(); err != nil {
		st.DiskErr = *err
	}
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.gone {
		return Stats{}
	}
	acked := s.ackedLocked()
	tail := Position(atomic.LoadUint64(s.ring.tail))
	st.RingBytes, st.RingBytesMax, st.RingLost = s.ring.used(), s.ring.size, s.opening.RingLost
	st.UnackedBytes = uint64(tail - acked)
	st.Appended = atomic.LoadUint64(s.ring.ordinal) - s.first
	var header [frameHeaderBytes]byte
	switch {
	case acked == tail:
	case acked >= s.headLocked():
		st.OldestAge = frameAge(s.ring.view(acked), acked)
	default:
		n := s.segments.peek(header[:], acked)
		st.OldestAge = frameAge(header[:n], acked)
	}
	return st
}

// frameAge is the age of the frame at the start of data, 0 if it is unreadable.
func frameAge(data []byte, at Position) time.Duration {
	f, _, ok := peekFrame(data, at)
	if !ok {
		return 0
	}
	return max(0, time.Since(time.UnixMilli(f.AppendedMs)))
}

// Stats may be called at any time.
func (j *Journal) Stats() Stats {
	acked, tail := j.Acked(), Position(j.published.Load())
	st := Stats{
		SegmentBytes: j.segments.diskBytes(), Segments: j.segments.count(), UnackedBytes: uint64(tail - acked),
		Appended: j.appended.Load(), Shed: j.shed.Load(),
		CorruptSpans: j.reader.corruptSpans.Load(), CorruptBytes: j.reader.corruptBytes.Load(),
	}
	if err := j.diskErr.Load(); err != nil {
		st.DiskErr, st.Shedding = *err, true
	}
	if acked < tail {
		var header [frameHeaderBytes]byte
		n := j.segments.peek(header[:], acked)
		st.OldestAge = frameAge(header[:n], acked)
	}
	return st
}

func (s *Spool) register() (err error) {
	s.metrics, err = register(s.opts.Registerer, "waymark_spool_", true, s.Stats)
	return err
}

func (j *Journal) register() (err error) {
	j.metrics, err = register(j.opts.Registerer, "waymark_journal_", false, j.Stats)
	return err
}

func register(to prometheus.Registerer, prefix string, withRing bool, stats func() Stats) (*collector, error) {
	c := newCollector(prefix, withRing, stats)
	if to == nil {
		return c, nil
	}
	if err := to.Register(c); err != nil {
		return nil, fmt.Errorf("register metrics %s*: %w", prefix, err)
	}
	return c, nil
}

// collector reads all its values at the moment of the scrape, so that the hot path keeps no second set of counters.
type collector struct {
	stats  func() Stats
	gauges []gauge
}

type gauge struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Stats) float64
}

func newCollector(prefix string, withRing bool, stats func() Stats) *collector {
	c := &collector{stats: stats}
	add := func(kind prometheus.ValueType, name, help string, value func(Stats) float64) {
		c.gauges = append(c.gauges, gauge{prometheus.NewDesc(prefix+name, help, nil, nil), kind, value})
	}
	const g, n = prometheus.GaugeValue, prometheus.CounterValue
	add(g, "segment_bytes", "Bytes of segment files on disk, those set aside as corrupt included.",
		func(s Stats) float64 { return float64(s.SegmentBytes) })
	add(g, "unacked_bytes", "Bytes not yet acknowledged, in the ring and on disk.",
		func(s Stats) float64 { return float64(s.UnackedBytes) })
	add(g, "oldest_age_seconds", "Age of the oldest record not yet acknowledged.",
		func(s Stats) float64 { return s.OldestAge.Seconds() })
	add(g, "shedding_state", "1 while records are refused because ring and disk budget are used up.",
		func(s Stats) float64 { return oneIf(s.Shedding) })
	add(n, "appended_frames_total", "Records appended.",
		func(s Stats) float64 { return float64(s.Appended) })
	add(n, "shed_frames_total", "Records refused because there was no room.",
		func(s Stats) float64 { return float64(s.Shed) })
	add(n, "corrupt_spans_total", "Unreadable stretches that were passed over.",
		func(s Stats) float64 { return float64(s.CorruptSpans) })
	add(n, "corrupt_bytes_total", "Bytes in unreadable stretches that were passed over.",
		func(s Stats) float64 { return float64(s.CorruptBytes) })
	if !withRing {
		return c
	}
	add(g, "ring_bytes", "Bytes in the memory ring that are neither acknowledged nor on disk.",
		func(s Stats) float64 { return float64(s.RingBytes) })
	add(g, "ring_max_bytes", "Size of the memory ring.",
		func(s Stats) float64 { return float64(s.RingBytesMax) })
	add(g, "ring_lost_state", "1 if the ring was lost before this start, with the records that were not on disk.",
		func(s Stats) float64 { return oneIf(s.RingLost) })
	add(n, "spilled_bytes_total", "Bytes moved from the ring to disk.",
		func(s Stats) float64 { return float64(s.SpilledBytes) })
	return c
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	st := c.stats()
	for _, g := range c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(st))
	}
}
