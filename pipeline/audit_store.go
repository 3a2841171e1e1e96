package pipeline

import (
	"context"
	"time"

	"waymark/tracker"
)

// AuditStore is ClickHouse as the audit of events needs it; package clickhouse
// implements it and says more of each method. All but InsertBlock and
// RemoveRows only read, all of them read events alone: the view targets are
// among what may be damaged.
type AuditStore interface {
	// Holdings lists the places with rows; From is that of rows since a time.
	Holdings(ctx context.Context, since time.Time) ([]tracker.Holding, error)
	// OffsetRuns yields, in order, the offsets that a place has rows of.
	OffsetRuns(ctx context.Context, place tracker.Place, from, to int64, yield func(tracker.OffsetRun) error) error
	// LeftOut returns what ingest left out of a range of offsets, in order.
	LeftOut(ctx context.Context, place tracker.Place, from, to int64) ([]tracker.OffsetRun, error)
	// OrdinalRuns yields the ordinals of the hits in a range of offsets.
	OrdinalRuns(ctx context.Context, place tracker.Place, from, to int64, yield func(node uint16, run tracker.OrdinalRun) error) error
	// HitRows says at which offsets the hits of a node stand, by ordinal.
	HitRows(ctx context.Context, node uint16, run tracker.OrdinalRun) ([]tracker.HitRow, error)
	// HasHits and HasActions say which of some hits and actions are there.
	HasHits(ctx context.Context, hits []tracker.NodeOrdinal) (map[tracker.NodeOrdinal]bool, error)
	HasActions(ctx context.Context, ids []tracker.ActionIdentity) ([]tracker.ActionIdentity, error)
	// RepeatedActions yields the rows of actions that may be there twice.
	RepeatedActions(ctx context.Context, since time.Time, yield func(tracker.ActionRow) error) error
	// InsertBlock is that of Store.
	InsertBlock(ctx context.Context, block *tracker.Block) error
}
