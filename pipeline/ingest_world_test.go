package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

const testClickPartitions = 3

// testKafka is a Kafka of the test's own, with what was written to it.
type testKafka struct {
	*kfake.Cluster  // nil for an Apache Kafka
	brokers         []string
	clickPartitions uint32
	t               testing.TB
	client          *kgo.Client
	ordinal         map[uint32]uint64 // next of each node
	clicks          []*wire.Event     // each once, in order of writing
	actions         []*wire.Event     // those that count, in order of writing
	decisions       []*wire.Event     // likewise
	written         atomic.Int64      // records
}

func startKafka(t testing.TB) *testKafka {
	t.Helper()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.SeedTopics(testClickPartitions, TopicClicks), kfake.SeedTopics(ActionPartitions, TopicActions, TopicDecisions),
		kfake.SeedTopics(1, TopicLinks, TopicPrograms, TopicNodes),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	k := newTestKafka(t, testClickPartitions, cluster.ListenAddrs()...)
	k.Cluster = cluster
	return k
}

// newTestKafka is for a Kafka that runs and has its topics.
func newTestKafka(t testing.TB, clickPartitions uint32, brokers ...string) *testKafka {
	t.Helper()
	k := &testKafka{brokers: brokers, clickPartitions: clickPartitions, t: t, ordinal: map[uint32]uint64{}}
	var err error
	k.client, err = NewClient(k.options(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.client.Close)
	return k
}

func (k *testKafka) options() ClientOptions {
	return ClientOptions{Brokers: k.brokers, ID: "test", Logger: testLogger(k.t)}
}

// write appends one record.
func (k *testKafka) write(topic string, partition int32, value []byte) {
	k.t.Helper()
	k.written.Add(1)
	record := &kgo.Record{Topic: topic, Partition: partition, Value: value}
	if err := k.client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
}

func (k *testKafka) encode(e *wire.Event) []byte {
	k.t.Helper()
	value, err := e.MarshalVT()
	if err != nil {
		k.t.Fatal(err)
	}
	return value
}

// click writes the next click of a node, and now and then what it wrote
// before, as a node does that crashed before it was acknowledged.
func (k *testKafka) click(random *rand.Rand, node uint32) {
	k.t.Helper()
	e := &wire.Event{Event: "click", Node: node, Ordinal: k.ordinal[node], TimeMs: uint64(time.Now().UnixMilli()), Code: fmt.Sprint("c", random.IntN(9))}
	k.ordinal[node]++
	k.clicks = append(k.clicks, e)
	k.write(TopicClicks, int32(node%k.clickPartitions), k.encode(e))
	if random.IntN(20) != 0 {
		return
	}
	again := 0
	for _, old := range slices.Backward(k.clicks) {
		if old.Node == node && again < 5 {
			again++
		} else if old.Node == node {
			break
		}
	}
	mine := slices.DeleteFunc(slices.Clone(k.clicks), func(e *wire.Event) bool { return e.Node != node })
	for _, old := range mine[len(mine)-again:] {
		k.write(TopicClicks, int32(node%k.clickPartitions), k.encode(old))
	}
}

// action writes an action, half of the time one that was written before.
func (k *testKafka) action(random *rand.Rand) {
	k.t.Helper()
	e := &wire.Event{Event: "purchase", Program: "p", OrderId: fmt.Sprint(len(k.actions)), Id: fmt.Sprint(random.Uint64()), Value: "1.50"}
	if repeat := random.IntN(2) == 0 && len(k.actions) > 0; repeat {
		e.OrderId = k.actions[random.IntN(len(k.actions))].OrderId
		if random.IntN(3) == 0 {
			e.Program = ""
		}
	} else {
		k.actions = append(k.actions, e)
	}
	k.writeByIdentity(TopicActions, e)
}

// decision writes a decision, half of the time one that was written before.
func (k *testKafka) decision(random *rand.Rand) {
	k.t.Helper()
	n := len(k.decisions)
	e := &wire.Event{Event: "reward_entry", Program: "p", UserId: fmt.Sprint(random.Uint64()), Id: fmt.Sprint("r/", n), Value: "1.50"}
	if n > 0 && random.IntN(2) == 0 {
		e.Id = k.decisions[random.IntN(n)].Id
	} else {
		k.decisions = append(k.decisions, e)
	}
	k.writeByIdentity(TopicDecisions, e)
}

func (k *testKafka) writeByIdentity(topic string, e *wire.Event) {
	k.t.Helper()
	identity, _ := tracker.IdentityOfAction(e)
	partition := int32(0)
	for _, c := range identity.RecordKey() {
		partition = (partition*31 + c) % ActionPartitions
	}
	k.write(topic, partition, k.encode(e))
}

// load writes some of everything.
func (k *testKafka) load(random *rand.Rand, events int) {
	k.t.Helper()
	for range events {
		switch random.IntN(5) {
		case 0:
			k.action(random)
		case 1:
			k.decision(random)
		default:
			k.click(random, 1+uint32(random.IntN(5)))
		}
	}
}

// committedOffsets reads the committed offsets of a topic by partition.
func (k *testKafka) committedOffsets(topic string) map[int32]kadm.OffsetResponse {
	k.t.Helper()
	offsets, err := kadm.NewClient(k.client).FetchOffsetsForTopics(context.Background(), IngestGroup, topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		k.t.Fatal(err)
	}
	return offsets[topic]
}

// settled reports whether everything written is ingested and committed.
func (k *testKafka) settled() bool {
	for _, topic := range eventTopics {
		ends, err := kadm.NewClient(k.client).ListEndOffsets(context.Background(), topic)
		if err != nil {
			k.t.Fatal(err)
		}
		committed := k.committedOffsets(topic)
		for partition, end := range ends[topic] {
			if end.Offset > 0 && (committed[partition].At != end.Offset || strings.Contains(committed[partition].Metadata, `"to"`)) {
				return false
			}
		}
	}
	return true
}

// check compares both tables with what was written.
func (k *testKafka) check(store *memoryStore) {
	k.t.Helper()
	for table := range store.tables {
		clicks, actions := map[string]int{}, map[string]int{}
		for row := range store.rows(table) {
			if row.event.Event == "click" {
				clicks[fmt.Sprint(row.event.Node, "/", row.event.Ordinal)]++
			} else {
				actions[row.event.OrderId+"/"+row.event.Id+"/"+row.event.UserId]++
			}
		}
		lost, doubled := 0, 0
		count := func(n int) {
			switch {
			case n == 0:
				lost++
			case n > 1:
				doubled++
			}
		}
		for _, e := range k.clicks {
			count(clicks[fmt.Sprint(e.Node, "/", e.Ordinal)])
		}
		wanted := slices.Concat(k.actions, k.decisions)
		for _, e := range wanted {
			count(actions[e.OrderId+"/"+e.Id+"/"+e.UserId])
		}
		if lost+doubled > 0 || len(clicks) != len(k.clicks) || len(actions) != len(wanted) {
			k.t.Errorf("table %s: %d lost, %d doubled; %d clicks of %d, %d actions and decisions of %d",
				table, lost, doubled, len(clicks), len(k.clicks), len(actions), len(wanted))
		}
	}
	k.checkLeftOut(store)
}

// checkLeftOut: each offset has a row or was left out, and none both.
func (k *testKafka) checkLeftOut(store *memoryStore) {
	k.t.Helper()
	explained := map[tracker.Place]map[int64]int{}
	explain := func(place tracker.Place, offset int64) {
		if explained[place] == nil {
			explained[place] = map[int64]int{}
		}
		explained[place][offset]++
	}
	for row := range store.rows("events") {
		explain(tracker.Place{Source: row.source, Partition: row.partition}, row.offset)
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	for place, offsets := range store.leftOut {
		for offset := range offsets {
			explain(place, offset)
		}
	}
	for place, offsets := range explained {
		all := slices.Sorted(maps.Keys(offsets))
		if first, last := all[0], all[len(all)-1]; last-first+1 != int64(len(all)) {
			k.t.Errorf("%+v: %d of the offsets %d to %d are in events or left out", place, len(all), first, last)
		}
		for offset, times := range offsets {
			if times > 1 {
				k.t.Errorf("%+v: offset %d is in events and left out", place, offset)
			}
		}
	}
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// testWriter shows the log of a test that fails. Clients go on for a moment
// after the end of a test, when Log may no longer be called.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}

// running is an Ingest under way.
type running struct {
	*Ingest
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
}

func startIngest(t testing.TB, o IngestOptions) *running {
	t.Helper()
	o.Linger = 10 * time.Millisecond
	if o.Logger == nil {
		o.Logger = testLogger(t)
	}
	in, err := NewIngest(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Ingest: in, t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := in.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

// crash stops it without letting anything end that is under way.
func (r *running) crash() {
	r.events.stop(0)
	r.catalog.stop(0)
	r.stop()
}

// valueOf reads a counter.
func valueOf(t testing.TB, counter prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := counter.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// eventually waits for something that must come to be, however slow the
// machine is.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
