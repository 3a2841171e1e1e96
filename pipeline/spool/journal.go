package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// JournalOptions configure a Journal. Zero fields take the defaults named here.
type JournalOptions struct {
	// Dir holds segments, lock and acknowledged position. It is created if missing.
	Dir string
	// SegmentBytes is where a segment file ends and the next begins; default 8 MiB, or an eighth of a small
	// DiskBytesMax.
	SegmentBytes int64
	// DiskBytesMax bounds the segment files; default 1 GiB.
	DiskBytesMax int64
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer
}

const (
	// journalPendingMax bounds the payload bytes waiting for the writer. When they are more, Append waits.
	journalPendingMax = 8 << 20
	// journalSaveInterval is how often the acknowledged position is saved; a crash repeats what was acknowledged in it.
	journalSaveInterval = time.Second
)

// Journal is a stream of records that are on disk before Append returns. It has the segments of a Spool and no ring. What was
// acknowledged shortly before a crash is read again: its consumer must be idempotent.
type Journal struct {
	opts     JournalOptions
	lock     *os.File
	identity Identity
	seed     uint32
	segments *segments
	reader   reader

	// Owned by the writer goroutine.
	tail    Position
	ordinal uint64
	buffer  []byte
	saved   Position

	published atomic.Uint64 // no reader sees anything behind it
	acked     atomic.Uint64
	appended  atomic.Uint64
	shed      atomic.Uint64
	diskErr   atomic.Pointer[error]

	mu      sync.Mutex
	closed  bool
	pending *commit       // what the writer takes next
	taken   chan struct{} // closed when it did

	wake    chan struct{}
	done    chan struct{}
	metrics *collector
}

// commit is a group of records that share one sync.
type commit struct {
	payloads [][]byte
	bytes    int
	done     chan struct{}
	err      error // valid once done is closed
}

func newCommit() *commit { return &commit{done: make(chan struct{})} }

// OpenJournal takes the directory and finds the end of the stream. The error is ErrLocked when another process has it.
func OpenJournal(opts JournalOptions) (*Journal, error) {
	opts.DiskBytesMax = orDefault(opts.DiskBytesMax, 1<<30)
	opts.SegmentBytes = orDefault(opts.SegmentBytes, segmentDefault(8<<20, opts.DiskBytesMax))
	base, err := Options{
		Dir: opts.Dir, SegmentBytes: opts.SegmentBytes, DiskBytesMax: opts.DiskBytesMax, Logger: opts.Logger,
	}.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	opts.Logger = base.Logger
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create journal directory: %w", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", opts.Dir, err)
	}
	j := &Journal{
		opts: opts, lock: lock, segments: newSegments(opts.Dir, opts.SegmentBytes, opts.Logger),
		pending: newCommit(), taken: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	j.reader = reader{log: opts.Logger, segments: j.segments}
	if err = j.open(); err == nil {
		err = j.register()
	}
	if err != nil {
		j.segments.close()
		lock.Close()
		return nil, fmt.Errorf("open journal %s: %w", opts.Dir, err)
	}
	go j.writeLoop()
	return j, nil
}

func (j *Journal) open() error {
	st, found, err := loadState(j.opts.Dir)
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) {
		j.opts.Logger.Error("journal state is damaged, renaming it aside and reading all that is there", "error", err)
		if err := os.Rename(corrupt.File, corrupt.File+corruptSuffix); err != nil {
			return fmt.Errorf("rename damaged state aside: %w", err)
		}
		found = false
	} else if err != nil {
		return err
	}
	if !found {
		st = state{Identity: newIdentity(), Ordinal: 1}
	}
	j.identity, j.seed = st.Identity, frameSeed(st.Identity)
	if err := j.segments.load(source{identity: st.Identity}); err != nil {
		return err
	}
	if list := j.segments.list; !found && len(list) > 0 {
		st.Acked = list[0].base
	}
	j.tail, j.ordinal = max(st.Tail, st.Acked), max(st.Ordinal, 1)
	if err := j.findEnd(); err != nil {
		return err
	}
	j.segments.markGaps(st.Acked, j.segments.end())
	j.acked.Store(uint64(st.Acked))
	j.published.Store(uint64(j.tail))
	return j.save()
}

