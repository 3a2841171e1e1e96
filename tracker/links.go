package tracker

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker/wire"
)

// LinksOptions are the settings of Links.
type LinksOptions struct {
	// CacheBytes bounds the prepared links of the hot set. Default 64 MiB,
	// which is some fifty thousand links.
	CacheBytes int64
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer
}

// Links is every link and programme that the node knows. A code is resolved in
// three steps: a bloom filter turns unknown codes away, a cache has the hot
// links prepared, and the packed store has them all. The hottest have a
// shortcut past the first two, see front.
//
// All methods are safe for concurrent use. Resolve and the other readers never
// wait for a writer's work, only for its last few stores.
type Links struct {
	options  LinksOptions
	seed     maphash.Seed
	front    *front
	cache    *ristretto.Cache[uint64, *hotLink]
	programs *programs
	metrics  *linksMetrics

	writing sync.Mutex // held by Apply, ApplyProgram, Swap and LoadSnapshot
	set     atomic.Pointer[linkSet]
	scratch wire.Link // of Apply
	record  []byte    // of Apply
}

// linkSet is what Swap replaces.
type linkSet struct {
	generation uint64
	store      *linkStore
	filter     atomic.Pointer[linkFilter]
	freed      int          // keys in the filter that resolve no more; the writer's
	domains    atomic.Bool  // some link answers on one domain only
	next       atomic.Int64 // offset of the next record
}

// linkSets numbers the sets of a process.
var linkSets atomic.Uint64

func newLinkSet(n int) (*linkSet, error) {
	store, err := newLinkStore(n)
	if err != nil {
		return nil, err
	}
	set := &linkSet{generation: linkSets.Add(1), store: store}
	set.filter.Store(newLinkFilter(n))
	return set, nil
}

// NewLinks returns Links that know the programme "general" and no link. It
// panics when the machine has no memory left to start with.
func NewLinks(options LinksOptions) *Links {
	if options.CacheBytes <= 0 {
		options.CacheBytes = 64 << 20
	}
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, *hotLink]{
		NumCounters: max(1<<10, options.CacheBytes/hotLinkBytes*10),
		MaxCost:     options.CacheBytes,
		BufferItems: 64,
		KeyToHash:   func(key uint64) (uint64, uint64) { return key, 0 },
	})
	if err != nil {
		panic("BUG: make the cache of links: " + err.Error())
	}
	l := &Links{options: options, seed: maphash.MakeSeed(), front: new(front), cache: cache, programs: newPrograms()}
	set, err := newLinkSet(0)
	if err != nil {
		panic(err)
	}
	l.set.Store(set)
	l.metrics = newLinksMetrics(options.Registerer, l)
	return l
}

// Close ends the cache's goroutines. Nothing may be called afterwards.
func (l *Links) Close() { l.cache.Close() }

// Fresh returns empty Links for reading the topic anew, from its start, while
// l goes on answering; Swap puts them in l's place. They share l's programmes,
// cache and metrics, and are not to be closed.
func (l *Links) Fresh() (*Links, error) {
	set, err := newLinkSet(l.Len())
	if err != nil {
		return nil, err
	}
	fresh := &Links{options: l.options, seed: l.seed, front: l.front, cache: l.cache, programs: l.programs, metrics: l.metrics}
	fresh.set.Store(set)
	return fresh, nil
}

// Swap replaces all links of l by those of fresh, which came from l.Fresh and
// is not used any more.
func (l *Links) Swap(fresh *Links) error {
	fresh.writing.Lock()
	defer fresh.writing.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	set := fresh.set.Load()
	// A programme may have asked for folding since fresh was begun.
	if err := l.foldAll(set); err != nil {
		return err
	}
	l.set.Store(set)
	return nil
}

// RecordError is a record of waymark.links that cannot be used. It is counted
// and skipped: one bad record must not keep a node from starting.
type RecordError struct {
	Offset int64
	Key    string
	Detail string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("skip the record of link %q at offset %d: %s", e.Key, e.Offset, e.Detail)
}

// Apply takes one record of waymark.links; key and value are not kept. The
// link is live, or gone, when it returns. An offset that was applied before is
// ignored.
//
// A *RecordError means that the record is unusable and was skipped. Any other
// error means that memory ran out; the same record can be applied again.
func (l *Links) Apply(key, value []byte, offset int64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	set := l.set.Load()
	if offset < set.next.Load() {
		return nil
	}
	detail, err := l.apply(set, key, value)
	if err != nil {
		return err
	}
	set.next.Store(offset + 1)
	if detail != "" {
		l.metrics.corrupt.Inc()
		return &RecordError{Offset: offset, Key: string(key), Detail: detail}
	}
	return nil
}

