package fault

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// BrokerFault is what a broker does wrong. Error, Delay and Close may be
// combined.
type BrokerFault struct {
	// Keys are the kinds of request by the protocol's names, such as
	// "produce", "fetch", "offset_commit" or "metadata"; none means all.
	Keys []string
	// Error is answered in place of carrying a request out, by the protocol's
	// name, such as "NOT_LEADER_FOR_PARTITION". REQUEST_TIMED_OUT for a write and
	// NOT_ENOUGH_REPLICAS_AFTER_APPEND are answered after it was carried out, as
	// a real broker may.
	Error string
	// Delay is how long a request waits before it is carried out. The others
	// of its connection wait behind it.
	Delay time.Duration
	// Close ends the connection in place of an answer: CloseBefore or CloseAfter
	// the request is carried out. CloseKill kills the broker's process after it
	// instead.
	Close string
	// Share of the requests that are hit, above 0 to 1; 0 means all.
	Share float64
	// Seed of the choice.
	Seed uint64
}

// The values of BrokerFault.Close. CloseAfter is the classic source of doubles:
// the write has happened, and nobody was told.
const (
	CloseBefore = "before"
	CloseAfter  = "after"
	CloseKill   = "kill"
)

// brokerStopPatience is from SIGTERM to SIGKILL.
const brokerStopPatience = 30 * time.Second

// Broker is a durable Kafka broker in a process of its own, which ends with
// this one. Its methods may be called from several goroutines, but those that
// start and end the process one at a time.
type Broker struct {
	exe, dir, advertise string
	log                 io.Writer

	mu      sync.Mutex
	listen  string // where the last process listened
	control string // where it takes orders
	process *os.Process
	stdin   io.Closer
	exited  chan struct{}
}

// StartBroker starts a broker that listens on listen (host:port; port 0 takes a
// free one and keeps it) with its data in dir, and waits until it answers or ctx
// ends. exe is a program that calls ServeBroker when its first argument is
// "fault-broker"; log gets what the process has to say.
func StartBroker(ctx context.Context, exe, listen, dir string, log io.Writer) (*Broker, error) {
	return StartBrokerBehind(ctx, exe, listen, "", dir, log)
}

// StartBrokerBehind is StartBroker with another address (host:port) for clients
// to be sent to: that of a Pipe in front of it. "" is its own.
func StartBrokerBehind(ctx context.Context, exe, listen, advertise, dir string, log io.Writer) (*Broker, error) {
	b := &Broker{exe: exe, listen: listen, advertise: advertise, dir: dir, log: log}
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Addr is the host:port that it listens on.
func (b *Broker) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.listen
}

// Kill ends the process with SIGKILL and returns when it is gone. It may be gone
// already.
func (b *Broker) Kill() error { return b.end(syscall.SIGKILL, brokerStopPatience) }

// Stop ends the process with SIGTERM and returns when it is gone. A broker that
// takes longer than half a minute is killed, and that is the error.
func (b *Broker) Stop() error { return b.end(syscall.SIGTERM, brokerStopPatience) }

// Restart starts the broker again with the same address and directory, and
// without faults, and waits until it answers or ctx ends. One that still runs is
// killed first.
func (b *Broker) Restart(ctx context.Context) error {
	if err := b.Kill(); err != nil {
		return err
	}
	return b.start(ctx)
}

// Exited is closed when the present process has ended.
func (b *Broker) Exited() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exited
}

// Inject makes the broker do something wrong until lift is called or the broker
// is started anew. Faults add up: each that a request matches hits it.
func (b *Broker) Inject(f BrokerFault) (lift func(), err error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("inject a fault: %w", err)
	}
	id, err := b.order(http.MethodPost, "/faults", body)
	if err != nil {
		return nil, fmt.Errorf("inject a fault: %w", err)
	}
	return func() {
		// Where it fails, the process is gone, and the fault with it.
		_, _ = b.order(http.MethodDelete, "/faults/"+id, nil)
	}, nil
}

// Struck is how many requests faults have hit since the broker was started: a
// fault that hit nothing has proved nothing.
func (b *Broker) Struck() (int, error) {
	text, err := b.order(http.MethodGet, "/struck", nil)
	if err != nil {
		return 0, fmt.Errorf("ask what faults have hit: %w", err)
	}
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		return 0, fmt.Errorf("ask what faults have hit: %w", err)
	}
	return n, nil
}

// order sends a request to the control listener and returns the answer.
func (b *Broker) order(method, path string, body []byte) (string, error) {
	b.mu.Lock()
	url := "http://" + b.control + path
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	answer := strings.TrimSpace(string(text))
	if response.StatusCode != http.StatusOK {
		return "", errors.New(answer)
	}
	return answer, nil
}

// start starts a process and waits for its first line, which says where it
// listens.
func (b *Broker) start(ctx context.Context) error {
	cmd := exec.Command(b.exe, brokerCommand, "--listen", b.Addr(), "--advertise", b.advertise, "--dir", b.dir, "--control", "127.0.0.1:0")
	cmd.Stderr = b.log
	// In a group of its own, so that an interrupt at the terminal is not news
	// that it has before this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe() // its end tells the child that this process is gone
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	ready, exited := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(exited)
		reader := bufio.NewReader(stdout)
		if line, err := reader.ReadString('\n'); err == nil {
			ready <- line
		}
		_, _ = io.Copy(io.Discard, reader)
		_ = cmd.Wait() // how it ended is the caller's doing
	}()
	b.mu.Lock()
	b.process, b.stdin, b.exited = cmd.Process, stdin, exited
	b.mu.Unlock()
	select {
	case line := <-ready:
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, err := fmt.Sscan(line, &b.listen, &b.control); err != nil {
			return fmt.Errorf("read where the broker listens from %q: %w", line, err)
		}
		return nil
	case <-exited:
		return fmt.Errorf("start the broker on %s: it ended at once; its log says why", b.Addr())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("wait for the broker on %s: %w", b.Addr(), ctx.Err()), b.Kill())
	}
}

// end sends a signal and waits for the process to be gone.
func (b *Broker) end(signal os.Signal, patience time.Duration) error {
	b.mu.Lock()
	process, stdin, exited := b.process, b.stdin, b.exited
	b.mu.Unlock()
	defer stdin.Close()
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal the broker: %w", err)
	}
	select {
	case <-exited:
		return nil
	case <-time.After(patience):
	}
	_ = process.Kill()
	<-exited
	return fmt.Errorf("stop the broker: %v after %s it still ran and was killed", patience, signal)
}
