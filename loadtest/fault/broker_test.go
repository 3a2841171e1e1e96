package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func startTestBroker(t *testing.T, advertise string) *Broker {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := StartBrokerBehind(testContext(t), exe, "127.0.0.1:0", advertise, t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Kill() })
	return b
}

func testClient(t *testing.T, addr string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("t"), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }), kgo.MetadataMinAge(10 * time.Millisecond),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// withTopic makes the topic t with one partition.
func withTopic(t *testing.T, b *Broker) *Broker {
	t.Helper()
	if _, err := kadm.NewClient(testClient(t, b.Addr())).CreateTopic(testContext(t), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	return b
}

// produce sends values one by one and returns once all are acknowledged.
func produce(t *testing.T, client *kgo.Client, values ...string) {
	t.Helper()
	for _, value := range values {
		if err := client.ProduceSync(testContext(t), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// readTopic returns all that the topic t holds.
func readTopic(t *testing.T, addr string) (values []string) {
	t.Helper()
	ctx := testContext(t)
	client := testClient(t, addr, kgo.ConsumeTopics("t"))
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	for int64(len(values)) < end.Offset {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			values = append(values, string(r.Value))
		}
	}
	return values
}

// numbers are the decimal numbers from 0 to n-1.
func numbers(n int) (values []string) {
	for i := range n {
		values = append(values, strconv.Itoa(i))
	}
	return values
}

func inject(t *testing.T, b *Broker, f BrokerFault) (lift func()) {
	t.Helper()
	lift, err := b.Inject(f)
	if err != nil {
		t.Fatal(err)
	}
	return lift
}

func struck(t *testing.T, b *Broker) int {
	t.Helper()
	n, err := b.Struck()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBrokerKeepsWhatItAcknowledged(t *testing.T) {
	b := withTopic(t, startTestBroker(t, ""))
	client, addr := testClient(t, b.Addr()), b.Addr()
	values := numbers(200)
	for i, value := range values {
		produce(t, client, value)
		if i%50 != 49 {
			continue
		}
		end := b.Kill
		if i == 149 {
			end = b.Stop
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			t.Fatal("the broker still listens")
		}
		if err := b.Restart(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if b.Addr() != addr {
		t.Errorf("it listens on %s after a restart, on %s before", b.Addr(), addr)
	}
	if got := readTopic(t, addr); !slices.Equal(got, values) {
		t.Errorf("the topic holds %d records, want 200 in order:\n%v", len(got), got)
	}
}

// Where the answers to writes are lost, a producer that sends again writes
// twice unless it is idempotent; where the requests are, nothing is doubled.
func TestBrokerCloses(t *testing.T) {
	values := numbers(100)
	for _, test := range []struct {
		close      string
		idempotent bool
		doubled    bool
	}{
		{CloseAfter, true, false},
		{CloseAfter, false, true},
		{CloseBefore, false, false},
	} {
		t.Run(fmt.Sprintf("%s idempotent=%v", test.close, test.idempotent), func(t *testing.T) {
			b := withTopic(t, startTestBroker(t, ""))
			options := []kgo.Opt{kgo.RequestRetries(1000)}
			if !test.idempotent {
				options = append(options, kgo.DisableIdempotentWrite())
			}
			lift := inject(t, b, BrokerFault{Keys: []string{"produce"}, Close: test.close, Share: 0.4, Seed: 11})
			produce(t, testClient(t, b.Addr(), options...), values...)
			lift()
			hits := struck(t, b)
			if hits < 20 {
				t.Fatalf("%d requests were hit of at least 100, want some 40%%", hits)
			}
			got := readTopic(t, b.Addr())
			want := len(values)
			if test.doubled {
				want += hits
			}
			if len(got) != want {
				t.Errorf("the topic holds %d records after %d hits, want %d", len(got), hits, want)
			}
			if !slices.Equal(slices.Compact(got), values) {
				t.Errorf("a record is missing or out of order:\n%v", got)
			}
		})
	}
}

func TestBrokerDiesWithTheWriteDone(t *testing.T) {
	b := withTopic(t, startTestBroker(t, ""))
	client := testClient(t, b.Addr())
	produce(t, client, "before")
	inject(t, b, BrokerFault{Keys: []string{"produce"}, Close: CloseKill})
	acknowledged := make(chan error, 1)
	client.Produce(testContext(t), kgo.StringRecord("written"), func(_ *kgo.Record, err error) { acknowledged <- err })
	select {
	case <-b.Exited():
	case <-testContext(t).Done():
		t.Fatal("the broker lives on")
	}
	if err := b.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-acknowledged; err != nil {
		t.Fatal(err)
	}
	// Twice: the client sent it again, and a kfake that was killed has forgotten
	// what idempotent producers wrote. (Apache Kafka has not.)
	if got := readTopic(t, b.Addr()); !slices.Equal(got, []string{"before", "written", "written"}) {
		t.Errorf("the topic holds %v", got)
	}
}

func TestBrokerAnswersWithErrors(t *testing.T) {
	b := withTopic(t, startTestBroker(t, ""))
	client := testClient(t, b.Addr(), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	once := func(value string) error {
		return client.ProduceSync(testContext(t), kgo.StringRecord(value)).FirstErr()
	}
	for _, want := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas} {
		lift := inject(t, b, BrokerFault{Keys: []string{"produce"}, Error: want.Message})
		if err := once(want.Message); !errors.Is(err, want) && !errors.Is(err, kgo.ErrRecordRetries) {
			t.Errorf("%v, want %v", err, want)
		}
		lift()
	}
	if err := once("afterwards"); err != nil {
		t.Error(err)
	}
	// A write that timed out may have happened, and with this broker has.
	if got, want := readTopic(t, b.Addr()), []string{"REQUEST_TIMED_OUT", "afterwards"}; !slices.Equal(got, want) {
		t.Errorf("the topic holds %v, want %v", got, want)
	}
	inject(t, b, BrokerFault{Keys: []string{"find_coordinator"}, Error: "COORDINATOR_NOT_AVAILABLE"})
	request := kmsg.NewPtrFindCoordinatorRequest()
	request.CoordinatorKey, request.CoordinatorKeys = "g", []string{"g"}
	response, err := request.RequestWith(testContext(t), testClient(t, b.Addr(), kgo.RequestRetries(0)))
	if !errors.Is(err, kerr.CoordinatorNotAvailable) && (err != nil || len(response.Coordinators) != 1 || response.Coordinators[0].ErrorCode != kerr.CoordinatorNotAvailable.Code) {
		t.Errorf("%+v, %v", response, err)
	}
}

func TestBrokerDelays(t *testing.T) {
	b := withTopic(t, startTestBroker(t, ""))
	// A client that waits for the answer: it would come through by trying anew.
	slow, other := testClient(t, b.Addr(), kgo.ProduceRequestTimeout(2*patience)), testClient(t, b.Addr())
	produce(t, slow, "0")
	lift := inject(t, b, BrokerFault{Keys: []string{"produce"}, Delay: time.Hour})
	acknowledged := make(chan error, 1)
	slow.Produce(testContext(t), kgo.StringRecord("1"), func(_ *kgo.Record, err error) { acknowledged <- err })
	eventually(t, "the write to be held", func() bool { return struck(t, b) == 1 })
	if err := other.Ping(testContext(t)); err != nil { // requests of other kinds go on
		t.Error(err)
	}
	if got := readTopic(t, b.Addr()); len(got) != 1 {
		t.Errorf("the topic holds %v while the write waits", got)
	}
	lift()
	if err := <-acknowledged; err != nil {
		t.Fatal(err)
	}
	if got := readTopic(t, b.Addr()); len(got) != 2 {
		t.Errorf("the topic holds %v", got)
	}
}

func TestBrokerForgetsFaultsWhenRestarted(t *testing.T) {
	b := withTopic(t, startTestBroker(t, ""))
	liftOld := inject(t, b, BrokerFault{Keys: []string{"produce"}, Delay: time.Hour})
	if err := b.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	produce(t, testClient(t, b.Addr()), "not delayed")
	inject(t, b, BrokerFault{Keys: []string{"produce"}, Error: "NOT_ENOUGH_REPLICAS"})
	liftOld() // is not this one
	client := testClient(t, b.Addr(), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	if err := client.ProduceSync(testContext(t), kgo.StringRecord("x")).FirstErr(); !errors.Is(err, kerr.NotEnoughReplicas) {
		t.Errorf("%v, want the fault of the new process", err)
	}
}

func TestBrokerRefusesFaultsThatAreNone(t *testing.T) {
	b := startTestBroker(t, "")
	for _, test := range []struct {
		fault BrokerFault
		says  string
	}{
		{BrokerFault{Keys: []string{"prodcue"}, Close: CloseBefore}, `"prodcue"`},
		{BrokerFault{Error: "NOT_MY_DAY"}, `"NOT_MY_DAY"`},
		{BrokerFault{Close: "sometimes"}, `"sometimes"`},
		{BrokerFault{Close: CloseAfter, Share: 1.5}, "1.5"},
		{BrokerFault{Keys: []string{"produce"}}, "does nothing"},
	} {
		if _, err := b.Inject(test.fault); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v, want an error that says %s", test.fault, err, test.says)
		}
	}
}

// The process has nobody left when the end of its standard input is gone.
func TestBrokerEndsWithItsParent(t *testing.T) {
	b := startTestBroker(t, "")
	if err := b.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Exited():
	case <-testContext(t).Done():
		t.Fatal("the broker lives on")
	}
}

func TestBrokerReportsThatItCannotStart(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := StartBroker(testContext(t), exe, "nonsense", t.TempDir(), nil); err == nil {
		b.Kill()
		t.Error("it listens on nonsense")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartBroker(ctx, exe, "127.0.0.1:0", t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}

func TestBrokerBehindAPipe(t *testing.T) {
	p, err := NewPipe("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b := startTestBroker(t, p.Addr())
	p.SetUpstream(b.Addr())
	if _, err := kadm.NewClient(testClient(t, p.Addr())).CreateTopic(testContext(t), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	client := testClient(t, p.Addr())
	values := numbers(60)
	for i, value := range values {
		switch i {
		case 10:
			p.CutAll()
		case 20:
			p.CutAfter(300) // in the middle of some request, again and again
		case 40:
			p.CutAfter(-1)
		}
		// A request that is larger than what may pass would never get there.
		client.Produce(testContext(t), kgo.StringRecord(value), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %s: %v", value, err)
			}
		})
		if i < 20 || i > 40 {
			if err := client.Flush(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := readTopic(t, p.Addr()); !slices.Equal(got, values) {
		t.Errorf("the topic holds %d records, want 60 in order:\n%v", len(got), got)
	}
}

func TestBrokerSurvivesWhatIsNotKafka(t *testing.T) {
	b := withTopic(t, startTestBroker(t, ""))
	for name, garbage := range map[string]string{
		"http":             "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"unknown request":  "\x00\x00\x00\x0a\x7f\xff\x00\x00\x00\x00\x00\x01\x00\x00",
		"negative version": "\x00\x00\x00\x0a\x00\x03\x80\x00\x00\x00\x00\x01\x00\x00",
		"negative size":    "\xff\xff\xff\xff\x00\x00\x00\x00",
		"too small":        "\x00\x00\x00\x02\x00\x03",
	} {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
		conn.Close()
	}
	produce(t, testClient(t, b.Addr()), "still there")
}
