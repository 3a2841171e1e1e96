package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// IngestLag is how many clicks, actions and decisions in Kafka are not in
// ClickHouse yet. An ingest that has never committed lags by all there are.
func IngestLag(ctx context.Context, client *kgo.Client) (int64, error) {
	adm := kadm.NewClient(client)
	committed, err := ingestCommitted(ctx, adm)
	if err != nil {
		return 0, err
	}
	starts, err := adm.ListStartOffsets(ctx, eventTopics...)
	if err != nil {
		return 0, fmt.Errorf("ask for the start of the log: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, eventTopics...)
	if err != nil {
		return 0, fmt.Errorf("ask for the end of the log: %w", err)
	}
	var lag int64
	ends.Each(func(end kadm.ListedOffset) {
		from := int64(0)
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok {
			from = start.Offset
		}
		if at, ok := committed.Lookup(end.Topic, end.Partition); ok {
			from = max(from, at.At)
		}
		lag += max(0, end.Offset-from)
	})
	return lag, nil
}

// ingestCommitted are the offsets that ingest has committed, none where it has
// never run.
func ingestCommitted(ctx context.Context, adm *kadm.Client) (kadm.OffsetResponses, error) {
	committed, err := adm.FetchOffsets(ctx, IngestGroup)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask how far ingest is: %w", err)
	}
	return committed, nil
}
