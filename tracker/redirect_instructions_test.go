//go:build !race

package tracker

import (
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// instructions counts those that the process executes while run does, the
// kernel's left out. It skips the test where the processor's counter cannot be
// had, as in most virtual machines.
func instructions(t *testing.T, run func()) uint64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_HARDWARE, Config: unix.PERF_COUNT_HW_INSTRUCTIONS, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Bits: unix.PerfBitDisabled | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	counter, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		t.Skipf("no counter of instructions can be had here: %v", err)
	}
	defer unix.Close(counter)
	if err := unix.IoctlSetInt(counter, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		t.Skipf("no counter of instructions can be had here: %v", err)
	}
	run()
	if err := unix.IoctlSetInt(counter, unix.PERF_EVENT_IOC_DISABLE, 0); err != nil {
		t.Fatal(err)
	}
	var value [8]byte
	if _, err := unix.Read(counter, value[:]); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(value[:])
}

// TestRedirectInstructions bounds what a redirect takes above bare fasthttp,
// without the kernel, in a measure that does not depend on how busy the machine
// is.
func TestRedirectInstructions(t *testing.T) {
	const requests, ratioMax = 20_000, 2.5
	count := func(side timedSide) uint64 {
		serve := func(n int) {
			if err := side.server.ServeConn(&endlessConn{request: side.request, left: n}); err != nil {
				t.Fatal(err)
			}
		}
		serve(1000) // fills the pools and the cache
		return instructions(t, func() { serve(requests) }) / requests
	}
	sides := timedSides(t)
	bare, redirect := count(sides[0]), count(sides[1])
	t.Logf("%d instructions a request bare, %d with the redirect", bare, redirect)
	if float64(redirect) > ratioMax*float64(bare) {
		t.Errorf("a redirect takes %d instructions, more than %v times the %d of bare fasthttp", redirect, ratioMax, bare)
	}
}
