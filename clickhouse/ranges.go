package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// The rows of a Kafka partition lie in one of the raw tables, and the number of
// its topic tells them from all others. place selects them wherever they are;
// ClickHouse takes the conditions to each table, so that its indexes serve.
const (
	ofPlace      = " WHERE source = {source:UInt32} AND partition = {partition:UInt16}"
	placeOfHits  = " FROM waymark.events" + ofPlace
	placeColumns = "SELECT source, partition, offset FROM waymark."
	place        = " FROM (" + placeColumns + "events UNION ALL " + placeColumns + "decisions)" + ofPlace
)

func placeArgs(source uint32, partition int32, more ...driver.NamedValue) []any {
	args := []any{clickhouse.Named("source", fmt.Sprint(source)), clickhouse.Named("partition", fmt.Sprint(partition))}
	for _, arg := range more {
		args = append(args, arg)
	}
	return args
}

// NextOffset returns max(offset)+1 over the rows of a partition, and false
// where there are none.
func (db *DB) NextOffset(ctx context.Context, source uint32, partition int32) (int64, bool, error) {
	var rows, last uint64
	err := db.conn.QueryRow(ctx, "SELECT count(), max(offset)"+place, placeArgs(source, partition)...).Scan(&rows, &last)
	if err != nil {
		return 0, false, fmt.Errorf("ask ClickHouse for the last offset of partition %d: %w", partition, err)
	}
	return int64(last) + 1, rows > 0, nil
}

// Ordinals returns the largest ordinal of each node among the rows of a
// partition with offset < before.
func (db *DB) Ordinals(ctx context.Context, source uint32, partition int32, before int64) (map[uint16]uint64, error) {
	rows, err := db.conn.Query(ctx, "SELECT node, max(ordinal)"+placeOfHits+" AND offset < {before:UInt64} GROUP BY node",
		placeArgs(source, partition, clickhouse.Named("before", fmt.Sprint(before)))...)
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the ordinals of partition %d: %w", partition, err)
	}
	defer rows.Close()
	ordinals := map[uint16]uint64{}
	for rows.Next() {
		var node uint16
		var ordinal uint64
		if err := rows.Scan(&node, &ordinal); err != nil {
			return nil, fmt.Errorf("read the ordinals of partition %d: %w", partition, err)
		}
		ordinals[node] = ordinal
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the ordinals of partition %d: %w", partition, err)
	}
	return ordinals, nil
}

// CountRange counts the rows of a partition with from <= offset < to.
func (db *DB) CountRange(ctx context.Context, source uint32, partition int32, from, to int64) (int64, error) {
	var count uint64
	err := db.conn.QueryRow(ctx, "SELECT count()"+place+" AND offset >= {from:UInt64} AND offset < {to:UInt64}",
		placeArgs(source, partition, clickhouse.Named("from", fmt.Sprint(from)), clickhouse.Named("to", fmt.Sprint(to)))...).Scan(&count)
	if err != nil {
		return 0, fmt.Errorf("count offsets %d to %d of partition %d in ClickHouse: %w", from, to, partition, err)
	}
	return int64(count), nil
}

// HighestNode returns the largest node number among all rows, 0 where no node
// has one. It reads a column of events as a whole, which compresses to next to nothing.
func (db *DB) HighestNode(ctx context.Context) (uint16, error) {
	var node uint16
	if err := db.conn.QueryRow(ctx, "SELECT max(node) FROM waymark.events").Scan(&node); err != nil {
		return 0, fmt.Errorf("ask ClickHouse for the highest node number: %w", err)
	}
	return node, nil
}
