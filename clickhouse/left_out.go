package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker"
)

// LeaveOut writes down which offsets of a place have no row in events, and are
// not missing. The same runs may come more than once.
func (db *DB) LeaveOut(ctx context.Context, place tracker.Place, runs []tracker.OffsetRun) error {
	return db.insertRows(ctx, "ranges of offsets left out", "INSERT INTO waymark.left_out (source, partition, from, to)", len(runs), func(i int) []any {
		return []any{place.Source, uint16(place.Partition), uint64(runs[i].From), uint64(runs[i].To)}
	})
}

// LeftOut returns the offsets in a range that were left out, in order and
// without overlaps.
func (db *DB) LeftOut(ctx context.Context, place tracker.Place, from, to int64) ([]tracker.OffsetRun, error) {
	var runs []tracker.OffsetRun
	err := db.scan(ctx, `
SELECT greatest(l.from, {from:UInt64}) AS first, least(l.to, {to:UInt64})
FROM waymark.left_out AS l
WHERE source = {source:UInt32} AND partition = {partition:UInt16} AND l.to > {from:UInt64} AND l.from < {to:UInt64}
ORDER BY first`, rangeArgs(place, from, to), func(rows driver.Rows) error {
		var first, end uint64
		if err := rows.Scan(&first, &end); err != nil {
			return err
		}
		if last := len(runs) - 1; last >= 0 && int64(first) <= runs[last].To {
			runs[last].To = max(runs[last].To, int64(end))
			return nil
		}
		runs = append(runs, tracker.OffsetRun{From: int64(first), To: int64(end)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse which offsets of partition %d were left out: %w", place.Partition, err)
	}
	return runs, nil
}
