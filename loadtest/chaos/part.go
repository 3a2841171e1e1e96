package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"sync"
	"syscall"
	"time"
)

const (
	// patience is how long anything may take that is waited for. It is long,
	// because on a busy machine it decides nothing but when to give up.
	patience = 2 * time.Minute
	// stopPatience is the bound of ten seconds for a stop, and what a busy machine
	// adds to it.
	stopPatience = 30 * time.Second
	// signalsTaken is by when a process that was started surely handles signals.
	signalsTaken = 3 * time.Second
)

// part is one process of an installation, through all its lives.
type part struct {
	name   string
	binary string
	args   func() []string
	env    []string
	log    string
	ready  func() string // URL that answers 200 when it is of use

	mu      sync.Mutex
	process *process // of the latest life, nil before the first
	started time.Time
	wanted  bool // it should be alive
	idle    bool // it may be stopped at the end of a round: it is not always part of the installation
}

// start begins a life. It does not wait until the part is of use.
func (p *part) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil && p.process.alive() {
		return nil
	}
	process, err := startProcess(p.binary, p.args(), p.env, p.log)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.process, p.started, p.wanted = process, time.Now(), true
	return nil
}

// kill is kill -9.
func (p *part) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted = false; p.process != nil {
		p.process.kill()
	}
}

// stop is SIGTERM and what has to follow: an end in order.
func (p *part) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = false
	if p.process == nil || !p.process.alive() {
		return nil
	}
	if err := p.process.signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.process.wait(stopPatience)
	if code < 0 && time.Since(p.started) < signalsTaken {
		return err // it had not come to the point where it takes signals
	}
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if err != nil {
		return fmt.Errorf("stop %s in order: %w", p.name, err)
	}
	return nil
}

// pid is that of the present life.
func (p *part) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || !p.process.alive() {
		return 0
	}
	return p.process.pid()
}

// failed says that the part ended although nobody ended it.
func (p *part) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted && !p.process.alive() {
		return fmt.Errorf("%s ended by itself: %v", p.name, p.process.err)
	}
	return nil
}

// isReady asks the part whether it is of use.
func (p *part) isReady(ctx context.Context) error {
	if err := p.failed(); err != nil {
		return err
	}
	answer, err := get(ctx, p.ready())
	if err != nil {
		return fmt.Errorf("%s is not ready: %w", p.name, err)
	}
	if answer.status != http.StatusOK {
		return fmt.Errorf("%s is not ready: %d %.300s", p.name, answer.status, answer.body)
	}
	return nil
}

// logSize is a place in the log from which to search later.
func (p *part) logSize() int64 {
	info, err := os.Stat(p.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logged returns what the part has logged since the log had so many bytes and
// matches.
func (p *part) logged(since int64, pattern *regexp.Regexp) []string {
	content, err := os.ReadFile(p.log)
	if err != nil || int64(len(content)) < since {
		return nil
	}
	return pattern.FindAllString(string(content[since:]), -1)
}

// await repeats a question until its answer is nil, and returns the last answer
// when patience ends.
func await(ctx context.Context, what string, limit time.Duration, ask func(context.Context) error) error {
	deadline := time.Now().Add(limit)
	for {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ask(asking)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("wait %v for %s: %w", limit, what, err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
