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
	return newShipper(o, TopicClicks, hits, &nodeRouter{clients: o.Clients, claimed: map[spool.Identity]uint16{}})
}

// nodeRouter sends events to the partition of their node.
type nodeRouter struct {
	clients    ClientOptions
	partitions int
	claimed    map[spool.Identity]uint16 // of identities whose number the spool does not know

	// The identity that was routed last, and its number, which Kafka has confirmed
	// since the session began: by then the cluster may be another one.
	identity  spool.Identity
	number    uint16
	confirmed bool
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
	return &nodeRouter{clients: r.clients, partitions: len(topic.Partitions), claimed: r.claimed}, nil
}

func (r *nodeRouter) route(ctx context.Context, batch *spool.Batch, frame *spool.Frame, event *wire.Event, record *kgo.Record) error {
	if !r.confirmed || batch.Identity != r.identity {
		if err := r.turnTo(ctx, batch); err != nil {
			return err
		}
	}
	event.Node, event.Ordinal = uint32(r.number), frame.Ordinal
	record.Partition = int32(int(r.number) % r.partitions)
	return nil
}

// turnTo finds the number of another identity, and sees that it is its own. The
// session's client can't write down a number: it sends nothing before Flush.
func (r *nodeRouter) turnTo(ctx context.Context, batch *spool.Batch) error {
	client, err := NewClient(r.clients)
	if err != nil {
		return err
	}
	defer client.Close()
	number := batch.Node.Number
	if batch.Node.Known {
		err = ConfirmNode(ctx, client, number, batch.Identity.String())
	} else {
		number, err = r.claim(ctx, client, batch.Identity)
	}
	if err != nil {
		return err
	}
	r.identity, r.number, r.confirmed = batch.Identity, number, true
	return nil
}

// claim takes a number for frames that were spilled before their identity had
// one, and was lost. It is rare enough to be forgotten at a restart, after
// which their rest gets another number.
func (r *nodeRouter) claim(ctx context.Context, client *kgo.Client, identity spool.Identity) (uint16, error) {
	if number, ok := r.claimed[identity]; ok {
		return number, nil
	}
	number, err := ClaimNode(ctx, client, identity.String())
	if err != nil {
		return 0, err
	}
	r.claimed[identity] = number
	return number, nil
}
