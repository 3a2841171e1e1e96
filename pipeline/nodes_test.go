package pipeline

import (
	"strings"
	"sync"
	"testing"

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
