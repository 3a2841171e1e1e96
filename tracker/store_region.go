package tracker

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// region is memory outside the Go heap. Ten million links on the heap would
// make the collector allow as much again in garbage before it runs; out here
// they cost what they are, and pages never touched cost nothing.
//
// free gives the memory back at once and is for owners that know that nobody
// reads it any more. A region that is merely dropped goes with the next
// collection.
type region struct {
	bytes   []byte
	cleanup runtime.Cleanup
}

// newRegion reserves size zeroed bytes.
func newRegion(size int) (*region, error) {
	bytes, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of memory for links: %w", size, err)
	}
	return ownRegion(bytes), nil
}

// mapRegion maps size bytes of a file, read-only. offset is a multiple of the
// page size. A file that is cut short while it is mapped kills the process, so
// only files that are replaced by renaming are mapped.
func mapRegion(f *os.File, offset int64, size int) (*region, error) {
	bytes, err := unix.Mmap(int(f.Fd()), offset, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of %s: %w", size, f.Name(), err)
	}
	return ownRegion(bytes), nil
}

func ownRegion(bytes []byte) *region {
	r := &region{bytes: bytes}
	r.cleanup = runtime.AddCleanup(r, unmapRegion, bytes)
	return r
}

func (r *region) free() {
	r.cleanup.Stop()
	unmapRegion(r.bytes)
	r.bytes = nil
}

func unmapRegion(bytes []byte) {
	if err := unix.Munmap(bytes); err != nil {
		panic("BUG: unmap a region of links: " + err.Error())
	}
}
