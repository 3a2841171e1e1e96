package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// standsBy has the test binary do nothing, as a child of TestStepBack.
const standsBy = "WAYMARK_TEST_STANDS_BY"

func TestStandsBy(t *testing.T) {
	if os.Getenv(standsBy) == "" {
		t.Skip("is a child of TestStepBack")
	}
	time.Sleep(time.Minute)
}

// TestStepBack asks the kernel about every thread of a Go program, which has
// several.
func TestStepBack(t *testing.T) {
	t.Setenv(standsBy, "yes")
	child, err := startProcess(os.Args[0], "-test.run=^TestStandsBy$")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	tasks := fmt.Sprintf("/proc/%d/task", child.Process.Pid)
	if err := eventually(t.Context(), func() error {
		if threads, err := os.ReadDir(tasks); err != nil || len(threads) < 2 {
			return fmt.Errorf("%d threads: %v", len(threads), err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := stepBack(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir(tasks)
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		if attr, err := unix.SchedGetAttr(id, 0); err != nil || attr.Policy != unix.SCHED_IDLE {
			t.Errorf("thread %d has %+v, not the policy for idle times: %v", id, attr, err)
		}
	}
}
