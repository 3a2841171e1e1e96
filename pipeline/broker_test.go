package pipeline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quiet is a logger for tests that provoke errors.
var quiet = slog.New(slog.DiscardHandler)

// startTestBroker runs an embedded broker with its topics until the test ends.
func startTestBroker(t *testing.T, o BrokerOptions) *Broker {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	o.Logger = quiet
	b, err := StartBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	if err := EnsureTopics(testContext(t), testClient(t, b.Addr())); err != nil {
		t.Fatal(err)
	}
	return b
}

func closeBroker(t *testing.T, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

// testContext bounds a test that would otherwise hang.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func testClients(addr string) ClientOptions {
	return ClientOptions{Brokers: []string{addr}, ID: "test", Logger: quiet}
}

func testClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := NewClient(testClients(addr), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// produce appends a value to a partition and returns its offset.
func produce(t *testing.T, client *kgo.Client, topic string, partition int32, value string) int64 {
	t.Helper()
	record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
	if err := client.ProduceSync(testContext(t), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return record.Offset
}

// readAll returns the values of a partition by offset.
func readAll(t *testing.T, addr, topic string, partition int32, end int64) map[int64]string {
	t.Helper()
	client := testClient(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	defer client.Close()
	values, next := map[int64]string{}, int64(0)
	for next < end {
		fetches := client.PollFetches(testContext(t))
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			values[r.Offset] = string(r.Value)
			next = r.Offset + 1
		})
	}
	return values
}

func commitOffset(t *testing.T, client *kgo.Client, topic string, partition int32, at int64, metadata string) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: at, LeaderEpoch: -1, Metadata: metadata})
	if err := kadm.NewClient(client).CommitAllOffsets(testContext(t), IngestGroup, offsets); err != nil {
		t.Fatal(err)
	}
}

func TestStartBrokerErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := startTestBroker(t, BrokerOptions{Dir: filepath.Join(t.TempDir(), "running")})
	_ = running
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runningDir := running.lock.Name()
	corrupt := t.TempDir()
	if err := os.WriteFile(filepath.Join(corrupt, "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ dir, listen, want string }{
		"address taken":    {t.TempDir(), taken.Addr().String(), "address is taken"},
		"no address":       {t.TempDir(), "nonsense", "listen for Kafka clients on nonsense"},
		"directory in use": {filepath.Dir(runningDir), "127.0.0.1:0", "another broker is running on it"},
		"not a directory":  {filepath.Join(file, "data"), "127.0.0.1:0", "create the broker's directory"},
		"corrupt":          {corrupt, "127.0.0.1:0", "open the broker's data in " + corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := StartBroker(BrokerOptions{Dir: test.dir, Listen: test.listen, Logger: quiet})
			if err == nil {
				closeBroker(t, b)
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q, want one line with %q", err, test.want)
			}
			// Nothing of it is left: once the reason is gone, it starts.
			if name == "address taken" {
				closeBroker(t, startTestBroker(t, BrokerOptions{Dir: test.dir}))
			}
		})
	}
}

func TestAdvertise(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip("this machine has no name")
	}
	for _, test := range []struct{ listening, host, want string }{
		{"127.0.0.1:9092", "", "127.0.0.1:9092"},
		{"[::1]:9092", "", "[::1]:9092"},
		{"0.0.0.0:9092", "kafka.example", "kafka.example:9092"},
		{"127.0.0.1:9092", "kafka.example", "kafka.example:9092"},
	} {
		got, err := advertise(advertisedAddr(test.listening), test.host)
		if err != nil || got != test.want {
			t.Errorf("advertise(%s, %q) = %q, %v, want %q", test.listening, test.host, got, err, test.want)
		}
	}
	got, err := advertise(advertisedAddr("[::]:9092"), "")
	if err != nil || (got != host+":9092" && got != "127.0.0.1:9092") {
		t.Errorf("advertise([::]:9092) = %q, %v, want %s or the loopback", got, err, host)
	}
}