// apply returns what is wrong with the record, if anything is.
func (l *Links) apply(set *linkSet, key, value []byte) (detail string, err error) {
	w := &l.scratch
	w.Reset()
	if err := w.UnmarshalVTUnsafe(value); err != nil {
		return "it is no encoded link: " + err.Error(), nil
	}
	defer w.Reset() // it borrows value
	if detail := checkRecord(w, key); detail != "" {
		return detail, nil
	}
	n := LinkNumber(w.Number)
	k := l.linkKey(recordCode(w, key))
	if e := set.store.entries.get(n); e.exists() && !recordHasKey(set.store.arena.read(e.ref()), &k) {
		return fmt.Sprintf("link number %d belongs to another code", n), nil
	}
	// Encoded anew the fields stand in order, which recordKey relies on.
	size := w.SizeVT()
	if size > recordBytesMax {
		return fmt.Sprintf("it has %d bytes, more than %d", size, recordBytesMax), nil
	}
	l.record = slices.Grow(l.record[:0], size)[:size]
	if _, err := w.MarshalToSizedBufferVT(l.record); err != nil {
		return "", fmt.Errorf("encode link %q: %w", key, err)
	}
	known := set.store.entries.get(n).exists() || set.store.owner(&k) != 0
	err = set.store.put(n, &k, l.record, w.Deleted, func() { l.admit(set, &k) })
	if err != nil {
		return "", err
	}
	return "", l.settle(set, w, &k, known)
}

// checkRecord says what keeps a decoded record from being stored.
func checkRecord(w *wire.Link, key []byte) string {
	switch {
	case w.Number == 0:
		return "it has no link number"
	case len(w.Code) == 0 || len(w.Code) > codeBytesMax:
		return fmt.Sprintf("its code has %d bytes, not 1 to %d", len(w.Code), codeBytesMax)
	case len(w.Domain) > domainBytesMax:
		return fmt.Sprintf("its domain has %d bytes, more than %d", len(w.Domain), domainBytesMax)
	case !keyMatches(key, w):
		return fmt.Sprintf("it contains link %q", w.Domain+"/"+w.Code)
	}
	return ""
}

func keyMatches(key []byte, w *wire.Link) bool {
	if w.Deleted && string(key) == RetiredKey(LinkNumber(w.Number)) {
		return true
	}
	at := len(w.Domain)
	return len(key) == at+1+len(w.Code) && string(key[:at]) == w.Domain && key[at] == '/' && string(key[at+1:]) == w.Code
}

// recordCode returns domain and code of a record that checkRecord has passed.
// They alias the key where it has them.
func recordCode(w *wire.Link, key []byte) (domain, code []byte) {
	if at := len(w.Domain); bytes.IndexByte(key, '/') >= 0 {
		return key[:at], key[at+1:]
	}
	return []byte(w.Domain), []byte(w.Code)
}

// settle brings everything around the store in line with a record that was
// put there.
func (l *Links) settle(set *linkSet, w *wire.Link, k *linkKey, known bool) error {
	if w.Domain != "" {
		set.domains.Store(true)
	}
	if l.programs.folds(w.Program) || set.store.folded != nil {
		folded := l.foldedKey(k)
		if !w.Deleted && l.programs.folds(w.Program) {
			if err := l.fold(set, LinkNumber(w.Number), &folded); err != nil {
				return err
			}
		}
		l.cache.Del(folded.hash)
	}
	if known { // a new link is in no cache, and Del waits in a queue
		l.cache.Del(k.hash)
	}
	if w.Deleted {
		set.freed++
	}
	if set.freed > max(filterKeysMin, l.Len()) {
		l.refilter(set)
	}
	return nil
}

// admit lets a key through the filter.
func (l *Links) admit(set *linkSet, k *linkKey) {
	if set.filter.Load().full() {
		l.refilter(set)
	}
	set.filter.Load().add(k.hash)
}

// fold makes a link findable by its folded key.
func (l *Links) fold(set *linkSet, n LinkNumber, folded *linkKey) error {
	if err := set.store.fold(n, folded); err != nil {
		return err
	}
	if !set.filter.Load().has(folded.hash) {
		l.admit(set, folded)
	}
	return nil
}

