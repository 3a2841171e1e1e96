package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// membership is one stay of this process in a consumer group, from an
// assignment to the revocation that ends it. Commits carry it, so that Kafka
// refuses those of a process that was taken for dead. The client's own commit
// was rejected: it uses the membership of the moment, and Kafka does not check
// who owns the partition.
type membership struct {
	client     *kgo.Client
	group      string
	instance   *string
	member     string
	generation int32
}

// errFenced is a commit that was refused because the partition may belong to
// another member by now. Nothing may be inserted on the strength of it.
var errFenced = errors.New("the partition was given to another member of the group")

// errTopicGone is a topic that is not the one it was: deleted, and perhaps
// created anew under its name.
var errTopicGone = errors.New("the topic was deleted")

// commit sets the progress of a partition. After an error other than
// errFenced it may or may not have been set.
func (m *membership) commit(ctx context.Context, t topicPartition, p progress) error {
	metadata := p.metadata()
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	partition.Partition, partition.Offset, partition.Metadata = t.partition, p.offset, &metadata
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = t.topic, t.topicID
	topic.Partitions = append(topic.Partitions, partition)
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.Generation, request.MemberID, request.InstanceID = m.group, m.generation, m.member, m.instance
	request.Topics = append(request.Topics, topic)

	response, err := request.RequestWith(ctx, m.client)
	if err == nil {
		err = commitError(response)
	}
	if err != nil {
		return fmt.Errorf("commit offset %d of %s to group %s: %w", p.offset, t, m.group, err)
	}
	return nil
}

func commitError(response *kmsg.OffsetCommitResponse) error {
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return fmt.Errorf("the answer is about %d topics, want 1 with 1 partition", len(response.Topics))
	}
	err := kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	switch {
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID),
		errors.Is(err, kerr.RebalanceInProgress):
		return fmt.Errorf("%w: %w", errFenced, err)
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: %w", errTopicGone, err)
	}
	return err
}

// committed reads the progress of a partition, false where there is none.
func (m *membership) committed(ctx context.Context, t topicPartition) (p progress, ok bool, err error) {
	offsets, err := kadm.NewClient(m.client).FetchOffsetsForTopics(ctx, m.group, t.topic)
	if err != nil {
		return progress{}, false, fmt.Errorf("read the committed offset of %s in group %s: %w", t, m.group, err)
	}
	offset, ok := offsets.Lookup(t.topic, t.partition)
	if ok && offset.Err != nil {
		return progress{}, false, fmt.Errorf("read the committed offset of %s in group %s: %w", t, m.group, offset.Err)
	}
	if !ok || offset.At < 0 {
		return progress{}, false, nil
	}
	p, err = parseProgress(offset.At, offset.Metadata)
	return p, true, err
}

// topicPartition is a partition of a topic with a certain identity.
type topicPartition struct {
	topic     string
	topicID   [16]byte
	partition int32
}

func (t topicPartition) String() string { return fmt.Sprintf("%s/%d", t.topic, t.partition) }

// source is the number that rows and tokens carry for the topic.
func (t topicPartition) source() uint32 { return SourceNumber(t.topicID) }

// lookUpLog returns what a partition holds.
func lookUpLog(ctx context.Context, client *kgo.Client, t topicPartition) (logRange, error) {
	adm := kadm.NewClient(client)
	starts, err := adm.ListStartOffsets(ctx, t.topic)
	if err != nil {
		return logRange{}, fmt.Errorf("ask where %s starts: %w", t, err)
	}
	ends, err := adm.ListEndOffsets(ctx, t.topic)
	if err != nil {
		return logRange{}, fmt.Errorf("ask where %s ends: %w", t, err)
	}
	start, okStart := starts.Lookup(t.topic, t.partition)
	end, okEnd := ends.Lookup(t.topic, t.partition)
	if !okStart || !okEnd {
		return logRange{}, fmt.Errorf("ask where %s starts and ends: %w", t, kerr.UnknownTopicOrPartition)
	}
	if err := errors.Join(start.Err, end.Err); err != nil {
		return logRange{}, fmt.Errorf("ask where %s starts and ends: %w", t, err)
	}
	return logRange{start: start.Offset, end: end.Offset}, nil
}
