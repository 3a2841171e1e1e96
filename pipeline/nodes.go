package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// nodeRecord is the value of a record of waymark.nodes. The spool of Identity
// has the record's offset as its node number; without one, the number is kept
// for whoever had it before the topic was created anew.
type nodeRecord struct {
	Identity  string    `json:"identity,omitempty"`
	Host      string    `json:"host"` // for operators
	ClaimedAt time.Time `json:"claimed_at"`
}

// ErrNodesLost is a topic waymark.nodes that no longer says who has which
// number: deleted, created anew, or that of another cluster. Going by it would
// give numbers twice, and clicks of the second node with one would be dropped
// as repeats of the first one's.
var ErrNodesLost = errors.New("the node numbers in " + TopicNodes + " are not those of this installation")

// nodesSpare are the numbers that ReserveNodes keeps above the highest that
// ClickHouse knows, for nodes that have no click there yet.
const nodesSpare = 100

// ClaimNode takes a new node number: the offset of a record that it appends to
// waymark.nodes. Numbers are from 1 to 65535 and never given twice, so a node
// claims one when its spool is new and keeps it there. identity names the
// spool. It fails with ErrNodesLost where the topic is empty although clicks
// have been sent, with another error when the numbers are used up, and with the
// client's when Kafka does not acknowledge within ctx; a number whose
// acknowledgement was lost is skipped.
func ClaimNode(ctx context.Context, client *kgo.Client, identity string) (uint16, error) {
	if _, err := soundNodesEnd(ctx, client); err != nil {
		return 0, fmt.Errorf("claim a node number: %w", err)
	}
	for {
		record := newNodeRecord(identity)
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return 0, fmt.Errorf("claim a node number in %s: %w", TopicNodes, err)
		}
		switch {
		case record.Offset == 0:
			// Number 0 would look like a click without a node.
		case record.Offset > math.MaxUint16:
			return 0, fmt.Errorf("claim a node number in %s: all %d are taken; keep each node's spool directory across restarts, and start over with a new cluster", TopicNodes, math.MaxUint16)
		default:
			return uint16(record.Offset), nil
		}
	}
}

// ConfirmNode returns nil when a number that was claimed once is still that of
// the spool identity, and ErrNodesLost when it is another's, or when nobody
// knows. A number that the topic does not reach, because it was created anew,
// is taken again, with all below it: their nodes will look for theirs.
func ConfirmNode(ctx context.Context, client *kgo.Client, number uint16, identity string) error {
	end, err := soundNodesEnd(ctx, client)
	if err == nil && end <= int64(number) {
		err = extendNodes(ctx, client, int64(number)+1)
	}
	if err != nil {
		return fmt.Errorf("confirm node number %d: %w", number, err)
	}
	topic := tail{client: client, topic: TopicNodes, next: int64(number)}
	records, _, err := topic.poll(ctx, time.Second)
	if err != nil {
		return fmt.Errorf("confirm node number %d: %w", number, err)
	}
	if len(records) == 0 || records[0].Offset != int64(number) {
		return fmt.Errorf("confirm node number %d: %s does not give that record yet", number, TopicNodes)
	}
	var holder nodeRecord
	if err := json.Unmarshal(records[0].Value, &holder); err != nil {
		return fmt.Errorf("read record %d of %s: %w", number, TopicNodes, err)
	}
	if holder.Identity != "" && holder.Identity != identity {
		return fmt.Errorf("%w: number %d of this node, spool %s, belongs to spool %s there (host %s, since %s); "+
			"its clicks wait: give it the cluster with --kafka in which it got the number, or move its spool directory away to start as a new node without them",
			ErrNodesLost, number, identity, holder.Identity, holder.Host, holder.ClaimedAt.Format(time.RFC3339))
	}
	return nil
}

// ReserveNodes sees that nobody gets a number up to highest, the highest that
// has a click in ClickHouse. Only a topic that was created anew lacks them; it
// then gets records without an identity. Ingest does so at its start, because it
// alone reaches both Kafka and ClickHouse.
func ReserveNodes(ctx context.Context, client *kgo.Client, highest uint16) (reserved bool, err error) {
	end, err := soundNodesEnd(ctx, client)
	if lost := errors.Is(err, ErrNodesLost); err != nil && !lost || err == nil && (highest == 0 || end > int64(highest)) {
		return false, err
	}
	return true, extendNodes(ctx, client, min(int64(highest)+nodesSpare, math.MaxUint16)+1)
}

// soundNodesEnd is the end of waymark.nodes, or ErrNodesLost where that is empty
// or missing although somebody had a number to send clicks with.
func soundNodesEnd(ctx context.Context, client *kgo.Client) (int64, error) {
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, TopicNodes, TopicClicks)
	if err == nil && !errors.Is(ends.Error(), kerr.UnknownTopicOrPartition) {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("ask where %s ends: %w", TopicNodes, err)
	}
	sums := map[string]int64{}
	ends.Each(func(end kadm.ListedOffset) { sums[end.Topic] += max(end.Offset, 0) })
	if sums[TopicNodes] == 0 && sums[TopicClicks] > 0 {
		return 0, fmt.Errorf("%w: it is gone or empty, and %s has had %d records; start `waymark ingest` anew, which reserves the numbers that are in ClickHouse",
			ErrNodesLost, TopicClicks, sums[TopicClicks])
	}
	return sums[TopicNodes], nil
}

// extendNodes appends records that keep numbers, until the topic ends at to or
// after. They come in pieces, so that several who do so at once do not use up
// the numbers.
func extendNodes(ctx context.Context, client *kgo.Client, to int64) error {
	const piece = 256
	adm := kadm.NewClient(client)
	for {
		ends, err := adm.ListEndOffsets(ctx, TopicNodes)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return fmt.Errorf("ask where %s ends: %w", TopicNodes, err)
		}
		end, _ := ends.Lookup(TopicNodes, 0)
		if end.Offset >= to {
			return nil
		}
		records := make([]*kgo.Record, min(to-end.Offset, piece))
		for i := range records {
			records[i] = newNodeRecord("")
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return fmt.Errorf("reserve node numbers up to %d in %s: %w", to-1, TopicNodes, err)
		}
	}
}

func newNodeRecord(identity string) *kgo.Record {
	host, _ := os.Hostname()
	value, err := json.Marshal(nodeRecord{Identity: identity, Host: host, ClaimedAt: time.Now().UTC()})
	if err != nil {
		panic("BUG: encode a node record: " + err.Error())
	}
	return &kgo.Record{Topic: TopicNodes, Key: []byte(identity), Value: value}
}
