//go:build race

package tracker

import "syscall"

// receive and send for the race detector, which takes what was written before a
// byte was sent as written before it was received, but knows of package
// syscall's calls only.
func receive(fd uintptr, b []byte) (int, syscall.Errno) { return retried(syscall.Read, fd, b) }

func send(fd uintptr, b []byte) (int, syscall.Errno) { return retried(syscall.Write, fd, b) }

func retried(call func(int, []byte) (int, error), fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, err := call(int(fd), b)
		if err == nil {
			return n, 0
		}
		if errno := err.(syscall.Errno); errno != syscall.EINTR {
			return 0, errno
		}
	}
}
