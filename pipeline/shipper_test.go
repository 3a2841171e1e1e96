package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"waymark/pipeline/spool"
	"waymark/tracker"
	"waymark/tracker/wire"
)

func openSpool(t testing.TB, dir string, node uint16, renew bool) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Dir: dir, RingDir: t.TempDir(), RingBytes: 256 << 10, Renew: renew, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetNode(node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// hit is a click as the edge writes it, numbered by its sequence.
func hit(t testing.TB, number int) []byte {
	t.Helper()
	payload, err := (&wire.Event{
		Event: "click", Code: "hello", TimeMs: 1_750_000_000_000 + uint64(number), Sequence: uint32(number % 1000),
		Address: []byte{81, 2, 69, byte(number)}, UserAgent: firefox, Referer: "https://news.example/", Query: "utm_source=x", AcceptLanguage: "de",
	}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func appendHits(t testing.TB, s *spool.Spool, from, to int) {
	t.Helper()
	for number := from; number < to; number++ {
		if _, err := s.Append(hit(t, number), 1); err != nil {
			t.Fatal(err)
		}
	}
}

// runShipper runs a shipper until the returned function is called.
func runShipper(t testing.TB, s *Shipper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (k *testKafka) shipper() ShipperOptions {
	return ShipperOptions{Clients: k.options(), Enricher: testEnricher(k.t), Linger: time.Millisecond, Logger: testLogger(k.t)}
}

// logged reads a whole topic, by partition.
func (k *testKafka) logged(topic string) map[int32][]*kgo.Record {
	k.t.Helper()
	client, err := NewClient(k.options(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		k.t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(context.Background(), topic)
	if err != nil {
		k.t.Fatal(err)
	}
	left := int64(0)
	for _, end := range ends[topic] {
		left += end.Offset
	}
	records := map[int32][]*kgo.Record{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			k.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records[r.Partition] = append(records[r.Partition], r)
			left--
		})
	}
	return records
}

// checkShipped checks that the first arrivals of a node's hits are all of
// them, in order: that is what ingest makes of them.
func (k *testKafka) checkShipped(node uint16, hits int) (repeats int) {
	k.t.Helper()
	last := uint64(0)
	for _, record := range k.logged(TopicClicks)[int32(uint32(node)%k.clickPartitions)] {
		var e wire.Event
		if err := e.UnmarshalVT(record.Value); err != nil {
			k.t.Fatal(err)
		}
		if e.Node != uint32(node) {
			continue
		}
		switch {
		case e.Ordinal <= last:
			repeats++
			continue
		case e.Ordinal != last+1:
			k.t.Fatalf("node %d: ordinal %d follows %d", node, e.Ordinal, last)
		}
		last++
		if want := 1_750_000_000_000 + last - 1; e.TimeMs != want {
			k.t.Fatalf("node %d: ordinal %d is the hit of %d, want %d", node, e.Ordinal, e.TimeMs, want)
		}
		if e.Address != nil || e.UserAgent+e.Query+e.Referer+e.AcceptLanguage != "" {
			k.t.Fatalf("what only the edge may know left it: %v", &e)
		}
		if e.Browser != "Firefox" || e.ReferrerHost != "news.example" || e.UtmSource != "x" || e.Language != "de" || e.AddressHash == 0 {
			k.t.Fatalf("not enriched: %v", &e)
		}
	}
	if int(last) != hits {
		k.t.Errorf("node %d: %d hits arrived, want %d", node, last, hits)
	}
	return repeats
}

func TestShipper(t *testing.T) {
	k := startKafka(t)
	s := openSpool(t, t.TempDir(), 7, false)
	appendHits(t, s, 0, 300)
	shipper := NewClickShipper(k.shipper(), s)
	runShipper(t, shipper)
	appendHits(t, s, 300, 700)
	eventually(t, "all is acknowledged", func() bool { return s.Stats().UnackedBytes == 0 })
	if repeats := k.checkShipped(7, 700); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if err := shipper.Trouble(); err != nil {
		t.Error(err)
	}
	if got := valueOf(t, shipper.metrics.events); got != 700 {
		t.Errorf("the metric counts %v events, want 700", got)
	}
}

// Whatever Kafka answers, and whenever the shipper dies, everything arrives,
// in order.
func TestShipperFaults(t *testing.T) {
	faults := []struct {
		name  string
		fault func(kmsg.Request) (kmsg.Response, error)
	}{
		{"the connection breaks", func(kmsg.Request) (kmsg.Response, error) { return nil, errors.New("breaks") }},
		{"not the leader", produceError(kerr.NotLeaderForPartition)},
		{"the log is full", produceError(kerr.KafkaStorageError)},
		{"no rights", produceError(kerr.TopicAuthorizationFailed)},
		{"too large", produceError(kerr.MessageTooLarge)},
		{"an invalid record", produceError(kerr.InvalidRecord)},
		{"an unknown producer", produceError(kerr.UnknownProducerID)},
		{"out of order", produceError(kerr.OutOfOrderSequenceNumber)},
		{"too few replicas", produceError(kerr.NotEnoughReplicas)},
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			k := startKafka(t)
			var requests atomic.Int64
			k.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				k.KeepControl()
				if n := requests.Add(1); n%3 != 0 && n < 15 {
					response, err := fault.fault(r)
					return response, err, true
				}
				return nil, nil, false
			})
			s := openSpool(t, t.TempDir(), 4, false)
			random := rand.New(rand.NewPCG(1, 2))
			hits := 0
			for range 3 {
				stop := runShipper(t, NewClickShipper(k.shipper(), s))
				for range 5 {
					more := 1 + random.IntN(80)
					appendHits(t, s, hits, hits+more)
					hits += more
					time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond)
				}
				stop() // with requests under way
			}
			if err := NewClickShipper(k.shipper(), s).Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			k.checkShipped(4, hits)
		})
	}
}

