package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
	"unique"

	"waymark/tracker/wire"
)

// clickAbout is what an action takes over from the click that it belongs to:
// whatever describes a link.
type clickAbout struct {
	program, campaign, channel, code, domain string
	referrerID, referrerType, refereeType    string
	link                                     uint32
}

// describe writes it into an event.
func (a *clickAbout) describe(e *wire.Event) {
	e.Campaign, e.Channel, e.Link, e.Code, e.Domain = a.campaign, a.channel, a.link, a.code, a.domain
	e.ReferrerId, e.ReferrerType, e.RefereeType = a.referrerID, a.referrerType, a.refereeType
}

func aboutOf(e *wire.Event) unique.Handle[clickAbout] {
	return unique.Make(clickAbout{
		program: e.Program, campaign: e.Campaign, channel: e.Channel, code: e.Code, domain: e.Domain,
		referrerID: e.ReferrerId, referrerType: e.ReferrerType, refereeType: e.RefereeType, link: e.Link,
	})
}

// importedClick is a click as actions need it.
type importedClick struct {
	about    unique.Handle[clickAbout]
	timeMS   uint64
	sequence uint16
	visitor  uint64
}

// clickKey is what an id is hashed to.
type clickKey [16]byte

// hashClickID returns the key that an imported click is remembered by, and the
// sequence that it gets. A hit's identity is (time, node, sequence), and an
// imported one has no node: node 0 keeps it apart from all others. What is left
// to tell those of one millisecond apart is 16 bits, so two of them may share
// an identity; an action of one then shows the country and browser of either.
// Nothing is counted by it: repeats are told by id.
func hashClickID(id string) (clickKey, uint16) {
	sum := sha256.Sum256([]byte(id))
	return clickKey(sum[:16]), binary.BigEndian.Uint16(sum[16:])
}

// How much an import remembers, in entries of some 50 bytes each. Beyond it the
// oldest half is forgotten: an id is then looked up in ClickHouse, the last
// touch of a visitor is left to the views, and a repeat is taken for news.
const (
	importedClicksMax = 4 << 20
	importedRowsMax   = 8 << 20
)

// importMemory is what later rows need to know of earlier ones. It depends on
// the rows alone, so that an import that goes on where it was rebuilds it by
// reading the rows again.
type importMemory struct {
	byID      cache[clickKey, importedClick]
	byVisitor cache[uint64, importedClick] // the last valid one
	counted   cache[visitedLink, uint64]   // time of the last that was no repeat
	rows      cache[[12]byte, uint32]      // of rows without an id, how often they came
}

// visitedLink is a visitor and a link or, where none is known, what describes
// it.
type visitedLink struct {
	visitor uint64
	about   unique.Handle[clickAbout]
}

func newImportMemory() *importMemory {
	return &importMemory{
		byID:      newCache[clickKey, importedClick](importedClicksMax),
		byVisitor: newCache[uint64, importedClick](importedClicksMax),
		counted:   newCache[visitedLink, uint64](importedClicksMax),
		rows:      newCache[[12]byte, uint32](importedRowsMax),
	}
}

// occurrence counts rows that are the same.
func (m *importMemory) occurrence(digest [12]byte) uint32 {
	times, _ := m.rows.get(digest)
	times++
	m.rows.put(digest, times)
	return times
}

// isRepeat does what tracker.Visitor.Click does for a cookie: a click within
// the window of the last one on the link that counted is a repeat of it.
func (m *importMemory) isRepeat(click importedClick, window time.Duration) bool {
	key := visitedLink{click.visitor, click.about}
	if counted, ok := m.counted.get(key); ok && max(counted, click.timeMS)-min(counted, click.timeMS) < uint64(window.Milliseconds()) {
		return true
	}
	m.counted.put(key, click.timeMS)
	return false
}

// remember keeps a click. Of a visitor's clicks it keeps the last.
func (m *importMemory) remember(key clickKey, click importedClick, valid bool) {
	m.byID.put(key, click)
	if !valid || click.visitor == 0 {
		return
	}
	if last, ok := m.byVisitor.get(click.visitor); !ok || last.timeMS <= click.timeMS {
		m.byVisitor.put(click.visitor, click)
	}
}

func (m *importMemory) knows(id string) bool {
	key, _ := hashClickID(id)
	_, known := m.byID.get(key)
	return known
}

// recall keeps a click of an earlier import.
func (m *importMemory) recall(id string, hit *wire.Event) {
	key, _ := hashClickID(id)
	m.byID.put(key, importedClick{about: aboutOf(hit), timeMS: hit.TimeMs, sequence: uint16(hit.Sequence), visitor: hit.VisitorId})
}
