package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func shell(t *testing.T, script string) *part {
	p := &part{name: "shell", binary: "/bin/sh", args: func() []string { return []string{"-c", script} }, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(p.kill)
	return p
}

// ready waits until a part has said so.
func ready(t *testing.T, p *part, since int64) {
	t.Helper()
	if err := await(t.Context(), "the script", patience, func(context.Context) error {
		if len(p.logged(since, regexp.MustCompile("(?m)^ready$"))) == 0 {
			return os.ErrNotExist
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPartEndsAsItShould(t *testing.T) {
	p := shell(t, `trap 'echo stopping; exit 0' TERM; echo ready; while :; do sleep 0.01; done`)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	ready(t, p, 0)
	first := p.pid()
	if err := p.start(); err != nil || p.pid() != first {
		t.Errorf("started twice: %v, process %d after %d", err, p.pid(), first)
	}
	if err := p.stop(); err != nil || p.pid() != 0 || p.failed() != nil {
		t.Errorf("stop: %v, process %d, %v", err, p.pid(), p.failed())
	}
	size := p.logSize()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	ready(t, p, size)
	p.kill()
	if p.pid() != 0 || p.failed() != nil {
		t.Errorf("killed: process %d, %v", p.pid(), p.failed())
	}
}

func TestPartThatEndsByItself(t *testing.T) {
	p := shell(t, `echo ready; read line; exit 3`) // there is nothing to read
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	<-p.process.done
	if err := p.failed(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v, want exit status 3", err)
	}
}

func TestPartThatEndsInDisorder(t *testing.T) {
	p := shell(t, `trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done`)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	ready(t, p, 0)
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "exit code 4") {
		t.Errorf("%v, want exit code 4", err)
	}
}

func TestChildren(t *testing.T) {
	p := shell(t, `sleep 60 & echo ready; wait`)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	ready(t, p, 0)
	pids, err := children(p.pid())
	if err != nil || len(pids) != 1 {
		t.Fatalf("%v %v, want one", pids, err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