// produceError answers a request to produce with an error for each partition.
func produceError(failure *kerr.Error) func(kmsg.Request) (kmsg.Response, error) {
	return func(r kmsg.Request) (kmsg.Response, error) {
		request := r.(*kmsg.ProduceRequest)
		response := request.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range request.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, failure.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			response.Topics = append(response.Topics, topic)
		}
		return response, nil
	}
}

// What is left of an identity that the spool gave up goes under its old
// number, before what is new.
func TestShipperOldIdentity(t *testing.T) {
	k := startKafka(t)
	dir := t.TempDir()
	s := openSpool(t, dir, 1, false)
	appendHits(t, s, 0, 100)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir, 2, true)
	appendHits(t, s, 0, 50)
	if err := NewClickShipper(k.shipper(), s).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.checkShipped(1, 100)
	k.checkShipped(2, 50)
}

func TestShipperLeavesOutWhatIsNoEvent(t *testing.T) {
	k := startKafka(t)
	s := openSpool(t, t.TempDir(), 3, false)
	for i, payload := range [][]byte{hit(t, 0), []byte("no event"), hit(t, 2)} {
		if _, err := s.Append(payload, 1); err != nil {
			t.Fatal(i, err)
		}
	}
	shipper := NewClickShipper(k.shipper(), s)
	if err := shipper.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ordinals []uint64
	for _, record := range k.logged(TopicClicks)[0] {
		var e wire.Event
		if err := e.UnmarshalVT(record.Value); err != nil {
			t.Fatal(err)
		}
		ordinals = append(ordinals, e.Ordinal)
	}
	if !slices.Equal(ordinals, []uint64{1, 3}) {
		t.Errorf("ordinals %v, want 1 and 3", ordinals)
	}
	if got := valueOf(t, shipper.metrics.corrupt); got != 1 {
		t.Errorf("the metric counts %v corrupt frames, want 1", got)
	}
}

// Kafka away for long: the shipper says so, keeps everything and goes on.
func TestShipperDrainGivesUpInTime(t *testing.T) {
	k := startKafka(t)
	options := k.shipper()
	k.Cluster.Close()
	s := openSpool(t, t.TempDir(), 3, false)
	appendHits(t, s, 0, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := NewClickShipper(options, s).Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that time is up", err)
	}
	if s.Stats().UnackedBytes == 0 {
		t.Error("acknowledged without Kafka")
	}
}

