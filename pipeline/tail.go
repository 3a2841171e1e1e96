package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Why a position can't be read from any more. The reader starts over.
var (
	errTopicRecreated = errors.New("the topic was deleted and created again")
	errPositionGone   = errors.New("the topic does not hold this position")
)

// fetchBytesMax bounds what one poll brings, and so the memory of a reader.
const fetchBytesMax = 8 << 20

// tail reads partition 0 of a topic, committed records only, from a position
// on. It is not safe for concurrent use.
//
// It speaks the Fetch request itself. The client's own consumer is made to
// carry on whatever happens: it hides that a topic was recreated or truncated
// and where exactly it is when the last records are transaction markers, which
// are the very things that a copy of a topic has to know.
type tail struct {
	client *kgo.Client // its own: a waiting fetch holds up the connection
	topic  string
	id     [16]byte // the topic that next belongs to
	next   int64    // offset to read next
	leader int32
	linked bool // leader is known
}

// link looks up the topic. If it is another one than t.id, the error is
// errTopicRecreated.
func (t *tail) link(ctx context.Context) error {
	found, err := lookUpTopic(ctx, t.client, t.topic)
	if err != nil {
		return err
	}
	if t.id != [16]byte{} && found.TopicID != t.id {
		return fmt.Errorf("read topic %s: %w", t.topic, errTopicRecreated)
	}
	for _, p := range found.Partitions {
		if p.Partition == 0 && p.ErrorCode == 0 {
			t.id, t.leader, t.linked = found.TopicID, p.Leader, true
			return nil
		}
	}
	return fmt.Errorf("read topic %s: partition 0 has no leader", t.topic)
}

// restart moves to the start of the topic as it is now. Where it fails, t has
// no position.
func (t *tail) restart(ctx context.Context) error {
	t.id, t.linked = [16]byte{}, false
	err := t.link(ctx)
	if err == nil {
		t.next, err = t.listOffset(ctx, -2)
	}
	if err != nil {
		t.id, t.linked = [16]byte{}, false
	}
	return err
}

// listOffset returns the start (-2) or the end (-1) of what can be read.
func (t *tail) listOffset(ctx context.Context, which int64) (int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.IsolationLevel = -1, 1
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Timestamp = which
	request.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: t.topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{partition}}}
	response, err := request.RequestWith(ctx, t.client)
	if err == nil && (len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1) {
		err = errors.New("the answer does not fit the question")
	}
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		return 0, fmt.Errorf("find the bounds of topic %s: %w", t.topic, err)
	}
	return response.Topics[0].Partitions[0].Offset, nil
}

// poll returns the next records, waiting up to wait for the first, and the end
// of the topic at that moment: once t.next has reached it, all that was
// committed has been seen. Next moves past the records, and past markers and
// aborted records that are not returned.
func (t *tail) poll(ctx context.Context, wait time.Duration) (records []*kgo.Record, end int64, err error) {
	if !t.linked {
		if err := t.link(ctx); err != nil {
			return nil, 0, err
		}
	}
	partition, err := t.fetch(ctx, wait)
	if err != nil {
		t.linked = false
		return nil, 0, fmt.Errorf("read topic %s at offset %d: %w", t.topic, t.next, err)
	}
	options := kgo.ProcessFetchPartitionOpts{Offset: t.next, IsolationLevel: kgo.ReadCommitted(), Topic: t.topic}
	fetched, next := kgo.ProcessFetchPartition(options, partition, kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil && len(fetched.Records) == 0 {
		return nil, 0, fmt.Errorf("decode topic %s at offset %d: %w", t.topic, t.next, fetched.Err)
	}
	t.next = next
	return fetched.Records, fetched.LastStableOffset, nil
}

// fetch makes one request of the leader.
func (t *tail) fetch(ctx context.Context, wait time.Duration) (*kmsg.FetchResponseTopicPartition, error) {
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = int32(wait.Milliseconds()), 1, fetchBytesMax
	request.IsolationLevel = 1
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes = t.next, fetchBytesMax
	request.Topics = []kmsg.FetchRequestTopic{{Topic: t.topic, TopicID: t.id, Partitions: []kmsg.FetchRequestTopicPartition{partition}}}

	answer, err := t.client.Broker(int(t.leader)).Request(ctx, request)
	if err != nil {
		return nil, err
	}
	response := answer.(*kmsg.FetchResponse)
	if response.Version < 13 {
		return nil, errors.New("the brokers do not know topics by identity; Kafka 3.1 or later is needed")
	}
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return nil, err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return nil, errors.New("the answer does not fit the question")
	}
	got := &response.Topics[0].Partitions[0]
	switch err := kerr.ErrorForCode(got.ErrorCode); err {
	case nil:
		return got, nil
	case kerr.OffsetOutOfRange:
		return nil, errPositionGone
	default:
		// An unknown topic id may be a broker that is behind: link, which
		// comes next, tells whether the topic is another one.
		return nil, err
	}
}
