package tracker

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"waymark/tracker/wire"
)

// TestResolveNeverStale holds Links to their word: once Apply has returned, no
// Resolve that begins gives an older link, although others put what they read
// before into the cache at any moment.
func TestResolveNeverStale(t *testing.T) {
	const links, readers, changes = 8, 4, 6_000
	b := newLinksBench(t)
	// applied is twice the last change that Apply returned for, plus one if it
	// was a deletion.
	var applied [links]atomic.Uint64
	var done atomic.Bool
	var group sync.WaitGroup
	for reader := range readers {
		group.Go(func() {
			for i := reader; !done.Load(); i++ {
				n := i % links
				before := applied[n].Load()
				p := b.Resolve(nil, fmt.Appendf(nil, "c%d", n))
				after := applied[n].Load()
				if p == nil {
					// Deleted then, or in the change that was under way.
					if before&1 == 0 && after == before && before != 0 && !deletesNext(before>>1) {
						t.Errorf("link %d did not resolve after change %d", n, before>>1)
					}
				} else if p.Link.UpdatedAtMs < before>>1 {
					t.Errorf("link %d is of change %d after change %d", n, p.Link.UpdatedAtMs, before>>1)
				} else if p.Link.UpdatedAtMs == before>>1 && before&1 == 1 {
					t.Errorf("link %d resolved after its deletion in change %d", n, before>>1)
				}
			}
		})
	}
	for change := uint64(1); change <= changes; change++ {
		n := change / 100 % links // the same one often, so that readers meet it
		deleted := deletesNext(change - 1)
		b.log = b.log[:0]
		value, _ := (&wire.Link{Number: uint32(n + 1), Code: fmt.Sprint("c", n), UpdatedAtMs: change, Deleted: deleted}).MarshalVT()
		if err := b.Apply(fmt.Appendf(nil, "/c%d", n), value, int64(change)); err != nil {
			t.Fatal(err)
		}
		state := change << 1
		if deleted {
			state++
		}
		applied[n].Store(state)
		if change%16 == 0 {
			runtime.Gosched()
		}
	}
	done.Store(true)
	group.Wait()
}

// deletesNext reports whether the change after this one deletes.
func deletesNext(change uint64) bool { return (change+1)%5 == 0 }

// TestLinksConcurrently lets everything run against everything, for the race
// detector.
func TestLinksConcurrently(t *testing.T) {
	b := newLinksBench(t)
	path := filepath.Join(t.TempDir(), "snapshot")
	var done atomic.Bool
	var group sync.WaitGroup
	for _, read := range []func(i int){
		func(i int) { b.Resolve([]byte("go.ex"), fmt.Appendf(nil, "C%d", i%3000)) },
		func(i int) { b.ByNumber(LinkNumber(i % 3000)) },
		func(i int) { b.List(LinkNumber(i%3000), 10, nil) },
		func(i int) { b.Get("", fmt.Sprint("c", i%3000)) },
		func(int) {
			if err := b.WriteSnapshot(path, [16]byte{}); err != nil {
				t.Error(err)
			}
		},
	} {
		group.Go(func() {
			for i := 0; !done.Load(); i++ {
				read(i)
			}
		})
	}
	for round := range 3 {
		for n := uint32(1); n <= 3000; n++ {
			link := &wire.Link{Number: n, Code: fmt.Sprint("c", n), Url: string(make([]byte, 1000)), Program: "wedding", Deleted: round == 2 && n%2 == 0}
			if n%7 == 0 {
				link.Domain = "go.ex"
			}
			b.apply(link)
		}
		p := foldingProgram("wedding")
		p.CaseInsensitive = round != 1
		b.program(p)
		fresh, err := b.Fresh()
		if err != nil {
			t.Fatal(err)
		}
		b.replay(fresh, 0)
		if err := b.Swap(fresh); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	group.Wait()
	b.wantResolved("", "C1", 1)
	b.wantResolved("", "C2", 0)
}