// refilter replaces the filter by one for the keys that resolve today, with
// room for as many again.
func (l *Links) refilter(set *linkSet) {
	keys := int(set.store.live.Load())
	if set.store.folded != nil {
		keys *= 2
	}
	filter := newLinkFilter(2 * keys)
	l.each(set, func(n LinkNumber, record []byte) error {
		domain, code := recordKey(record)
		k := l.linkKey(domain, code)
		filter.add(k.hash)
		if set.store.folded != nil && l.recordFolds(record) {
			folded := l.foldedKey(&k)
			filter.add(folded.hash)
		}
		return nil
	})
	set.freed = 0
	set.filter.Store(filter)
	l.metrics.refilters.Inc()
}

// each calls visit with every live link in the order of creation, for the
// writer. The record is valid during the call.
func (l *Links) each(set *linkSet, visit func(n LinkNumber, record []byte) error) error {
	s := set.store
	last := uint64(s.last.Load())
	for n := s.entries.from(1); n <= last; n = s.entries.from(n + 1) {
		if e := s.entries.get(LinkNumber(n)); e.live() {
			if err := visit(LinkNumber(n), s.arena.read(e.ref())); err != nil {
				return err
			}
		}
	}
	return nil
}

// ByNumber returns a link by its number, also one that was deleted, since its
// click ids stay good; nil if the number was never seen.
func (l *Links) ByNumber(n LinkNumber) *Prepared {
	record, e := l.set.Load().store.read(nil, n)
	if !e.exists() {
		return nil
	}
	return l.prepared(record)
}

// Get returns a link by its exact key; false if there is none.
func (l *Links) Get(domain, code string) (Link, bool) {
	k := l.linkKey([]byte(domain), []byte(code))
	record, n, _ := l.set.Load().store.lookup(&k)
	if n == 0 {
		return Link{}, false
	}
	return LinkFromWire(decodeRecord(record)), true
}

// Retired returns the deleted link that had a key last; nil if the key resolves
// or was never used.
func (l *Links) Retired(domain, code string) *wire.Link {
	k := l.linkKey([]byte(domain), []byte(code))
	record := l.set.Load().store.lookupDead(&k)
	if record == nil {
		return nil
	}
	return decodeRecord(record)
}

// Occupant returns the link that keeps another one from having the code of
// link: the one with the same key, or, in a programme with case-insensitive
// codes, another of such a programme whose code differs in case only.
func (l *Links) Occupant(link *Link) (Link, bool) {
	if taken, ok := l.Get(link.Domain, link.Code); ok {
		return taken, true
	}
	if !l.programs.folds(link.Program) {
		return Link{}, false
	}
	k := l.linkKey([]byte(link.Domain), []byte(link.Code))
	folded := l.foldedKey(&k)
	record, n, _ := l.set.Load().store.lookupFolded(&folded, l.recordFolds)
	if n == 0 {
		return Link{}, false
	}
	return LinkFromWire(decodeRecord(record)), true
}

// listScan bounds the links that one call of List looks at, some 30 ms of work.
const listScan = 100_000

// List returns links with numbers above after, in the order of creation, that
// match accepts (nil: all). It ends with limit links, or after a bounded
// number of candidates, so a page may be short or empty with more to come:
// next is where to go on, 0 at the end. match must not keep its argument.
func (l *Links) List(after LinkNumber, limit int, match func(*wire.Link) bool) (links []Link, next LinkNumber) {
	s := l.set.Load().store
	last := uint64(s.last.Load())
	var record []byte
	var w wire.Link
	n := s.entries.from(uint64(after) + 1)
	for seen := 0; n <= last && seen < listScan && len(links) < limit; n = s.entries.from(n + 1) {
		seen++
		var e storeEntry
		if record, e = s.read(record[:0], LinkNumber(n)); !e.live() {
			continue
		}
		w.Reset()
		if err := w.UnmarshalVTUnsafe(record); err != nil {
			panic("BUG: decode a stored link: " + err.Error())
		}
		if match == nil || match(&w) {
			links = append(links, LinkFromWire(decodeRecord(bytes.Clone(record))))
		}
	}
	if n > last {
		return links, 0
	}
	return links, LinkNumber(n - 1)
}

// Len is the number of links that resolve.
func (l *Links) Len() int { return int(l.set.Load().store.live.Load()) }

// MaxNumber is the highest link number seen, 0 for none.
func (l *Links) MaxNumber() LinkNumber { return LinkNumber(l.set.Load().store.last.Load()) }

// Offset is the offset of the next record of waymark.links to apply.
func (l *Links) Offset() int64 { return l.set.Load().next.Load() }

// decodeRecord decodes a stored record, which the link keeps.
func decodeRecord(record []byte) *wire.Link {
	w := new(wire.Link)
	if err := w.UnmarshalVTUnsafe(record); err != nil {
		panic("BUG: decode a stored link: " + err.Error())
	}
	return w
}
