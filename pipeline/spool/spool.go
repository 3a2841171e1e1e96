package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Spool is one stream of frames in a ring and in segments; see the package comment. Append may be called from many
// goroutines; Next and Ack by one reader, not necessarily one goroutine; everything else by anybody.
type Spool struct {
	opts     Options
	lock     *os.File
	identity Identity
	seed     uint32
	ring     *ring
	segments *segments
	reader   reader
	opening  Opening
	first    uint64 // ordinal of the first append of this process

	stateMu sync.Mutex
	state   state

	spillMu     sync.Mutex
	spillBuffer []byte
	retryAt     time.Time

	readMu sync.Mutex
	gone   bool // the ring is no longer mapped

	appendMu sync.Mutex
	closed   bool
	refusing bool          // the spiller can't make room: don't wait for it
	waiters  int           // appends waiting for room; at most one per caller of Append
	room     chan struct{} // closed when waiters should look again

	shedding     atomic.Bool // an append was shed since room was last made
	shed         atomic.Uint64
	spilledBytes atomic.Uint64
	diskErr      atomic.Pointer[error] // why the spiller can't make room, nil if it can

	kick    chan struct{}
	stop    context.CancelFunc
	spiller sync.WaitGroup
	metrics *collector
}

// Append copies payload into the stream and returns its ordinal. takenMs is the time of the record by its owner's clock, Unix
// milliseconds; the latest one is kept, see LatestMs. The frame survives the process from the moment Append
// returns. It makes no system call and allocates nothing while the ring has room; without room it waits up to
// 250 ms for the spiller. ErrFull: the record was shed and counted. ErrTooLarge, ErrClosed: as they say.
func (s *Spool) Append(payload []byte, takenMs uint64) (ordinal uint64, err error) {
	if len(payload) > PayloadBytesMax {
		return 0, fmt.Errorf("append %d bytes: %w", len(payload), ErrTooLarge)
	}
	size := frameBytes(len(payload))
	sum := crc32.Update(s.seed, castagnoli, payload)
	s.appendMu.Lock()
	if !s.closed && s.ring.fits(size) {
		ordinal = s.ring.append(payload, sum, takenMs)
		s.appendMu.Unlock()
		return ordinal, nil
	}
	s.appendMu.Unlock()
	return s.appendWhenRoom(payload, sum, takenMs)
}

func (s *Spool) appendWhenRoom(payload []byte, payloadSum uint32, takenMs uint64) (uint64, error) {
	size := frameBytes(len(payload))
	deadline := time.NewTimer(appendWaitMax)
	defer deadline.Stop()
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	for late := false; ; {
		switch {
		case s.closed:
			return 0, ErrClosed
		case s.ring.fits(size):
			return s.ring.append(payload, payloadSum, takenMs), nil
		case s.refusing || late:
			// One wait in vain is enough: those who come later are shed at once, until there is room.
			s.refusing = true
			s.shed.Add(1)
			s.shedding.Store(true)
			return 0, ErrFull
		}
		room := s.room
		s.waiters++
		s.appendMu.Unlock()
		s.kickSpiller()
		select {
		case <-room:
		case <-deadline.C:
			late = true
		}
		s.appendMu.Lock()
		s.waiters--
	}
}

// madeRoom lets waiting appends look again. It is called after head has moved or the spool was closed.
func (s *Spool) madeRoom() {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.refusing = false
	s.shedding.Store(false)
	s.wakeWaitersLocked()
}

// refuse makes appends that find no room fail at once.
func (s *Spool) refuse() {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.refusing = true
	s.wakeWaitersLocked()
}

func (s *Spool) wakeWaitersLocked() {
	if s.waiters > 0 {
		close(s.room)
		s.room = make(chan struct{})
	}
}

// Next copies a chunk of whole frames from position from on into buf, of at least FrameBytesMax bytes, and blocks until there is
// something or ctx ends. What lies below Acked is skipped. The batch is valid until the next call.
func (s *Spool) Next(ctx context.Context, from Position, buf []byte) (Batch, error) {
	if len(buf) < FrameBytesMax {
		panic("BUG: buffer given to Next can't hold the largest frame")
	}
	return poll(ctx, from, func() (Batch, error) { return s.read(from, buf) })
}

