package tracker

import "sync/atomic"

// storeEntry says where the record of a link number is and which one it is:
//
//	bits  0–21  offset within its chunk
//	bits 22–39  chunk
//	bit  40     dead: deleted, or its code belongs to a younger link
//	bits 41–63  version, counts the records of this number; never 0
//
// The version is what makes a prepared link verifiable: it is current exactly
// as long as the entry has the version that it was made from. Moving a record
// changes its place, not its version. The version wraps after 8 million
// changes of one link, by when an entry of the cache that old is long gone.
type storeEntry uint64

const (
	entryOffsetBits  = 22
	entryChunkBits   = 18
	entryDeadBit     = entryOffsetBits + entryChunkBits
	entryVersionBit  = entryDeadBit + 1
	entryVersionMask = 1<<(64-entryVersionBit) - 1
)

func newStoreEntry(at recordRef, dead bool, version uint32) storeEntry {
	if version &= entryVersionMask; version == 0 {
		version = 1
	}
	e := storeEntry(at) | storeEntry(version)<<entryVersionBit
	if dead {
		e |= 1 << entryDeadBit
	}
	return e
}

func (e storeEntry) exists() bool    { return e != 0 }
func (e storeEntry) ref() recordRef  { return recordRef(e) & (1<<entryDeadBit - 1) }
func (e storeEntry) dead() bool      { return e&(1<<entryDeadBit) != 0 }
func (e storeEntry) version() uint32 { return uint32(e >> entryVersionBit) }

// live reports whether the link resolves.
func (e storeEntry) live() bool { return e.exists() && !e.dead() }

// entryTable holds the entry of every link number, in pages, because numbers
// come densely but a stray record must not cost 32 GB. Entries are read
// without a lock and written by one goroutine at a time. An entry
// is seldom in the processor's cache; writes, which always is, tells that none
// has changed.
type entryTable struct {
	pages  [1 << 16]atomic.Pointer[entryPage]
	writes atomic.Uint64 // finished; moves after what was written is seen by all
}

type entryPage [1 << 16]atomic.Uint64

func (t *entryTable) get(n LinkNumber) storeEntry {
	page := t.pages[n>>16].Load()
	if page == nil {
		return 0
	}
	return storeEntry(page[n&0xffff].Load())
}

func (t *entryTable) set(n LinkNumber, e storeEntry) {
	page := t.pages[n>>16].Load()
	if page == nil {
		page = new(entryPage)
		t.pages[n>>16].Store(page)
	}
	page[n&0xffff].Store(uint64(e))
	t.writes.Add(1)
}

// from is the first number from n on that may have an entry; numbers on pages
// that nobody wrote to are skipped, as a stray one would put four billion of
// them in the way. It ends above the last number.
func (t *entryTable) from(n uint64) uint64 {
	for n < 1<<32 && t.pages[n>>16].Load() == nil {
		n = (n>>16 + 1) << 16
	}
	return n
}
