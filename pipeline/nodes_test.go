package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestClaimNode(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	var mu sync.Mutex
	claimed := map[uint16]bool{}
	var all sync.WaitGroup
	for range 20 {
		client := testClient(t, b.Addr())
		all.Go(func() {
			node, err := ClaimNode(testContext(t), client, "spool")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if node == 0 || claimed[node] {
				t.Errorf("node %d is zero or taken", node)
			}
			claimed[node] = true
		})
	}
	all.Wait()
	closeBroker(t, b)
	b = startTestBroker(t, BrokerOptions{Dir: dir})
	node, err := ClaimNode(testContext(t), testClient(t, b.Addr()), "later")
	if err != nil || claimed[node] {
		t.Fatalf("after a restart: node %d, %v, of %v", node, err, claimed)
	}
}

func TestClaimNodeEndsAt65535(t *testing.T) {
	cluster := startCluster(t)
	client := testClient(t, clusterAddr(cluster))
	if err := EnsureTopics(testContext(t), client); err != nil {
		t.Fatal(err)
	}
	records := make([]*kgo.Record, 65535)
	for i := range records {
		records[i] = &kgo.Record{Topic: TopicNodes}
	}
	if err := client.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if node, err := ClaimNode(testContext(t), client, "last"); err != nil || node != 65535 {
		t.Fatalf("the last number is %d, %v", node, err)
	}
	if node, err := ClaimNode(testContext(t), client, "too late"); err == nil || !strings.Contains(err.Error(), "65535 are taken") {
		t.Fatalf("node %d, %v, want an error", node, err)
	}
}

// startNodes starts a broker with topics, where two nodes have sent clicks.
func startNodes(t *testing.T) (addr string, first, second uint16) {
	t.Helper()
	addr = startTestBroker(t, BrokerOptions{Dir: t.TempDir()}).Addr()
	client := testClient(t, addr)
	if err := EnsureTopics(testContext(t), client); err != nil {
		t.Fatal(err)
	}
	numbers := make([]uint16, 2)
	for i := range numbers {
		var err error
		if numbers[i], err = ClaimNode(testContext(t), client, fmt.Sprint("spool ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.ProduceSync(testContext(t), &kgo.Record{Topic: TopicClicks, Value: []byte("a click")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return addr, numbers[0], numbers[1]
}

// loseNodes deletes waymark.nodes and creates it anew, as a start would, and
// returns a client that starts after that.
func loseNodes(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	client := testClient(t, addr)
	if _, err := kadm.NewClient(client).DeleteTopics(testContext(t), TopicNodes); err != nil {
		t.Fatal(err)
	}
	if number, err := ClaimNode(testContext(t), client, "early"); !errors.Is(err, ErrNodesLost) {
		t.Errorf("without the topic, a node got number %d, %v", number, err)
	}
	if err := EnsureTopics(testContext(t), client); err != nil {
		t.Fatal(err)
	}
	return testClient(t, addr)
}

func TestNumbersAreTheirOwners(t *testing.T) {
	addr, first, second := startNodes(t)
	client := testClient(t, addr)
	if err := errors.Join(ConfirmNode(testContext(t), client, first, "spool 0"), ConfirmNode(testContext(t), client, second, "spool 1")); err != nil {
		t.Error(err)
	}
	if err := ConfirmNode(testContext(t), client, first, "spool 1"); !errors.Is(err, ErrNodesLost) || !strings.Contains(err.Error(), "belongs to spool spool 0 there") {
		t.Errorf("another's number: %v", err)
	}
	// Where nothing was lost, nothing is reserved: numbers are few.
	if reserved, err := ReserveNodes(testContext(t), client, second); reserved || err != nil {
		t.Errorf("reserved: %v, %v", reserved, err)
	}
	if third, err := ClaimNode(testContext(t), client, "spool 2"); err != nil || third != second+1 {
		t.Errorf("the next number is %d, %v, want %d", third, err, second+1)
	}
}

func TestRecreatedNodesTopicGivesNoNumberTwice(t *testing.T) {
	addr, first, second := startNodes(t)
	client := loseNodes(t, addr)
	if number, err := ClaimNode(testContext(t), client, "new"); !errors.Is(err, ErrNodesLost) {
		t.Errorf("a new node got number %d, %v", number, err)
	}
	if err := ConfirmNode(testContext(t), client, first, "spool 0"); !errors.Is(err, ErrNodesLost) {
		t.Errorf("a number was confirmed though nobody knows whose it is: %v", err)
	}
	const inClickHouse = 700 // of some node that is away
	if reserved, err := ReserveNodes(testContext(t), client, inClickHouse); !reserved || err != nil {
		t.Fatalf("reserved: %v, %v", reserved, err)
	}
	number, err := ClaimNode(testContext(t), client, "new")
	if err != nil || number <= inClickHouse {
		t.Errorf("a new node got number %d, %v; %d may be another's", number, err, inClickHouse)
	}
	if err := errors.Join(ConfirmNode(testContext(t), client, first, "spool 0"), ConfirmNode(testContext(t), client, second, "spool 1")); err != nil {
		t.Error(err)
	}
	if err := ConfirmNode(testContext(t), client, number, "spool 1"); !errors.Is(err, ErrNodesLost) {
		t.Errorf("the number of the new node was confirmed for another: %v", err)
	}
}

// A node may have come so far that its number is above what ClickHouse knows, and
// what is reserved with it. It takes the number again, unless somebody else has.
func TestNodeAboveTheReservedNumbers(t *testing.T) {
	addr, _, _ := startNodes(t)
	client := loseNodes(t, addr)
	if _, err := ReserveNodes(testContext(t), client, 2); err != nil {
		t.Fatal(err)
	}
	if err := ConfirmNode(testContext(t), client, 600, "far"); err != nil {
		t.Fatal(err)
	}
	if number, err := ClaimNode(testContext(t), client, "new"); err != nil || number <= 600 {
		t.Errorf("a new node got number %d, %v", number, err)
	}
}

// Several processes of ingest start at once; the numbers must last.
func TestReserveNodesAtOnce(t *testing.T) {
	addr, _, _ := startNodes(t)
	client := loseNodes(t, addr)
	const highest, processes = 30_000, 4
	var all sync.WaitGroup
	for range processes {
		all.Go(func() {
			if _, err := ReserveNodes(testContext(t), client, highest); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if number, err := ClaimNode(testContext(t), client, "new"); err != nil || number <= highest || number > highest+2000 {
		t.Errorf("a new node got number %d, %v", number, err)
	}
}
