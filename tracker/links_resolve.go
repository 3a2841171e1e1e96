package tracker

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"waymark/tracker/wire"
)

// linkKey is what a link is found by. Its slices are borrowed.
type linkKey struct {
	domain, code []byte
	hash         uint64
}

// linkKey hashes with a seed of the process, unlike xxhash: nobody can make up
// codes that pass the filter by having the hash of a known one.
func (l *Links) linkKey(domain, code []byte) linkKey {
	return linkKey{domain: domain, code: code, hash: l.hashIn(domain, maphash.Bytes(l.seed, code))}
}

// hashIn makes the hash of a code one of domain and code. A visit hashes its
// code once for both.
func (l *Links) hashIn(domain []byte, hash uint64) uint64 {
	if len(domain) == 0 {
		return hash
	}
	return bits.RotateLeft64(hash, 21) ^ maphash.Bytes(l.seed, domain)
}

// foldedKey is the key under which a case-insensitive programme has k. Its
// hash differs from that of a link whose code is written so.
func (l *Links) foldedKey(k *linkKey) linkKey {
	code := appendFolded(make([]byte, 0, codeBytesMax), k.code)
	return linkKey{domain: k.domain, code: code, hash: ^l.hashIn(k.domain, maphash.Bytes(l.seed, code))}
}

// hotLink is an entry of the cache with what tells whether it is current. The
// cache alone could not: a Resolve that read the store before a change may put
// its link there after Apply took it out. All but writes is immutable.
type hotLink struct {
	hash       uint64        // of the key that it was found by
	generation uint64        // of the linkSet
	programs   uint64        // epoch of the programmes
	writes     atomic.Uint64 // to the store's entries, up to which the version was the link's
	version    uint32        // of the link's entry in the store
	Prepared
}

// hotLinkBytes is what a prepared link weighs without its text: the structs and
// the entry of the cache.
const hotLinkBytes = int64(unsafe.Sizeof(wire.Link{}) + unsafe.Sizeof(hotLink{}) + 2*unsafe.Sizeof(&hotLink{}))

// resolution is how a lookup ended, for the metrics; the higher one counts
// when a visit takes several.
type resolution int

const (
	resolvedFiltered resolution = iota // by the filter: no such code
	resolvedMiss                       // passed the filter, and still no such code
	resolvedStore
	resolvedCache
)

// Resolve returns the link of a request: host is the Host header, code the
// decoded path without its slash. It returns nil for a code that nobody made
// or that was deleted; whether a link has started, expired or is active is for
// the caller to see. Neither argument is kept. It allocates only when it has
// to take a link from the store.
//
// A link of that very host wins over one that answers on all, an exact code
// over one that a programme matches in any case.
func (l *Links) Resolve(host, code []byte) *Prepared {
	prepared, how := l.resolve(host, code)
	l.metrics.resolves[how].Inc()
	return prepared
}

func (l *Links) resolve(host, code []byte) (*Prepared, resolution) {
	if len(code) == 0 || len(code) > codeBytesMax {
		return nil, resolvedFiltered
	}
	set := l.set.Load()
	var buffer [domainBytesMax]byte
	var domain []byte
	if set.domains.Load() {
		domain = appendHostname(buffer[:0], host)
	}
	prepared, how := l.find(set, domain, code, false)
	if prepared == nil && l.programs.folding.Load() {
		var foldBuffer [codeBytesMax]byte
		var again resolution
		prepared, again = l.find(set, domain, appendFolded(foldBuffer[:0], code), true)
		how = max(how, again)
	}
	return prepared, how
}

// find looks for a code on the domain, if there is one, then on all.
func (l *Links) find(set *linkSet, domain, code []byte, folded bool) (*Prepared, resolution) {
	hash := maphash.Bytes(l.seed, code)
	how := resolvedFiltered
	if len(domain) > 0 {
		k := linkKey{domain: domain, code: code, hash: l.hashIn(domain, hash)}
		prepared, found := l.findKey(set, &k, folded)
		if prepared != nil {
			return prepared, found
		}
		how = found
	}
	k := linkKey{code: code, hash: hash}
	prepared, found := l.findKey(set, &k, folded)
	return prepared, max(how, found)
}

