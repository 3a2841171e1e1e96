package tracker

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLinkIndex compares the index with a map of lists, with hashes that
// collide and that lie at the end of the table, where walks wrap around.
func TestLinkIndex(t *testing.T) {
	for seed := range uint64(10) {
		index, err := newLinkIndex(0)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		model := map[uint64][]LinkNumber{}
		for n := LinkNumber(1); n <= 3000; n++ {
			hash := random.Uint64()
			switch n % 3 {
			case 0:
				hash = random.Uint64N(500) << 32
			case 1:
				hash |= 0xfffff << 44
			}
			if index.full() {
				if index, err = index.grown(); err != nil {
					t.Fatal(err)
				}
			}
			index.insert(hash, n)
			model[hash>>32] = append(model[hash>>32], n)
			if n%10 == 0 {
				old := model[hash>>32][0]
				index.replace(hash, old, n+1<<20)
				model[hash>>32][0] = n + 1<<20
			}
		}
		for tag, want := range model {
			var got []LinkNumber
			found := index.find(tag<<32|random.Uint64N(1<<32), func(n LinkNumber) bool {
				got = append(got, n)
				return false
			})
			slices.Sort(got)
			slices.Sort(want)
			if found != 0 || !slices.Equal(got, want) {
				t.Fatalf("tag %x has %v, want %v", tag, got, want)
			}
			if first := index.find(tag<<32, func(n LinkNumber) bool { return n == want[0] }); first != want[0] {
				t.Fatalf("find of %d gives %d", want[0], first)
			}
		}
	}
}
