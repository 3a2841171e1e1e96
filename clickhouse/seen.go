package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/cespare/xxhash/v2"

	"waymark/tracker"
)

// seenBatch is how many identities one query asks for: 5,000 hashes of up to
// 20 digits stay well under the 256 KB that ClickHouse parses by default.
const seenBatch = 5_000

// seenActionsBatch is how many action identities one query asks for: those of
// a whole plan. Where they are repeats, hashes lie in every granule of the
// table, so that each query reads it whole; 5,000 at a time took ten times as
// long for an import that was made before.
const (
	seenActionsBatch  = 50_000
	seenQueryBytesMax = 2 << 20
)

// SeenActions returns the identities of those actions and decisions that are
// there and have the event and key of one of ids, whatever their programme: of this partition
// those with offset < before, of any other source all.
func (db *DB) SeenActions(ctx context.Context, source uint32, partition int32, before int64, ids []tracker.ActionIdentity) ([]tracker.ActionIdentity, error) {
	var seen []tracker.ActionIdentity
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": seenQueryBytesMax}))
	for batch := range slices.Chunk(ids, seenActionsBatch) {
		found, err := db.seenBatch(ctx, source, partition, before, batch)
		if err != nil {
			return nil, fmt.Errorf("ask ClickHouse for %d action identities: %w", len(batch), err)
		}
		seen = append(seen, found...)
	}
	return seen, nil
}

func (db *DB) seenBatch(ctx context.Context, source uint32, partition int32, before int64, ids []tracker.ActionIdentity) ([]tracker.ActionIdentity, error) {
	wanted := make(map[[2]string]bool, len(ids))
	// The hashes stand in the text of the query: they are digits, and a
	// parameter of this size would not fit into a URL.
	query := []byte(`SELECT event, key, program FROM waymark.action_ids
WHERE (source != {source:UInt32} OR partition != {partition:UInt16} OR offset < {before:UInt64}) AND hash IN (`)
	for i, id := range ids {
		wanted[[2]string{id.Event, id.Key}] = true
		if i > 0 {
			query = append(query, ',')
		}
		query = strconv.AppendUint(query, xxhash.Sum64String(id.RecordKey()), 10)
	}
	query = append(query, ')')
	rows, err := db.conn.Query(ctx, string(query), placeArgs(source, partition, clickhouse.Named("before", fmt.Sprint(before)))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var seen []tracker.ActionIdentity
	for rows.Next() {
		var id tracker.ActionIdentity
		if err := rows.Scan(&id.Event, &id.Key, &id.Program); err != nil {
			return nil, err
		}
		if wanted[[2]string{id.Event, id.Key}] { // else another identity with the same hash
			seen = append(seen, id)
		}
	}
	return seen, rows.Err()
}
