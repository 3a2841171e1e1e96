package tracker

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// linkStore holds every link as the bytes of its wire.Link in an arena, with
// an entry per link number and an index by key. It has no pointer per link, so
// the collector has nothing to walk.
//
// One goroutine writes, any number read. mu guards the lists of the arena and
// the slots of the indexes; writers hold it for a few stores at a time, never
// while they grow, copy or map. Entries can be read without it. The chunk
// behind an entry may go away whenever mu is not held.
type linkStore struct {
	mu      sync.RWMutex
	entries entryTable
	arena   arena
	index   *linkIndex // by domain and code
	folded  *linkIndex // by domain and folded code; nil unless a programme asks for it
	due     []int      // chunks to compact
	last    atomic.Uint32
	live    atomic.Int64
}

func newLinkStore(n int) (*linkStore, error) {
	index, err := newLinkIndex(n)
	if err != nil {
		return nil, err
	}
	return &linkStore{index: index, arena: arena{open: -1}}, nil
}

// put stores the record of a link: canonical bytes of a wire.Link, copied,
// with the number n and the key k. Where the link resolves from now on and did
// not before, admit is called before anybody can find it.
//
// The highest number of a key owns it. Numbers are given in the order of
// creation, so this is the last link made with the code, in whatever order
// records of several links arrive.
func (s *linkStore) put(n LinkNumber, k *linkKey, record []byte, deleted bool, admit func()) error {
	if err := s.reserve(record); err != nil {
		return err
	}
	return s.publish(n, k, s.arena.write(record), deleted, admit)
}

// publish makes a record that lies in the arena the current one of its number.
func (s *linkStore) publish(n LinkNumber, k *linkKey, at recordRef, deleted bool, admit func()) error {
	if s.index.full() {
		if err := s.grow(&s.index); err != nil {
			s.dropped(s.arena.release(at))
			return err
		}
	}
	old := s.entries.get(n)
	owner := s.owner(k)
	e := newStoreEntry(at, deleted || owner > n, old.version()+1)
	if e.live() && !old.live() {
		admit()
		s.live.Add(1)
	} else if old.live() && !e.live() {
		s.live.Add(-1)
	}
	s.mu.Lock()
	s.entries.set(n, e)
	switch {
	case owner == 0:
		s.index.insert(k.hash, n)
	case owner < n:
		s.index.replace(k.hash, owner, n)
	}
	s.mu.Unlock()
	s.last.Store(max(s.last.Load(), uint32(n)))
	if owner != 0 && owner < n {
		s.retire(owner)
	}
	if old.exists() {
		s.dropped(s.arena.release(old.ref()))
	}
	return s.compact()
}

// retire marks a link whose code was given to a younger one without a record
// that says that it was deleted: compaction keeps one record of a key.
func (s *linkStore) retire(n LinkNumber) {
	e := s.entries.get(n)
	if e.live() {
		s.live.Add(-1)
	}
	s.entries.set(n, newStoreEntry(e.ref(), true, e.version()+1))
}

// reserve opens another chunk when the record does not fit in the open one.
func (s *linkStore) reserve(record []byte) error {
	if s.arena.fits(record) {
		return nil
	}
	memory, err := newRegion(chunkBytes)
	if err != nil {
		return err
	}
	closed := s.arena.open
	s.mu.Lock()
	s.arena.open = s.arena.add(&arenaChunk{memory: memory})
	s.mu.Unlock()
	if closed >= 0 {
		s.dropped(closed)
	}
	return nil
}

// grow replaces an index by a larger copy. Readers go on in the old one
// meanwhile.
func (s *linkStore) grow(index **linkIndex) error {
	old := *index
	larger, err := old.grown()
	if err != nil {
		return err
	}
	s.mu.Lock()
	*index = larger
	old.memory.free()
	s.mu.Unlock()
	return nil
}

// dropped notes that a chunk was closed or has more garbage.
func (s *linkStore) dropped(chunk int) {
	if s.arena.wasteful(chunk) {
		s.due = append(s.due, chunk)
	}
}

// compact moves what is current out of the chunks that are mostly garbage. It
// works by chunk, so that it takes milliseconds and one chunk of extra memory
// however many links there are.
func (s *linkStore) compact() error {
	for len(s.due) > 0 {
		chunk := s.due[len(s.due)-1]
		s.due = s.due[:len(s.due)-1]
		if !s.arena.wasteful(chunk) {
			continue
		}
		if err := s.evacuate(chunk); err != nil {
			return err
		}
	}
	return nil
}

