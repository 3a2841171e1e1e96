package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCPUTime compares the clock of a process with what getrusage says of it.
func TestCPUTime(t *testing.T) {
	usage := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for began := usage(); usage()-began < 50*time.Millisecond; {
	}
	before := usage()
	got, err := cpuTime(os.Getpid())
	after := usage()
	// getrusage may lag a tick of the scheduler behind.
	if err != nil || got < before-20*time.Millisecond || got > after+20*time.Millisecond {
		t.Errorf("%v of CPU time, getrusage says %v to %v: %v", got, before, after, err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := cpuTime(gone.Process.Pid); err == nil {
		t.Error("a process that is gone has a CPU time")
	}
}

func TestMemoryOf(t *testing.T) {
	m, err := memoryOf(os.Getpid())
	if err != nil || m.resident < 1<<20 || m.anonymous <= 0 || m.anonymous > m.resident {
		t.Errorf("%+v: %v", m, err)
	}
}

// TestServerIsPinned asks a child where it may run.
func TestServerIsPinned(t *testing.T) {
	c, err := shareCores()
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(start func(string, ...string) (*exec.Cmd, error)) string {
		file := t.TempDir() + "/allowed"
		command, err := start("sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f2 >"+file)
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Wait(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(content))
	}
	server, other := allowed(c.startServer), allowed(startProcess)
	if c.pinned && (strings.ContainsAny(server, ",-") || server == other) {
		t.Errorf("the server runs on %s, others on %s", server, other)
	}
}
