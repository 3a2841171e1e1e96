package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startProcess starts a child that dies with this process.
func startProcess(name string, args ...string) (*exec.Cmd, error) {
	command := exec.Command(name, args...)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return command, nil
}

// endProcess ends a child, softly at first.
func endProcess(process *exec.Cmd) {
	process.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(10*time.Second, func() { process.Process.Kill() })
	process.Wait()
	timer.Stop()
}

// cpuTime is the CPU time, user and system, that a process has used with all
// its threads, the ended ones included, to the nanosecond: /proc counts in
// ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	// The clock of another process: its number complemented, above three bits
	// of which 2 means what the scheduler has counted (clock_getcpuclockid(3)).
	clock := int32(^pid)<<3 | 2
	var spent unix.Timespec
	if err := unix.ClockGettime(clock, &spent); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// memory is what a process holds, in bytes: all that is resident, and of that
// what no file backs, which the kernel cannot take away.
type memory struct{ resident, anonymous, shared int64 }

func memoryOf(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	var m memory
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &m.resident, "RssAnon": &m.anonymous, "RssShmem": &m.shared}[name]
		if fields := strings.Fields(rest); to != nil && len(fields) > 0 {
			kib, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				return memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
			}
			*to = kib << 10
		}
	}
	return m, nil
}

// freeAddress is an address on the loopback that nobody listens on.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// eventually tries until there is no error, for a minute at most.
func eventually(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
