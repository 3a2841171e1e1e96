package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"time"

	"waymark/loadtest/fault"
)

// Faults of an edge's identity: its address, its spool, its clock.
var edgeKinds = []*kind{
	{
		name: "edge-moves", on: inParts, what: "an edge ends, by SIGTERM or kill -9, and starts on the same spool on another port",
		draw: drawMove,
	},
	{
		name: "twin", on: inBoth, what: "another process on the same spool (an edge) or data directory (`up`): refused with one line, the first undisturbed",
		draw: drawTwin,
	},
	{
		name: "clock-back", on: inParts, what: "an edge's clock jumps back by up to 5 s, stays there, and jumps forward again",
		draw: drawClock,
	},
}

func drawMove(r *round, random *rand.Rand) action {
	e, how, end := pick(random, r.edges), "SIGTERM", (*part).stop
	if random.IntN(2) == 0 {
		how, end = "kill -9", (*part).killed
	}
	return action{detail: e.name + ", " + how, holds: []string{e.name}, do: func(context.Context) error {
		if err := end(e.part); err != nil {
			return err
		}
		e.current = 1 - e.current
		return e.start()
	}}
}

func drawTwin(r *round, random *rand.Rand) action {
	e := pick(random, r.edges)
	return action{detail: e.name, holds: []string{e.name}, do: func(ctx context.Context) error {
		// Only beside one that has its locks is the other a twin.
		if err := await(ctx, e.name, patience, e.isReady); err != nil {
			return err
		}
		first := e.pid()
		if err := r.refusesTwin(ctx, e); err != nil {
			return err
		}
		if e.pid() != first {
			return fmt.Errorf("%s had process %d and after its twin %d", e.name, first, e.pid())
		}
		return await(ctx, e.name+" after its twin", patience, e.isReady)
	}}
}

var informed = regexp.MustCompile(`(?m)^\S+ \S+ INFO .*\n`)

// refusesTwin starts the same again, on other ports, and expects exit code 1 and
// one line that says why.
func (d *deployment) refusesTwin(ctx context.Context, e *edge) error {
	args := e.args()
	for i, arg := range args {
		switch arg {
		case "--listen", "--admin", "--metrics", "--clickhouse-listen", "--kafka-listen":
			args[i+1] = "127.0.0.1:0"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	twin := exec.CommandContext(ctx, d.waymark, args...)
	twin.Env = append(cleanEnvironment(), e.env...)
	said, err := twin.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		return fmt.Errorf("a twin of %s ended with %v, expected exit code 1; it said %s", e.name, err, said)
	}
	// What is going well may be logged before.
	if lines := len(bytes.Split(bytes.TrimSpace(informed.ReplaceAll(said, nil)), []byte{'\n'})); lines != 1 {
		return fmt.Errorf("a twin of %s said %d lines, expected one: %s", e.name, lines, said)
	}
	return nil
}

func drawClock(r *round, random *rand.Rand) action {
	e, back := r.edges[1], between(random, 100*time.Millisecond, 5*time.Second)
	stays, kill := between(random, 200*time.Millisecond, 2*time.Second), random.IntN(2) == 0
	detail := fmt.Sprintf("%s, by %v for %v", e.name, rounded(back), rounded(stays))
	if kill {
		detail += ", killed meanwhile"
	}
	return action{detail: detail, holds: []string{e.name}, do: func(ctx context.Context) error {
		if e.clock == "" {
			return errors.New("there is no binary whose clock can be moved: give --clock-binary, or leave the fault out with --faults")
		}
		if err := fault.SetClock(e.clock, -back); err != nil {
			return err
		}
		err := pause(ctx, stays/2)
		if kill { // what comes after must not be before what was
			e.kill()
			err = errors.Join(err, e.start())
		}
		return errors.Join(err, pause(ctx, stays/2), fault.SetClock(e.clock, 0))
	}}
}
