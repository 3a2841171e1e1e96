package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// catalogRowsMax is how many records of the catalogue go into one insert.
const catalogRowsMax = 10_000

// workOnCatalog copies links or programmes to ClickHouse: at least once, which
// is enough, since the highest offset of each counts.
func (in *Ingest) workOnCatalog(ctx context.Context, stopping <-chan struct{}, m *membership, topic string, partition int32) {
	ready, cancel := untilStopped(ctx, stopping)
	defer cancel()
	of := topicPartition{topic: topic, partition: partition}
	defer func() { in.note(of, nil) }()
	for ready.Err() == nil {
		var err error
		if of, err = in.begin(ready, m, topic, partition); err == nil {
			err = in.copyCatalog(ready, m, of)
		}
		if ready.Err() != nil {
			return
		}
		in.note(of, err)
		if errors.Is(err, errFenced) {
			<-ready.Done()
			return
		}
		sleep(ready, time.Second)
	}
}

// copyCatalog copies from the committed offset on, until something fails.
func (in *Ingest) copyCatalog(ctx context.Context, m *membership, of topicPartition) error {
	var at int64
	err := in.retry(ctx, of, func() error {
		done, known, err := m.committed(ctx, of)
		if err != nil && !known {
			return err
		}
		log, err := lookUpLog(ctx, m.client, of)
		if err != nil {
			return err
		}
		// The progress of another topic, or one the log does not reach, is none.
		at = log.start
		if known && done.Source == of.source() && done.offset <= log.end {
			at = max(at, done.offset)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r, err := openReader(in.opts.Clients, of, at)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		if _, err := r.poll(ctx, time.Second, catalogRowsMax); err != nil {
			return err
		}
		if len(r.pending) == 0 {
			continue
		}
		if _, err := r.until(ctx, r.end, catalogRowsMax, readerFetchBytes, time.Second); err != nil {
			return err
		}
		records := r.take(len(r.pending))
		if err := in.retry(ctx, of, func() error { return in.insertCatalog(ctx, of, records) }); err != nil {
			return err
		}
		done := plan{source: of.source(), to: records[len(records)-1].Offset + 1}
		if err := in.retry(ctx, of, func() error { return m.commit(ctx, of, done.settled()) }); err != nil {
			return err
		}
	}
}

func (in *Ingest) insertCatalog(ctx context.Context, of topicPartition, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, in.opts.InsertTime)
	defer cancel()
	var err error
	switch of.topic {
	case TopicLinks:
		if rows := catalogRows(in, of, records, linkRow); len(rows) > 0 {
			err = in.opts.Store.InsertLinks(ctx, rows)
		}
	case TopicPrograms:
		if rows := catalogRows(in, of, records, programRow); len(rows) > 0 {
			err = in.opts.Store.InsertPrograms(ctx, rows)
		}
	default:
		panic("BUG: " + of.topic + " is no topic of the catalogue")
	}
	if err != nil {
		return fmt.Errorf("copy %d records of %s to ClickHouse: %w", len(records), of, err)
	}
	return nil
}

// catalogRows decodes records. One that is damaged is reported and left out;
// one without a value is a tombstone, which says nothing more.
func catalogRows[R any](in *Ingest, of topicPartition, records []*kgo.Record, decode func(*kgo.Record) (R, error)) []R {
	rows := make([]R, 0, len(records))
	for _, record := range records {
		if len(record.Value) == 0 {
			continue
		}
		row, err := decode(record)
		if err != nil {
			in.metrics.refused.WithLabelValues(of.topic).Inc()
			in.opts.Logger.Error("a record of the catalogue is damaged and left out",
				"partition", of.String(), "offset", record.Offset, "key", string(record.Key), "error", err)
			continue
		}
		rows = append(rows, row)
	}
	return rows
}

func linkRow(record *kgo.Record) (tracker.LinkRow, error) {
	var link wire.Link
	if err := link.UnmarshalVT(record.Value); err != nil {
		return tracker.LinkRow{}, err
	}
	if link.Number == 0 {
		return tracker.LinkRow{}, errors.New("it has no number")
	}
	return tracker.LinkRow{Link: tracker.LinkFromWire(&link), Deleted: link.Deleted, Version: uint64(record.Offset)}, nil
}

func programRow(record *kgo.Record) (tracker.ProgramRow, error) {
	program := tracker.NewProgram(string(record.Key))
	if err := json.Unmarshal(record.Value, &program); err != nil {
		return tracker.ProgramRow{}, err
	}
	if program.Name == "" {
		return tracker.ProgramRow{}, errors.New("it has no name")
	}
	if program.EffectiveFrom.IsZero() {
		program.EffectiveFrom = record.Timestamp.UTC()
	}
	return tracker.ProgramRow{Program: program, Version: uint64(record.Offset), WrittenAt: record.Timestamp.UTC()}, nil
}
