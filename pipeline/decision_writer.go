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
	// decisionWriterBufferedMax bounds the records that are on the way to Kafka
	// from all callers. When there are as many, Append waits until its context
	// ends.
	decisionWriterBufferedMax = 20_000
	// decisionWriterPatience is how long Kafka may be away before a record is
	// given up. It may then have been written nevertheless: the writer can't know.
	decisionWriterPatience = 10 * time.Second
)

// DecisionWriter writes to waymark.decisions what this installation itself decides:
// ledger entries, assessments, records of partners, the audit log. It needs no spool, since
// whoever decides can read what became of the decision and decide anew.
//
// It is a tracker.ActionSink, and safe for concurrent use.
type DecisionWriter struct {
	client *kgo.Client
}

// NewDecisionWriter does not connect yet: Kafka that is away shows in Append.
func NewDecisionWriter(o ClientOptions) (*DecisionWriter, error) {
	client, err := newIdentityProducer(o, kgo.MaxBufferedRecords(decisionWriterBufferedMax), kgo.RecordDeliveryTimeout(decisionWriterPatience))
	if err != nil {
		return nil, err
	}
	return &DecisionWriter{client: client}, nil
}

// Close gives up what Append still waits for.
func (w *DecisionWriter) Close() { w.client.Close() }

// Append returns nil once Kafka has acknowledged all events. They must have an
// id, which is what makes it safe to append one again: of repeats the first
// counts. After an error some may have been written; the error is
// tracker.ErrUnavailable, wrapped, unless an event is none.
func (w *DecisionWriter) Append(ctx context.Context, payloads ...[]byte) error {
	records := make([]*kgo.Record, len(payloads))
	for i, payload := range payloads {
		var event wire.Event
		if err := event.UnmarshalVT(payload); err != nil {
			return fmt.Errorf("append to %s: read event %d: %w", TopicDecisions, i, err)
		}
		if err := checkDecision(&event); err != nil {
			return fmt.Errorf("append to %s: event %d: %w", TopicDecisions, i, err)
		}
		identity, _ := tracker.IdentityOfAction(&event)
		records[i] = &kgo.Record{Topic: TopicDecisions, Key: []byte(identity.RecordKey()), Value: payload}
	}
	if err := w.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return errors.Join(tracker.ErrUnavailable, fmt.Errorf("append %d events to %s: %w", len(records), TopicDecisions, err))
	}
	return nil
}
