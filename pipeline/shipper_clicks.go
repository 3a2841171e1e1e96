package pipeline

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline/spool"
	"waymark/tracker/wire"
)

// NewClickShipper returns a Shipper of the hits in a spool. Each node has one
// partition, its number modulo their count, so that its hits stay in order and
// what it sends twice meets in one place. The count may only be raised while
// the nodes are stopped in order, with empty spools.
func NewClickShipper(o ShipperOptions, hits *spool.Spool) *Shipper {
	return newShipper(o, TopicClicks, hits, &nodeRouter{numbers: map[spool.Identity]uint16{}})
}

// nodeRouter sends events to the partition of their node.
type nodeRouter struct {
	client     *kgo.Client
	partitions int
	numbers    map[spool.Identity]uint16 // of identities whose number the spool does not know
}

func (r *nodeRouter) producerOpts() []kgo.Opt {
	return []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}
}

func (r *nodeRouter) begin(ctx context.Context, client *kgo.Client) (router, error) {
	topic, err := lookUpTopic(ctx, client, TopicClicks)
	if err != nil {
		return nil, err
	}
	if len(topic.Partitions) == 0 {
		return nil, fmt.Errorf("look up topic %s: it has no partitions", TopicClicks)
	}
	return &nodeRouter{client: client, partitions: len(topic.Partitions), numbers: r.numbers}, nil
}

func (r *nodeRouter) route(ctx context.Context, batch *spool.Batch, frame *spool.Frame, event *wire.Event, record *kgo.Record) error {
	number := batch.Node.Number
	if !batch.Node.Known {
		var err error
		if number, err = r.claim(ctx, batch.Identity); err != nil {
			return err
		}
	}
	event.Node, event.Ordinal = uint32(number), frame.Ordinal
	record.Partition = int32(int(number) % r.partitions)
	return nil
}

// claim takes a number for frames that were spilled before their identity had
// one, and was lost. It is rare enough to be forgotten at a restart, after
// which their rest gets another number.
func (r *nodeRouter) claim(ctx context.Context, identity spool.Identity) (uint16, error) {
	if number, ok := r.numbers[identity]; ok {
		return number, nil
	}
	number, err := ClaimNode(ctx, r.client, identity.String())
	if err != nil {
		return 0, err
	}
	r.numbers[identity] = number
	return number, nil
}