func (s *Spool) read(from Position, buf []byte) (Batch, error) {
	s.readMu.Lock()
	if s.gone {
		s.readMu.Unlock()
		return Batch{}, ErrClosed
	}
	head, acked := s.headLocked(), s.ackedLocked()
	if tail := Position(atomic.LoadUint64(s.ring.tail)); from > tail {
		s.readMu.Unlock()
		panic(fmt.Sprintf("BUG: read from position %d behind the tail %d", from, tail))
	}
	from = max(from, acked)
	c := chunk{want: from, at: from, next: from, source: s.source()}
	if from >= head {
		n, final := s.ring.copyTo(buf, from)
		s.readMu.Unlock()
		c.data, c.next, c.final = buf[:n], from+Position(n), final
		return s.reader.batch(c), nil
	}
	s.readMu.Unlock()
	data, at, next, src, final, ok := s.segments.read(buf, from)
	if !ok { // the files that should reach up to the ring are missing
		c.at, c.next, c.final = head, head, true
		return s.reader.batch(c), nil
	}
	c.data, c.at, c.next, c.final = data, at, next, final
	if src.identity != s.identity {
		c.source = src
	}
	return s.reader.batch(c), nil
}

// Ack says that everything below p is safe downstream. The space is given back, segments wholly below p are deleted. It is
// remembered in the ring, without a system call.
func (s *Spool) Ack(p Position) {
	s.readMu.Lock()
	if s.gone {
		s.readMu.Unlock()
		return
	}
	if tail := Position(atomic.LoadUint64(s.ring.tail)); p > tail {
		s.readMu.Unlock()
		panic(fmt.Sprintf("BUG: acknowledge position %d behind the tail %d", p, tail))
	}
	if p > s.ackedLocked() {
		atomic.StoreUint64(s.ring.acked, uint64(p))
	}
	moved := s.advanceLocked(p)
	s.readMu.Unlock()
	if moved {
		s.madeRoom()
	}
}

// Acked is the position to read on from after a start.
func (s *Spool) Acked() Position {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if !s.gone {
		return s.ackedLocked()
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.state.Acked
}

func (s *Spool) ackedLocked() Position { return Position(atomic.LoadUint64(s.ring.acked)) }
func (s *Spool) headLocked() Position  { return Position(atomic.LoadUint64(s.ring.head)) }

// advanceLocked moves the head up to p: what lies below is acknowledged or on disk, and may be overwritten from now on.
func (s *Spool) advanceLocked(p Position) bool {
	if p <= s.headLocked() {
		return false
	}
	atomic.StoreUint64(s.ring.head, uint64(p))
	return true
}

// Identity names the stream that Append extends.
func (s *Spool) Identity() Identity { return s.identity }

// Node is the number that SetNode gave to the current identity; unknown after a first start and after a lost ring.
func (s *Spool) Node() Node {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.state.Node
}

// SetNode gives the identity its number, for good: ordinals are contiguous per number, so another number needs another
// identity (Options.Renew). It returns when the number is on disk.
func (s *Spool) SetNode(number uint16) error {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if have := s.state.Node; have.Known && have.Number != number {
		return fmt.Errorf("set node number %d: spool %s has number %d; reopen it with a new identity", number, s.identity, have.Number)
	}
	st := s.state
	st.Node = Node{Number: number, Known: true}
	if err := st.save(s.opts.Dir); err != nil {
		return fmt.Errorf("set node number %d: %w", number, err)
	}
	s.state = st
	return nil
}

func (s *Spool) source() source { return source{identity: s.identity, node: s.Node()} }

// LatestMs is the latest takenMs that Append was ever called with under this identity, 0 for none. An owner whose clock
// starts behind it runs backwards.
func (s *Spool) LatestMs() uint64 {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if s.closed {
		return 0
	}
	return *s.ring.latest
}

// Opening tells what Open found.
func (s *Spool) Opening() Opening { return s.opening }

// Close gives up the ring, the directory and their locks. Frames still in the ring stay there for the next Open on this machine;
// to take them to disk, Flush first. Closing an empty ring removes its file. Append, Next and Flush fail with ErrClosed
// afterwards.
func (s *Spool) Close() error {
	s.appendMu.Lock()
	if s.closed {
		s.appendMu.Unlock()
		return nil
	}
	s.closed = true
	s.appendMu.Unlock()
	s.madeRoom() // those waiting fail now
	s.stop()
	s.spiller.Wait()
	if s.opts.Registerer != nil {
		s.opts.Registerer.Unregister(s.metrics)
	}
	s.spillMu.Lock()
	defer s.spillMu.Unlock()
	s.segments.drop(s.Acked(), false)
	err := s.closeRing()
	s.segments.close()
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("close spool %s: %w", s.opts.Dir, err)
	}
	return nil
}

// closeRing leaves the state behind that the next Open needs. The ring is removed only after the state that replaces it is on disk.
func (s *Spool) closeRing() error {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.gone = true
	s.state.Acked = s.ackedLocked()
	s.state.Tail, s.state.Ordinal, s.state.Latest = Position(*s.ring.tail), *s.ring.ordinal, *s.ring.latest
	s.state.Clean = s.ring.used() == 0
	if err := s.state.save(s.opts.Dir); err != nil || !s.state.Clean {
		s.ring.close()
		return err
	}
	return s.ring.remove()
}
