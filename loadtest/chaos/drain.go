package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ingestGroup is the consumer group whose committed offsets say what is in
// ClickHouse.
const ingestGroup = "waymark-ingest"

func (d *deployment) kafkaClient() (*kgo.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(d.kafka), kgo.ClientID("chaos"))
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	return client, nil
}

// isDrained is nil when no event is under way: the spools are empty, and ingest
// has committed all that Kafka has.
func (d *deployment) isDrained(ctx context.Context) error {
	for _, e := range d.edges {
		m, err := scrape(ctx, e.metrics)
		if err != nil {
			return err
		}
		for _, name := range []string{"waymark_spool_unacked_bytes", "waymark_journal_unacked_bytes"} {
			bytes, err := m.need(name)
			if err != nil {
				return err
			}
			if bytes > 0 {
				return fmt.Errorf("%s has %v in %s", e.name, bytes, name)
			}
		}
	}
	client, err := d.kafkaClient()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, "waymark.clicks", "waymark.actions", "waymark.decisions")
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("ask Kafka for the end of its log: %w", err)
	}
	committed, err := admin.FetchOffsets(ctx, ingestGroup)
	if err != nil {
		return fmt.Errorf("ask Kafka for the committed offsets: %w", err)
	}
	lag := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		at, _ := committed.Lookup(end.Topic, end.Partition)
		if end.Offset > 0 {
			lag += end.Offset - max(at.At, 0)
		}
	})
	if lag > 0 {
		return fmt.Errorf("%d records are in Kafka and not yet in ClickHouse", lag)
	}
	return nil
}