// findEnd reads the last file to the end of its last whole frame. Behind it lies what a dying process left of records that were
// never confirmed.
func (j *Journal) findEnd() error {
	last := j.segments.last()
	if last == nil {
		return nil
	}
	seed := frameSeed(last.identity)
	end, buf := last.base, make([]byte, 4*FrameBytesMax)
	for p := last.base; p < last.end; {
		n, err := last.readAt(buf[:min(len(buf), int(last.end-p))], p)
		if err != nil {
			return fmt.Errorf("read the end of journal segment %s: %w", last.path, err)
		}
		var frames []Frame
		at := p
		frames, _, p = scan(buf[:n], at, seed, at+Position(n) == last.end, nil, nil)
		if len(frames) > 0 {
			f := frames[len(frames)-1]
			end = f.Position + Position(frameBytes(len(f.Payload)))
			if last.identity == j.identity {
				j.ordinal = max(j.ordinal, f.Ordinal+1)
			}
		}
	}
	if last.end > end {
		j.opts.Logger.Info("journal ends in an unfinished record", "file", last.path, "bytes", last.end-end)
		last.end = end
	}
	j.tail = max(j.tail, end)
	return nil
}

// Append returns nil once all payloads are on disk, in order and next to each other. Concurrent calls share one sync. ErrFull: the disk budget is used up, nothing of it was kept; ErrTooLarge likewise. After any other error,
// ctx's included, the records may or may not have been kept: send them again, their consumer is idempotent.
func (j *Journal) Append(ctx context.Context, payloads ...[]byte) error {
	bytes := 0
	for i, p := range payloads {
		if len(p) > PayloadBytesMax {
			return fmt.Errorf("append record %d of %d bytes: %w", i, len(p), ErrTooLarge)
		}
		bytes += frameBytes(len(p))
	}
	if len(payloads) == 0 {
		return nil
	}
	c, err := j.join(ctx, payloads, bytes)
	if err != nil {
		return err
	}
	select {
	case j.wake <- struct{}{}:
	default: // the writer will look anyway
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return fmt.Errorf("wait for the journal: %w", ctx.Err())
	}
	if errors.Is(c.err, ErrFull) {
		j.shed.Add(uint64(len(payloads)))
	}
	return c.err
}

