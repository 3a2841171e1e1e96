package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// Opening is what Open found.
type Opening struct {
	// RingLost: the ring was gone or unreadable although the spool had not been closed, and with it whatever was not on disk.
	// The identity is new, and SetNode has to be called with a new number.
	RingLost bool
	// Recovered counts the frames found in a ring that was not closed.
	Recovered int
	// DamagedBytes is what could not be read in that ring, below its end.
	DamagedBytes uint64
	// RingPath is where the ring is now; RingInMemory is false when that is not a tmpfs and appends may stall on write-back.
	RingPath     string
	RingBytes    int64
	RingInMemory bool
}

// Open takes the spool directory and its ring, and finds out where the stream ends. The error is ErrLocked when another process
// has them.
func Open(opts Options) (*Spool, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create spool directory: %w", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool %s: %w", opts.Dir, err)
	}
	s := &Spool{
		opts: opts, lock: lock, segments: newSegments(opts.Dir, opts.SegmentBytes, opts.Logger),
		kick: make(chan struct{}, 1), room: make(chan struct{}), stop: func() {},
	}
	s.reader = reader{log: opts.Logger, segments: s.segments}
	if err := s.open(); err != nil {
		if s.ring != nil {
			s.ring.close()
		}
		s.segments.close()
		lock.Close()
		return nil, fmt.Errorf("open spool %s: %w", opts.Dir, err)
	}
	if err := s.register(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.spiller.Add(1)
	go s.spillLoop(ctx)
	return s, nil
}

func (s *Spool) open() error {
	st, found, err := loadState(s.opts.Dir)
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) {
		s.opts.Logger.Error("spool state is damaged, renaming it aside and taking a new identity", "error", err)
		if err := os.Rename(corrupt.File, corrupt.File+corruptSuffix); err != nil {
			return fmt.Errorf("rename damaged state aside: %w", err)
		}
	} else if err != nil {
		return err
	}
	if err := s.segments.load(source{identity: st.Identity, node: st.Node}); err != nil {
		return err
	}
	s.adopt(st)
	switch s.ring, err = s.existingRing(st); {
	case err != nil:
		return err
	case s.ring != nil:
		err = s.recover()
	case st.Clean:
		s.segments.markGaps(st.Acked, st.Tail)
	default:
		s.opening.RingLost = found
		err = s.renew()
	}
	if err == nil {
		err = s.settle()
	}
	return err
}

// adopt makes st the spool's state.
func (s *Spool) adopt(st state) {
	s.state, s.identity, s.seed = st, st.Identity, frameSeed(st.Identity)
}

// existingRing opens the ring that the state names. It is nil when there is none that continues the stream.
func (s *Spool) existingRing(st state) (*ring, error) {
	if st.Ring == "" {
		return nil, nil
	}
	r, err := openRing(st.Ring, st.Identity)
	var corrupt *CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.As(err, &corrupt):
		s.opts.Logger.Error("ring is damaged, renaming it aside", "error", err)
		if err := os.Rename(st.Ring, st.Ring+corruptSuffix); err != nil {
			return nil, fmt.Errorf("rename damaged ring aside: %w", err)
		}
		return nil, nil
	case err != nil:
		return nil, err
	case *r.generation < st.Generation:
		s.opts.Logger.Warn("ring is older than the spool directory, not using it", "ring", st.Ring)
		r.close()
		return nil, nil
	}
	return r, nil
}

// recover continues the stream from the ring.
func (s *Spool) recover() error {
	frames, damage := s.ring.recover(s.seed)
	s.opening.Recovered = frames
	for _, d := range damage {
		s.opening.DamagedBytes += uint64(d.to - d.from)
	}
	if frames > 0 || len(damage) > 0 {
		s.opts.Logger.Info("recovered frames from the ring", "ring", s.ring.path, "frames", frames,
			"damaged_bytes", s.opening.DamagedBytes)
	}
	if err := s.segments.endAt(s.headLocked(), Position(*s.ring.tail)); err != nil {
		return err
	}
	s.segments.markGaps(s.ackedLocked(), s.headLocked())
	return nil
}

