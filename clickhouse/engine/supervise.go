package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// instanceEnv names the child, which repeats it in a header: so the supervisor knows that the answer on the port is
	// its own child's and not that of a server that was there before.
	instanceEnv    = "WAYMARK_ENGINE_INSTANCE"
	instanceHeader = "X-Waymark-Engine-Instance"

	backoffMin = 100 * time.Millisecond
	backoffMax = 10 * time.Second
	// healthyAfter is how long a child must live for the back-off to begin anew.
	healthyAfter = time.Minute
	pingEvery    = 20 * time.Millisecond
	pingTimeout  = 2 * time.Second
)

// instance is what the supervisor called this process, "" when it has none.
var instance = sync.OnceValue(func() string { return os.Getenv(instanceEnv) })

// SupervisorOptions of Supervise. Args and Address are required.
type SupervisorOptions struct {
	Program string   // default: this program
	Args    []string // that make it call Serve, without the program's name. No passwords: every user of the machine sees them
	Env     []string // added to the environment of this process

	Address   string        // host:port of the child's HTTP interface
	StartWait time.Duration // how long the first child may take to answer, default 60 s: a large log is repaired first
	StopWait  time.Duration // from SIGTERM to SIGKILL, default 8 s

	Stderr io.Writer // of the child once it is ready, default os.Stderr
	Logger *slog.Logger
}

// Supervisor keeps an engine alive in a child process.
type Supervisor struct {
	options SupervisorOptions
	cancel  context.CancelFunc
	done    chan struct{}
	ready   atomic.Bool
	starts  atomic.Int64
	process atomic.Int64 // of the child, 0 before there is one
}

// Supervise starts the engine in a child process and returns once it answers. If the child ends before that, the error is
// the last line it wrote to standard error, or that it took longer than StartWait.
//
// Later the child is started again whenever it ends, after a pause that grows from 100 ms to 10 s while it keeps ending
// young, until ctx ends or Stop is called. The child is killed when this process ends, however it ends.
func Supervise(ctx context.Context, options SupervisorOptions) (*Supervisor, error) {
	if options.Program == "" {
		program, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the program to start the engine with: %w", err)
		}
		options.Program = program
	}
	setDefault(&options.StartWait, 60*time.Second)
	setDefault(&options.StopWait, 8*time.Second)
	if options.Stderr == nil {
		options.Stderr = os.Stderr
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Supervisor{options: options, cancel: cancel, done: make(chan struct{})}
	first := s.start(ctx)
	if err := s.awaitFirst(ctx, first); err != nil {
		cancel()
		<-first.ended
		return nil, err
	}
	go s.loop(ctx, first)
	return s, nil
}

// Ready tells whether the child answers, as far as is known.
func (s *Supervisor) Ready() bool { return s.ready.Load() }

// Starts is how many children there have been.
func (s *Supervisor) Starts() int64 { return s.starts.Load() }

// PID is the process of the latest child, 0 before there is one.
func (s *Supervisor) PID() int { return int(s.process.Load()) }

// Stop asks the child to stop, kills it after StopWait, and returns when it is gone. It may be called more than once.
func (s *Supervisor) Stop() {
	s.cancel()
	<-s.done
}

// awaitFirst waits for the first child to answer.
func (s *Supervisor) awaitFirst(ctx context.Context, c *child) error {
	timeout := time.NewTimer(s.options.StartWait)
	defer timeout.Stop()
	select {
	case <-c.answers:
		return nil
	case <-c.ended:
		if line := c.stderr.lastLine(); line != "" {
			return errors.New(line)
		}
		return fmt.Errorf("start the engine: %w", c.err)
	case <-timeout.C:
		return fmt.Errorf("start the engine: it did not answer on %s within %v", s.options.Address, s.options.StartWait)
	case <-ctx.Done():
		return fmt.Errorf("start the engine: %w", ctx.Err())
	}
}

// loop follows the child and starts another when it ends.
func (s *Supervisor) loop(ctx context.Context, c *child) {
	defer close(s.done)
	pause := backoffMin
	for {
		began := time.Now()
		s.follow(c)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > healthyAfter {
			pause = backoffMin
		}
		s.options.Logger.Error("engine ended and is started again", "err", c.err, "last_line", c.stderr.lastLine(), "pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, backoffMax)
		c = s.start(ctx)
	}
}

// follow keeps Ready while the child lives.
func (s *Supervisor) follow(c *child) {
	select {
	case <-c.answers:
		s.ready.Store(true)
		<-c.ended
	case <-c.ended:
	}
	s.ready.Store(false)
}

// child is one run of the engine.
type child struct {
	answers chan struct{} // closed once it answers
	ended   chan struct{} // closed once it is gone; err is set then
	err     error
	stderr  *errorTail
}

// start runs the program. The child lives until ctx ends: then it gets SIGTERM, and SIGKILL after StopWait.
func (s *Supervisor) start(ctx context.Context) *child {
	s.starts.Add(1)
	name := rand.Text()
	c := &child{answers: make(chan struct{}), ended: make(chan struct{}), stderr: &errorTail{to: s.options.Stderr}}
	cmd := exec.CommandContext(ctx, s.options.Program, s.options.Args...)
	cmd.Env = append(append(os.Environ(), s.options.Env...), instanceEnv+"="+name)
	cmd.Stderr = c.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = s.options.StopWait
	bindLife(cmd)
	go func() {
		defer close(c.ended)
		// The kernel kills the child when the thread that started it ends, not the process; so this thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if c.err = cmd.Start(); c.err != nil {
			return
		}
		s.process.Store(int64(cmd.Process.Pid))
		c.err = cmd.Wait()
		if c.err == nil {
			c.err = errors.New("it stopped by itself")
		}
	}()
	go s.ping(c, name)
	return c
}

// ping asks the child whether it is there until it is, or is gone.
func (s *Supervisor) ping(c *child, name string) {
	client := &http.Client{Timeout: pingTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		select {
		case <-c.ended:
			return
		case <-time.After(pingEvery):
		}
		response, err := client.Get("http://" + s.options.Address + "/ping")
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK && response.Header.Get(instanceHeader) == name {
			c.stderr.passOn()
			close(c.answers)
			return
		}
	}
}

// errorTail takes a child's standard error. Until the child is ready it holds the output back, so that why it could not start
// is said once; from then on it passes everything on. It always knows the last line.
type errorTail struct {
	mu      sync.Mutex
	to      io.Writer
	passing bool
	held    []byte // the last errorTailBytes
}

const errorTailBytes = 64 << 10

func (t *errorTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.passing {
		t.to.Write(p) // a parent whose own standard error is gone is no reason to stop the child
	}
	t.held = append(t.held, p...)
	t.held = t.held[max(0, len(t.held)-errorTailBytes):]
	return len(p), nil
}

func (t *errorTail) passOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passing = true
	t.to.Write(t.held)
}

func (t *errorTail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.held), []byte("\n"))
	return strings.TrimSpace(string(lines[len(lines)-1]))
}
