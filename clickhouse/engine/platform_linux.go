package engine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memoryFile makes a file that lives in memory and has no name.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("upload", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), "upload"), nil
}

// nullStdin puts /dev/null in the place of file descriptor 0.
func nullStdin() error {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if null == 0 {
		return nil
	}
	defer unix.Close(null)
	return unix.Dup3(null, 0, 0)
}

// sigaction is the kernel's struct, which is read and written back but never looked into. It is 32 bytes on amd64 and less
// elsewhere.
type sigaction [32]byte

// firstRealTimeSignal and those above it are left to the engine, which samples its threads' stacks with one of them.
const firstRealTimeSignal = 32

// keepSignals calls f and then puts back every signal handler that f has changed. The engine installs handlers for
// SIGSEGV and others when it boots, without SA_ONSTACK and without a thought for who was there: Go would lose its nil
// checks, its preemption and its orderly stop. chdb_set_signal_handlers_enabled is no way out: it resets them to the
// default, which ends the process at the first nil dereference. Between f's change and the return they are the engine's.
func keepSignals(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before [firstRealTimeSignal]sigaction
	for sig := 1; sig < firstRealTimeSignal; sig++ {
		rtSigaction(sig, nil, &before[sig])
	}
	f()
	for sig := 1; sig < firstRealTimeSignal; sig++ {
		var after sigaction
		rtSigaction(sig, nil, &after)
		if after != before[sig] {
			rtSigaction(sig, &before[sig], nil)
		}
	}
}

func rtSigaction(sig int, set, get *sigaction) {
	const maskBytes = 8
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), maskBytes, 0, 0)
}

// lockFile takes the lock of an open file, or fails at once when another process holds it.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// bindLife makes a child end with the thread that starts it, and keeps a terminal's Ctrl-C from it: a process group of its
// own leaves the order of stopping to the parent.
func bindLife(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
