package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"waymark/clickhouse/engine"
)

type engineCommand struct {
	Data    string `help:"Directory of all state; the tables are in DIR/engine, the password in DIR/clickhouse.password." default:"waymark-data" type:"path"`
	Listen  string `name:"clickhouse-listen" help:"Address of the HTTP interface." default:"127.0.0.1:8123"`
	Readers string `help:"Address of the admin API, which knows the API keys: with it, the user reader may read, with a key as password." placeholder:"HOST:PORT"`
	metricsFlags
}

func (c *engineCommand) Run(ctx context.Context) error {
	data := dataDir(c.Data)
	if err := data.open(); err != nil {
		return err
	}
	password, err := data.clickhousePassword(true)
	if err != nil {
		return err
	}
	registry, ready := newRegistry(), newReadiness("engine")
	if err := c.metricsFlags.serve(ctx, registry, ready); err != nil {
		return err
	}
	options := engine.Options{
		Path:   data.path("engine"),
		Listen: c.Listen,
		Users:  []engine.User{{Name: engineUser, Password: password}},

		Metrics: registry,
		Ready:   func(string) { ready.started() },
	}
	if c.Readers != "" {
		options.Others = newReaders(c.Readers).find
	}
	return engine.Serve(ctx, options)
}

// args starts this command in a child process. It says that there are no
// metrics, or the child would take the address that its parent has from the
// environment.
func (c *engineCommand) args() []string {
	return []string{"engine", fmt.Sprintf("--data=%s", c.Data), fmt.Sprintf("--clickhouse-listen=%s", c.Listen),
		fmt.Sprintf("--readers=%s", c.Readers), "--metrics="}
}

// registerEngine measures an engine in a child process from outside.
func registerEngine(registry prometheus.Registerer, child *engine.Supervisor, answers *probe) {
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "waymark_engine_answering", Help: "1 while the embedded ClickHouse answers.",
		}, func() float64 {
			if answers.trouble() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "waymark_engine_starts_total", Help: "Times the embedded ClickHouse was started; more than 1: it died.",
		}, func() float64 { return float64(child.Starts()) }),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{
			Namespace: "waymark_engine", PidFn: func() (int, error) { return child.PID(), nil },
		}))
}
