package tracker

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

func TestLinkFilter(t *testing.T) {
	const keys = 100_000
	random := rand.New(rand.NewPCG(3, 4))
	filter := newLinkFilter(keys)
	added := make([]uint64, keys)
	for i := range added {
		if filter.full() {
			t.Fatalf("full after %d keys", i)
		}
		added[i] = random.Uint64()
		filter.add(added[i])
	}
	if !filter.full() {
		t.Fatal("not full")
	}
	for _, hash := range added {
		if !filter.has(hash) {
			t.Fatalf("%x was added and is not there", hash)
		}
	}
	passed := 0
	for range keys {
		hash := random.Uint64()
		has := filter.has(hash)
		if has {
			passed++
		}
		// The library, on the same bits, must say the same.
		block, _ := bits.Mul64(hash, uint64(filter.bloom.Cap()/512))
		var locations []uint64
		for i := range filterHashes {
			locations = append(locations, block*512+filterBits(hash)>>(9*i)&511)
		}
		if filter.bloom.TestLocations(locations) != has {
			t.Fatalf("the library differs at %v", locations)
		}
	}
	// A block has a Poisson number of keys, 51.2 in the mean; with i keys a bit
	// is set with the probability 1-(511/512)^7i. Five standard deviations.
	expected, weight := 0.0, math.Exp(-51.2)
	for i := 1.0; i < 200; i++ {
		weight *= 51.2 / i
		expected += weight * keys * math.Pow(1-math.Pow(511.0/512, 7*i), 7)
	}
	if math.Abs(float64(passed)-expected) > 5*math.Sqrt(expected) || expected > 0.012*keys {
		t.Errorf("%d of %d unknown keys pass, expected %.0f", passed, keys, expected)
	}
}

// The filter of a table that was filled and half emptied is as good as new.
func TestFilterIsRebuilt(t *testing.T) {
	b := newLinksBench(t)
	applyMany(b, 1, 20_000, false)
	if filter := b.set.Load().filter.Load(); filter.room < 20_000 {
		t.Fatalf("the filter has room for %d", filter.room)
	}
	applyMany(b, 1, 19_000, true)
	passed := 0
	for n := 1; n <= 19_000; n++ {
		if _, how := b.resolve(nil, []byte(manyCode(uint32(n)))); how != resolvedFiltered {
			passed++
		}
	}
	// The last few thousand deletions are below the threshold.
	if passed > 2*filterKeysMin {
		t.Errorf("%d of 19000 deleted codes pass the filter", passed)
	}
	for n := 19_001; n <= 20_000; n++ {
		if resolved(b.Links, "", manyCode(uint32(n))) != LinkNumber(n) {
			t.Fatalf("link %d is gone", n)
		}
	}
}