func TestBrokerListensEverywhere(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{Listen: "0.0.0.0:0", Advertise: "127.0.0.1"})
	if offset := produce(t, testClient(t, b.Addr(), kgo.RecordPartitioner(kgo.ManualPartitioner())), TopicClicks, 2, "x"); offset != 0 {
		t.Fatalf("first offset is %d", offset)
	}
}

// TestBrokerProcess is no test of its own: it is the broker that other tests
// run in a process of its own, to kill it.
func TestBrokerProcess(t *testing.T) {
	dir := os.Getenv("WAYMARK_TEST_BROKER_DIR")
	if dir == "" {
		t.Skip("run by other tests")
	}
	b, err := StartBroker(BrokerOptions{Dir: dir, Listen: os.Getenv("WAYMARK_TEST_BROKER_LISTEN"), Logger: quiet})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("listening on", b.Addr())
	io.Copy(io.Discard, os.Stdin) // until the parent dies
}

// brokerProcess is an embedded broker in a process that can be killed.
type brokerProcess struct {
	addr string
	cmd  *exec.Cmd
}

func startBrokerProcess(t *testing.T, dir, listen string) *brokerProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBrokerProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "WAYMARK_TEST_BROKER_DIR="+dir, "WAYMARK_TEST_BROKER_LISTEN="+listen)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &brokerProcess{cmd: cmd}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			p.addr = addr
			go io.Copy(io.Discard, out)
			return p
		}
		if strings.HasPrefix(lines.Text(), "failed:") {
			t.Fatal(lines.Text())
		}
	}
	t.Fatal("the broker process ended before it listened")
	return nil
}

func (p *brokerProcess) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func TestBrokerSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	p := startBrokerProcess(t, dir, "127.0.0.1:0")
	client := testClient(t, p.addr, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := EnsureTopics(testContext(t), client); err != nil {
		t.Fatal(err)
	}
	id, err := TopicID(testContext(t), client, TopicClicks)
	if err != nil {
		t.Fatal(err)
	}
	acked := map[int64]string{}
	for round := range 4 {
		// Killed with records in flight: whatever was acknowledged counts.
		results := make(chan *kgo.Record, 300)
		for i := range 300 {
			value := fmt.Sprintf("%d-%d", round, i)
			client.Produce(context.Background(), &kgo.Record{Topic: TopicClicks, Value: []byte(value)}, func(r *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce %s: %v", r.Value, err)
				}
				results <- r
			})
			if i == 150 {
				commitOffset(t, client, TopicClicks, 0, int64(round), fmt.Sprintf("plan %d", round))
				p.kill()
				p = startBrokerProcess(t, dir, p.addr)
			}
		}
		for range 300 {
			select {
			case r := <-results:
				acked[r.Offset] = string(r.Value)
			case <-time.After(time.Minute):
				t.Fatal("records were not acknowledged within a minute of the restart")
			}
		}
	}
	if len(acked) != 4*300 {
		t.Errorf("%d offsets for %d records", len(acked), 4*300)
	}
	p.kill()
	p = startBrokerProcess(t, dir, p.addr)
	end := int64(0)
	for offset := range acked {
		end = max(end, offset+1)
	}
	stored := readAll(t, p.addr, TopicClicks, 0, end)
	for offset, value := range acked {
		if offset < 3 {
			continue // committed, and so perhaps trimmed
		}
		if stored[offset] != value {
			t.Errorf("offset %d holds %q, acknowledged was %q", offset, stored[offset], value)
		}
	}
	fresh := testClient(t, p.addr)
	again, err := TopicID(testContext(t), fresh, TopicClicks)
	if err != nil || again != id {
		t.Errorf("topic id is %x after the kills, was %x (%v)", again, id, err)
	}
	offsets, err := kadm.NewClient(fresh).FetchOffsets(testContext(t), IngestGroup)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := offsets.Lookup(TopicClicks, 0); got.At != 3 || got.Metadata != "plan 3" {
		t.Errorf("committed offset %d with %q, want 3 with \"plan 3\"", got.At, got.Metadata)
	}
}

