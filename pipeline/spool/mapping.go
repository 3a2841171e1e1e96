package spool

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is a file in memory: a header, the ring's bytes, and behind them the first mirrorBytes of the ring once more, so that
// a frame across the end is one contiguous slice and needs no second copy loop. Only as much is mirrored as the longest frame
// needs; the whole ring twice would double the resident size that operators see.
//
//	file     │ header │ ring ………………………………… │
//	memory   │ header │ ring ………………………………… │ ring[:mirrorBytes] │
type mapping struct {
	base  unsafe.Pointer
	total uintptr
	bytes []byte
}

// mirrorBytes and ringHeaderBytes are multiples of every page size in use (arm64 kernels go up to 64 KiB).
const (
	ringHeaderBytes = 64 << 10
	mirrorBytes     = FrameBytesMax
)

// mapFile maps f, whose space must be reserved: a page that the file system can't provide later is a SIGBUS, not an error.
// Every page is faulted in now, because the hot path should not pay for it.
func mapFile(f *os.File, ringBytes int64) (*mapping, error) {
	total := uintptr(ringHeaderBytes + ringBytes + mirrorBytes)
	base, err := unix.MmapPtr(-1, 0, nil, total, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", total, err)
	}
	m := &mapping{base: base, total: total, bytes: unsafe.Slice((*byte)(base), total)}
	place := func(at, length int64, fileOffset int64) error {
		_, err := unix.MmapPtr(int(f.Fd()), fileOffset, unsafe.Add(base, at), uintptr(length),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_POPULATE)
		return err
	}
	err = place(0, ringHeaderBytes+ringBytes, 0)
	if err == nil {
		err = place(ringHeaderBytes+ringBytes, mirrorBytes, ringHeaderBytes)
	}
	if err != nil {
		m.unmap()
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return m, nil
}

func (m *mapping) unmap() {
	_ = unix.MunmapPtr(m.base, m.total) // fails for a wrong address only
	m.bytes = nil
}

// word is a 64-bit word of the header that survives the process: it is stored with one instruction, so kill -9 leaves the old
// or the new value.
func (m *mapping) word(offset int) *uint64 { return (*uint64)(unsafe.Pointer(&m.bytes[offset])) }