// evacuate moves the current records of a chunk and gives it back.
func (s *linkStore) evacuate(chunk int) error {
	c := s.arena.chunks[chunk]
	for offset := 0; offset < c.used; {
		from := newRecordRef(chunk, offset)
		record := s.arena.read(from)
		offset += recordPrefixBytes + len(record)
		n := recordNumber(record)
		e := s.entries.get(n)
		if e.ref() != from || !e.exists() {
			continue
		}
		if err := s.reserve(record); err != nil {
			return err
		}
		to := s.arena.write(record)
		s.mu.Lock()
		s.entries.set(n, newStoreEntry(to, e.dead(), e.version()))
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.arena.drop(chunk)
	s.mu.Unlock()
	return nil
}

// owner is the number that owns a key, live or not, 0 for none.
func (s *linkStore) owner(k *linkKey) LinkNumber {
	return s.index.find(k.hash, func(n LinkNumber) bool {
		return recordHasKey(s.arena.read(s.entries.get(n).ref()), k)
	})
}

// lookup returns a copy of the record of the live link with a key, and its
// number and entry; 0 if there is none.
func (s *linkStore) lookup(k *linkKey) (record []byte, n LinkNumber, e storeEntry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n = s.owner(k); n == 0 {
		return nil, 0, 0
	}
	if e = s.entries.get(n); e.dead() {
		return nil, 0, 0
	}
	return bytes.Clone(s.arena.read(e.ref())), n, e
}

// lookupDead returns a copy of the record of the dead link that owns a key, nil
// if there is none.
func (s *linkStore) lookupDead(k *linkKey) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.owner(k)
	if n == 0 || s.entries.get(n).live() {
		return nil
	}
	return bytes.Clone(s.arena.read(s.entries.get(n).ref()))
}

// lookupFolded is lookup by a folded key. Several links may share one, as only
// some programmes ask for folding: accept sees the records, and the oldest
// link that it takes wins. accept must not keep the record.
func (s *linkStore) lookupFolded(k *linkKey, accept func(record []byte) bool) (record []byte, n LinkNumber, e storeEntry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.folded == nil {
		return nil, 0, 0
	}
	s.folded.find(k.hash, func(candidate LinkNumber) bool {
		found := s.entries.get(candidate)
		if found.dead() || n != 0 && candidate > n {
			return false
		}
		if bytes := s.arena.read(found.ref()); recordHasFoldedKey(bytes, k) && accept(bytes) {
			record, n, e = bytes, candidate, found
		}
		return false // see them all
	})
	return bytes.Clone(record), n, e
}

// fold adds a link to the folded index, if it is not there.
func (s *linkStore) fold(n LinkNumber, k *linkKey) error {
	if s.folded == nil {
		folded, err := newLinkIndex(0)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.folded = folded
		s.mu.Unlock()
	}
	if s.folded.find(k.hash, func(found LinkNumber) bool { return found == n }) != 0 {
		return nil
	}
	if s.folded.full() {
		if err := s.grow(&s.folded); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.folded.insert(k.hash, n)
	s.mu.Unlock()
	return nil
}

// read appends the record of a number to dst; the entry is 0 if it was never
// seen.
func (s *linkStore) read(dst []byte, n LinkNumber) ([]byte, storeEntry) {
	if !s.entries.get(n).exists() {
		return dst, 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries.get(n)
	return append(dst, s.arena.read(e.ref())...), e
}

// recordNumber is the link number of a canonical record.
func recordNumber(record []byte) LinkNumber {
	n, _ := binary.Uvarint(record[1:])
	return LinkNumber(n)
}

// recordKey is the key of a canonical record, whose fields stand in order:
// number, code, domain if any.
func recordKey(record []byte) (domain, code []byte) {
	_, width := binary.Uvarint(record[1:])
	rest := record[1+width:]
	length, width := binary.Uvarint(rest[1:])
	rest = rest[1+width:]
	code, rest = rest[:length], rest[length:]
	if len(rest) == 0 || rest[0] != 3<<3|2 {
		return nil, code
	}
	length, width = binary.Uvarint(rest[1:])
	return rest[1+width:][:length], code
}

func recordHasKey(record []byte, k *linkKey) bool {
	domain, code := recordKey(record)
	return bytes.Equal(code, k.code) && bytes.Equal(domain, k.domain)
}

func recordHasFoldedKey(record []byte, k *linkKey) bool {
	domain, code := recordKey(record)
	var buffer [codeBytesMax]byte
	return bytes.Equal(appendFolded(buffer[:0], code), k.code) && bytes.Equal(domain, k.domain)
}
