package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline"
	"waymark/tracker"
	"waymark/tracker/wire"
)

// ingestCommand compares three ways from Kafka into the same tables and views,
// each into an engine of its own that holds nothing else:
//
//	ceiling  a bare loop that posts blocks prepared before the clock starts
//	waymark  waymark ingest
//	engine   ClickHouse's own Kafka engine with a view into events
//
// What is compared is the CPU time of all processes that bring the rows in,
// the engine with its merges among them, until every row is there and merged.
type ingestCommand struct {
	trafficOptions
	Binary    string `help:"The waymark binary to measure." default:"bin/waymark"`
	Dir       string `help:"Directory for the broker and the engines; a temporary one without it." type:"path"`
	Rounds    int    `help:"Rounds of each contestant." default:"3"`
	BlockRows int    `help:"Rows of a prepared block and of a block of ClickHouse's Kafka engine." default:"100000"`
	Results   string `help:"Directory for the results." default:"bench/results" type:"path"`
	Views     bool   `help:"Also measure what each view costs." default:"true" negatable:""`
	Only      string `help:"One contestant alone: ceiling, waymark or engine." default:"" enum:",ceiling,waymark,engine"`
}

func (c ingestCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp(c.Dir, "waymark-ingest-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	topic, err := startTopic(ctx, dir)
	if err != nil {
		return err
	}
	defer topic.close()
	if err := topic.fill(ctx, c.trafficOptions); err != nil {
		return err
	}
	race := &ingestRace{ingestCommand: c, dir: dir, topic: topic}
	heats, err := race.run(ctx)
	if err != nil || c.Only != "" {
		return err
	}
	var views []viewCost
	if c.Views {
		if views, err = race.views(ctx); err != nil {
			return fmt.Errorf("measure the views: %w", err)
		}
	}
	return c.report(heats, views).publish(c.Results, os.Stdout)
}

// topic is a broker of its own with the events of the run. It forgets nothing,
// so that each contestant reads the same.
type topic struct {
	address string
	client  *kgo.Client
	admin   *kadm.Client
	stop    func()
}

func startTopic(ctx context.Context, dir string) (*topic, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := &topic{}
	if t.address, err = freeAddress(); err != nil {
		return nil, err
	}
	broker, err := startProcess(self, "broker", "--listen", t.address, "--dir", filepath.Join(dir, "broker"))
	if err != nil {
		return nil, err
	}
	t.client, err = kgo.NewClient(kgo.SeedBrokers(t.address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.ProducerBatchMaxBytes(512<<10))
	if err != nil {
		endProcess(broker)
		return nil, err
	}
	t.admin = kadm.NewClient(t.client)
	t.stop = func() { endProcess(broker) }
	if err := eventually(ctx, func() error { return pipeline.EnsureTopics(ctx, t.client) }); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *topic) close() {
	t.client.Close()
	t.stop()
}

// fill produces the events, hits to the partition of their node and actions to
// that of their identity, in the batches that shippers make of them.
func (t *topic) fill(ctx context.Context, o trafficOptions) error {
	made, err := newTraffic(o)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	progress := newProgress("events produced", o.Events)
	for i := range o.Events {
		t.client.Produce(ctx, t.record(made.next()), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		progress.at(i + 1)
	}
	if err := t.client.Flush(ctx); err != nil {
		return fmt.Errorf("produce the events: %w", err)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("produce the events: %w", err)
	default:
		return nil
	}
}

func (t *topic) record(e *wire.Event) *kgo.Record {
	value, err := e.MarshalVT()
	if err != nil {
		panic("BUG: encode an event: " + err.Error())
	}
	if identity, ok := tracker.IdentityOfAction(e); ok {
		key := []byte(identity.RecordKey())
		partitioner := kgo.StickyKeyPartitioner(nil).ForTopic(pipeline.TopicActions)
		record := &kgo.Record{Topic: pipeline.TopicActions, Key: key, Value: value}
		record.Partition = int32(partitioner.Partition(record, pipeline.ActionPartitions))
		return record
	}
	return &kgo.Record{Topic: pipeline.TopicClicks, Partition: int32(e.Node), Value: value}
}

// progress shows how far a step is, each second.
type progress struct {
	what  string
	total int
	next  time.Time
}

func newProgress(what string, total int) *progress { return &progress{what: what, total: total} }

func (p *progress) at(done int) {
	if now := time.Now(); done == p.total || done%1024 == 0 && now.After(p.next) {
		p.next = now.Add(2 * time.Second)
		fmt.Fprintf(os.Stderr, "%d of %d %s\n", done, p.total, p.what)
	}
}
