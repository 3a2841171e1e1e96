package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"waymark/tracker/wire"
)

func TestIngest(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	random := rand.New(rand.NewPCG(1, 1))
	k.load(random, 300)
	k.write(TopicClicks, 0, []byte("no event at all"))
	registry := prometheus.NewRegistry()
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store, Registerer: registry})
	k.load(random, 300)
	eventually(t, "all is ingested", k.settled)
	k.check(store)
	if err := in.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if got := valueOf(t, in.metrics.rows.WithLabelValues(TopicClicks)); int(got) != len(k.clicks) {
		t.Errorf("the metric counts %v clicks, want %d", got, len(k.clicks))
	}
	if got := valueOf(t, in.metrics.refused.WithLabelValues(TopicClicks)); got != 1 {
		t.Errorf("the metric counts %v refused records, want 1", got)
	}
	if got := valueOf(t, in.metrics.missing.WithLabelValues(TopicClicks)); got != 0 {
		t.Errorf("the metric counts %v missing ordinals, want none", got)
	}
	if families, err := registry.Gather(); err != nil || len(families) < 8 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	// After a restart there is nothing to do.
	inserts := store.inserts.Load()
	in.stop()
	again := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "the group is joined", func() bool { return again.Ready() == nil })
	k.load(random, 1)
	eventually(t, "one more is ingested", k.settled)
	k.check(store)
	if got := store.inserts.Load(); got > inserts+1 {
		t.Errorf("%d inserts for at most one new row", got-inserts)
	}
}

// Wherever ingest dies within an insert, the next one completes it.
func TestIngestCrashAtEveryStep(t *testing.T) {
	click := func(k *testKafka, random *rand.Rand) { k.click(random, 1) }
	for _, tc := range []struct {
		topic, step string
		write       func(*testKafka, *rand.Rand)
	}{
		{TopicClicks, "ordinals", click}, {TopicClicks, "insert", click}, {TopicClicks, "between", click}, {TopicClicks, "inserted", click},
		{TopicActions, "leave", (*testKafka).action}, {TopicActions, "left", (*testKafka).action},
		{TopicActions, "seen", (*testKafka).action}, {TopicActions, "insert", (*testKafka).action},
		{TopicActions, "between", (*testKafka).action}, {TopicActions, "inserted", (*testKafka).action},
		{TopicDecisions, "leave", (*testKafka).decision}, {TopicDecisions, "left", (*testKafka).decision},
		{TopicDecisions, "seen", (*testKafka).decision}, {TopicDecisions, "insert", (*testKafka).decision},
		{TopicDecisions, "between", (*testKafka).decision}, {TopicDecisions, "inserted", (*testKafka).decision},
	} {
		t.Run(tc.topic+"/"+tc.step, func(t *testing.T) {
			t.Parallel()
			k, store := startKafka(t), newMemoryStore()
			random := rand.New(rand.NewPCG(2, 2))
			var dying atomic.Bool
			reached := make(chan struct{}, 1)
			store.fault = func(at string, _ int) error {
				if at != tc.step || !dying.Load() {
					return nil
				}
				select {
				case reached <- struct{}{}:
				default:
				}
				return errors.New("the process dies here")
			}
			for range 4 {
				for range 40 {
					tc.write(k, random)
				}
				dying.Store(true)
				in := startIngest(t, IngestOptions{Clients: k.options(), Store: store, Instance: "one"})
				<-reached
				in.crash()
				dying.Store(false)
				select {
				case <-reached:
				default:
				}
			}
			startIngest(t, IngestOptions{Clients: k.options(), Store: store, Instance: "one"})
			eventually(t, "all is ingested", k.settled)
			k.check(store)
		})
	}
}

// A crash before the first commit, after it, after the second, and so on.
func TestIngestCrashAtCommits(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	random := rand.New(rand.NewPCG(3, 3))
	var left atomic.Int64 // commits that succeed
	broken := make(chan struct{}, 1)
	k.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		if left.Add(-1) >= 0 {
			return nil, nil, false
		}
		select {
		case broken <- struct{}{}:
		default:
		}
		return nil, errors.New("the connection breaks"), true
	})
	for round := range 12 {
		k.load(random, 30)
		left.Store(int64(round))
		select {
		case <-broken: // of the round before
		default:
		}
		in := startIngest(t, IngestOptions{Clients: k.options(), Store: store, Instance: "one"})
		<-broken
		in.crash()
	}
	left.Store(1 << 40)
	startIngest(t, IngestOptions{Clients: k.options(), Store: store, Instance: "one"})
	eventually(t, "all is ingested", k.settled)
	k.check(store)
}

