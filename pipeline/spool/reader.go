package spool

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Batch is a chunk of the stream. Its frames are of one identity.
type Batch struct {
	Identity Identity
	Node     Node // unknown when the frames were spilled before the identity had a number, and it is no longer the current one
	// Frames alias the buffer given to Next and are valid until it is used again. They may be none when all that was there is
	// unreadable; End has then moved all the same.
	Frames []Frame
	// End is where to read on, and what to acknowledge once all frames are safe.
	End Position
}

// chunk is a piece of the stream as it was copied into the reader's buffer.
type chunk struct {
	data  []byte
	want  Position // the position asked for
	at    Position // of data; beyond want when what lies between is missing
	next  Position // beyond the end of data when what lies between is missing
	final bool     // no frame reaches over the end of data
	source
}

// reader turns chunks into batches and keeps count of what was unreadable. It serves one goroutine.
type reader struct {
	log      *slog.Logger
	segments *segments
	frames   []Frame
	damage   []span
	counted  Position // damage below it was counted already: a stream is read again after every failure downstream

	corruptBytes, corruptSpans atomic.Uint64
}

func (r *reader) batch(c chunk) Batch {
	var end Position
	r.damage = r.damage[:0]
	if c.at > c.want {
		r.damage = append(r.damage, span{c.want, c.at})
	}
	r.frames, r.damage, end = scan(c.data, c.at, frameSeed(c.identity), c.final, r.frames[:0], r.damage)
	if c.next > c.at+Position(len(c.data)) {
		r.damage = append(r.damage, span{end, c.next})
		end = c.next
	}
	for _, d := range r.damage {
		r.count(d)
	}
	return Batch{Identity: c.identity, Node: c.node, Frames: r.frames, End: end}
}

func (r *reader) count(d span) {
	if d.to <= r.counted {
		return
	}
	if r.corruptSpans.Load() == 0 || d.from > r.counted { // else it goes on from the chunk before
		r.log.Error("part of the spool is unreadable, skipping it", "from", d.from, "to", d.to)
		r.corruptSpans.Add(1)
	}
	r.corruptBytes.Add(uint64(d.to - max(d.from, r.counted)))
	r.counted = d.to
	r.segments.markDamaged(d)
}

// poll calls read until it moves on from position from, fails, or ctx ends.
func poll(ctx context.Context, from Position, read func() (Batch, error)) (Batch, error) {
	var timer *time.Timer
	for wait := pollMin; ; wait = min(2*wait, pollMax) {
		b, err := read()
		if err != nil || b.End > from {
			return b, err
		}
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		case <-timer.C:
		}
	}
}
