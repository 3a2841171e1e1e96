package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/cespare/xxhash/v2"

	"waymark/tracker"
)

// What the audit of events asks. Each question is put for so many offsets at a
// time that the answer's exact counts stay within some tens of megabytes,
// however long the history is; the index on offset keeps the windows apart.
const (
	auditWindow = 1 << 20 // offsets of a query
	auditChunk  = 1 << 14 // offsets that are counted together
	// auditRows is how many groups one query may hold in memory; above
	// that, it is put several times, for a share of the groups each.
	auditRows = 2_000_000
)

// auditSettings keep a large GROUP BY on disk beyond half a gigabyte.
const auditSettings = "max_bytes_before_external_group_by = 536870912, max_bytes_before_external_sort = 536870912"

// Holdings lists the places with rows in the raw tables. From is that of the rows
// since a time, the zero time for all; To that of all rows.
func (db *DB) Holdings(ctx context.Context, since time.Time) ([]tracker.Holding, error) {
	var all []tracker.Holding
	err := db.scan(ctx, `
SELECT source, partition, countIf(hit), countIf(NOT hit),
    if(countIf(time >= {since:DateTime64(3, 'UTC')}) = 0, max(offset) + 1, minIf(offset, time >= {since:DateTime64(3, 'UTC')})), max(offset) + 1
FROM
(
    SELECT source, partition, offset, time, stage = 'clicked' AND node != 0 AS hit FROM waymark.events
    UNION ALL
    SELECT source, partition, offset, time, false FROM waymark.decisions
)
GROUP BY source, partition
ORDER BY source, partition`, []any{clickhouse.Named("since", utc(auditSince(since)))}, func(rows driver.Rows) error {
		var h tracker.Holding
		var partition uint16
		var from, to uint64
		err := rows.Scan(&h.Source, &partition, &h.Hits, &h.Actions, &from, &to)
		h.Partition, h.From, h.To = int32(partition), int64(from), int64(to)
		all = append(all, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the partitions of its rows: %w", err)
	}
	return all, nil
}

// auditSince is a time that DateTime64 can hold.
func auditSince(since time.Time) time.Time {
	if since.Before(time.Unix(0, 0)) {
		return time.Unix(0, 0)
	}
	return since
}

// OffsetRuns yields the runs of offsets from one up to another (excluded) that
// a place has rows of, in order. Runs that touch may come in pieces.
func (db *DB) OffsetRuns(ctx context.Context, place tracker.Place, from, to int64, yield func(tracker.OffsetRun) error) error {
	for start := from; start < to; {
		end := min((start/auditWindow+1)*auditWindow, to)
		runs, err := db.offsetRuns(ctx, place, start, end)
		if err != nil {
			return fmt.Errorf("ask ClickHouse for offsets %d to %d of partition %d: %w", start, end, place.Partition, err)
		}
		for _, run := range runs {
			if err := yield(run); err != nil {
				return err
			}
		}
		start = end
	}
	return nil
}

func (db *DB) offsetRuns(ctx context.Context, place tracker.Place, from, to int64) ([]tracker.OffsetRun, error) {
	type chunk struct{ number, rows, offsets, first, last uint64 }
	var chunks []chunk
	err := db.scan(ctx, "SELECT intDiv(offset, "+fmt.Sprint(auditChunk)+") AS chunk, count(), uniqExact(offset), min(offset), max(offset)"+placeRange+" GROUP BY chunk ORDER BY chunk",
		rangeArgs(place, from, to), func(rows driver.Rows) error {
			var c chunk
			err := rows.Scan(&c.number, &c.rows, &c.offsets, &c.first, &c.last)
			chunks = append(chunks, c)
			return err
		})
	if err != nil {
		return nil, err
	}
	var runs []tracker.OffsetRun
	for _, c := range chunks {
		if c.rows == c.offsets && c.last-c.first+1 == c.rows {
			runs = addOffsets(runs, tracker.OffsetRun{From: int64(c.first), To: int64(c.last) + 1, Copies: 1})
			continue
		}
		err := db.scan(ctx, "SELECT offset, count()"+placeRange+" GROUP BY offset ORDER BY offset", rangeArgs(place, int64(c.first), int64(c.last)+1), func(rows driver.Rows) error {
			var offset, copies uint64
			err := rows.Scan(&offset, &copies)
			runs = addOffsets(runs, tracker.OffsetRun{From: int64(offset), To: int64(offset) + 1, Copies: copies})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// addOffsets joins a run to the last one where it goes on.
func addOffsets(runs []tracker.OffsetRun, run tracker.OffsetRun) []tracker.OffsetRun {
	if last := len(runs) - 1; last >= 0 && runs[last].To == run.From && runs[last].Copies == run.Copies {
		runs[last].To = run.To
		return runs
	}
	return append(runs, run)
}

const (
	inRange    = " AND offset >= {from:UInt64} AND offset < {to:UInt64}"
	placeRange = place + inRange
)

func rangeArgs(place tracker.Place, from, to int64) []any {
	return placeArgs(place.Source, place.Partition, clickhouse.Named("from", fmt.Sprint(from)), clickhouse.Named("to", fmt.Sprint(to)))
}

// OrdinalRuns yields the runs of ordinals that the hits of a place have, by
// node, for the offsets from one up to another (excluded). An ordinal that
// stands at several offsets comes several times; copies of one row do not.
// Runs come in no order.
func (db *DB) OrdinalRuns(ctx context.Context, place tracker.Place, from, to int64, yield func(node uint16, run tracker.OrdinalRun) error) error {
	for start := from; start < to; {
		end := min((start/auditWindow+1)*auditWindow, to)
		if err := db.ordinalRuns(ctx, place, start, end, yield); err != nil {
			return fmt.Errorf("ask ClickHouse for the ordinals in offsets %d to %d of partition %d: %w", start, end, place.Partition, err)
		}
		start = end
	}
	return nil
}

// hitsOfNodes leaves out hits that no node took: imported ones.
const hitsOfNodes = " AND stage = 'clicked' AND node != 0"

func (db *DB) ordinalRuns(ctx context.Context, place tracker.Place, from, to int64, yield func(node uint16, run tracker.OrdinalRun) error) error {
	type chunk struct {
		node                                                    uint16
		firstOffset, lastOffset, offsets, ordinals, first, last uint64
	}
	var broken []chunk
	err := db.scan(ctx, "SELECT node, min(offset), max(offset), uniqExact(offset), uniqExact(ordinal), min(ordinal), max(ordinal)"+placeOfHits+inRange+hitsOfNodes+
		" GROUP BY node, intDiv(offset, "+fmt.Sprint(auditChunk)+")", rangeArgs(place, from, to), func(rows driver.Rows) error {
		var c chunk
		if err := rows.Scan(&c.node, &c.firstOffset, &c.lastOffset, &c.offsets, &c.ordinals, &c.first, &c.last); err != nil {
			return err
		}
		if c.offsets != c.ordinals || c.last-c.first+1 != c.ordinals {
			broken = append(broken, c)
			return nil
		}
		return yield(c.node, tracker.OrdinalRun{From: c.first, To: c.last + 1})
	})
	if err != nil {
		return err
	}
	for _, c := range broken {
		args := append(rangeArgs(place, int64(c.firstOffset), int64(c.lastOffset)+1), clickhouse.Named("node", fmt.Sprint(c.node)))
		err := db.scan(ctx, "SELECT ordinal, uniqExact(offset)"+placeOfHits+inRange+hitsOfNodes+" AND node = {node:UInt16} GROUP BY ordinal ORDER BY ordinal", args, func(rows driver.Rows) error {
			var ordinal, offsets uint64
			if err := rows.Scan(&ordinal, &offsets); err != nil {
				return err
			}
			for range offsets {
				if err := yield(c.node, tracker.OrdinalRun{From: ordinal, To: ordinal + 1}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// HitRows returns where the hits of a node with ordinals in a run stand, one
// entry for each offset, in order of ordinals, at most 100,000.
func (db *DB) HitRows(ctx context.Context, node uint16, run tracker.OrdinalRun) ([]tracker.HitRow, error) {
	var found []tracker.HitRow
	err := db.scan(ctx, `
SELECT DISTINCT ordinal, source, partition, offset
FROM waymark.events
WHERE stage = 'clicked' AND node = {node:UInt16} AND ordinal >= {from:UInt64} AND ordinal < {to:UInt64}
ORDER BY ordinal, source, partition, offset
LIMIT 100000`, []any{clickhouse.Named("node", fmt.Sprint(node)), clickhouse.Named("from", fmt.Sprint(run.From)), clickhouse.Named("to", fmt.Sprint(run.To))},
		func(rows driver.Rows) error {
			hit := tracker.HitRow{NodeOrdinal: tracker.NodeOrdinal{Node: node}}
			var partition uint16
			var offset uint64
			err := rows.Scan(&hit.Ordinal, &hit.Source, &partition, &offset)
			hit.Partition, hit.Offset = int32(partition), int64(offset)
			found = append(found, hit)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for ordinals %d to %d of node %d: %w", run.From, run.To, node, err)
	}
	return found, nil
}

// HasHits returns those of the hits that events has, wherever it has them.
func (db *DB) HasHits(ctx context.Context, hits []tracker.NodeOrdinal) (map[tracker.NodeOrdinal]bool, error) {
	has := make(map[tracker.NodeOrdinal]bool, len(hits))
	for batch := range slices.Chunk(hits, seenBatch) {
		var list strings.Builder
		for i, hit := range batch {
			if i > 0 {
				list.WriteByte(',')
			}
			fmt.Fprintf(&list, "(%d,%d)", hit.Node, hit.Ordinal)
		}
		err := db.scan(ctx, "SELECT DISTINCT node, ordinal FROM waymark.events WHERE stage = 'clicked' AND (node, ordinal) IN ("+list.String()+")",
			nil, func(rows driver.Rows) error {
				var hit tracker.NodeOrdinal
				err := rows.Scan(&hit.Node, &hit.Ordinal)
				has[hit] = true
				return err
			})
		if err != nil {
			return nil, fmt.Errorf("ask ClickHouse for %d hits: %w", len(batch), err)
		}
	}
	return has, nil
}

// identities are the actions, imported hits and decisions that have an identity,
// as migration 0005 and tracker.ActionIdentity spell it. The audit takes it from
// the raw tables: action_ids is among what it checks.
const (
	identities = ` FROM
(
    SELECT event, concat(if(bitAnd(reasons, 128) = 0, '', 'u'), if(order_id != '', concat('o:', order_id), concat('i:', id))) AS key, program, time, source, partition, offset
    FROM waymark.events
    WHERE (stage != 'clicked' OR node = 0) AND (order_id != '' OR id != '')
    UNION ALL
    SELECT event, concat('i:', id) AS key, program, time, source, partition, offset
    FROM waymark.decisions
)`
	identityHash = "xxHash64(concat(event, '\\0', key))"
)

// HasActions returns the identities of those actions and decisions that are
// there and have the event and key of one of ids, whatever their programme.
func (db *DB) HasActions(ctx context.Context, ids []tracker.ActionIdentity) ([]tracker.ActionIdentity, error) {
	var has []tracker.ActionIdentity
	for batch := range slices.Chunk(ids, seenBatch) {
		wanted := map[string]bool{}
		var list []string
		for _, id := range batch {
			wanted[id.RecordKey()] = true
			list = append(list, fmt.Sprint(xxhash.Sum64String(id.RecordKey())))
		}
		err := db.scan(ctx, "SELECT DISTINCT event, key, program"+identities+" WHERE "+identityHash+" IN ("+strings.Join(list, ",")+")", nil, func(rows driver.Rows) error {
			var id tracker.ActionIdentity
			err := rows.Scan(&id.Event, &id.Key, &id.Program)
			if wanted[id.RecordKey()] { // else another with the same hash
				has = append(has, id)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("ask ClickHouse for %d actions: %w", len(batch), err)
		}
	}
	return has, nil
}

// RepeatedActions yields the rows of actions and decisions that are there under
// one identity more than once and, unless since is the zero time, one of them since
// then. Rows of one event and key come together; copies of one row are one.
func (db *DB) RepeatedActions(ctx context.Context, since time.Time, yield func(tracker.ActionRow) error) error {
	var actions uint64
	if err := db.conn.QueryRow(ctx, "SELECT count()"+identities).Scan(&actions); err != nil {
		return fmt.Errorf("count the actions in ClickHouse: %w", err)
	}
	shares := actions/auditRows + 1
	for share := range shares {
		repeated := fmt.Sprintf("SELECT %s%s WHERE %[1]s %% %[3]d = %[4]d GROUP BY event, key "+
			"HAVING count() > 1 AND (count() > uniqExact(program) OR countIf(program = '') > 0) AND max(time) >= {since:DateTime64(3, 'UTC')}",
			identityHash, identities, shares, share)
		err := db.scan(ctx, "SELECT DISTINCT event, key, program, source, partition, offset"+identities+" WHERE "+identityHash+
			" IN ("+repeated+") ORDER BY event, key, source, partition, offset SETTINGS "+auditSettings,
			[]any{clickhouse.Named("since", utc(auditSince(since)))}, func(rows driver.Rows) error {
				var row tracker.ActionRow
				var partition uint16
				var offset uint64
				if err := rows.Scan(&row.Event, &row.Key, &row.Program, &row.Source, &partition, &offset); err != nil {
					return err
				}
				row.Partition, row.Offset = int32(partition), int64(offset)
				return yield(row)
			})
		if err != nil {
			return fmt.Errorf("ask ClickHouse for repeated actions: %w", err)
		}
	}
	return nil
}

// scan runs a query and hands each of its rows to each.
func (db *DB) scan(ctx context.Context, sql string, args []any, each func(driver.Rows) error) error {
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
