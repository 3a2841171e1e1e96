package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// spillLoop keeps the ring at most half full by moving its oldest part to disk, and deletes what is acknowledged.
func (s *Spool) spillLoop(ctx context.Context) {
	defer s.spiller.Done()
	tick := time.NewTicker(spillPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.kick:
		}
		s.relieve(ctx)
	}
}

// kickSpiller makes it look now. One kick waiting is as good as many.
func (s *Spool) kickSpiller() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *Spool) relieve(ctx context.Context) {
	s.spillMu.Lock()
	defer s.spillMu.Unlock()
	s.segments.drop(s.Acked(), false)
	if s.ring.used() <= s.ring.size/2 {
		s.noteDisk(nil)
		s.madeRoom()
		return
	}
	if time.Now().Before(s.retryAt) {
		s.refuse()
		return
	}
	err := s.spillLocked(ctx, s.ring.size/4, s.opts.DiskBytesMax)
	if ctx.Err() != nil {
		return
	}
	s.noteDisk(err)
	if err == nil {
		return
	}
	s.refuse()
	if !errors.Is(err, ErrFull) {
		s.retryAt = time.Now().Add(spillRetry)
	}
}

// noteDisk remembers why there is no room, and logs changes only: a full disk is found full twenty times a second.
func (s *Spool) noteDisk(err error) {
	before := s.diskErr.Load()
	switch {
	case err == nil && before == nil:
		return
	case err == nil:
		s.diskErr.Store(nil)
		s.opts.Logger.Info("spool has room again", "dir", s.opts.Dir)
		return
	case before == nil && errors.Is(err, ErrFull):
		s.opts.Logger.Error("spool disk budget is used up, records are shed once the ring is full too", "dir", s.opts.Dir,
			"disk_bytes_max", s.opts.DiskBytesMax)
	case before == nil:
		s.opts.Logger.Error("can't write spool segments, records are shed once the ring is full", "dir", s.opts.Dir, "error", err)
	}
	s.diskErr.Store(&err)
}

// Flush moves everything that is not acknowledged from the ring to segments on disk, over the budget if need be: on an orderly
// stop a few megabytes too many are better than losing them with the next reboot. A Close that follows leaves nothing in
// memory.
func (s *Spool) Flush(ctx context.Context) error {
	s.spillMu.Lock()
	defer s.spillMu.Unlock()
	s.segments.drop(s.Acked(), false)
	if err := s.spillLocked(ctx, 0, math.MaxInt64); err != nil {
		return fmt.Errorf("flush spool %s to disk: %w", s.opts.Dir, err)
	}
	return nil
}

// spillLocked moves the oldest part of the ring to segments until at most leave bytes remain. The caller holds spillMu.
func (s *Spool) spillLocked(ctx context.Context, leave uint64, bytesMax int64) error {
	if s.spillBuffer == nil {
		s.spillBuffer = make([]byte, min(4*FrameBytesMax, s.opts.SegmentBytes-segmentHeaderBytes))
	}
	for {
		more, err := s.spillRound(ctx, leave, bytesMax)
		if err != nil || !more {
			return err
		}
	}
}

// spillRound moves at most an eighth of the ring, syncs it, and only then moves the head. Rounds are short because appends may
// be waiting for the room.
func (s *Spool) spillRound(ctx context.Context, leave uint64, bytesMax int64) (more bool, err error) {
	var at Position
	moved := uint64(0)
	for moved <= s.ring.size/8 {
		if err = ctx.Err(); err != nil {
			break
		}
		var data []byte
		if data, at, more, err = s.takeOldest(at, leave); err != nil || !more {
			break
		}
		if err = s.segments.write(data, at, s.source(), bytesMax); err != nil {
			break
		}
		at += Position(len(data))
		moved += uint64(len(data))
	}
	if syncErr := s.segments.publish(); syncErr != nil {
		err = syncErr
	}
	if err != nil && !errors.Is(err, ErrFull) {
		s.segments.abandon()
	}
	s.readMu.Lock()
	room := !s.gone && s.advanceLocked(s.segments.end())
	s.readMu.Unlock()
	if room {
		s.spilledBytes.Add(moved)
		s.madeRoom()
	}
	return more, err
}

// takeOldest copies whole frames from position at, or the head if that is further, while more than leave bytes lie between
// there and the tail. What is damaged is copied as it is: the reader reports it.
func (s *Spool) takeOldest(at Position, leave uint64) (data []byte, from Position, more bool, err error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.gone {
		return nil, 0, false, ErrClosed
	}
	from = max(at, s.headLocked())
	if atomic.LoadUint64(s.ring.tail)-uint64(from) <= leave {
		return nil, from, false, nil
	}
	n, final := s.ring.copyTo(s.spillBuffer, from)
	_, _, end := scan(s.spillBuffer[:n], from, s.seed, final, nil, nil)
	return s.spillBuffer[:end-from], from, true, nil
}