// ClickHouse fails at random, at every step, also after it did what it says it
// did not.
func TestIngestStoreFails(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	random := rand.New(rand.NewPCG(4, 4))
	store.failAtRandom(5)
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	for range 5 {
		k.load(random, 50)
	}
	eventually(t, "all is ingested", k.settled)
	k.check(store)
	if valueOf(t, in.metrics.insertErrors) == 0 {
		t.Error("no insert failed")
	}
}

// An insert that hangs is given up and made again.
func TestIngestInsertHangs(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	store.hang = func(ctx context.Context) {
		if store.inserts.Load() < 3 {
			<-ctx.Done()
		}
	}
	k.load(rand.New(rand.NewPCG(6, 6)), 20)
	startIngest(t, IngestOptions{Clients: k.options(), Store: store, InsertTime: 100 * time.Millisecond})
	eventually(t, "all is ingested", k.settled)
	k.check(store)
}

// Members come and go while the load flows, in order and by crashes.
func TestIngestRebalances(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	random := rand.New(rand.NewPCG(7, 7))
	options := func(name string) IngestOptions {
		return IngestOptions{Clients: k.options(), Store: store, Instance: name}
	}
	members := []*running{startIngest(t, options("0"))}
	for round := range 8 {
		k.load(random, 60)
		switch {
		case len(members) == 1:
			members = append(members, startIngest(t, options(fmt.Sprint(round+1))))
			eventually(t, "the new member is given partitions", func() bool { return members[1].Ready() == nil })
		case round%3 == 0:
			i := random.IntN(2)
			name := members[i].opts.Instance
			members[i].crash()
			members[i] = startIngest(t, options(name)) // takes its place
		default:
			members[0].stop()
			members = members[1:]
		}
	}
	eventually(t, "all is ingested", k.settled)
	k.check(store)
}

// A commit of somebody whom Kafka took for dead is refused, and nothing is
// inserted on the strength of it.
func TestIngestFenced(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "the group is joined", func() bool { return in.Ready() == nil })
	id, err := TopicID(t.Context(), k.client, TopicClicks)
	if err != nil {
		t.Fatal(err)
	}
	of := topicPartition{topic: TopicClicks, topicID: id}
	for name, m := range map[string]*membership{
		"unknown member": {client: k.client, group: IngestGroup, member: "somebody", generation: 1},
		"no member":      {client: k.client, group: IngestGroup, generation: -1},
	} {
		p := &partitionIngest{Ingest: in.Ingest, of: of, member: m, sifter: &ordinalSifter{store: store, last: map[uint16]uint64{}}}
		record := &kgo.Record{Value: k.encode(&wire.Event{Event: "click", Node: 1})}
		if _, err := p.insert(t.Context(), plan{source: of.source(), from: 0, to: 1}, []*kgo.Record{record}); !errors.Is(err, errFenced) {
			t.Errorf("%s: error %v, want that it is fenced", name, err)
		}
	}
	if got := store.inserts.Load(); got != 0 {
		t.Errorf("%d inserts", got)
	}
}

// The group's offsets are gone; events knows where to go on.
func TestIngestWithoutCommittedOffset(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	random := rand.New(rand.NewPCG(8, 8))
	k.load(random, 100)
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "all is ingested", k.settled)
	in.stop()
	if _, err := kadm.NewClient(k.client).DeleteGroup(t.Context(), IngestGroup); err != nil {
		t.Fatal(err)
	}
	k.load(random, 100)
	startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "all is ingested", func() bool {
		n := 0
		for range store.rows("events") {
			n++
		}
		return n >= len(k.clicks)+len(k.actions)+len(k.decisions)
	})
	k.check(store)
}

