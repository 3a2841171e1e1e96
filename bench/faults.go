package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
)

// faultsCommand measures what a visitor feels of a Kafka that is in trouble.
type faultsCommand struct{ sceneFlags }

// faultsRingBytes is a ring that fills within a scene, so that segments are
// written in it. The one of the default takes a minute of outage.
const faultsRingBytes = "16777216"

// Run plays the faults. The edge has a quarter of the load that it can do: half
// of it keeps the generator's core busy for 95 % of the time, and what other
// processes there do during a fault would be taken for the edge's doing.
func (o faultsCommand) Run(ctx context.Context) error {
	cores, err := shareCores()
	if err != nil {
		return err
	}
	a, err := openArena(ctx, o.arenaFlags, cores, "--spool-ring-bytes", faultsRingBytes)
	if err != nil {
		return err
	}
	defer a.close()
	engine, err := a.startIngest(ctx)
	if err != nil {
		return err
	}
	defer engine.close()
	signal := func(s syscall.Signal) func(context.Context) (func() error, error) {
		return func(context.Context) (func() error, error) { return nil, syscall.Kill(engine.pid(), s) }
	}
	scenes := []scene{
		{name: "nothing", begin: func(context.Context) (func() error, error) { return nil, nil }},
		{name: "Kafka acknowledges " + slowAck.String() + " late", begin: a.slowKafka},
		{name: "Kafka is away, the ring overflows", begin: a.killKafka},
		{name: "Kafka is back, the backlog is shipped", begin: a.reviveKafka, joined: true},
		{name: "ClickHouse does not answer", begin: signal(syscall.SIGSTOP)},
		{name: "ClickHouse answers, ingest catches up", begin: signal(syscall.SIGCONT), joined: true},
	}
	note := "After each round all clicks were in Kafka, to the click."
	if o.Rate == 0 {
		note = "The load is a quarter of what the edge can do. " + note
	}
	takes, err := o.play(ctx, a, 0.25, scenes)
	if err != nil {
		return err
	}
	return o.report("faults", "Redirects never wait", note, cores.String(), scenes, takes).publish(o.Results, os.Stdout)
}

// startIngest starts a ClickHouse and an ingest, which like the broker step back
// behind the generator. They are on the way of no redirect, but on its machine.
func (a *arena) startIngest(ctx context.Context) (*engineProcess, error) {
	engine, err := startEngine(ctx, a.Binary, a.dir)
	if err != nil {
		return nil, err
	}
	url := strings.Replace(engine.url, "://", "://waymark:"+engine.password+"@", 1)
	ingest, err := a.start(a.Binary, "ingest", "--data", a.data(), "--kafka", a.brokerAt, "--clickhouse", url)
	if err == nil {
		err = errors.Join(stepBack(engine.pid()), stepBack(ingest.Process.Pid))
	}
	if err != nil {
		engine.close()
		return nil, err
	}
	return engine, nil
}

func (a *arena) slowKafka(context.Context) (func() error, error) {
	quick := func() error { return a.broker.Process.Signal(syscall.SIGUSR2) }
	return quick, a.broker.Process.Signal(syscall.SIGUSR1)
}

func (a *arena) killKafka(context.Context) (func() error, error) {
	endProcess(a.broker)
	return nil, nil
}

// reviveKafka returns as soon as the broker takes requests.
func (a *arena) reviveKafka(ctx context.Context) (func() error, error) {
	if err := a.startBroker(); err != nil {
		return nil, err
	}
	return nil, eventually(ctx, func() error {
		_, err := a.clicks(ctx)
		return err
	})
}
