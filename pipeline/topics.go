package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The topics. Their names are part of what users rely on.
const (
	TopicClicks    = "waymark.clicks"    // hits; node number modulo the partition count
	TopicActions   = "waymark.actions"   // actions; keyed by identity
	TopicDecisions = "waymark.decisions" // what this installation decides, events of reserved names; keyed by identity
	TopicLinks     = "waymark.links"     // wire.Link, key domain/code
	TopicPrograms  = "waymark.programs"  // tracker.Program as JSON, key name; every version stays
	TopicKeys      = "waymark.keys"      // tracker.APIKey as JSON, key id
	TopicNodes     = "waymark.nodes"     // a record per edge node, whose offset is its number
)

// eventTopics have a wire.Event in each record. They grow with traffic, ingest
// brings them to ClickHouse and the audit proves it.
var eventTopics = []string{TopicClicks, TopicActions, TopicDecisions}

// IngestGroup is the consumer group whose committed offsets say what has
// arrived in ClickHouse, and so what the embedded broker may forget.
const IngestGroup = "waymark-ingest"

// ActionPartitions is the partition count of waymark.actions and of
// waymark.decisions. It never changes: what has one identity must meet in one
// partition for ever.
const ActionPartitions = 8

// embeddedClusterID is how a client recognises the embedded broker. It is
// stored in the broker's directory, so it must not change.
const embeddedClusterID = "waymark-embedded"

// topic is what the program expects of a topic.
type topic struct {
	name       string
	partitions int32 // when it is created
	fixed      bool  // an existing topic must have exactly these
	compact    bool  // on a real Kafka, the last record of each key is kept
	settings   map[string]string
}

// topics lists what a cluster must have.
//
// Embedded topics have cleanup.policy=delete and no limit: kfake's compaction
// is not crash-safe, so the broker compacts offline (compact.go) and trims by
// committed offset alone (broker_trim.go). The -1 must be spelled out: once
// any topic of the broker has a retention setting, kfake applies its default
// of seven days to every topic that has none.
func topics(embedded bool) []topic {
	clicks, retention := int32(12), "604800000" // 7 days to repair ClickHouse in
	if embedded {
		clicks, retention = 4, "-1"
	}
	var list []topic
	for _, name := range eventTopics {
		t := topic{name: name, partitions: ActionPartitions, fixed: true, settings: map[string]string{"cleanup.policy": "delete", "retention.ms": retention}}
		if name == TopicClicks {
			t.partitions, t.fixed = clicks, false
		}
		if embedded {
			t.settings["segment.bytes"] = "16777216" // trimming frees whole segments only
		}
		list = append(list, t)
	}
	list = append(list,
		topic{name: TopicNodes, partitions: 1, fixed: true, settings: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}},
		// Not compacted: what was earned is calculated by the rules of its time,
		// and ClickHouse must be able to read them all again.
		topic{name: TopicPrograms, partitions: 1, fixed: true, settings: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}},
	)
	for _, name := range []string{TopicLinks, TopicKeys} {
		// A day of delete.retention.ms is also the time a node may be away
		// before it reads the topic anew (half of it, see Catalog).
		t := topic{name: name, partitions: 1, fixed: true, compact: true, settings: map[string]string{
			"cleanup.policy": "compact", "delete.retention.ms": "86400000", "segment.ms": "86400000",
		}}
		if embedded {
			t.compact = false
			t.settings = map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
		}
		list = append(list, t)
	}
	return list
}

// TopicError is an existing topic that the program can't work with. Its text
// names the topic, the setting and the remedy.
type TopicError struct {
	Topic, Setting string
	Got, Want      string
	Remedy         string
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("check topic %s: %s is %s, but must be %s; %s", e.Topic, e.Setting, e.Got, e.Want, e.Remedy)
}

// EnsureTopics creates the topics that are missing and checks the others.
// Whether the cluster is the embedded broker or a real Kafka, it finds out by
// itself. It returns a *TopicError, several joined, for topics that can't be
// used as they are; any other error means that Kafka could not be asked.
func EnsureTopics(ctx context.Context, client *kgo.Client) error {
	adm := kadm.NewClient(client)
	embedded, err := isEmbedded(ctx, adm)
	if err != nil {
		return err
	}
	wanted := topics(embedded)
	for _, t := range wanted {
		if err := createTopic(ctx, adm, t); err != nil {
			return err
		}
	}
	return checkTopics(ctx, adm, wanted)
}

// isEmbedded reports whether the cluster is the embedded broker.
func isEmbedded(ctx context.Context, adm *kadm.Client) (bool, error) {
	meta, err := adm.BrokerMetadata(ctx)
	if err != nil {
		return false, fmt.Errorf("ask Kafka which cluster it is: %w", err)
	}
	return meta.Cluster == embeddedClusterID, nil
}

