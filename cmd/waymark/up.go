package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"waymark/clickhouse"
	"waymark/clickhouse/engine"
	"waymark/pipeline"
	"waymark/tracker"
)

type upCommand struct {
	dataFlags
	edgeFlags
	metricsFlags
	Admin            string `help:"Address of the admin API." default:"127.0.0.1:8081"`
	PublicURL        string `help:"Where visitors reach the edge; QR codes lead there. The public listener without it." placeholder:"URL"`
	KafkaListen      string `help:"Address of the embedded broker." default:"127.0.0.1:9092"`
	ClickHouseListen string `name:"clickhouse-listen" help:"Address of the embedded ClickHouse." default:"127.0.0.1:8123"`
}

// The stages of a stop have ten seconds between them, also when the broker or
// the engine hangs: what is not through by then is on disk and goes on at the
// next start.
var upDrain = drainTime{requests: time.Second, shipping: 1500 * time.Millisecond}

const (
	upIngestWait  = 2 * time.Second // for ingest to reach the end of the log
	upEngineWait  = 2 * time.Second // from SIGTERM to SIGKILL
	upBrokerWait  = time.Second
	upStopTimeout = 8 * time.Second // when everything hangs at once
)

// installation is everything that `up` runs.
type installation struct {
	upCommand
	data     dataDir
	registry *prometheus.Registry
	ready    *readiness

	public, admin net.Listener
	lobby         *lobby
	adminKey      string
	ring          *tracker.KeyRing

	node     *node
	broker   *pipeline.Broker
	engine   *engine.Supervisor
	database *clickhouse.DB
	catalog  *catalog
	ingest   *pipeline.Ingest

	parts errgroup.Group // what runs until its context ends
	stops []func()       // in the order of starting
}

func (c *upCommand) Run(ctx context.Context) (err error) {
	in := &installation{upCommand: *c, data: c.dir(), registry: newRegistry(), ready: newReadiness("up")}
	defer func() { in.stop(err) }()
	for _, step := range []func(context.Context) error{
		in.prepare, in.startBroker, in.startEngine, in.startCatalog, in.startIngest, in.startEdge, in.startAdmin,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	in.ready.started()
	if err := waitReady(ctx, "all parts", func() error { return joinReasons(in.ready.reasons()) }); err != nil {
		return err
	}
	in.printReady()
	select {
	case <-ctx.Done():
		slog.Info("stopping; a second interrupt ends at once")
		return nil
	case err := <-in.node.failed:
		return err
	}
}

func joinReasons(reasons []string) error {
	var errs []error
	for _, reason := range reasons {
		errs = append(errs, errors.New(reason))
	}
	return errors.Join(errs...)
}

// onStop notes how to stop a part; parts stop in the reverse order.
func (in *installation) onStop(stop func()) { in.stops = append(in.stops, stop) }

// stop stops the parts, in good time: one that hangs does not keep the program.
// err is why it stops, nil for an interrupt.
func (in *installation) stop(err error) {
	timer := time.AfterFunc(upStopTimeout, func() {
		slog.Error("a part does not stop; what it had is on disk and goes on at the next start")
		os.Exit(exitCode("up", err))
	})
	defer timer.Stop()
	for i := len(in.stops) - 1; i >= 0; i-- {
		in.stops[i]()
	}
	if err := in.parts.Wait(); err != nil {
		slog.Error("stop", "error", err)
	}
}

// background runs a part until the installation stops it, in its turn.
func (in *installation) background(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	in.parts.Go(func() error {
		defer close(done)
		return run(ctx)
	})
	in.onStop(func() { cancel(); <-done })
}

// prepare takes what can be taken before anything is started: directory, lock,
// library, ports, keys, spool. So every mistake of a newcomer is one line at
// once.
func (in *installation) prepare(ctx context.Context) (err error) {
	if err := tracker.CheckTarget(in.PublicURL); err != nil {
		return fmt.Errorf("--public-url: %w", err)
	}
	if err := in.data.open(); err != nil {
		return err
	}
	lock, err := in.data.lock("up")
	if err != nil {
		return err
	}
	in.onStop(func() { lock.Close() })
	if _, err := engine.FindLibrary(); err != nil {
		return err
	}
	if in.public, err = listen("listen", in.Listen); err != nil {
		return err
	}
	in.onStop(func() { in.public.Close() })
	if in.admin, err = listen("admin", in.Admin); err != nil {
		return err
	}
	in.onStop(func() { in.admin.Close() })
	if err := in.probeEngineAddress(ctx); err != nil {
		return err
	}
	if in.adminKey, err = in.data.adminKey(true); err != nil {
		return err
	}
	if in.ring, err = in.keyRing(); err != nil {
		return err
	}
	if in.node, err = openNode(in.data, in.edgeFlags, in.registry); err != nil {
		return err
	}
	in.onStop(in.node.close)
	in.lobby = openLobby(in.public, in.ready)
	serving, stopServing := context.WithCancel(context.Background())
	in.onStop(stopServing)
	return in.metricsFlags.serve(serving, in.registry, in.ready)
}

// engineGoneWait is how long the engine of an installation that was killed may
// still hold its port: the kernel kills it at once, but a process of some
// hundred megabytes takes its time to go.
const engineGoneWait = 3 * time.Second

// probeEngineAddress sees that the engine can have its address, and which it
// is when a free port was asked for.
func (in *installation) probeEngineAddress(ctx context.Context) error {
	for began := time.Now(); ; {
		listener, err := listen("clickhouse-listen", in.ClickHouseListen)
		if err == nil {
			in.ClickHouseListen = listener.Addr().String()
			return listener.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) > engineGoneWait {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (in *installation) startBroker(context.Context) (err error) {
	in.broker, err = pipeline.StartBroker(pipeline.BrokerOptions{
		Dir: in.data.path("broker"), Listen: in.KafkaListen, Registerer: in.registry,
	})
	if err != nil {
		return err
	}
	in.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), upBrokerWait)
		defer cancel()
		if err := in.broker.Close(ctx); err != nil {
			slog.Warn("stop the broker", "error", err)
		}
	})
	return nil
}

