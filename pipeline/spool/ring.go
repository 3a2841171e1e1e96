package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The ring file, little-endian; the ring's bytes follow at ringHeaderBytes:
//
//	0         8     12        16           32           40
//	┌─────────┬─────┬─────────┬────────────┬────────────┐
//	│ magic   │ crc │ zero    │ identity   │ ring bytes │            written once, before the file gets its name
//	└─────────┴─────┴─────────┴────────────┴────────────┘
//	64 tail   72 ordinal of the next frame   80 latest time         moved by every append
//	128 acked   136 head                                           moved by the reader and the spiller
//	192 generation                                                 moved by Open
//
// crc is CRC-32C over bytes 12 to 40. Words are stored one by one and lie on three cache lines, because they have different
// writers. Position p lies at byte p modulo ring bytes.
const (
	ringMagic      = "wmring\x00\x01"
	wordTail       = 64
	wordOrdinal    = 72
	wordLatest     = 80
	wordAcked      = 128
	wordHead       = 136
	wordGeneration = 192
)

type ring struct {
	path string
	file *os.File // holds the lock
	m    *mapping
	data []byte // the ring and its mirror
	size uint64

	tail, ordinal, latest, acked, head, generation *uint64
}

// createRing makes an empty ring file of ringBytes whose space is reserved. It gets its name only when it is complete.
func createRing(path string, id Identity, ringBytes int64) (*ring, error) {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create ring: %w", err)
	}
	r, err := fillRing(f, path, id, ringBytes)
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return r, nil
}

func fillRing(f *os.File, path string, id Identity, ringBytes int64) (*ring, error) {
	if err := lockFile(f); err != nil {
		return nil, fmt.Errorf("lock new ring %s: %w", path, err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, ringHeaderBytes+ringBytes); err != nil {
		return nil, fmt.Errorf("reserve %d bytes for ring %s: %w", ringHeaderBytes+ringBytes, path, err)
	}
	r, err := newRing(f, path, ringBytes)
	if err != nil {
		return nil, err
	}
	putRingHeader(r.m.bytes, id, ringBytes)
	if err := os.Rename(f.Name(), path); err != nil {
		r.m.unmap()
		return nil, fmt.Errorf("name ring: %w", err)
	}
	return r, nil
}

// openRing opens an existing ring of identity id. The error is fs.ErrNotExist, ErrLocked, or a CorruptError when the file is
// not such a ring.
func openRing(path string, id Identity) (*ring, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open ring: %w", err)
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("open ring %s: %w", path, err)
	}
	ringBytes, err := readRingHeader(f, id)
	if err != nil {
		f.Close()
		return nil, &CorruptError{File: path, Err: err}
	}
	r, err := newRing(f, path, ringBytes)
	if err != nil {
		f.Close()
		return nil, err
	}
	if err := r.checkWords(); err != nil {
		r.close()
		return nil, &CorruptError{File: path, Err: err}
	}
	return r, nil
}

func newRing(f *os.File, path string, ringBytes int64) (*ring, error) {
	m, err := mapFile(f, ringBytes)
	if err != nil {
		return nil, err
	}
	return &ring{
		path: path, file: f, m: m, data: m.bytes[ringHeaderBytes:], size: uint64(ringBytes),
		tail: m.word(wordTail), ordinal: m.word(wordOrdinal), latest: m.word(wordLatest), acked: m.word(wordAcked), head: m.word(wordHead),
		generation: m.word(wordGeneration),
	}, nil
}

func putRingHeader(dst []byte, id Identity, ringBytes int64) {
	copy(dst, ringMagic)
	copy(dst[16:32], id[:])
	binary.LittleEndian.PutUint64(dst[32:], uint64(ringBytes))
	binary.LittleEndian.PutUint32(dst[8:], crc32.Checksum(dst[12:40], castagnoli))
}

func readRingHeader(f *os.File, id Identity) (ringBytes int64, err error) {
	var header [40]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return 0, fmt.Errorf("read header: %w", err)
	}
	if string(header[:8]) != ringMagic {
		return 0, errors.New("not a ring of this version")
	}
	if binary.LittleEndian.Uint32(header[8:]) != crc32.Checksum(header[12:40], castagnoli) {
		return 0, errors.New("header checksum does not match")
	}
	if Identity(header[16:32]) != id {
		return 0, fmt.Errorf("ring belongs to spool %s", Identity(header[16:32]))
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	ringBytes = int64(binary.LittleEndian.Uint64(header[32:]))
	if ringBytes < ringBytesMin || info.Size() != ringHeaderBytes+ringBytes {
		return 0, fmt.Errorf("file has %d bytes, header says %d", info.Size(), ringHeaderBytes+ringBytes)
	}
	return ringBytes, nil
}