// Frames of an identity that has no number, since its ring was lost before it had
// one, get one when they are shipped.
func TestShipperClaimsANumber(t *testing.T) {
	k := startKafka(t)
	s, err := spool.Open(spool.Options{Dir: t.TempDir(), RingDir: t.TempDir(), RingBytes: 256 << 10, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	appendHits(t, s, 0, 10)
	runShipper(t, NewClickShipper(k.shipper(), s))
	eventually(t, "all is acknowledged", func() bool { return s.Stats().UnackedBytes == 0 })
	k.checkShipped(1, 10) // the first number there is
}

// A topic that is deleted and created anew gets what it has not acknowledged.
func TestShipperRecreatedTopic(t *testing.T) {
	k := startKafka(t)
	s := openSpool(t, t.TempDir(), 3, false)
	runShipper(t, NewClickShipper(k.shipper(), s))
	appendHits(t, s, 0, 10)
	eventually(t, "the first are acknowledged", func() bool { return s.Stats().UnackedBytes == 0 })
	adm := kadm.NewClient(k.client)
	if _, err := adm.DeleteTopic(t.Context(), TopicClicks); err != nil {
		t.Fatal(err)
	}
	appendHits(t, s, 10, 20)
	eventually(t, "the topic is created anew", func() bool {
		_, err := adm.CreateTopic(t.Context(), testClickPartitions, 1, nil, TopicClicks)
		return err == nil || errors.Is(err, kerr.TopicAlreadyExists)
	})
	eventually(t, "the rest is acknowledged", func() bool { return s.Stats().UnackedBytes == 0 })
	records := k.logged(TopicClicks)[0]
	var first wire.Event
	if err := first.UnmarshalVT(records[0].Value); err != nil || first.Ordinal != 11 || len(records) < 10 {
		t.Errorf("%d records, the first is %v, %v; want ordinals 11 to 20", len(records), &first, err)
	}
}

func TestActionShipper(t *testing.T) {
	k := startKafka(t)
	journal, err := spool.OpenJournal(spool.JournalOptions{Dir: t.TempDir(), Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = journal.Close() }()
	const identities = 40
	for i := range 2 * identities {
		e := &wire.Event{Event: "purchase", Program: "p", OrderId: fmt.Sprint(i % identities), Id: fmt.Sprint(i), UserId: "u"}
		if i >= identities {
			e.Program = "" // the repeat lacks it
		}
		if err := journal.Append(t.Context(), k.encode(e)); err != nil {
			t.Fatal(err)
		}
	}
	if err := NewActionShipper(k.shipper(), journal).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	partitionOf, arrived := map[string]int32{}, 0
	for partition, records := range k.logged(TopicActions) {
		for _, record := range records {
			var e wire.Event
			if err := e.UnmarshalVT(record.Value); err != nil {
				t.Fatal(err)
			}
			if want := "purchase\x00o:" + e.OrderId; string(record.Key) != want {
				t.Errorf("key %q, want %q", record.Key, want)
			}
			if e.Device != "" || tracker.Reasons(e.Reasons) != 0 {
				t.Errorf("an action from a server has device %q and reasons %d", e.Device, e.Reasons)
			}
			if other, ok := partitionOf[e.OrderId]; ok && other != partition {
				t.Errorf("order %s is in partitions %d and %d", e.OrderId, partition, other)
			}
			partitionOf[e.OrderId] = partition
			arrived++
		}
	}
	if arrived != 2*identities {
		t.Errorf("%d actions arrived, want %d", arrived, 2*identities)
	}
	used := map[int32]bool{}
	for _, partition := range partitionOf {
		used[partition] = true
	}
	if len(used) < ActionPartitions/2 {
		t.Errorf("40 orders are in %d partitions only", len(used))
	}
}

func TestBytesAfter(t *testing.T) {
	for _, tc := range []struct {
		err         error
		bytes, want int
	}{
		{fmt.Errorf("send: %w", kerr.MessageTooLarge), 1000, 500},
		{kerr.RecordListTooLarge, 1000, 500},
		{kerr.MessageTooLarge, 1, 1},
		{kerr.InvalidRecord, 1000, 1000},
		{errors.New("anything"), 1000, 1000},
	} {
		if got := bytesAfter(tc.err, tc.bytes); got != tc.want {
			t.Errorf("%v after %d bytes gives %d, want %d", tc.err, tc.bytes, got, tc.want)
		}
	}
}