// renew takes a new identity behind everything that is on disk. What was acknowledged is known only as far as files were deleted.
// The identity is on disk before it has a ring: killed between the two, no ring is left behind that nobody knows.
func (s *Spool) renew() error {
	st := state{Identity: newIdentity(), Generation: s.state.Generation, Ordinal: 1, Acked: s.state.Acked}
	if len(s.segments.list) > 0 {
		st.Acked = max(st.Acked, s.segments.list[0].base)
	}
	st.Tail = max(s.segments.end(), s.state.Tail, st.Acked)
	st.Tail = (st.Tail + frameAlign - 1) &^ (frameAlign - 1)
	s.segments.markGaps(st.Acked, st.Tail)
	if s.opening.RingLost {
		s.opts.Logger.Error("the ring was lost, with the records in it; taking a new identity", "dir", s.opts.Dir,
			"ring", s.state.Ring, "identity", st.Identity)
	}
	st.Clean = true // there is nothing in a ring yet
	s.adopt(st)
	return st.save(s.opts.Dir)
}

// settle gives the spool a ring in the wanted place and size, renews the identity when asked, and notes the start.
func (s *Spool) settle() error {
	renewing := s.opts.Renew && s.state.Node.Known
	if s.ring != nil {
		if renewing {
			if err := s.spillLocked(context.Background(), 0, math.MaxInt64); err != nil {
				return fmt.Errorf("move ring to disk to renew the identity: %w", err)
			}
		}
		if err := s.releaseRing(renewing); err != nil {
			return err
		}
	}
	if renewing {
		if err := s.renew(); err != nil {
			return err
		}
	}
	if s.ring == nil {
		r, err := s.placeRing()
		if err != nil {
			return err
		}
		s.ring = r
		r.start(s.state)
	}
	s.first = *s.ring.ordinal
	s.opening.RingPath, s.opening.RingBytes = s.ring.path, int64(s.ring.size)
	s.opening.RingInMemory = onTmpfs(filepath.Dir(s.ring.path))
	if !s.opening.RingInMemory {
		s.opts.Logger.Warn("ring is not on a tmpfs: redirects will stall on disk write-back", "ring", s.ring.path)
	}
	return s.noteStart()
}

// noteStart writes the state. The ring's generation grows first: killed between the two, the ring is newer than the state says, and
// still its ring.
func (s *Spool) noteStart() error {
	st := s.state
	st.Generation++
	st.Ring, st.Clean = s.ring.path, false
	st.Tail, st.Ordinal, st.Acked, st.Latest = Position(*s.ring.tail), *s.ring.ordinal, s.ackedLocked(), *s.ring.latest
	*s.ring.generation = st.Generation
	s.state = st
	return st.save(s.opts.Dir)
}

// releaseRing removes an empty ring that lies in another place or has another size than wanted, or whose identity is renewed.
func (s *Spool) releaseRing(renewing bool) error {
	wanted := s.ring.path == ringPath(s.opts.RingDir, s.identity) && s.ring.size == uint64(s.opts.RingBytes)
	if wanted && !renewing {
		return nil
	}
	if s.ring.used() > 0 {
		s.opts.Logger.Warn("ring keeps its place and size until it is empty at a start", "ring", s.ring.path, "ring_bytes", s.ring.size)
		return nil
	}
	s.state.Tail, s.state.Ordinal, s.state.Acked, s.state.Latest = Position(*s.ring.tail), *s.ring.ordinal, s.ackedLocked(), *s.ring.latest
	s.state.Clean, s.state.Ring = true, ""
	if err := s.state.save(s.opts.Dir); err != nil {
		return err
	}
	err := s.ring.remove()
	s.ring = nil
	return err
}

// placeRing makes a ring in RingDir, smaller than asked for if need be (a container's /dev/shm often has 64 MiB in all), or else in
// the spool directory.
func (s *Spool) placeRing() (*ring, error) {
	const smallest = 8 << 20
	var errs []error
	for size := s.opts.RingBytes; size >= min(s.opts.RingBytes, smallest); size /= 2 {
		r, err := createRing(ringPath(s.opts.RingDir, s.identity), s.identity, size&^(FrameBytesMax-1))
		if err == nil {
			if len(errs) > 0 {
				s.opts.Logger.Warn("ring directory has little room, using a smaller ring", "ring", r.path, "ring_bytes", r.size,
					"wanted_bytes", s.opts.RingBytes)
			}
			return r, nil
		}
		errs = append(errs, err)
	}
	s.opts.Logger.Warn("ring directory can't hold the ring, using the spool directory", "ring_dir", s.opts.RingDir, "error", errs[0])
	r, err := createRing(ringPath(s.opts.Dir, s.identity), s.identity, s.opts.RingBytes)
	if err != nil {
		return nil, errors.Join(errs[0], err)
	}
	return r, nil
}
