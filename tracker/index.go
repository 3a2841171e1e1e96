package tracker

import (
	"math/bits"
	"unsafe"
)

// linkIndex finds link numbers by the hash of a key. It is an open-addressing
// table of eight-byte slots, the upper half of the hash and the number, so
// that neither the change of a link nor the move of its record touches it. A
// slot's place follows from those 32 bits alone; growing is a copy in order
// and reads no record. Whoever finds a number compares the key itself.
//
// It is read under linkStore's lock.
type linkIndex struct {
	memory *region
	slots  []uint64 // hash tag << 32 | number; 0 is empty, as numbers start at 1
	used   int
}

const indexSlotsMin = 1024

// newLinkIndex makes an index with room for n numbers before it grows.
func newLinkIndex(n int) (*linkIndex, error) {
	slots := max(indexSlotsMin, n+n/2)
	memory, err := newRegion(slots * 8)
	if err != nil {
		return nil, err
	}
	return &linkIndex{memory: memory, slots: unsafe.Slice((*uint64)(unsafe.Pointer(&memory.bytes[0])), slots)}, nil
}

// home is the first slot to try for a hash. It grows with the tag, which lets
// grow copy slots in order.
func (x *linkIndex) home(hash uint64) int {
	high, _ := bits.Mul64(hash&^0xffffffff, uint64(len(x.slots)))
	return int(high)
}

// find returns the first number with that hash which match accepts, else 0.
func (x *linkIndex) find(hash uint64, match func(LinkNumber) bool) LinkNumber {
	for at := x.home(hash); x.slots[at] != 0; at = x.after(at) {
		if (x.slots[at]^hash)>>32 == 0 && match(LinkNumber(x.slots[at])) {
			return LinkNumber(x.slots[at])
		}
	}
	return 0
}

func (x *linkIndex) after(at int) int {
	if at++; at == len(x.slots) {
		return 0
	}
	return at
}

// insert adds a number that the index does not hold under this hash. The index
// must not be full.
func (x *linkIndex) insert(hash uint64, n LinkNumber) {
	at := x.home(hash)
	for x.slots[at] != 0 {
		at = x.after(at)
	}
	x.slots[at] = hash&^0xffffffff | uint64(n)
	x.used++
}

// replace puts one number in the place of another.
func (x *linkIndex) replace(hash uint64, old, n LinkNumber) {
	for at := x.home(hash); x.slots[at] != 0; at = x.after(at) {
		if x.slots[at] == hash&^0xffffffff|uint64(old) {
			x.slots[at] = hash&^0xffffffff | uint64(n)
			return
		}
	}
	panic("BUG: replace a link number that is not in the index")
}

// full reports that the index must grow before the next insert: at four fifths
// the walks get long.
func (x *linkIndex) full() bool { return x.used*5 >= len(x.slots)*4 }

// grown returns a copy with twice the room.
func (x *linkIndex) grown() (*linkIndex, error) {
	larger, err := newLinkIndex(len(x.slots) * 4 / 3)
	if err != nil {
		return nil, err
	}
	for _, slot := range x.slots {
		if slot != 0 {
			larger.insert(slot, LinkNumber(slot))
		}
	}
	return larger, nil
}
