package tracker

import (
	"encoding/binary"
	"sync/atomic"
)

const (
	// chunkBytes is the unit in which memory is reserved, compacted and given
	// back. It is a multiple of the page size, since chunks of a snapshot are
	// mapped where they are.
	chunkBytes = 1 << entryOffsetBits

	// recordBytesMax bounds the encoded size of a link. Validate keeps links
	// far below it.
	recordBytesMax = 1<<16 - 1

	// recordPrefixBytes is the length before each record, little endian.
	recordPrefixBytes = 2
)

// recordRef is the place of a record: chunk and offset, as in storeEntry.
type recordRef uint64

func newRecordRef(chunk, offset int) recordRef {
	return recordRef(chunk)<<entryOffsetBits | recordRef(offset)
}

func (r recordRef) chunk() int  { return int(r >> entryOffsetBits) }
func (r recordRef) offset() int { return int(r & (chunkBytes - 1)) }

// arena is a list of chunks to which records are appended:
//
//	chunk = { length uint16, record [length]byte } … unused
//
// It does no locking: linkStore says which calls need its lock.
type arena struct {
	chunks []*arenaChunk // nil where one was given back
	vacant []int         // places of the nils
	open   int           // the chunk that is appended to, -1 for none

	// Sums over the chunks, for the metrics.
	used, live atomic.Int64
}

// arenaChunk has live bytes that are current among its used ones.
type arenaChunk struct {
	memory     *region
	used, live int
}

// fits reports whether a record can be written without adding a chunk.
func (a *arena) fits(record []byte) bool {
	if a.open < 0 {
		return false
	}
	c := a.chunks[a.open]
	return c.used+recordPrefixBytes+len(record) <= len(c.memory.bytes)
}

// add appends a chunk and returns its place.
func (a *arena) add(c *arenaChunk) int {
	a.used.Add(int64(c.used))
	a.live.Add(int64(c.live))
	if last := len(a.vacant) - 1; last >= 0 {
		at := a.vacant[last]
		a.vacant = a.vacant[:last]
		a.chunks[at] = c
		return at
	}
	a.chunks = append(a.chunks, c)
	return len(a.chunks) - 1
}

// drop gives a chunk back.
func (a *arena) drop(at int) {
	a.used.Add(-int64(a.chunks[at].used))
	a.live.Add(-int64(a.chunks[at].live))
	a.chunks[at].memory.free()
	a.chunks[at] = nil
	a.vacant = append(a.vacant, at)
}

// write puts a record, which fits, behind the others of the open chunk. Nobody
// looks there before an entry refers to it.
func (a *arena) write(record []byte) recordRef {
	c := a.chunks[a.open]
	at := newRecordRef(a.open, c.used)
	binary.LittleEndian.PutUint16(c.memory.bytes[c.used:], uint16(len(record)))
	copy(c.memory.bytes[c.used+recordPrefixBytes:], record)
	size := recordPrefixBytes + len(record)
	c.used += size
	c.live += size
	a.used.Add(int64(size))
	a.live.Add(int64(size))
	return at
}

// read returns the record at a place, valid until its chunk is dropped.
func (a *arena) read(at recordRef) []byte {
	bytes := a.chunks[at.chunk()].memory.bytes[at.offset():]
	length := int(binary.LittleEndian.Uint16(bytes))
	return bytes[recordPrefixBytes:][:length:length]
}

// release counts a record as garbage and returns its chunk.
func (a *arena) release(at recordRef) int {
	size := recordPrefixBytes + len(a.read(at))
	a.chunks[at.chunk()].live -= size
	a.live.Add(-int64(size))
	return at.chunk()
}

// wasteful reports whether more than half of a closed chunk is garbage.
func (a *arena) wasteful(at int) bool {
	c := a.chunks[at]
	return c != nil && at != a.open && c.live*2 < c.used
}
