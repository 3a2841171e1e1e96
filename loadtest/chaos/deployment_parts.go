package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"waymark/loadtest/fault"
)

// eventsTable is what ingest inserts clicks and actions into.
const eventsTable = "waymark.events"

// startParts starts a process a role. The broker is reached through a pipe and
// ClickHouse through a proxy, which is where most faults are made.
func (d *deployment) startParts(ctx context.Context) error {
	ports, err := freePorts(12)
	if err != nil {
		return err
	}
	if err := d.startBroker(ctx, ports[0]); err != nil {
		return err
	}
	if err := d.startEngine(ctx, ports[1]); err != nil {
		return err
	}
	for i := range 2 {
		d.ingests = append(d.ingests, d.newIngest(i, ports[2+i]))
	}
	d.ingests[1].idle = true // it comes and goes
	d.adminURL = "http://" + ports[4]
	d.admin = d.part("admin", always(d.adminURL+"/openapi.json"), func() []string {
		return []string{"admin", "--data", d.data(), "--kafka", d.kafka, "--clickhouse", d.clickhouse, "--admin", ports[4]}
	})
	d.admin2URL = "http://" + ports[11]
	d.admin2 = d.part("admin-2", always(d.admin2URL+"/openapi.json"), func() []string {
		return []string{"admin", "--data", d.data(), "--kafka", d.kafka, "--clickhouse", d.clickhouse, "--admin", ports[11]}
	})
	d.admin2.idle = true
	for _, p := range []*part{d.ingests[0], d.admin} {
		if err := p.start(); err != nil {
			return err
		}
		// One after the other: the first makes tables and keys for the next.
		if err := await(ctx, p.name, patience, p.isReady); err != nil {
			return err
		}
	}
	for i := range 2 {
		e, err := d.newEdge(i, [2]string{ports[5+3*i], ports[6+3*i]}, ports[7+3*i])
		if err != nil {
			return err
		}
		d.edges = append(d.edges, e)
		if err := e.start(); err != nil {
			return err
		}
		if err := await(ctx, e.name, patience, e.isReady); err != nil {
			return err
		}
	}
	return nil
}

// startBroker starts a broker behind a pipe, so that even a client that follows
// its address meets what happens to the connections there.
func (d *deployment) startBroker(ctx context.Context, listen string) (err error) {
	if d.kafkaPipe, err = fault.NewPipe("127.0.0.1:0", listen); err != nil {
		return err
	}
	d.kafka = d.kafkaPipe.Addr()
	if d.brokerLog, err = os.Create(filepath.Join(d.dir, "logs", "broker")); err != nil {
		return fmt.Errorf("create the log of the broker: %w", err)
	}
	d.broker, err = fault.StartBrokerBehind(ctx, d.self, listen, d.kafka, filepath.Join(d.dir, "broker"), d.brokerLog)
	return err
}

func (d *deployment) startEngine(ctx context.Context, listen string) (err error) {
	d.engine = d.part("engine", always("http://"+listen+"/ping"), func() []string {
		return []string{"engine", "--data", d.data(), "--clickhouse-listen", listen}
	})
	if d.house, err = fault.NewClickHouse("127.0.0.1:0", listen); err != nil {
		return err
	}
	d.house.Watch(eventsTable)
	d.clickhouse = "http://" + d.house.Addr()
	if err := d.engine.start(); err != nil {
		return err
	}
	return await(ctx, "the engine", patience, d.engine.isReady)
}

func (d *deployment) newIngest(i int, metrics string) *part {
	name := "ingest-" + strconv.Itoa(i+1)
	return d.part(name, always("http://"+metrics+"/readyz"), func() []string {
		return []string{"ingest", "--data", d.data(), "--kafka", d.kafka, "--clickhouse", d.clickhouse, "--metrics", metrics, "--instance", name}
	})
}

// newEdge makes the edge i. The second one has a small ring, and its clock can
// be moved.
func (d *deployment) newEdge(i int, listens [2]string, metrics string) (*edge, error) {
	name := "edge-" + strconv.Itoa(i+1)
	e := &edge{
		spool: filepath.Join(d.data(), name), listens: listens, metrics: "http://" + metrics + "/metrics",
		ring: ringBytes, disk: diskBytes, rings: filepath.Join(d.rings, name),
	}
	if i == 1 {
		e.ring = smallRingBytes
	}
	if err := os.Mkdir(e.rings, 0o755); err != nil {
		return nil, fmt.Errorf("create the directory of a ring: %w", err)
	}
	e.part = d.part(name, e.readyURL, func() []string {
		return []string{
			"edge", "--data", d.data(), "--kafka", d.kafka, "--listen", e.listens[e.current], "--metrics", metrics, "--spool", e.spool,
			"--spool-ring", e.rings, "--spool-ring-bytes", e.ring, "--spool-disk-bytes", e.disk, "--trusted-proxies", "127.0.0.0/8",
		}
	})
	if i == 1 && d.program.clock != "" {
		e.binary, e.clock = d.program.clock, filepath.Join(d.dir, name+".clock")
		e.env = append(e.env, fault.ClockFileEnv+"="+e.clock)
		return e, fault.SetClock(e.clock, 0)
	}
	return e, nil
}

// readyURL is on the public listener: that of the metrics may be ready before
// visitors are answered.
func (e *edge) readyURL() string { return "http://" + e.listens[e.current] + "/readyz" }
