package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"

	"waymark/tracker"
)

// InsertMissing puts records that Check found missing into events, and with
// them into every view target. It judges each again, so that what has come in
// meanwhile stays single, and returns how many rows it inserted.
//
// The tokens are new ones: ClickHouse may still know that of the first insert,
// and would skip what it once held. That nothing is inserted twice is ensured
// by looking first; so ingest must not insert repeats of the same records at
// that moment, which Watch excludes before and reports after.
func (a *Audit) InsertMissing(ctx context.Context, missing []MissingRecords) (int64, error) {
	moved, err := a.Watch(ctx)
	if err != nil {
		return 0, err
	}
	inserted := int64(0)
	run := rand.Text()
	for i := 0; i < len(missing); {
		of := missing[i].of
		j := &judge{Audit: a, of: of, actions: of.topic != TopicClicks, ordinals: newOrdinalAudit()}
		j.insert = func(ctx context.Context, rows []tracker.Row) error {
			from, to := rows[0].Offset, rows[len(rows)-1].Offset+1
			block := &tracker.Block{
				Token:  fmt.Sprintf("audit-%s-%d-%d-%d-%d", run, of.source(), of.partition, from, to),
				Source: of.source(), Partition: of.partition, From: from, To: to, Decisions: of.topic == TopicDecisions, Rows: rows,
			}
			if err := a.opts.Store.InsertBlock(ctx, block); err != nil {
				return err
			}
			inserted += int64(len(rows))
			return nil
		}
		for ; i < len(missing) && missing[i].of == of && err == nil; i++ {
			err = j.read(ctx, missing[i].From, missing[i].To)
		}
		if err == nil {
			err = j.flush(ctx)
		}
		j.close()
		if err != nil {
			return inserted, fmt.Errorf("insert what is missing of %s: %w; run the audit again", of, err)
		}
	}
	if disturbed, err := moved(ctx); err != nil || disturbed {
		a.opts.Logger.Info("ingest went on during the repair; the audit after it shows whether they met", "error", err)
	}
	return inserted, nil
}
