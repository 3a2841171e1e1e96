package main

import (
	"context"
	"fmt"
	"time"

	"waymark/loadtest"
)

// turn is what a contestant did with some load.
type turn struct {
	cpuMicros float64 // CPU time of the server a request, everything settled
	rate      float64 // answers a second
	p50, p99, p999,
	max float64 // milliseconds from when a request was due
}

// drive sends clicks to a contestant, and waits until everything that they left
// behind is done: what a server puts off is part of its price.
func (a *arena) drive(ctx context.Context, c *contestant, clicks loadtest.Targets, o loadtest.Options) (turn, error) {
	before, err := cpuTime(c.pid)
	if err != nil {
		return turn{}, err
	}
	result, err := a.send(ctx, clicks, o)
	if err != nil {
		return turn{}, fmt.Errorf("send requests to %s: %w", c.name, err)
	}
	if result.Status[302] != result.Answered {
		return turn{}, fmt.Errorf("%s answered a click with something else than 302: %v", c.name, result.Status)
	}
	if c.took != nil {
		c.took(result.Answered)
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
		p50:       result.LatencyMS.P50, p99: result.LatencyMS.P99, p999: result.LatencyMS.P999, max: result.LatencyMS.Max,
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
