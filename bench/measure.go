package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"waymark/loadtest"
)

// turn is what a contestant did with some load.
type turn struct {
	cpuMicros float64 // CPU time of the server a request, everything settled
	rate      float64 // answers a second
	p50, p99, p999,
	max float64 // milliseconds from when a click was due
	generator float64 // share of the time that the generator was busy
}

// drive sends requests to a contestant, and waits until everything that they left
// behind is done: what a server puts off is part of its price.
func (a *arena) drive(ctx context.Context, c *contestant, targets loadtest.Targets, o loadtest.Options) (turn, error) {
	before, err := cpuTime(c.pid)
	if err != nil {
		return turn{}, err
	}
	generating, err := cpuTime(os.Getpid())
	if err != nil {
		return turn{}, err
	}
	result, err := a.send(ctx, targets, o)
	if err != nil {
		return turn{}, fmt.Errorf("send requests to %s: %w", c.name, err)
	}
	generated, err := cpuTime(os.Getpid())
	if err != nil {
		return turn{}, err
	}
	clicks := result.Kinds[click]
	if result.Status[302] != clicks.Answered {
		return turn{}, fmt.Errorf("%s answered %d clicks, not each with 302: %v", c.name, clicks.Answered, result.Status)
	}
	if c.took != nil {
		c.took(clicks.Answered)
	}
	if c.settle != nil {
		if err := c.settle(ctx); err != nil {
			return turn{}, fmt.Errorf("settle %s: %w", c.name, err)
		}
	}
	after, err := cpuTime(c.pid)
	if err != nil {
		return turn{}, err
	}
	return turn{
		cpuMicros: float64((after - before).Nanoseconds()) / 1000 / float64(result.Answered),
		rate:      result.Rate,
		p50:       clicks.LatencyMS.P50, p99: clicks.LatencyMS.P99, p999: clicks.LatencyMS.P999, max: clicks.LatencyMS.Max,
		generator: (generated - generating).Seconds() / result.Seconds,
	}, nil
}

// send sends requests, each of which must be answered.
func (a *arena) send(ctx context.Context, targets loadtest.Targets, o loadtest.Options) (*loadtest.Result, error) {
	o.Connections, o.Threads, o.Timeout = a.Conns, 1, 30*time.Second
	run, err := loadtest.NewTargets(o, targets)
	if err != nil {
		return nil, err
	}
	result, err := run.Do(ctx)
	if err != nil {
		return nil, err
	}
	if result.Answered != result.Due {
		return nil, fmt.Errorf("%d of %d requests were answered: %v", result.Answered, result.Due, result.Failures)
	}
	return result, nil
}

// saturate has all requests due at once, so that each connection sends the next
// as soon as it has the answer: the rate is then what the server can do.
func saturate(requests int) loadtest.Options {
	return loadtest.Options{Rate: 1e7, Requests: uint64(requests), Seed: 1}
}

// pace has requests due at a constant rate, whether the server keeps up or not.
func pace(rate float64, d time.Duration) loadtest.Options {
	return loadtest.Options{Rate: rate, Duration: d, Seed: 2}
}
