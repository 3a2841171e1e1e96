package pipeline

import (
	"context"

	"waymark/tracker"
)

// Store is ClickHouse as ingest needs it; package clickhouse implements it.
//
// Ingest has checked every row that it hands over (see checkRow): values are
// decimals that fit Decimal(18, 6) or empty, times fit a DateTime64, node and
// sequence numbers 16 bits. So no error of a Store is the fault of one row,
// and ingest makes the same call again until it succeeds.
//
// "Before" selects what a replay of a planned range may look at: rows of the
// same source and partition with a smaller offset. What came after the range,
// and the range itself, must not change the decision that was made the first
// time.
type Store interface {
	// InsertBlock puts the rows of a block into events, or the table of
	// decisions, and every view target, exactly once for each token however often it is called. It returns nil
	// only once all of them hold the block. A block is never empty. It is the
	// caller's again when the call returns: text in it aliases buffers.
	InsertBlock(ctx context.Context, block *tracker.Block) error

	// NextOffset returns max(offset)+1 over the rows of a partition, and
	// false where there are none.
	NextOffset(ctx context.Context, source uint32, partition int32) (int64, bool, error)

	// Ordinals returns the largest ordinal of each node among the rows of a
	// partition with offset < before.
	Ordinals(ctx context.Context, source uint32, partition int32, before int64) (map[uint16]uint64, error)

	// SeenActions returns the identities of those actions and decisions that are
	// there and have the event and key of one of ids, whatever their programme: of this
	// partition those with offset < before, of any other source all. Programme
	// names in ids have no meaning here, order and repeats in the answer
	// neither. ids are at most planActionsMax, distinct in event and key.
	SeenActions(ctx context.Context, source uint32, partition int32, before int64, ids []tracker.ActionIdentity) ([]tracker.ActionIdentity, error)

	// CountRange counts the rows of a partition with from <= offset < to.
	CountRange(ctx context.Context, source uint32, partition int32, from, to int64) (int64, error)

	// LeaveOut writes down which offsets of a place have no row in events
	// though ingest is through with them, for the audit. The same runs may
	// come more than once.
	LeaveOut(ctx context.Context, place tracker.Place, runs []tracker.OffsetRun) error

	// InsertLinks and InsertPrograms copy records of the catalogue. The same
	// one may come more than once; the highest version of a link number or
	// programme name counts.
	InsertLinks(ctx context.Context, rows []tracker.LinkRow) error
	InsertPrograms(ctx context.Context, rows []tracker.ProgramRow) error
}

// planActionsMax bounds the actions of one plan, and with them one question to
// the identity table. Actions are a few per cent of the clicks.
const planActionsMax = 50_000