// A partition that was trimmed as far as possible must not start over: its
// offsets are in ClickHouse already.
func TestTrimmedPartitionKeepsItsEnd(t *testing.T) {
	for _, shutdown := range []string{"killed", "closed"} {
		t.Run(shutdown, func(t *testing.T) {
			dir := t.TempDir()
			b := startTestBroker(t, BrokerOptions{Dir: dir})
			client := testClient(t, b.Addr(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			for i := range 10 {
				produce(t, client, TopicActions, 3, fmt.Sprint(i))
			}
			commitOffset(t, client, TopicActions, 3, 4, "")
			if err := b.TrimBelowCommitted(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if info := b.cluster.PartitionInfo(TopicActions, 3); info.LogStartOffset != 4 || info.HighWatermark != 10 {
				t.Fatalf("log is [%d, %d), want [4, 10)", info.LogStartOffset, info.HighWatermark)
			}
			commitOffset(t, client, TopicActions, 3, 10, "")
			if err := b.TrimBelowCommitted(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if shutdown == "killed" {
				// What is on disk now is what a kill would leave.
				image := t.TempDir()
				if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				dir = image
			}
			closeBroker(t, b)
			b = startTestBroker(t, BrokerOptions{Dir: dir})
			client = testClient(t, b.Addr(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if offset := produce(t, client, TopicActions, 3, "next"); offset != 10 {
				t.Fatalf("the next record got offset %d, want 10", offset)
			}
		})
	}
}

func TestClientsCannotDeleteRecords(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	client := testClient(t, b.Addr(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produce(t, client, TopicClicks, 0, "kept")
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: TopicClicks, Partition: 0, At: 1})
	responses, err := kadm.NewClient(client).DeleteRecords(testContext(t), offsets)
	if err == nil {
		err = responses.Error()
	}
	if !errors.Is(err, kerr.PolicyViolation) {
		t.Fatalf("DeleteRecords: %v, want a policy violation", err)
	}
	if got := readAll(t, b.Addr(), TopicClicks, 0, 1); got[0] != "kept" {
		t.Fatalf("the record is %q", got[0])
	}
}

func TestCapRefusesUntilIngestCatchesUp(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := startTestBroker(t, BrokerOptions{MaxUnconsumedBytes: 100_000, Registerer: registry})
	manual := kgo.RecordPartitioner(kgo.ManualPartitioner())
	client := testClient(t, b.Addr(), manual)
	random := rand.New(rand.NewPCG(1, 2))
	for range 120 {
		kilobyte := make([]byte, 1000) // that does not compress
		for i := range kilobyte {
			kilobyte[i] = byte(random.Uint32())
		}
		produce(t, client, TopicClicks, 1, string(kilobyte))
	}
	waitFor(t, "the broker refuses", func() bool { return metric(t, registry, "waymark_broker_refusing") == 1 })
	for _, topic := range eventTopics {
		if code := producesOnce(t, b.Addr(), topic); code != kerr.NotEnoughReplicas.Code {
			t.Errorf("%s: code %d, want a refusal", topic, code)
		}
	}
	if code := producesOnce(t, b.Addr(), TopicNodes); code != 0 {
		t.Errorf("a node record got code %d, want 0", code)
	}
	// A client waits and loses nothing.
	waiting := make(chan error, 1)
	client.Produce(testContext(t), &kgo.Record{Topic: TopicClicks, Partition: 1, Value: []byte("waited")}, func(_ *kgo.Record, err error) { waiting <- err })
	commitOffset(t, client, TopicClicks, 1, 120, "")
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, b.Addr(), TopicClicks, 1, 121); got[120] != "waited" {
		t.Fatalf("offset 120 holds %q", got[120])
	}
}

// producesOnce sends one record in one request and returns the broker's code.
func producesOnce(t *testing.T, addr, topic string) int16 {
	t.Helper()
	client := testClient(t, addr, kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	defer client.Close()
	err := client.ProduceSync(testContext(t), &kgo.Record{Topic: topic, Value: []byte("probe")}).FirstErr()
	var code *kerr.Error
	if err != nil && !errors.As(err, &code) {
		t.Fatal(err)
	}
	if code == nil {
		return 0
	}
	return code.Code
}

// metric returns the sum of a metric over its labels.
func metric(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// waitFor polls a condition for up to a minute.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for: %s", what)
		}
	}
}

func TestBrokerSurvivesGarbage(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	unknown := []byte{0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0, 0}
	for name, garbage := range map[string]string{
		"http":             "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"tls":              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"unknown request":  string(unknown),
		"negative size":    "\xff\xff\xff\xff\x00\x00\x00\x00",
		"negative version": "\x00\x00\x00\x0a\x00\x03\x80\x00\x00\x00\x00\x01\x00\x00",
		"too small":        "\x00\x00\x00\x02\x00\x03",
		"empty metadata":   "\x00\x00\x00\x08\x00\x03\x00\x0c\x00\x00\x00\x01",
	} {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
		conn.Close()
	}
	if offset := produce(t, testClient(t, b.Addr()), TopicNodes, 0, "still there"); offset != 0 {
		t.Fatalf("offset %d", offset)
	}
}

// FuzzBrokerConn checks that what is let through does not depend on how the
// network cuts it, and is made of whole requests that kfake can name.
func FuzzBrokerConn(f *testing.F) {
	request := kmsg.NewMetadataRequest()
	good := kmsg.NewRequestFormatter().AppendRequest(nil, &request, 1)
	f.Add(good, uint8(3))
	f.Add(append(good, good...), uint8(7))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		whole, pieces := &brokerConn{}, &brokerConn{}
		want, got := whole.check(in), true
		step := int(cut)%9 + 1
		for rest := in; len(rest) > 0 && got; {
			n := min(step, len(rest))
			got, rest = pieces.check(rest[:n]), rest[n:]
		}
		if got != want {
			t.Fatalf("whole: %v, in pieces of %d: %v", want, step, got)
		}
		if want && (whole.rest < 0 || whole.have >= len(whole.head)) {
			t.Fatalf("ended with %d of the head and %d to come", whole.have, whole.rest)
		}
	})
}

// A topic of somebody else with a retention time makes kfake clean every
// topic, and those without a setting after seven days.
func TestCleanerLeavesOurTopicsAlone(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	alterations, err := kadm.NewClient(testClient(t, b.Addr())).AlterBrokerConfigs(testContext(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.backoff.ms", Value: kadm.StringPtr("20")}})
	if err != nil || len(alterations) == 0 || alterations[0].Err != nil {
		t.Fatal(alterations, err)
	}
	closeBroker(t, b) // the setting counts when the cleaner starts
	b = startTestBroker(t, BrokerOptions{Dir: dir})
	client := testClient(t, b.Addr())
	adm := kadm.NewClient(client)
	if _, err := adm.CreateTopic(testContext(t), 1, 1, map[string]*string{"retention.ms": kadm.StringPtr("1000")}, "foreign"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(testContext(t), 1, 1, nil, "unset"); err != nil {
		t.Fatal(err)
	}
	kept := []string{TopicClicks, TopicActions, TopicDecisions, TopicLinks, TopicPrograms, TopicKeys, TopicNodes, "unset"}
	put := func(topic string) {
		r := &kgo.Record{Topic: topic, Value: []byte("x"), Timestamp: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
		if err := client.ProduceSync(testContext(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range kept {
		put(topic)
	}
	for range 2 { // the second time a whole cleaning has passed over all topics
		start := b.cluster.PartitionInfo("foreign", 0).LogStartOffset
		put("foreign")
		waitFor(t, "the foreign topic is cleaned", func() bool { return b.cluster.PartitionInfo("foreign", 0).LogStartOffset > start })
	}
	for _, topic := range kept {
		size := int64(0)
		for _, p := range b.cluster.PartitionInfos(topic) {
			size += p.NumBytes
		}
		if size == 0 {
			t.Errorf("%s was cleaned", topic)
		}
	}
}
