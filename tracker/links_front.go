package tracker

import (
	"math/rand/v2"
	"sync/atomic"
)

// front has the hottest entries of the cache, a pointer a slot and one slot a
// hash: what is found here costs neither the filter, nor the locks of the cache
// and its book-keeping of each access, which took as long as all the rest of a
// lookup. What is displaced is still in the cache. It pins at most frontSlots
// links, some ten megabytes, beyond the cache's bound.
//
// It is for exact keys, whose owner cannot change without the version of its
// entry. Of a folded key the owner can, when an older link comes to claim it,
// and a Resolve that began before might put the former one back.
//
// It is safe for concurrent use.
type front [frontSlots]atomic.Pointer[hotLink]

const (
	frontBits  = 13
	frontSlots = 1 << frontBits

	// frontPasses is how many visits of a link the front answers until one goes
	// through the cache, which learns from it which links are hot. The cache
	// compares links by their visits, so it may see a sample.
	frontPasses = 15
)

// get returns what the slot of a hash has, or nil; and nil now and then.
func (f *front) get(hash uint64) *hotLink {
	hot := f.slot(hash).Load()
	if hot == nil || hot.hash != hash || rand.Uint32()%(frontPasses+1) == 0 {
		return nil
	}
	return hot
}

func (f *front) put(hot *hotLink) {
	if slot := f.slot(hot.hash); slot.Load() != hot { // a store would take the cache line from the other cores
		slot.Store(hot)
	}
}

func (f *front) slot(hash uint64) *atomic.Pointer[hotLink] { return &f[hash>>(64-frontBits)] }
