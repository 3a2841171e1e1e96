package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// cores says who runs where: the server that is measured has one core for
// itself, and everything else, the generator and the broker, shares the others.
// On a machine with one core nothing is pinned.
type cores struct {
	server, others unix.CPUSet
	pinned         bool
}

// shareCores looks at the cores that this process may use, and moves it to the
// others. Children inherit that.
func shareCores() (*cores, error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("ask for the cores of this process: %w", err)
	}
	c := &cores{others: all, pinned: all.Count() > 1}
	if !c.pinned {
		c.server = all
		return c, nil
	}
	for cpu := 0; c.server.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			c.server.Set(cpu)
			c.others.Clear(cpu)
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, fmt.Errorf("list the threads of this process: %w", err)
	}
	for _, task := range tasks { // those to come inherit it
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return nil, fmt.Errorf("list the threads of this process: %w", err)
		}
		if err := unix.SchedSetaffinity(id, &c.others); err != nil {
			return nil, fmt.Errorf("move this process to its cores: %w", err)
		}
	}
	runtime.GOMAXPROCS(c.others.Count())
	return c, nil
}

// startServer starts a child on the server's core.
func (c *cores) startServer(name string, args ...string) (*exec.Cmd, error) {
	// A child has the cores of the thread that forks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &c.server); err != nil {
		return nil, fmt.Errorf("pin %s to its core: %w", name, err)
	}
	defer unix.SchedSetaffinity(0, &c.others)
	return startProcess(name, args...)
}

func (c *cores) String() string {
	if !c.pinned {
		return "one core for everything, so latencies say little"
	}
	return fmt.Sprintf("server pinned to one core, generator and broker on the other %d", c.others.Count())
}

// stepBack has all threads of a child, and those to come, run only while nobody
// else wants their core. A low priority was rejected: the kernel lets a thread
// that has begun end its slice, some milliseconds, before a higher priority has
// the core back, and of these the generator would be late that often.
func stepBack(pid int) error {
	idle := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	done := map[string]bool{}
	for before := -1; len(done) > before; { // a thread may have started another one meanwhile
		before = len(done)
		entries, err := os.ReadDir(tasks)
		if err != nil {
			return fmt.Errorf("list the threads of process %d: %w", pid, err)
		}
		for _, entry := range entries {
			id, err := strconv.Atoi(entry.Name())
			if err != nil {
				return fmt.Errorf("list the threads of process %d: %w", pid, err)
			}
			if err := unix.SchedSetAttr(id, &idle, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("lower the priority of process %d: %w", pid, err)
			}
			done[entry.Name()] = true
		}
	}
	return nil
}
