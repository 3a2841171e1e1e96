package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"waymark/pipeline/realkafka"
)

// TestRealKafka runs what depends on how a Kafka behaves against an Apache
// Kafka. One process serves all of it, with topics that each test makes anew.
func TestRealKafka(t *testing.T) {
	s := realkafka.Secure(t)
	// The cleaner looks for work every 15 seconds by default.
	s.Properties = append(append(s.Properties, idleProperties...), "log.cleaner.backoff.ms=200", "producer.id.expiration.check.interval.ms=200")
	k := realkafka.New(t, s.Options)
	addr := k.Address()
	onTopics := func(test func(t *testing.T, addr string)) func(*testing.T) {
		return func(t *testing.T) {
			renewTopics(t, addr)
			test(t, addr)
		}
	}
	t.Run("Topics", func(t *testing.T) { testRealTopics(t, addr) })
	t.Run("ClaimNode", onTopics(testRealClaimNode))
	t.Run("CatalogFollows", onTopics(testCatalogFollows))
	t.Run("CreateLinks", onTopics(testCreateLinks))
	t.Run("CreateManyLinks", onTopics(testCreateManyLinks))
	t.Run("CreateLinksRace", onTopics(testCreateLinksRace))
	t.Run("UpdateLinkRace", onTopics(testUpdateLinkRace))
	t.Run("LoserNeverWrites", onTopics(testTransactionalLoserNeverWrites))
	t.Run("DeadWriterIsUndone", onTopics(testTransactionOfDeadWriterIsUndone))
	t.Run("Compaction", onTopics(testRealCompaction))
	t.Run("TopicRecreated", onTopics(testWriterAfterTopicRecreated))
	t.Run("IdleWriter", onTopics(testRealIdleWriter))
	t.Run("IdleShipper", onTopics(testRealIdleShipper))
	t.Run("Security", onTopics(func(t *testing.T, _ string) { testRealSecurity(t, k, s) }))
	t.Run("LinksWhileKilled", onTopics(func(t *testing.T, _ string) { testRealLinksWhileKilled(t, k) }))
	t.Run("ShipperWhileKilled", onTopics(func(t *testing.T, _ string) { testRealShipperWhileKilled(t, k) }))
	t.Run("IngestWhileKilled", onTopics(func(t *testing.T, _ string) { testRealIngestWhileKilled(t, k) }))
}

// deleteTopics deletes Waymark's topics, and with them, as Kafka does it, how
// far ingest was.
func deleteTopics(t *testing.T, addr string) {
	t.Helper()
	adm := kadm.NewClient(testClient(t, addr))
	var names []string
	for _, topic := range topics(false) {
		names = append(names, topic.name)
	}
	if _, err := adm.DeleteTopics(testContext(t), names...); err != nil {
		t.Fatal(err)
	}
}

func renewTopics(t *testing.T, addr string) {
	t.Helper()
	deleteTopics(t, addr)
	if err := EnsureTopics(testContext(t), testClient(t, addr)); err != nil {
		t.Fatal(err)
	}
}

// Topics are made once however many nodes start at once, with the settings
// that the design names; existing ones are checked.
func testRealTopics(t *testing.T, addr string) {
	var all sync.WaitGroup
	for range 4 {
		client := testClient(t, addr)
		all.Go(func() {
			if err := EnsureTopics(testContext(t), client); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	adm := kadm.NewClient(testClient(t, addr))
	for name, want := range map[string]struct {
		partitions         int
		cleanup, retention string
	}{
		"waymark.clicks": {12, "delete", "604800000"}, "waymark.actions": {8, "delete", "604800000"}, "waymark.decisions": {8, "delete", "604800000"},
		"waymark.links": {1, "compact", "604800000"}, "waymark.programs": {1, "delete", "-1"},
		"waymark.keys": {1, "compact", "604800000"}, "waymark.nodes": {1, "delete", "-1"},
	} {
		details, err := adm.ListTopics(testContext(t), name)
		if err != nil {
			t.Fatal(err)
		}
		configs, err := adm.DescribeTopicConfigs(testContext(t), name)
		if err != nil {
			t.Fatal(err)
		}
		partitions, cleanup, retention := len(details[name].Partitions), settingOf(configs[0], "cleanup.policy"), settingOf(configs[0], "retention.ms")
		if partitions != want.partitions || cleanup != want.cleanup || retention != want.retention {
			t.Errorf("%s: %d partitions, cleanup %q, retention %q; want %+v", name, partitions, cleanup, retention, want)
		}
	}

	deleteTopics(t, addr)
	for name, partitions := range map[string]int32{TopicActions: 7, TopicLinks: 1} { // links without compaction
		if _, err := adm.CreateTopic(testContext(t), partitions, -1, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	err := EnsureTopics(testContext(t), testClient(t, addr))
	var wrong *TopicError
	if !errors.As(err, &wrong) {
		t.Fatalf("unfit topics: %v", err)
	}
	for _, says := range []string{"waymark.actions: partition count is 7, but must be 8", "waymark.links: cleanup.policy is delete, but must be compact"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
}

// Numbers are taken once, by idempotent producers that have nothing in common.
func testRealClaimNode(t *testing.T, addr string) {
	const nodes = 20
	claimed := make([]int, nodes)
	var all sync.WaitGroup
	for i := range claimed {
		client := testClient(t, addr)
		all.Go(func() {
			number, err := ClaimNode(testContext(t), client, fmt.Sprint("spool ", i))
			if err != nil {
				t.Error(err)
			}
			claimed[i] = int(number)
		})
	}
	all.Wait()
	slices.Sort(claimed)
	if claimed[0] < 1 || len(slices.Compact(slices.Clone(claimed))) != nodes || claimed[nodes-1] > nodes {
		t.Errorf("the numbers are %v", claimed)
	}
}
