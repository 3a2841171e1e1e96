package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	linksTopic = "waymark.links"
	// skippedRecords counts what an edge could not use of links, programmes and keys.
	skippedRecords = "waymark_catalog_skipped_records_total"
	// noField is a byte that begins no field of a Protobuf message: there is no wire
	// type 7.
	noField = 0x07
)

// Faults of the links topic. That every other link works, and every new one, the
// round sees by its load and its writer of links.
var linkKinds = []*kind{
	{name: "link-garbage", on: inBoth, what: "records that are no links, in the links topic: skipped, counted, and every link works", draw: drawLinkGarbage},
}

func drawLinkGarbage(r *round, random *rand.Rand) action {
	records := make([]*kgo.Record, 1+random.IntN(3))
	for i := range records {
		key, value := make([]byte, random.IntN(20)), make([]byte, 1+random.IntN(200))
		for _, b := range [][]byte{key, value} {
			for j := range b {
				b[j] = byte(random.Uint32())
			}
		}
		value[0] = noField
		records[i] = &kgo.Record{Topic: linksTopic, Key: key, Value: value}
	}
	return action{detail: fmt.Sprint(len(records), " records"), holds: []string{"broker"}, do: func(ctx context.Context) error {
		before := map[*edge]skipped{}
		for _, e := range r.edges {
			if m, err := scrape(ctx, e.metrics); err == nil {
				before[e] = skipped{e.pid(), m[skippedRecords]}
			}
		}
		if err := r.produce(ctx, records); err != nil {
			return err
		}
		for e, before := range before {
			if err := await(ctx, e.name+" to count what it skips", patience, func(ctx context.Context) error {
				return e.hasSkipped(ctx, before, len(records))
			}); err != nil {
				return err
			}
		}
		return nil
	}}
}

// skipped is how many records a life of an edge has skipped.
type skipped struct {
	pid   int
	count float64
}

// hasSkipped is nil when an edge has skipped so many records more, or has ended
// since: the next life may find them in its snapshot as passed.
func (e *edge) hasSkipped(ctx context.Context, before skipped, more int) error {
	if e.pid() != before.pid {
		return nil
	}
	m, err := scrape(ctx, e.metrics)
	if err == nil && m[skippedRecords] < before.count+float64(more) {
		err = fmt.Errorf("it has counted %v, and %v before the last %d", m[skippedRecords], before.count, more)
	}
	return err
}

func (d *deployment) produce(ctx context.Context, records []*kgo.Record) error {
	client, err := d.kafkaClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write %d records to %s: %w", len(records), records[0].Topic, err)
	}
	return nil
}