// createTopic creates a topic unless it exists. Several nodes may do so at
// once; one of them wins and the others see that it exists.
func createTopic(ctx context.Context, adm *kadm.Client, t topic) error {
	settings := make(map[string]*string, len(t.settings))
	for name, value := range t.settings {
		settings[name] = &value
	}
	// Replication factor -1 is the cluster's own default.
	_, err := adm.CreateTopic(ctx, t.partitions, -1, settings, t.name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s with %d partitions: %w", t.name, t.partitions, err)
	}
	return nil
}

// topicsSettle is how long a new topic may take to show on every broker.
const topicsSettle = 10 * time.Second

// checkTopics compares the topics of the cluster with what is wanted.
func checkTopics(ctx context.Context, adm *kadm.Client, wanted []topic) error {
	names := make([]string, len(wanted))
	for i, t := range wanted {
		names[i] = t.name
	}
	details, err := settledTopics(ctx, adm, names)
	if err != nil {
		return err
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return fmt.Errorf("read the settings of topics %s: %w", strings.Join(names, ", "), err)
	}
	var wrong []error
	for _, t := range wanted {
		if count := len(details[t.name].Partitions); t.fixed && count != int(t.partitions) {
			wrong = append(wrong, &TopicError{
				Topic: t.name, Setting: "partition count", Got: fmt.Sprint(count), Want: fmt.Sprint(t.partitions),
				Remedy: "delete the topic if it is empty, so that it is created anew, or give another cluster with --kafka",
			})
		}
		config, err := configs.On(t.name, nil)
		if err == nil {
			err = config.Err
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("read the settings of topic %s: %w", t.name, err))
			continue
		}
		if err := checkCleanup(t, settingOf(config, "cleanup.policy")); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// settledTopics lists the topics once all of them show without an error.
func settledTopics(ctx context.Context, adm *kadm.Client, names []string) (kadm.TopicDetails, error) {
	deadline := time.Now().Add(topicsSettle)
	for {
		details, err := adm.ListTopics(ctx, names...)
		if err == nil {
			err = details.Error()
		}
		if err == nil {
			return details, nil
		}
		if time.Now().After(deadline) || !sleep(ctx, 100*time.Millisecond) {
			return nil, fmt.Errorf("list topics %s: %w", strings.Join(names, ", "), err)
		}
	}
}

// checkCleanup checks how a topic forgets records. The wrong policy loses
// links after the retention time (delete), or events with equal keys (compact).
func checkCleanup(t topic, policy string) error {
	compact := strings.Contains(policy, "compact")
	want := t.settings["cleanup.policy"]
	if compact == t.compact && (compact || strings.Contains(policy, "delete")) {
		return nil
	}
	return &TopicError{
		Topic: t.name, Setting: "cleanup.policy", Got: policy, Want: want,
		Remedy: fmt.Sprintf("change it: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config cleanup.policy=%s", t.name, want),
	}
}

func settingOf(c kadm.ResourceConfig, name string) string {
	for _, setting := range c.Configs {
		if setting.Key == name && setting.Value != nil {
			return *setting.Value
		}
	}
	return ""
}

// TopicID returns the identity of a topic, which changes when the topic is
// deleted and created again.
func TopicID(ctx context.Context, client *kgo.Client, name string) ([16]byte, error) {
	t, err := lookUpTopic(ctx, client, name)
	return t.TopicID, err
}

// lookUpTopic asks a broker for a topic's identity and partition leaders. It
// goes past the client's cache, which may still know the topic that a
// recreated one replaced.
func lookUpTopic(ctx context.Context, client *kgo.Client, name string) (kmsg.MetadataResponseTopic, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	response, err := request.RequestWith(ctx, client)
	if err == nil && len(response.Topics) == 0 {
		err = kerr.UnknownTopicOrPartition
	}
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	}
	if err != nil {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("look up topic %s: %w", name, err)
	}
	if response.Topics[0].TopicID == [16]byte{} {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("look up the identity of topic %s: the brokers give none; Kafka 3.1 or later is needed", name)
	}
	return response.Topics[0], nil
}

// SourceNumber is the number that rows and deduplication tokens carry in
// place of a topic's identity. It is never 0. Two topics of one installation
// share a number with a probability of 2^-32.
func SourceNumber(topicID [16]byte) uint32 {
	sum := xxhash.Sum64(topicID[:])
	if folded := uint32(sum) ^ uint32(sum>>32); folded != 0 {
		return folded
	}
	return 1
}
