//go:build !race

package tracker

import (
	"syscall"
	"unsafe"
)

// receive and send move as much as they can without waiting. RawSyscall6 is
// for such calls alone: while one waited, its processor would do nothing else.
func receive(fd uintptr, b []byte) (int, syscall.Errno) {
	return transferCall(syscall.SYS_RECVFROM, fd, b, syscall.MSG_DONTWAIT)
}

func send(fd uintptr, b []byte) (int, syscall.Errno) {
	return transferCall(syscall.SYS_SENDTO, fd, b, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

func transferCall(number, fd uintptr, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
