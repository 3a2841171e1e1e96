package engine

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// supervise keeps an engine on dir alive by way of this test binary.
func supervise(t *testing.T, dir, listen string, change func(*SupervisorOptions)) (*Supervisor, error) {
	t.Helper()
	needEngine(t)
	options := SupervisorOptions{
		Args: []string{"engine"}, Address: listen, Stderr: new(lockedBuffer),
		Env: []string{childEnv + "=" + dir, childListenEnv + "=" + listen},
	}
	if change != nil {
		change(&options)
	}
	s, err := Supervise(t.Context(), options)
	if err == nil {
		t.Cleanup(s.Stop)
	}
	return s, err
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func TestSupervisorRestartsTheEngine(t *testing.T) {
	dir, listen := t.TempDir(), freePort(t)
	s, err := supervise(t, dir, listen, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{listen: listen, stderr: new(strings.Builder)}
	p.must(t, "CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n")
	p.must(t, "INSERT INTO t VALUES (7)")
	for starts := int64(2); starts <= 3; starts++ {
		syscall.Kill(s.PID(), syscall.SIGKILL)
		await(t, "another engine is ready", func() bool { return s.Starts() == starts && s.Ready() })
		if got := p.must(t, "SELECT n FROM t"); got != "7" {
			t.Errorf("after restart %d the table holds %q", starts-1, got)
		}
	}
	pid := s.PID()
	s.Stop()
	if s.Ready() || syscall.Kill(pid, 0) == nil {
		t.Error("the engine is still there after Stop")
	}
}

func TestSupervisorTellsWhyTheEngineDoesNotStart(t *testing.T) {
	dir, listen := t.TempDir(), freePort(t)
	taken, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	// Somebody else's server answers on the port, which must not be taken for the engine.
	go http.Serve(taken, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "Ok.\n") }))
	stderr := new(lockedBuffer)
	_, err = supervise(t, dir, listen, func(o *SupervisorOptions) { o.Stderr = stderr })
	if err == nil || !strings.Contains(err.Error(), "the port is taken") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v", err)
	}
	if stderr.Len() > 0 {
		t.Errorf("it was said twice: %s", stderr.String())
	}
	if _, err := supervise(t, dir, listen, func(o *SupervisorOptions) { o.Program = "/nothing/there" }); err == nil {
		t.Error("a program that does not exist was started")
	}
}

// The engine must not outlive the program that started it, even when that one has no chance to say goodbye.
func TestEngineDiesWithItsParent(t *testing.T) {
	needEngine(t)
	dir, listen := t.TempDir(), freePort(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+pidFile, childListenEnv+"="+listen, parentDirEnv+"="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	await(t, "the parent has its engine", func() bool {
		text, _ := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(string(text))
		return pid > 0
	})
	parent.Process.Kill()
	parent.Wait()
	await(t, "the engine is gone too", func() bool {
		// A process that nobody waits for stays as a zombie where init does not reap.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

// parentEnv makes the test binary supervise an engine on parentDirEnv and write the engine's process number to the file.
const (
	parentEnv    = "WAYMARK_TEST_PARENT_PIDFILE"
	parentDirEnv = "WAYMARK_TEST_PARENT_DIR"
)

func runParent(pidFile string) {
	s, err := Supervise(context.Background(), SupervisorOptions{
		Args: []string{"engine"}, Address: os.Getenv(childListenEnv), Env: []string{childEnv + "=" + os.Getenv(parentDirEnv)},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	next := pidFile + ".next"
	if err := os.WriteFile(next, []byte(strconv.Itoa(s.PID())), 0o644); err != nil {
		panic(err)
	}
	if err := os.Rename(next, pidFile); err != nil {
		panic(err)
	}
	time.Sleep(time.Hour)
}