func (in *installation) kafka() pipeline.ClientOptions {
	return pipeline.ClientOptions{Brokers: []string{in.broker.Addr()}, ID: "waymark-up"}
}

func (in *installation) startEngine(ctx context.Context) error {
	child := engineCommand{Data: in.Data, Listen: in.ClickHouseListen, Readers: in.admin.Addr().String()}
	password, err := in.data.clickhousePassword(true)
	if err != nil {
		return err
	}
	// The supervisor has a context of its own: the engine must outlive the
	// interrupt, since ingest still writes to it.
	in.engine, err = engine.Supervise(context.WithoutCancel(ctx), engine.SupervisorOptions{
		Args: child.args(), Address: in.ClickHouseListen, StopWait: upEngineWait,
	})
	if err != nil {
		return err
	}
	in.onStop(in.engine.Stop)
	in.database, err = clickhouse.Open("http://"+in.ClickHouseListen, engineUser, password)
	if err != nil {
		return err
	}
	in.onStop(func() { in.database.Close() })
	answers := &probe{ask: in.database.Ping}
	in.background(answers.run)
	in.ready.addErr("engine", answers.trouble)
	registerEngine(in.registry, in.engine, answers)
	return in.database.Migrate(ctx, clickhouse.MigrateOptions{Embedded: true})
}

func (in *installation) startCatalog(ctx context.Context) (err error) {
	if err := ensureTopics(ctx, in.kafka(), in.ready); err != nil {
		return err
	}
	if in.catalog, err = openCatalog(in.node.snapshotDir(), "up", in.kafka(), in.adminKey, in.registry); err != nil {
		return err
	}
	in.ready.addErr("links", in.catalog.Ready)
	in.background(in.catalog.Run)
	return nil
}

func (in *installation) startIngest(ctx context.Context) (err error) {
	if err := reserveNodes(ctx, in.kafka(), in.database, in.ready); err != nil {
		return err
	}
	if in.ingest, err = newIngest(in.kafka(), in.database, "up", in.registry); err != nil {
		return err
	}
	in.ready.addErr("ingest", in.ingest.Ready)
	in.background(in.ingest.Run)
	in.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), upIngestWait)
		defer cancel()
		if err := waitIngested(ctx, in.kafka()); err != nil {
			slog.Warn("not all events are in ClickHouse yet; the rest follows at the next start", "reason", err)
		}
	})
	return nil
}

// waitIngested waits until ingest has reached the end of the log.
func waitIngested(ctx context.Context, kafka pipeline.ClientOptions) error {
	client, err := pipeline.NewClient(kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	return waitReady(ctx, "ingest", func() error {
		lag, err := pipeline.IngestLag(ctx, client)
		if err == nil && lag > 0 {
			err = fmt.Errorf("%d events are still in Kafka", lag)
		}
		return err
	})
}

func (in *installation) startEdge(ctx context.Context) error {
	err := in.node.start(ctx, nodeParts{
		lobby: in.lobby, kafka: in.kafka(), ring: in.ring, catalog: in.catalog, ready: in.ready, registry: in.registry,
	})
	if err != nil {
		return err
	}
	in.onStop(func() { in.node.drain(upDrain) })
	return nil
}

func (in *installation) startAdmin(context.Context) error {
	publicURL := in.PublicURL
	if publicURL == "" {
		publicURL = "http://" + in.public.Addr().String()
	}
	decide, err := newDeciders(in.kafka(), in.catalog, in.database, in.registry)
	if err != nil {
		return err
	}
	in.onStop(decide.close)
	in.background(decide.Run)
	handler := newAdmin(in.catalog, in.database, decide, in.ring, publicURL, in.ready, in.registry)
	in.background(func(ctx context.Context) error { return serveHTTP(ctx, in.admin, handler) })
	return nil
}

// printReady prints what a newcomer needs next.
func (in *installation) printReady() {
	public, admin := in.public.Addr(), in.admin.Addr()
	key := in.data.path("admin.key")
	fmt.Printf(`
Waymark is ready.

  links      http://%s/{code}
  admin      http://%s        key of role admin: %s
  ClickHouse http://%s        user %s, password: %s
  Kafka      %s

Try:

  curl -H "Authorization: Bearer $(cat %s)" -d '{"code":"hello","url":"https://example.com/"}' http://%s/v1/links
  curl -i http://%s/hello
  curl -H "Authorization: Bearer $(cat %s)" 'http://%s/v1/reports/funnel?hits=gross'

`, public, admin, key, in.ClickHouseListen, engineUser, in.data.path("clickhouse.password"), in.broker.Addr(),
		key, admin, public, key, admin)
}
