package tracker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"waymark/tracker/wire"
)

func TestStoreEntry(t *testing.T) {
	at := newRecordRef(1<<entryChunkBits-1, chunkBytes-1)
	e := newStoreEntry(at, true, 1<<23-1)
	if e != 1<<64-1 || e.ref() != at || !e.dead() || e.live() || e.version() != 1<<23-1 {
		t.Fatalf("%x: ref %x, dead %v, version %d", e, e.ref(), e.dead(), e.version())
	}
	if at.chunk() != 1<<18-1 || at.offset() != 1<<22-1 {
		t.Fatalf("chunk %d, offset %d", at.chunk(), at.offset())
	}
	if wrapped := newStoreEntry(0, false, e.version()+1); wrapped.version() != 1 || !wrapped.live() {
		t.Fatalf("after the last version comes %d", wrapped.version())
	}
}

func TestEntryTableTakesAnyNumber(t *testing.T) {
	var table entryTable
	for _, n := range []LinkNumber{0, 1, 1<<16 - 1, 1 << 16, 1<<32 - 1} {
		if table.get(n) != 0 {
			t.Fatalf("entry %d is not empty", n)
		}
		table.set(n, storeEntry(n)+1)
		if table.get(n) != storeEntry(n)+1 {
			t.Fatalf("entry %d is %x", n, table.get(n))
		}
	}
}

// TestStoreCompacts changes links until many times the memory has been
// written, and asks that half of what is held is current and all of it right.
func TestStoreCompacts(t *testing.T) {
	const links, changes = 2000, 60_000
	b := newLinksBench(t)
	random := rand.New(rand.NewPCG(1, 2))
	version := make([]uint64, links+1)
	for change := range changes {
		n := 1 + random.IntN(links)
		if change < links {
			n = change + 1
		}
		version[n]++
		b.log = nil
		value, _ := (&wire.Link{
			Number: uint32(n), Code: fmt.Sprint("c", n), UpdatedAtMs: version[n], Deleted: n%100 == 0,
			Url: strings.Repeat("u", random.IntN(2000)),
		}).MarshalVT()
		if err := b.Apply(fmt.Appendf(nil, "/c%d", n), value, int64(change)); err != nil {
			t.Fatal(err)
		}
	}
	store := b.set.Load().store
	var used, live, mapped int
	for _, c := range store.arena.chunks {
		if c != nil {
			used += c.used
			live += c.live
			mapped += len(c.memory.bytes)
		}
	}
	if int64(used) != store.arena.used.Load() || int64(live) != store.arena.live.Load() {
		t.Errorf("the sums are %d and %d, the chunks have %d and %d", store.arena.used.Load(), store.arena.live.Load(), used, live)
	}
	// All chunks but the open one are at least half current.
	if mapped > 2*live+2*chunkBytes {
		t.Errorf("%d bytes mapped for %d that are current", mapped, live)
	}
	size := 0
	for n := 1; n <= links; n++ {
		p := b.ByNumber(LinkNumber(n))
		if p == nil || p.Link.UpdatedAtMs != version[n] {
			t.Fatalf("link %d is %v, want version %d", n, p, version[n])
		}
		size += p.Link.SizeVT() + recordPrefixBytes
		if found := resolved(b.Links, "", fmt.Sprint("c", n)); found != LinkNumber(n) && n%100 != 0 || found != 0 && n%100 == 0 {
			t.Fatalf("c%d resolves to %d", n, found)
		}
	}
	if size != live {
		t.Errorf("%d bytes count as current, the links have %d", live, size)
	}
}

// A moved record stays the same link: what was prepared from it stays hot.
func TestCompactionKeepsVersions(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "hot"})
	b.wantResolved("", "hot", 1)
	store := b.set.Load().store
	before := store.entries.get(1)
	for n := uint32(2); store.entries.get(1).ref() == before.ref(); n++ {
		if n > 1_000_000 {
			t.Fatal("the record was never moved")
		}
		b.apply(&wire.Link{Number: 2, Code: "cold", Url: strings.Repeat("u", 1000)})
		b.log = b.log[:len(b.log):len(b.log)]
	}
	if after := store.entries.get(1); after.version() != before.version() {
		t.Fatalf("version %d became %d", before.version(), after.version())
	}
	if p, how := b.resolve(nil, []byte("hot")); p == nil || how != resolvedCache {
		t.Fatalf("resolved in way %d", how)
	}
}
