package pipeline

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline/spool"
	"waymark/tracker"
	"waymark/tracker/wire"
)

// NewActionShipper returns a Shipper of the actions in a journal. They go to
// the partition of their identity, where repeats meet the first.
func NewActionShipper(o ShipperOptions, actions *spool.Journal) *Shipper {
	return newShipper(o, TopicActions, actions, identityRouter{})
}

// identityRouter sends events to the partition that Kafka's usual hash gives
// their identity. Those without one go anywhere.
type identityRouter struct{}

func (identityRouter) producerOpts() []kgo.Opt {
	return []kgo.Opt{kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))}
}

func (r identityRouter) begin(context.Context, *kgo.Client) (router, error) { return r, nil }

func (identityRouter) route(_ context.Context, _ *spool.Batch, _ *spool.Frame, event *wire.Event, record *kgo.Record) error {
	if identity, ok := tracker.IdentityOfAction(event); ok {
		record.Key = []byte(identity.RecordKey())
	}
	return nil
}