func (l *Links) findKey(set *linkSet, k *linkKey, folded bool) (*Prepared, resolution) {
	if folded {
		k.hash = ^k.hash
	} else if hot := l.front.get(k.hash); hot != nil && l.isCurrent(set, hot) && hot.answers(k, false) {
		return &hot.Prepared, resolvedCache // fast path: one of the hottest links
	}
	if !set.filter.Load().has(k.hash) {
		return nil, resolvedFiltered
	}
	if hot, ok := l.cache.Get(k.hash); ok && l.isCurrent(set, hot) && hot.answers(k, folded) {
		if !folded {
			l.front.put(hot)
		}
		return &hot.Prepared, resolvedCache
	}
	if prepared := l.findStored(set, k, folded); prepared != nil {
		return prepared, resolvedStore
	}
	return nil, resolvedMiss
}

// isCurrent reports whether neither the link nor a programme has changed since
// a link was prepared.
func (l *Links) isCurrent(set *linkSet, hot *hotLink) bool {
	if hot.generation != set.generation || hot.programs != l.programs.epoch.Load() {
		return false
	}
	writes := set.store.entries.writes.Load()
	if hot.writes.Load() == writes {
		return true // fast path: no link has changed since the last time
	}
	if hot.version != set.store.entries.get(hot.number).version() {
		return false
	}
	hot.writes.Store(writes)
	return true
}

// answers reports whether the link has that key and not just its hash.
func (h *hotLink) answers(k *linkKey, folded bool) bool {
	if h.domain != string(k.domain) {
		return false
	}
	if !folded {
		return bytes.Equal(h.code, k.code)
	}
	var buffer [codeBytesMax]byte
	return bytes.Equal(appendFolded(buffer[:0], h.code), k.code)
}

// findStored takes a link from the store, prepares it and offers it to the
// cache, which may decline. What makes it current is read before the link is,
// so that a change in between makes it stale.
func (l *Links) findStored(set *linkSet, k *linkKey, folded bool) *Prepared {
	programs, writes := l.programs.epoch.Load(), set.store.entries.writes.Load()
	var record []byte
	var n LinkNumber
	var e storeEntry
	if folded {
		record, n, e = set.store.lookupFolded(k, l.recordFolds)
	} else {
		record, n, e = set.store.lookup(k)
	}
	if n == 0 {
		return nil
	}
	hot := &hotLink{
		hash: k.hash, generation: set.generation, programs: programs, version: e.version(), Prepared: *l.prepared(record),
	}
	hot.writes.Store(writes)
	// The text is there about three times: decoded, as fields of an event, and
	// as the bytes of the answer.
	l.cache.Set(k.hash, hot, hotLinkBytes+3*int64(len(record)))
	return &hot.Prepared
}

// prepared decodes a record, which it keeps, and prepares the link.
func (l *Links) prepared(record []byte) *Prepared {
	link := decodeRecord(record)
	program, ok := l.programs.get(link.Program)
	if !ok {
		defaults := NewProgram(link.Program)
		program = &defaults
	}
	return prepare(link, program)
}

// recordFolds reports whether the programme of a record wants folding.
func (l *Links) recordFolds(record []byte) bool {
	return l.programs.folds(decodeRecord(record).Program)
}

// appendHostname appends the name in a Host header: without port and trailing
// dot, in lower case. Nothing is appended for what cannot be a domain.
func appendHostname(dst, host []byte) []byte {
	if at := bytes.LastIndexByte(host, ':'); at >= 0 {
		host = host[:at]
	}
	host = bytes.TrimSuffix(host, []byte("."))
	if len(host) > domainBytesMax {
		return dst
	}
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