func (r *ring) checkWords() error {
	tail, head, acked := *r.tail, *r.head, *r.acked
	if head > tail || tail-head > r.size || acked > tail || tail%frameAlign != 0 || head%frameAlign != 0 {
		return fmt.Errorf("impossible positions: acked %d, head %d, tail %d", acked, head, tail)
	}
	return nil
}

// start makes an empty ring continue the stream that the state describes.
func (r *ring) start(st state) {
	*r.acked, *r.head, *r.tail, *r.ordinal, *r.latest = uint64(st.Acked), uint64(st.Tail), uint64(st.Tail), st.Ordinal, st.Latest
}

// recover finds the end of the stream after the process that wrote it died: the published tail, or behind it the end of the last
// frame that was complete but not yet published. It returns the number of frames found and what is damaged below the new tail.
func (r *ring) recover(seed uint32) (frames int, damage []span) {
	head := max(*r.head, *r.acked)
	end, ordinal := Position(*r.tail), *r.ordinal
	limit := Position(head + r.size)
	var batch []Frame
	var spans []span
	for p := Position(head); p < limit; {
		view := r.view(p)
		view = view[:min(uint64(len(view)), uint64(limit-p), 16*FrameBytesMax)]
		batch, spans, p = scan(view, p, seed, p+Position(len(view)) == limit, batch[:0], spans)
		frames += len(batch)
		for _, f := range batch {
			end = max(end, f.Position+Position(frameBytes(len(f.Payload))))
			ordinal = max(ordinal, f.Ordinal+1)
		}
	}
	for _, d := range spans {
		if d.from < end {
			damage = append(damage, span{d.from, min(d.to, end)})
		}
	}
	*r.head, *r.tail, *r.ordinal = head, uint64(end), ordinal
	return frames, damage
}

// view is the longest contiguous slice from p on, at least FrameBytesMax bytes, whatever is in it.
func (r *ring) view(p Position) []byte { return r.data[uint64(p)%r.size:] }

// fits reports whether a frame of size bytes can be written. The caller holds appendMu.
func (r *ring) fits(size int) bool {
	return atomic.LoadUint64(r.tail)-atomic.LoadUint64(r.head)+uint64(size) <= r.size
}

// append writes a frame that fits. The caller holds appendMu. The ordinal moves before the tail: killed between the two, the
// process leaves a whole frame that recover accepts, and in no case is an ordinal given out twice.
func (r *ring) append(payload []byte, payloadSum uint32, takenMs uint64) uint64 {
	tail, ordinal := atomic.LoadUint64(r.tail), atomic.LoadUint64(r.ordinal)
	f := Frame{Position: Position(tail), Ordinal: ordinal, AppendedMs: int64(takenMs), Payload: payload}
	if takenMs > *r.latest {
		atomic.StoreUint64(r.latest, takenMs)
	}
	size := putFrame(r.view(f.Position), f, payloadSum)
	atomic.StoreUint64(r.ordinal, ordinal+1)
	atomic.StoreUint64(r.tail, tail+uint64(size))
	return ordinal
}

// copyTo copies from position from, which is not below head, as far as buf and the tail allow. final says that the tail
// was reached. The caller holds readMu.
func (r *ring) copyTo(buf []byte, from Position) (n int, final bool) {
	tail := Position(atomic.LoadUint64(r.tail))
	if from >= tail {
		return 0, true
	}
	n = copy(buf, r.view(from)[:min(uint64(tail-from), uint64(len(r.view(from))))])
	return n, from+Position(n) == tail
}

// used is the number of bytes between head and tail.
func (r *ring) used() uint64 {
	head := atomic.LoadUint64(r.head) // first: it never passes a tail loaded later
	return atomic.LoadUint64(r.tail) - head
}

func (r *ring) close() {
	r.m.unmap()
	r.data = nil
	r.file.Close()
}

// remove deletes the file, for a ring whose content is all elsewhere.
func (r *ring) remove() error {
	defer r.close()
	if err := os.Remove(r.path); err != nil {
		return fmt.Errorf("remove emptied ring: %w", err)
	}
	return nil
}

// ringPath names the ring after the identity, so that many spools share a directory and none takes another's ring.
func ringPath(dir string, id Identity) string {
	return filepath.Join(dir, "waymark-"+id.String()+".ring")
}

// onTmpfs reports whether dir lies in memory.
func onTmpfs(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC
}
