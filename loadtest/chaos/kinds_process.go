package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// Faults of whole processes. Each is down for up to two seconds, sometimes not
// at all, and is not waited for: the next fault may meet it while it starts.
var processKinds = []*kind{
	ends("edge-kill", "kill -9 of an edge", inParts, anEdge, (*part).killed),
	ends("edge-term", "SIGTERM to an edge in mid-flight", inParts, anEdge, (*part).stop),
	ends("ingest-kill", "kill -9 of ingest", inParts, firstIngest, (*part).killed),
	ends("ingest-term", "SIGTERM to ingest in mid-flight", inParts, firstIngest, (*part).stop),
	ends("engine-kill", "kill -9 of ClickHouse", inParts, theEngine, (*part).killed),
	ends("engine-term", "SIGTERM to ClickHouse in mid-flight", inParts, theEngine, (*part).stop),
	ends("admin-kill", "kill -9 of the admin while it writes links", inParts, theAdmin, (*part).killed),
	ends("admin-term", "SIGTERM to the admin while it writes links", inParts, theAdmin, (*part).stop),
	ends("up-kill", "kill -9 of `waymark up`, with all that is in it", inUp, theUp, (*part).killed),
	ends("up-term", "SIGTERM to `waymark up` in mid-flight", inUp, theUp, (*part).stop),
	{
		name: "up-engine-kill", on: inUp, what: "kill -9 of the engine that is a child of `waymark up`",
		draw: func(r *round, _ *rand.Rand) action {
			return action{detail: "its child", holds: []string{r.up.name}, do: func(context.Context) error {
				return r.signalEngine(syscall.SIGKILL)
			}}
		},
	},
	{
		name: "up-engine-freeze", on: inUp, what: "the engine that is a child of `waymark up` hangs for 1 to 4 s (SIGSTOP)",
		draw: func(r *round, random *rand.Rand) action {
			d := between(random, time.Second, 4*time.Second)
			return action{detail: fmt.Sprint("for ", rounded(d)), holds: []string{r.up.name}, do: func(ctx context.Context) error {
				if err := r.signalEngine(syscall.SIGSTOP); err != nil {
					return err
				}
				return errors.Join(pause(ctx, d), r.signalEngine(syscall.SIGCONT))
			}}
		},
	},
	{
		name: "ingest-second", on: inParts, what: "a second ingest joins and leaves, by SIGTERM, kill -9 or not at all: partitions move",
		draw: drawSecondIngest,
	},
}

func anEdge(d *deployment, random *rand.Rand) *part { return pick(random, d.edges).part }
func firstIngest(d *deployment, _ *rand.Rand) *part { return d.ingests[0] }
func theEngine(d *deployment, _ *rand.Rand) *part   { return d.engine }
func theAdmin(d *deployment, _ *rand.Rand) *part    { return d.admin }
func theUp(d *deployment, _ *rand.Rand) *part       { return d.up }
func (p *part) killed() error                       { p.kill(); return nil }

// ends is a kind that ends a process in some way and starts it again.
func ends(name, what string, on []topology, which func(*deployment, *rand.Rand) *part, end func(*part) error) *kind {
	return &kind{name: name, what: what, on: on, draw: func(r *round, random *rand.Rand) action {
		p, away := which(r.deployment, random), between(random, 0, 2*time.Second)
		if random.IntN(3) == 0 {
			away = 0
		}
		return action{
			detail: fmt.Sprintf("%s, back after %v", p.name, rounded(away)), holds: []string{p.name},
			do: func(ctx context.Context) error {
				if err := end(p); err != nil {
					return err
				}
				return errors.Join(pause(ctx, away), p.start())
			},
		}
	}}
}

func drawSecondIngest(r *round, random *rand.Rand) action {
	second, stays := r.ingests[1], between(random, 500*time.Millisecond, 4*time.Second)
	end := []struct {
		how string
		do  func() error
	}{
		{"SIGTERM", second.stop}, {"kill -9", second.killed}, {"stays", func() error { return nil }},
	}[random.IntN(3)]
	return action{
		detail: fmt.Sprintf("%s after %v", end.how, rounded(stays)), holds: []string{second.name},
		do: func(ctx context.Context) error {
			if err := second.start(); err != nil {
				return err
			}
			if err := pause(ctx, stays); err != nil {
				return err
			}
			return end.do()
		},
	}
}

// signalEngine sends a signal to the engine inside of `up`. When `up` is down,
// or its engine, there is nobody to hurt.
func (d *deployment) signalEngine(s syscall.Signal) error {
	parent := d.up.pid()
	if parent == 0 {
		return nil
	}
	pids, err := children(parent)
	for _, pid := range pids {
		if killed := syscall.Kill(pid, s); killed != nil && !errors.Is(killed, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("send %v to the engine: %w", s, killed))
		}
	}
	return err
}