// join copies the payloads into the next commit, waiting while it is too large already.
func (j *Journal) join(ctx context.Context, payloads [][]byte, bytes int) (*commit, error) {
	copies := make([][]byte, len(payloads)) // the caller may give up and reuse its own before the writer comes
	for i, p := range payloads {
		copies[i] = append([]byte(nil), p...)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.closed && j.pending.bytes > 0 && j.pending.bytes+bytes > journalPendingMax {
		taken := j.taken
		j.mu.Unlock()
		var err error
		select {
		case <-taken:
		case <-ctx.Done():
			err = fmt.Errorf("wait for the journal: %w", ctx.Err())
		}
		j.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	if j.closed {
		return nil, ErrClosed
	}
	j.pending.payloads = append(j.pending.payloads, copies...)
	j.pending.bytes += bytes
	return j.pending, nil
}

// take gives the writer the pending commit; last says that none will follow.
func (j *Journal) take() (c *commit, last bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c, j.pending = j.pending, newCommit()
	close(j.taken)
	j.taken = make(chan struct{})
	return c, j.closed
}

func (j *Journal) writeLoop() {
	defer close(j.done)
	tick := time.NewTicker(journalSaveInterval)
	defer tick.Stop()
	for {
		select {
		case <-j.wake:
		case <-tick.C:
			j.tidy(true)
		}
		c, last := j.take()
		if len(c.payloads) > 0 {
			c.err = j.write(c)
			if errors.Is(c.err, ErrFull) { // perhaps only because nobody has tidied up yet
				j.tidy(true)
				c.err = j.write(c)
			}
			j.noteDisk(c.err)
		}
		close(c.done)
		if last {
			return
		}
	}
}

// noteDisk remembers the outcome of the last write and logs when it changes from good to bad or back.
func (j *Journal) noteDisk(err error) {
	before := j.diskErr.Load()
	switch {
	case err != nil:
		j.diskErr.Store(&err)
		if before == nil {
			j.opts.Logger.Error("can't write the journal, records are refused", "dir", j.opts.Dir, "error", err)
		}
	case before != nil:
		j.diskErr.Store(nil)
		j.opts.Logger.Info("journal can be written again", "dir", j.opts.Dir)
	}
}

// write puts a commit on disk: all of it, or nothing that a reader will see. It is one write to one file, so that there is no
// half to take back.
func (j *Journal) write(c *commit) error {
	tail, ordinal := j.tail, j.ordinal
	nowMs := time.Now().UnixMilli()
	buffer := slices.Grow(j.buffer[:0], c.bytes)[:c.bytes]
	used := 0
	for _, p := range c.payloads {
		f := Frame{Position: tail, Ordinal: ordinal, AppendedMs: nowMs, Payload: p}
		size := putFrame(buffer[used:], f, crc32.Update(j.seed, castagnoli, p))
		used, tail, ordinal = used+size, tail+Position(size), ordinal+1
	}
	if cap(buffer) <= journalPendingMax { // one giant request should not hold its memory for ever
		j.buffer = buffer
	}
	err := j.segments.write(buffer, j.tail, source{identity: j.identity}, j.opts.DiskBytesMax)
	if errors.Is(err, ErrFull) {
		return ErrFull
	}
	if err == nil {
		// Before a reader can see the records: it may ship and acknowledge them before this goroutine runs again.
		j.published.Store(uint64(tail))
		err = j.segments.publish()
	}
	if err != nil {
		j.published.Store(uint64(j.tail))
		j.segments.abandon()
		return fmt.Errorf("write journal: %w", err)
	}
	j.appended.Add(ordinal - j.ordinal)
	j.tail, j.ordinal = tail, ordinal
	return nil
}

// tidy saves the acknowledged position if it moved, then deletes the files below it: in this order, so that ordinals never start
// over.
func (j *Journal) tidy(keepActive bool) {
	acked := j.Acked()
	if acked == j.saved && keepActive {
		return
	}
	if err := j.save(); err != nil {
		j.opts.Logger.Warn("can't save the journal's acknowledged position, a restart will repeat records", "error", err)
		return
	}
	j.segments.drop(acked, keepActive)
}

func (j *Journal) save() error {
	acked := j.Acked()
	st := state{Identity: j.identity, Tail: j.tail, Ordinal: j.ordinal, Acked: acked}
	if err := st.save(j.opts.Dir); err != nil {
		return err
	}
	j.saved = acked
	return nil
}

// Next is as Spool.Next. Only what is on disk is read.
func (j *Journal) Next(ctx context.Context, from Position, buf []byte) (Batch, error) {
	if len(buf) < FrameBytesMax {
		panic("BUG: buffer given to Next can't hold the largest frame")
	}
	return poll(ctx, from, func() (Batch, error) { return j.read(from, buf) })
}

func (j *Journal) read(from Position, buf []byte) (Batch, error) {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return Batch{}, ErrClosed
	}
	from = max(from, j.Acked())
	data, at, next, src, final, ok := j.segments.read(buf, from)
	if !ok {
		return Batch{End: from}, nil
	}
	return j.reader.batch(chunk{data: data, want: from, at: at, next: next, final: final, source: src}), nil
}

// Ack says that everything below p is safe downstream.
func (j *Journal) Ack(p Position) {
	if tail := Position(j.published.Load()); p > tail {
		panic(fmt.Sprintf("BUG: acknowledge position %d behind the tail %d", p, tail))
	}
	for old := j.acked.Load(); uint64(p) > old && !j.acked.CompareAndSwap(old, uint64(p)); old = j.acked.Load() {
	}
}

// Acked is the position to read on from after a start.
func (j *Journal) Acked() Position { return Position(j.acked.Load()) }

// Close waits for the records being written, saves the acknowledged position and gives up the directory.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	<-j.done
	if j.opts.Registerer != nil {
		j.opts.Registerer.Unregister(j.metrics)
	}
	j.tidy(false)
	j.segments.close()
	if err := j.lock.Close(); err != nil {
		return fmt.Errorf("close journal %s: %w", j.opts.Dir, err)
	}
	return nil
}