// Records that Kafka removed before they were read are counted, and the rest
// is ingested.
func TestIngestTrimmed(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	for i := range 10 {
		k.write(TopicClicks, 0, k.encode(&wire.Event{Event: "click", Node: 3, Ordinal: uint64(i)}))
	}
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "all is ingested", k.settled)
	in.stop()
	for i := range 10 {
		k.write(TopicClicks, 0, k.encode(&wire.Event{Event: "click", Node: 3, Ordinal: uint64(10 + i)}))
	}
	trim := kadm.Offsets{}
	trim.Add(kadm.Offset{Topic: TopicClicks, Partition: 0, At: 14})
	if _, err := kadm.NewClient(k.client).DeleteRecords(t.Context(), trim); err != nil {
		t.Fatal(err)
	}
	in = startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "the rest is ingested", k.settled)
	ordinals := 0
	for row := range store.rows("events") {
		if row.event.Ordinal >= 10 && row.event.Ordinal < 14 {
			t.Errorf("ordinal %d came from nowhere", row.event.Ordinal)
		}
		ordinals++
	}
	if ordinals != 16 {
		t.Errorf("%d rows, want 16", ordinals)
	}
	if got := valueOf(t, in.metrics.lost.WithLabelValues(TopicClicks)); got != 4 {
		t.Errorf("the metric counts %v lost records, want 4", got)
	}
	if got := valueOf(t, in.metrics.missing.WithLabelValues(TopicClicks)); got != 4 {
		t.Errorf("the metric counts %v missing ordinals, want 4", got)
	}
}

// A topic that is deleted and created anew, under a running ingest, is another
// source: nothing of the old progress is applied to it.
func TestIngestRecreatedTopic(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	for i := range 10 {
		k.write(TopicClicks, 0, k.encode(&wire.Event{Event: "click", Node: 3, Ordinal: uint64(i)}))
	}
	eventually(t, "all is ingested", k.settled)
	adm := kadm.NewClient(k.client)
	if _, err := adm.DeleteTopic(t.Context(), TopicClicks); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic is created anew", func() bool {
		_, err := adm.CreateTopic(t.Context(), testClickPartitions, 1, nil, TopicClicks)
		return err == nil || errors.Is(err, kerr.TopicAlreadyExists)
	})
	fresh, err := NewClient(k.options(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	k.client = fresh
	for i := range 15 {
		k.write(TopicClicks, 0, k.encode(&wire.Event{Event: "click", Node: 3, Ordinal: uint64(i)}))
	}
	rows := func() (sources map[uint32]int) {
		sources = map[uint32]int{}
		for row := range store.rows("events") {
			sources[row.source]++
		}
		return sources
	}
	source := sourceOf(t, k, TopicClicks)
	eventually(t, "the new topic is ingested", func() bool { return rows()[source] >= 15 })
	if counts := rows(); len(counts) != 2 || counts[source] != 15 {
		t.Errorf("rows by source: %v, want 10 and 15", counts)
	}
	in.stop()
}

func sourceOf(t testing.TB, k *testKafka, topic string) uint32 {
	t.Helper()
	id, err := TopicID(t.Context(), k.client, topic)
	if err != nil {
		t.Fatal(err)
	}
	return SourceNumber(id)
}

// A backlog goes in plans of bounded size.
func TestIngestPlansAreBounded(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	var records []*kgo.Record
	for i := range 5000 {
		e := &wire.Event{Event: "click", Node: 3, Ordinal: uint64(i), City: strings.Repeat("x", 100)}
		k.clicks = append(k.clicks, e)
		records = append(records, &kgo.Record{Topic: TopicClicks, Value: k.encode(e)})
	}
	if err := k.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store, PlanRowsMax: 700, PlanBytesMax: 50_000})
	eventually(t, "all is ingested", k.settled)
	in.stop()
	k.check(store)
	least := (len(records[0].Value) * 5000) / 50_000
	if got := int(store.inserts.Load()); got < least || got > 3*least {
		t.Errorf("%d inserts, want %d or some more", got, least)
	}
}

// Ready says what is wrong.
func TestIngestReady(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	k.load(rand.New(rand.NewPCG(9, 9)), 10)
	var mu sync.Mutex
	away := true
	store.fault = func(string, int) error {
		mu.Lock()
		defer mu.Unlock()
		if away {
			return errors.New("ClickHouse is away")
		}
		return nil
	}
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store})
	eventually(t, "ClickHouse being away shows", func() bool {
		err := in.Ready()
		return err != nil && strings.Contains(err.Error(), "ClickHouse is away")
	})
	mu.Lock()
	away = false
	mu.Unlock()
	eventually(t, "it is ready", func() bool { return in.Ready() == nil })
	k.Cluster.Close()
	eventually(t, "Kafka being away shows", func() bool {
		err := in.Ready()
		return err != nil && strings.Contains(err.Error(), "Kafka")
	})
}
