package clickhouse

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

//go:embed history.sql
var historyQuery string

// ClickHistory returns the hit that a click id names, if it has arrived, and
// the actions that it brought: those with its identity, and those that named
// only a user whose signup has it. They come in order of time, the first 1,000.
func (db *DB) ClickHistory(ctx context.Context, click tracker.Click) (*tracker.ClickHistory, error) {
	rows, err := db.conn.Query(ctx, historyQuery,
		clickhouse.Named("time", utc(time.UnixMilli(int64(click.TimeMS)))),
		clickhouse.Named("node", fmt.Sprint(click.Node)),
		clickhouse.Named("sequence", fmt.Sprint(click.Sequence)),
		clickhouse.Named("link", fmt.Sprint(click.Link)))
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the history of a click: %w", err)
	}
	defer rows.Close()
	history := new(tracker.ClickHistory)
	for rows.Next() {
		row, err := scanEvent(rows)
		if err != nil {
			return nil, fmt.Errorf("read the history of a click: %w", err)
		}
		if row.Event.Stage == tracker.StageClicked {
			history.Hit = &row
			continue
		}
		history.Actions = append(history.Actions, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the history of a click: %w", err)
	}
	return history, nil
}

// scanEvent reads a row of history.sql back into the event that it came from.
func scanEvent(rows driver.Rows) (tracker.Row, error) {
	var (
		e                                        wire.Event
		at, clickAt                              time.Time
		node, sequence, clickNode, clickSequence uint16
		value                                    decimal.Decimal
		touchLinks                               []uint32
		touchTimes                               []time.Time
		touchChannels                            []string
		offset                                   uint64
	)
	err := rows.Scan(&e.Event, &e.Stage, &at, &e.Program, &e.Campaign, &e.Channel, &e.Link, &e.Code, &e.Domain,
		&e.ReferrerId, &e.ReferrerType, &e.RefereeType, &node, &sequence, &e.Ordinal, &e.Reasons, &e.VisitorId,
		&clickAt, &clickNode, &clickSequence, &e.Id, &e.UserId, &e.OrderId, &value, &e.Currency, &e.Plan, &e.Properties,
		&touchLinks, &touchTimes, &touchChannels, &e.Country, &e.Region, &e.City, &e.Network, &e.Device, &e.Browser, &e.Os,
		&e.Language, &e.ReferrerHost, &e.UtmSource, &e.UtmMedium, &e.UtmCampaign, &e.UtmTerm, &e.UtmContent, &e.AddressHash, &offset)
	if err != nil {
		return tracker.Row{}, err
	}
	e.TimeMs, e.ClickTimeMs = uint64(at.UnixMilli()), uint64(clickAt.UnixMilli())
	e.Node, e.Sequence, e.ClickNode, e.ClickSequence = uint32(node), uint32(sequence), uint32(clickNode), uint32(clickSequence)
	if !value.IsZero() {
		e.Value = value.String()
	}
	for i := range touchLinks {
		e.Touches = append(e.Touches, &wire.Touch{Link: touchLinks[i], TimeMs: uint64(touchTimes[i].UnixMilli()), Channel: touchChannels[i]})
	}
	return tracker.Row{Offset: int64(offset), Event: &e}, nil
}
