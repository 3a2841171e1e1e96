package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// IngestOptions configure an Ingest. The zero value of a field after Clients
// and Store means its default.
type IngestOptions struct {
	Clients ClientOptions
	Store   Store

	// Instance makes the process a static member of its consumer groups: after
	// a crash it takes its partitions over at once, where they would otherwise
	// stand still until Kafka notices, which takes six seconds. Two processes
	// must never share one.
	Instance string

	Linger       time.Duration // wait for more after the first record; default 200 ms
	PlanRowsMax  int           // default 100,000; never more than 500,000
	PlanBytesMax int           // of keys and values; default 32 MiB; never more than 64 MB
	InsertsMax   int           // inserts at a time; default 2. Bounds memory: some 100 MB each at most
	InsertTime   time.Duration // after which an insert is given up and made again; default 2 minutes

	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: metrics are not exported
}

const (
	planRowsLimit  = 500_000
	planBytesLimit = 64_000_000
)

func (o IngestOptions) withDefaults() IngestOptions {
	o.Linger = orDefault(o.Linger, 200*time.Millisecond)
	o.PlanRowsMax = min(orDefault(o.PlanRowsMax, 100_000), planRowsLimit)
	o.PlanBytesMax = min(orDefault(o.PlanBytesMax, 32<<20), planBytesLimit)
	o.InsertsMax = orDefault(o.InsertsMax, 2)
	o.InsertTime = orDefault(o.InsertTime, 2*time.Minute)
	o.Logger = loggerOr(o.Logger)
	return o
}

// orDefault returns value, or byDefault where value is not positive.
func orDefault[N int | time.Duration](value, byDefault N) N {
	if value <= 0 {
		return byDefault
	}
	return value
}

// Ingest brings clicks, actions, decisions and the catalogue from Kafka to
// ClickHouse: each of the first three exactly once. Any number of processes share the
// partitions.
type Ingest struct {
	opts    IngestOptions
	metrics *ingestMetrics
	inserts *semaphore.Weighted
	events  *group
	catalog *group

	mu       sync.Mutex
	troubles map[string]error // by partition
	kafka    error            // why Kafka does not answer
}

// catalogGroup keeps apart how far the copies of the links and programmes are.
const catalogGroup = IngestGroup + "-catalog"

// NewIngest returns an Ingest. It does nothing before Run.
func NewIngest(o IngestOptions) (*Ingest, error) {
	if o.Store == nil {
		panic("BUG: ingest without a store")
	}
	o = o.withDefaults()
	in := &Ingest{
		opts: o, metrics: newIngestMetrics(o.Registerer), inserts: semaphore.NewWeighted(int64(o.InsertsMax)),
		troubles: make(map[string]error),
	}
	in.events = &group{
		name: IngestGroup, instance: o.Instance, topics: eventTopics,
		clients: o.Clients, log: o.Logger, work: in.workOnEvents,
	}
	in.catalog = &group{
		name: catalogGroup, instance: o.Instance, topics: []string{TopicLinks, TopicPrograms},
		clients: o.Clients, log: o.Logger, work: in.workOnCatalog,
	}
	return in, nil
}

// Run works until ctx ends. Inserts under way then have five seconds to end;
// those that do not are made again by whoever comes next. It returns an error
// only where it cannot even begin.
func (in *Ingest) Run(ctx context.Context) error {
	client, err := NewClient(in.opts.Clients)
	if err != nil {
		return err
	}
	defer client.Close()
	var parts errgroup.Group
	parts.Go(func() error { return in.events.run(ctx) })
	parts.Go(func() error { return in.catalog.run(ctx) })
	parts.Go(func() error { in.watchKafka(ctx, client); return nil })
	return parts.Wait()
}

// watchKafka notices that Kafka is away, which the readers keep to themselves:
// they wait. It also sees where the logs end, which a worker that is busy with
// an insert does not.
func (in *Ingest) watchKafka(ctx context.Context, client *kgo.Client) {
	for {
		asking, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := client.Ping(asking)
		if err == nil {
			in.seeEnds(asking, client)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		in.mu.Lock()
		in.kafka = err
		in.mu.Unlock()
		if !sleep(ctx, 2*time.Second) {
			return
		}
	}
}

// seeEnds is for the metrics alone, so a failure is none of ingest.
func (in *Ingest) seeEnds(ctx context.Context, client *kgo.Client) {
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, in.events.topics...)
	if err != nil {
		return
	}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Err == nil {
			in.metrics.lags.ends(partitionName{end.Topic, end.Partition}, end.Offset)
		}
	})
}

// Ready returns nil while everything that this process was assigned flows, and
// else an error that says what does not.
func (in *Ingest) Ready() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	var errs []error
	if in.kafka != nil {
		errs = append(errs, fmt.Errorf("reach Kafka: %w", in.kafka))
	}
	for _, g := range []*group{in.events, in.catalog} {
		if !g.isJoined() {
			errs = append(errs, fmt.Errorf("join consumer group %s: waiting for Kafka to assign partitions", g.name))
		}
	}
	for _, partition := range slices.Sorted(maps.Keys(in.troubles)) {
		errs = append(errs, in.troubles[partition])
	}
	return errors.Join(errs...)
}

// note records that a partition is in trouble, or with nil that it is not. It
// logs each change.
func (in *Ingest) note(of topicPartition, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	before, troubled := in.troubles[of.String()]
	switch {
	case err == nil && troubled:
		delete(in.troubles, of.String())
		in.opts.Logger.Info("ingest goes on", "partition", of.String())
	case err != nil:
		in.troubles[of.String()] = err
		if !troubled || before.Error() != err.Error() {
			in.opts.Logger.Warn("ingest waits and tries again", "partition", of.String(), "error", err)
		}
	}
}

// retry calls f until it succeeds or ctx ends, and notes how it goes. Whatever
// ails Kafka or ClickHouse is waited for: giving a range up would lose it.
func (in *Ingest) retry(ctx context.Context, of topicPartition, f func() error) error {
	wait := 100 * time.Millisecond
	for {
		err := f()
		if err == nil {
			in.note(of, nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		in.note(of, err)
		if errors.Is(err, errFenced) || errors.Is(err, errTopicGone) {
			return err
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// begin looks up the identity of a topic that this process was assigned a
// partition of.
func (in *Ingest) begin(ctx context.Context, m *membership, topic string, partition int32) (topicPartition, error) {
	of := topicPartition{topic: topic, partition: partition}
	err := in.retry(ctx, of, func() (err error) {
		of.topicID, err = TopicID(ctx, m.client, topic)
		return err
	})
	return of, err
}
