package spool

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestModel compares a spool, through any order of operations, stops and kills, with a list: what was appended and not yet
// acknowledged is what is read, in order, under the ordinals given.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		opts := options(t)
		opts.RingBytes = rapid.SampledFrom([]int64{ringBytesMin, ringBytesMin + 64<<10}).Draw(rt, "ring")
		m := &model{t: t, rt: rt, opts: opts, s: mustOpen(t, opts)}
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append, "read": m.read, "ack": m.ack, "flush": m.flush, "spill": m.spill, "close": m.close,
			"kill": m.kill, "wipe": m.wipe, "": m.check,
		})
		m.s.Close()
		os.RemoveAll(opts.Dir)
	})
}

type model struct {
	t       *testing.T
	rt      *rapid.T
	opts    Options
	s       *Spool
	records []record   // not acknowledged
	ends    []Position // where each record ends, known once it was read
	next    uint64     // ordinals given out
}

func (m *model) append(rt *rapid.T) {
	for range rapid.IntRange(1, 30).Draw(rt, "count") {
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, PayloadBytesMax)).Draw(rt, "size")
		payload := fmt.Sprintf("%d:", m.next) + strings.Repeat("x", size)
		payload = payload[:min(len(payload), PayloadBytesMax)]
		ordinal, err := m.s.Append([]byte(payload), 1)
		if err != nil {
			rt.Fatalf("append: %v", err)
		}
		m.next++
		if ordinal != m.next {
			rt.Fatalf("ordinal %d, want %d", ordinal, m.next)
		}
		m.records = append(m.records, record{m.s.Identity(), ordinal, payload})
	}
}

func (m *model) read(rt *rapid.T) {
	got := make([]record, 0, len(m.records))
	m.ends = m.ends[:0]
	buf := make([]byte, FrameBytesMax+rapid.IntRange(0, 1<<17).Draw(rt, "buffer"))
	cancelled, cancel := context.WithCancel(context.Background())
	cancel() // Next gives what is there, and doesn't wait
	for at := m.s.Acked(); len(got) < len(m.records); {
		b, err := m.s.Next(cancelled, at, buf)
		if err != nil {
			rt.Fatalf("next, after %d of %d records: %v", len(got), len(m.records), err)
		}
		for _, f := range b.Frames {
			got = append(got, record{b.Identity, f.Ordinal, string(f.Payload)})
			m.ends = append(m.ends, f.Position+Position(frameBytes(len(f.Payload))))
		}
		at = b.End
	}
	for i, want := range m.records {
		if got[i] != want {
			rt.Fatalf("record %d is %d %.10s, want %d %.10s", i, got[i].ordinal, got[i].payload, want.ordinal, want.payload)
		}
	}
}

func (m *model) ack(rt *rapid.T) {
	n := rapid.IntRange(0, len(m.ends)).Draw(rt, "acknowledged")
	if n == 0 {
		return
	}
	m.s.Ack(m.ends[n-1])
	m.records, m.ends = m.records[n:], m.ends[n:]
}

func (m *model) flush(rt *rapid.T) {
	if err := m.s.Flush(context.Background()); err != nil {
		rt.Fatalf("flush: %v", err)
	}
}

func (m *model) spill(*rapid.T) { m.s.relieve(context.Background()) }

func (m *model) close(rt *rapid.T) {
	if err := m.s.Close(); err != nil {
		rt.Fatalf("close: %v", err)
	}
	m.reopen()
}

func (m *model) kill(*rapid.T) {
	m.s.kill()
	m.reopen()
}

// wipe is an orderly stop followed by a reboot.
func (m *model) wipe(rt *rapid.T) {
	m.flush(rt)
	if err := m.s.Close(); err != nil {
		rt.Fatalf("close: %v", err)
	}
	os.RemoveAll(m.opts.RingDir)
	os.Mkdir(m.opts.RingDir, 0o700)
	m.reopen()
}

func (m *model) reopen() {
	before := m.s.Identity()
	s, err := Open(m.opts)
	if err != nil {
		m.rt.Fatalf("open: %v", err)
	}
	if m.s = s; s.Identity() != before {
		m.rt.Fatalf("identity changed, %+v", s.Opening())
	}
}

func (m *model) check(rt *rapid.T) {
	var bytes uint64
	for _, r := range m.records {
		bytes += uint64(frameBytes(len(r.payload)))
	}
	if st := m.s.Stats(); st.UnackedBytes != bytes || st.CorruptSpans != 0 || st.Shed != 0 {
		rt.Fatalf("stats %+v, want %d bytes not acknowledged", st, bytes)
	}
}
