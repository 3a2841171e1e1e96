package pipeline

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// startCluster runs a cluster that is not the embedded broker: three brokers
// in memory, where topics have the settings of a real Kafka.
func startCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func clusterAddr(c *kfake.Cluster) string { return c.ListenAddrs()[0] }

func TestEnsureTopicsCreates(t *testing.T) {
	type want struct {
		partitions                   int
		cleanup, retention, deleteMS string
	}
	for name, test := range map[string]struct {
		addr string
		want map[string]want
	}{
		"embedded": {startTestBroker(t, BrokerOptions{}).Addr(), map[string]want{
			"waymark.clicks": {4, "delete", "-1", ""}, "waymark.actions": {8, "delete", "-1", ""}, "waymark.decisions": {8, "delete", "-1", ""},
			"waymark.links": {1, "delete", "-1", ""}, "waymark.programs": {1, "delete", "-1", ""},
			"waymark.keys": {1, "delete", "-1", ""}, "waymark.nodes": {1, "delete", "-1", ""},
		}},
		"real": {clusterAddr(startCluster(t)), map[string]want{
			"waymark.clicks": {12, "delete", "604800000", ""}, "waymark.actions": {8, "delete", "604800000", ""}, "waymark.decisions": {8, "delete", "604800000", ""},
			"waymark.links": {1, "compact", "604800000", "86400000"}, "waymark.programs": {1, "delete", "-1", ""},
			"waymark.keys": {1, "compact", "604800000", "86400000"}, "waymark.nodes": {1, "delete", "-1", ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			for range 3 {
				client := testClient(t, test.addr)
				all.Go(func() {
					if err := EnsureTopics(testContext(t), client); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			adm := kadm.NewClient(testClient(t, test.addr))
			for topic, want := range test.want {
				details, err := adm.ListTopics(testContext(t), topic)
				if err != nil || len(details[topic].Partitions) != want.partitions {
					t.Errorf("%s has %d partitions (%v), want %d", topic, len(details[topic].Partitions), err, want.partitions)
				}
				configs, err := adm.DescribeTopicConfigs(testContext(t), topic)
				if err != nil {
					t.Fatal(err)
				}
				config, err := configs.On(topic, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := settingOf(config, "cleanup.policy"); got != want.cleanup {
					t.Errorf("%s has cleanup.policy %s, want %s", topic, got, want.cleanup)
				}
				if got := settingOf(config, "retention.ms"); got != want.retention {
					t.Errorf("%s has retention.ms %s, want %s", topic, got, want.retention)
				}
				if got := settingOf(config, "delete.retention.ms"); want.deleteMS != "" && got != want.deleteMS {
					t.Errorf("%s has delete.retention.ms %s, want %s", topic, got, want.deleteMS)
				}
			}
		})
	}
}

func TestEnsureTopicsRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		topic      string
		partitions int32
		cleanup    string
		setting    string
	}{
		"actions spread over 6":      {TopicActions, 6, "delete", "partition count"},
		"decisions spread over 6":    {TopicDecisions, 6, "delete", "partition count"},
		"links in two partitions":    {TopicLinks, 2, "compact", "partition count"},
		"links forgotten by time":    {TopicLinks, 1, "delete", "cleanup.policy"},
		"clicks compacted":           {TopicClicks, 12, "compact", "cleanup.policy"},
		"keys without cleanup.polic": {TopicKeys, 1, "none", "cleanup.policy"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := startCluster(t)
			if err := cluster.CreateTopic(test.topic, test.partitions, map[string]string{"cleanup.policy": test.cleanup}); err != nil {
				t.Fatal(err)
			}
			err := EnsureTopics(testContext(t), testClient(t, clusterAddr(cluster)))
			var wrong *TopicError
			if !errors.As(err, &wrong) || wrong.Topic != test.topic || wrong.Setting != test.setting {
				t.Fatalf("error %v, want one on %s of %s", err, test.setting, test.topic)
			}
			for _, part := range []string{test.topic, test.setting, wrong.Remedy} {
				if part == "" || !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestEnsureTopicsAcceptsOtherPartitionCountOfClicks(t *testing.T) {
	cluster := startCluster(t)
	if err := cluster.CreateTopic(TopicClicks, 3, nil); err != nil {
		t.Fatal(err)
	}
	if err := cluster.CreateTopic(TopicLinks, 1, map[string]string{"cleanup.policy": "compact,delete"}); err != nil {
		t.Fatal(err)
	}
	if err := EnsureTopics(testContext(t), testClient(t, clusterAddr(cluster))); err != nil {
		t.Fatal(err)
	}
}

func TestSourceNumber(t *testing.T) {
	// xxh64 of 16 zero bytes with seed 0 is af09f71516247c32 (reference
	// implementation, xxhsum -H1), folded: af09f715 ^ 16247c32.
	if got := SourceNumber([16]byte{}); got != 0xaf09f715^0x16247c32 {
		t.Errorf("SourceNumber(zeros) = %x", got)
	}
	cluster := startCluster(t)
	client := testClient(t, clusterAddr(cluster))
	seen := map[uint32]bool{}
	for range 3 {
		if err := cluster.CreateTopic("again", 1, nil); err != nil {
			t.Fatal(err)
		}
		id, err := TopicID(testContext(t), client, "again")
		if err != nil {
			t.Fatal(err)
		}
		if id != cluster.TopicInfo("again").TopicID {
			t.Fatalf("id %x, the cluster says %x", id, cluster.TopicInfo("again").TopicID)
		}
		number := SourceNumber(id)
		if number == 0 || seen[number] {
			t.Fatalf("number %d of %x is zero or was given before", number, id)
		}
		seen[number] = true
		if err := cluster.DeleteTopic("again"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := TopicID(testContext(t), client, "never"); err == nil || !strings.Contains(err.Error(), "never") {
		t.Fatalf("error %v, want one that names the topic", err)
	}
}
