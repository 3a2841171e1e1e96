package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"waymark/loadtest/fault"
)

// Faults of the broker, and of the way to it.
var brokerKinds = []*kind{
	{name: "broker-kill", on: inParts, what: "kill -9 of the broker while it writes", draw: func(r *round, random *rand.Rand) action {
		return r.brokerGone(r.broker.Kill, "kill -9", between(random, 0, time.Second))
	}},
	{name: "broker-kill-acking", on: inParts, what: "the broker dies after a write and before its answer", draw: drawKillAcking},
	{name: "broker-away", on: inParts, what: "the broker is stopped for 1 to 5 s", draw: func(r *round, random *rand.Rand) action {
		return r.brokerGone(r.broker.Stop, "SIGTERM", between(random, time.Second, 5*time.Second))
	}},
	{name: "broker-away-long", on: inParts, rare: 40, what: "the broker is stopped for 1 to 2 minutes", draw: func(r *round, random *rand.Rand) action {
		return r.brokerGone(r.broker.Stop, "SIGTERM", between(random, time.Minute, 2*time.Minute))
	}},
	{name: "broker-errors", on: inParts, what: "the broker answers a share of the requests with errors", draw: drawBrokerErrors},
	{name: "broker-slow", on: inParts, what: "the broker takes its time over a share of the requests", draw: func(r *round, random *rand.Rand) action {
		f := fault.BrokerFault{Delay: between(random, 20*time.Millisecond, 800*time.Millisecond), Share: 0.1 + 0.4*random.Float64(), Seed: random.Uint64()}
		return r.brokerFault(f, fmt.Sprintf("%v for %.0f %%", rounded(f.Delay), 100*f.Share), random)
	}},
	{name: "broker-cut-before", on: inParts, what: "the broker closes connections in place of carrying requests out", draw: func(r *round, random *rand.Rand) action {
		return r.brokerCut(fault.CloseBefore, random)
	}},
	{name: "broker-cut-after", on: inParts, what: "the broker carries requests out and closes the connection in place of answering", draw: func(r *round, random *rand.Rand) action {
		return r.brokerCut(fault.CloseAfter, random)
	}},
	{name: "kafka-stalls", on: inParts, what: "no byte flows to and from the broker for 1 to 5 s; connections stay", draw: func(r *round, random *rand.Rand) action {
		d := between(random, time.Second, 5*time.Second)
		return r.wayToBroker(fmt.Sprint("for ", rounded(d)), d, func() { r.kafkaPipe.Stall(true) }, func() { r.kafkaPipe.Stall(false) })
	}},
	{name: "kafka-cuts", on: inParts, what: "connections to the broker are cut in mid-request, again and again", draw: func(r *round, random *rand.Rand) action {
		d, bytes := between(random, time.Second, 3*time.Second), 500+random.Int64N(40_000)
		return r.wayToBroker(fmt.Sprintf("after %d bytes, for %v", bytes, rounded(d)), d,
			func() { r.kafkaPipe.CutAfter(bytes) }, func() { r.kafkaPipe.CutAfter(-1) })
	}},
}

// brokerGone ends the broker and starts it again on the same data.
func (r *round) brokerGone(end func() error, how string, away time.Duration) action {
	return action{
		detail: fmt.Sprintf("%s, back after %v", how, rounded(away)), holds: []string{"broker"}, lasts: away,
		do: func(ctx context.Context) error {
			if err := end(); err != nil {
				return err
			}
			return errors.Join(pause(ctx, away), r.broker.Restart(ctx))
		},
	}
}

// brokerFault makes the broker misbehave for a while.
func (r *round) brokerFault(f fault.BrokerFault, detail string, random *rand.Rand) action {
	d := between(random, 500*time.Millisecond, 3*time.Second)
	return action{
		detail: fmt.Sprintf("%s, for %v", detail, rounded(d)), holds: []string{"broker"},
		do: func(ctx context.Context) error {
			lift, err := r.broker.Inject(f)
			if err != nil {
				return err
			}
			defer lift()
			return pause(ctx, d)
		},
	}
}

func (r *round) brokerCut(when string, random *rand.Rand) action {
	f := fault.BrokerFault{Close: when, Share: 0.05 + 0.5*random.Float64(), Seed: random.Uint64()}
	if random.IntN(2) == 0 {
		f.Keys = []string{pick(random, []string{"produce", "fetch", "offset_commit", "heartbeat"})}
	}
	return r.brokerFault(f, fmt.Sprintf("%.0f %% of %s", 100*f.Share, named(f.Keys)), random)
}

func named(keys []string) string {
	if len(keys) == 0 {
		return "all"
	}
	return fmt.Sprint(keys)
}

// brokerErrors are what a broker in trouble says, by what it is asked.
var brokerErrors = map[string][]string{
	"produce":       {"NOT_LEADER_FOR_PARTITION", "REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "KAFKA_STORAGE_ERROR"},
	"fetch":         {"NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "KAFKA_STORAGE_ERROR"},
	"offset_commit": {"COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "REQUEST_TIMED_OUT"},
	"offset_fetch":  {"COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS"},
	"heartbeat":     {"REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID", "COORDINATOR_NOT_AVAILABLE"},
}

func drawBrokerErrors(r *round, random *rand.Rand) action {
	key := pick(random, []string{"produce", "fetch", "offset_commit", "offset_fetch", "heartbeat"})
	f := fault.BrokerFault{Keys: []string{key}, Error: pick(random, brokerErrors[key]), Share: 0.1 + 0.9*random.Float64(), Seed: random.Uint64()}
	return r.brokerFault(f, fmt.Sprintf("%s to %.0f %% of %s", f.Error, 100*f.Share, key), random)
}

// drawKillAcking kills the broker at the moment at which the writer can't know
// whether its request was carried out.
func drawKillAcking(r *round, random *rand.Rand) action {
	key := pick(random, []string{"produce", "offset_commit"})
	f := fault.BrokerFault{Keys: []string{key}, Close: fault.CloseKill, Share: 0.2, Seed: random.Uint64()}
	return action{detail: key, holds: []string{"broker"}, do: func(ctx context.Context) error {
		lift, err := r.broker.Inject(f)
		if err != nil {
			return err
		}
		select {
		case <-r.broker.Exited():
		case <-time.After(5 * time.Second): // nobody asked
		case <-ctx.Done():
		}
		lift()
		return r.broker.Restart(ctx)
	}}
}

func (r *round) wayToBroker(detail string, d time.Duration, begin, end func()) action {
	return action{detail: detail, holds: []string{"broker"}, do: func(ctx context.Context) error {
		begin()
		defer end()
		return pause(ctx, d)
	}}
}
