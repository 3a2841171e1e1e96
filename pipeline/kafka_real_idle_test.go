package pipeline

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// idleProperties make Kafka forget the transactional id of an idle writer
// within seconds, where it is a week by default.
var idleProperties = []string{"transactional.id.expiration.ms=3000", "transaction.remove.expired.transaction.cleanup.interval.ms=500"}

// expireProducers makes Kafka forget idle producers at once, where it is a day
// by default, until the test ends.
func expireProducers(t *testing.T, addr string) {
	t.Helper()
	const name = "producer.id.expiration.ms"
	adm := kadm.NewClient(testClient(t, addr))
	alter := func(change kadm.AlterConfig) {
		altered, err := adm.AlterBrokerConfigs(testContext(t), []kadm.AlterConfig{change})
		if err == nil {
			err = altered[0].Err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	soon := "500"
	alter(kadm.AlterConfig{Name: name, Value: &soon})
	t.Cleanup(func() { alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name}) })
}

// waitForgotten waits until Kafka knows no producer of a partition any more.
func waitForgotten(t *testing.T, addr, topic string, partition int32) {
	t.Helper()
	adm := kadm.NewClient(testClient(t, addr))
	waitFor(t, "Kafka forgets the idle producer", func() bool {
		described, err := adm.DescribeProducers(testContext(t), kadm.TopicsSet{topic: {partition: {}}})
		if err != nil {
			t.Fatal(err)
		}
		return len(described[topic].Partitions[partition].ActiveProducers) == 0
	})
}

// An admin that nobody used for so long that Kafka has forgotten its
// transactional id creates the next link as any other.
func testRealIdleWriter(t *testing.T, addr string) {
	expireProducers(t, addr)
	n := readyNode(t, addr, "")
	n.createLink(t, "before", "")
	adm := kadm.NewClient(testClient(t, addr))
	waitFor(t, "Kafka forgets the transactional id", func() bool {
		described, err := adm.DescribeTransactions(testContext(t), linksTransactionalID)
		if err != nil {
			t.Fatal(err)
		}
		return errors.Is(described[linksTransactionalID].Err, kerr.TransactionalIDNotFound)
	})
	waitForgotten(t, addr, TopicLinks, 0)
	n.createLink(t, "after", "")
	if got := readyNode(t, addr, "").contents(); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

// A node that nobody visited for so long that Kafka has forgotten its producer
// goes on where it was.
func testRealIdleShipper(t *testing.T, addr string) {
	const node = 5
	expireProducers(t, addr)
	kafka := newTestKafka(t, 12, addr)
	s := openSpool(t, t.TempDir(), node, false)
	runShipper(t, NewClickShipper(kafka.shipper(), s))
	for round := range 3 {
		appendHits(t, s, 100*round, 100*(round+1))
		eventually(t, "all is acknowledged", func() bool { return s.Stats().UnackedBytes == 0 })
		waitForgotten(t, addr, TopicClicks, node)
	}
	if repeats := kafka.checkShipped(node, 300); repeats != 0 {
		t.Errorf("%d hits were sent more than once", repeats)
	}
}
