package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

// insertSettings make an insert one block in one thread, cut the same way
// whenever it is made again: tokens of view targets are derived from the token
// of the insert and the number of the block, so another cut would pass as news.
//
// optimize_on_insert stays on: it merges the roll-up rows of a block before
// they are written, and is as much a function of the block as the views are.
func insertSettings(token string) clickhouse.Settings {
	return clickhouse.Settings{
		"async_insert":       0,
		"insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"insert_deduplication_token":                         token,
		"max_insert_threads":                                 1,
		"max_threads":                                        1,
		"parallel_view_processing":                           0,
		"optimize_on_insert":                                 1,
		"materialized_views_ignore_errors":                   0,
		// Above the 500,000 rows of a block, with the limits by bytes off.
		"max_insert_block_size":                              1_000_000,
		"min_insert_block_size_rows":                         1_000_000,
		"min_insert_block_size_bytes":                        0,
		"min_insert_block_size_rows_for_materialized_views":  1_000_000_000,
		"min_insert_block_size_bytes_for_materialized_views": 0,
		// History may reach over any number of months.
		"max_partitions_per_insert_block": 0,
	}
}

// InsertBlock puts the rows of a block into events, or into decisions, and every
// view target, exactly once for each token however often it is called. It returns nil only
// once all of them hold the block, and copies what it needs of the rows.
func (db *DB) InsertBlock(ctx context.Context, block *tracker.Block) error {
	table := rawTableOf(block)
	ctx = clickhouse.Context(ctx,
		clickhouse.WithSettings(insertSettings(block.Token)),
		clickhouse.WithColumnNamesAndTypes(table.types))
	batch, err := db.conn.PrepareBatch(ctx, table.insert)
	if err != nil {
		return fmt.Errorf("prepare the insert of block %s: %w", block.Token, err)
	}
	defer batch.Close()
	native := table.blocks.Get().(*nativeBlock)
	defer native.free()
	native.fill(block)
	if err := native.handOver(batch.Columns(), len(block.Rows)); err != nil {
		return fmt.Errorf("prepare block %s: %w", block.Token, err)
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert block %s: %w", block.Token, withoutQuery(err))
	}
	return nil
}

// withoutQuery shortens an error of the connection, which says the whole address
// that was asked: two thousand characters of settings and columns, in the log
// for each block that waits.
func withoutQuery(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	address, badURL := url.Parse(failed.URL)
	if badURL != nil {
		return failed.Err
	}
	return fmt.Errorf("reach ClickHouse at %s: %w", address.Host, failed.Err)
}
