package tracker

import (
	"math/bits"
	"sync/atomic"

	"github.com/bits-and-blooms/bloom/v3"
)

// linkFilter is the bloom filter of all keys that resolve: a code that nobody
// made is turned away here 98 times in 100.
//
// The seven bits of a key lie in one cache line. Spread over the whole filter
// they would let one unknown code less in a hundred pass, and cost seven
// misses of the processor's cache instead of one, for every key of a start
// from ten million.
//
// It is read while it is written. The library's Add and Test would race, and a
// lock would be shared by every request of every core, so bits are set and
// tested here, atomically, in the words of the library's filter.
type linkFilter struct {
	bloom *bloom.BloomFilter
	words []uint64
	keys  int // added; used by the writer only
	room  int // keys it was made for
}

const (
	filterBitsPerKey = 10
	filterHashes     = 7 // bits per key · ln 2
	filterKeysMin    = 1 << 12
	filterBlockWords = 8 // 64 bytes
)

// newLinkFilter makes an empty filter for n keys.
func newLinkFilter(n int) *linkFilter {
	n = max(n, filterKeysMin)
	blocks := uint(n*filterBitsPerKey)/(filterBlockWords*64) + 1
	library := bloom.New(blocks*filterBlockWords*64, filterHashes)
	return &linkFilter{bloom: library, words: library.BitSet().Words(), room: n}
}

// block is the cache line of a hash; by multiplication, as a division takes
// longer than the rest.
func (f *linkFilter) block(hash uint64) []uint64 {
	at, _ := bits.Mul64(hash, uint64(len(f.words)/filterBlockWords))
	return f.words[at*filterBlockWords:][:filterBlockWords]
}

// filterBits spreads a hash, whose upper bits have chosen the block, over seven
// times nine bits. The constant is 2^64 divided by the golden ratio.
func filterBits(hash uint64) uint64 {
	return bits.ReverseBytes64(hash*0x9e3779b97f4a7c15) * 0x9e3779b97f4a7c15
}

// has reports whether a key with this hash may have been added.
func (f *linkFilter) has(hash uint64) bool {
	block, at := f.block(hash), filterBits(hash)
	for range filterHashes {
		if atomic.LoadUint64(&block[at>>6&7])&(1<<(at&63)) == 0 {
			return false
		}
		at >>= 9
	}
	return true
}

// add is called by one goroutine at a time.
func (f *linkFilter) add(hash uint64) {
	block, at := f.block(hash), filterBits(hash)
	for range filterHashes {
		atomic.OrUint64(&block[at>>6&7], 1<<(at&63))
		at >>= 9
	}
	f.keys++
}

// full reports that another key would make false positives more frequent than
// planned.
func (f *linkFilter) full() bool { return f.keys >= f.room }
