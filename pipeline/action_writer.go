package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

const (
	// actionWriterBufferedMax bounds the records that are on the way to Kafka
	// from all callers. When there are as many, Append waits until its context
	// ends.
	actionWriterBufferedMax = 20_000
	// actionWriterPatience is how long Kafka may be away before a record is
	// given up. It may then have been written nevertheless: the writer can't know.
	actionWriterPatience = 10 * time.Second
)

// ActionWriter writes to waymark.actions what this installation itself decides:
// ledger entries, assessments, records of partners. It needs no spool, since
// whoever decides can read what became of the decision and decide anew.
//
// It is a tracker.ActionSink, and safe for concurrent use.
type ActionWriter struct {
	client *kgo.Client
}

// NewActionWriter does not connect yet: Kafka that is away shows in Append.
func NewActionWriter(o ClientOptions) (*ActionWriter, error) {
	client, err := NewClient(o, append(identityRouter{}.producerOpts(),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.MaxBufferedRecords(actionWriterBufferedMax), kgo.RecordDeliveryTimeout(actionWriterPatience),
		kgo.ProducerBatchMaxBytes(shipBytesMax), kgo.ProducerBatchCompression(kgo.SnappyCompression(), kgo.NoCompression()))...)
	if err != nil {
		return nil, err
	}
	return &ActionWriter{client: client}, nil
}

// Close gives up what Append still waits for.
func (w *ActionWriter) Close() { w.client.Close() }

// Append returns nil once Kafka has acknowledged all events. They must have an
// identity, which is what makes it safe to append one again: of repeats the
// first counts. After an error some may have been written; the error is
// tracker.ErrUnavailable, wrapped, unless an event is none.
func (w *ActionWriter) Append(ctx context.Context, payloads ...[]byte) error {
	records := make([]*kgo.Record, len(payloads))
	for i, payload := range payloads {
		var event wire.Event
		if err := event.UnmarshalVT(payload); err != nil {
			return fmt.Errorf("append to %s: read event %d: %w", TopicActions, i, err)
		}
		identity, ok := tracker.IdentityOfAction(&event)
		if !ok {
			return fmt.Errorf("append to %s: event %d (%s) has neither id nor order_id, so a repeat of it would count", TopicActions, i, event.Event)
		}
		records[i] = &kgo.Record{Topic: TopicActions, Key: []byte(identity.RecordKey()), Value: payload}
	}
	if err := w.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return errors.Join(tracker.ErrUnavailable, fmt.Errorf("append %d events to %s: %w", len(records), TopicActions, err))
	}
	return nil
}
