package clickhouse

import (
	"fmt"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// column is a column of events: its type, and how a block fills it.
type column struct {
	name, kind string
	fill       func(driver.BatchColumn, *tracker.Block, *scratch) error
}

// scratch holds the values of one column while they are handed over, reused
// from column to column and block to block: a block of 500,000 rows would
// otherwise leave 300 MB of garbage.
type scratch struct {
	strings  []string
	uint16s  []uint16
	uint32s  []uint32
	uint64s  []uint64
	int64s   []int64
	decimals []decimal.Decimal
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// free gives s back without the text that it points to.
func (s *scratch) free() {
	clear(s.strings)
	clear(s.decimals)
	scratches.Put(s)
}

// values maps a block's rows into a reused slice.
func values[T any](slice *[]T, block *tracker.Block, get func(*wire.Event, *tracker.Row) T) []T {
	if cap(*slice) < len(block.Rows) {
		*slice = make([]T, len(block.Rows))
	}
	*slice = (*slice)[:len(block.Rows)]
	for i := range block.Rows {
		(*slice)[i] = get(block.Rows[i].Event, &block.Rows[i])
	}
	return *slice
}

const (
	text    = "String"
	keyword = "LowCardinality(String)"
	moment  = "DateTime64(3, 'UTC')"
)

func textColumn(name, kind string, get func(*wire.Event) string) column {
	return column{name, kind, func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.strings, b, func(e *wire.Event, _ *tracker.Row) string { return get(e) }))
	}}
}

func uint16Column(name string, get func(*wire.Event) uint32) column {
	return column{name, "UInt16", func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.uint16s, b, func(e *wire.Event, _ *tracker.Row) uint16 { return uint16(get(e)) }))
	}}
}

func uint32Column(name string, get func(*wire.Event) uint32) column {
	return column{name, "UInt32", func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.uint32s, b, func(e *wire.Event, _ *tracker.Row) uint32 { return get(e) }))
	}}
}

func uint64Column(name string, get func(*wire.Event, *tracker.Row) uint64) column {
	return column{name, "UInt64", func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.uint64s, b, get))
	}}
}

func int64Column(name, kind string, get func(*wire.Event, *tracker.Row) int64) column {
	return column{name, kind, func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.int64s, b, get))
	}}
}

// listColumn is for what few rows have; its slices are not reused.
func listColumn[T any](name, kind string, get func(*wire.Event) T) column {
	return column{name, kind, func(c driver.BatchColumn, b *tracker.Block, _ *scratch) error {
		var list []T
		return c.Append(values(&list, b, func(e *wire.Event, _ *tracker.Row) T { return get(e) }))
	}}
}

// touchList picks one field of an event's touches.
func touchList[T any](get func(*wire.Touch) T) func(*wire.Event) []T {
	return func(e *wire.Event) []T {
		if len(e.Touches) == 0 {
			return nil
		}
		list := make([]T, len(e.Touches))
		for i, touch := range e.Touches {
			list[i] = get(touch)
		}
		return list
	}
}

// fillValue reads the decimals. Ingest has checked them, so an error is a bug
// there, reported with the offset.
func fillValue(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
	var bad error
	list := values(&s.decimals, b, func(e *wire.Event, r *tracker.Row) decimal.Decimal {
		if e.Value == "" {
			return decimal.Decimal{}
		}
		value, err := decimal.NewFromString(e.Value)
		if err != nil && bad == nil {
			bad = fmt.Errorf("read the value at offset %d: %w", r.Offset, err)
		}
		return value
	})
	if bad != nil {
		return bad
	}
	return c.Append(list)
}

// eventColumns are the stored columns of events, in the order of its table.
var eventColumns = []column{
	textColumn("event", keyword, func(e *wire.Event) string { return e.Event }),
	textColumn("stage", keyword, func(e *wire.Event) string { return e.Stage }),
	int64Column("time", moment, func(e *wire.Event, _ *tracker.Row) int64 { return int64(e.TimeMs) }),
	textColumn("program", keyword, func(e *wire.Event) string { return e.Program }),
	textColumn("campaign", keyword, func(e *wire.Event) string { return e.Campaign }),
	textColumn("channel", keyword, func(e *wire.Event) string { return e.Channel }),
	uint32Column("link", func(e *wire.Event) uint32 { return e.Link }),
	textColumn("code", text, func(e *wire.Event) string { return e.Code }),
	textColumn("domain", keyword, func(e *wire.Event) string { return e.Domain }),
	textColumn("referrer_id", text, func(e *wire.Event) string { return e.ReferrerId }),
	textColumn("referrer_type", keyword, func(e *wire.Event) string { return e.ReferrerType }),
	textColumn("referee_type", keyword, func(e *wire.Event) string { return e.RefereeType }),
	uint16Column("node", func(e *wire.Event) uint32 { return e.Node }),
	uint16Column("sequence", func(e *wire.Event) uint32 { return e.Sequence }),
	uint32Column("reasons", func(e *wire.Event) uint32 { return e.Reasons }),
	uint64Column("visitor_id", func(e *wire.Event, _ *tracker.Row) uint64 { return e.VisitorId }),
	int64Column("click_time", moment, func(e *wire.Event, _ *tracker.Row) int64 { return int64(e.ClickTimeMs) }),
	uint16Column("click_node", func(e *wire.Event) uint32 { return e.ClickNode }),
	uint16Column("click_sequence", func(e *wire.Event) uint32 { return e.ClickSequence }),
	textColumn("id", text, func(e *wire.Event) string { return e.Id }),
	textColumn("user_id", text, func(e *wire.Event) string { return e.UserId }),
	textColumn("order_id", text, func(e *wire.Event) string { return e.OrderId }),
	{"value", "Decimal(18, 6)", fillValue},
	textColumn("currency", keyword, func(e *wire.Event) string { return e.Currency }),
	textColumn("plan", keyword, func(e *wire.Event) string { return e.Plan }),
	listColumn("properties", "Map(LowCardinality(String), String)", func(e *wire.Event) map[string]string { return e.Properties }),
	listColumn("touches.link", "Array(UInt32)", touchList(func(t *wire.Touch) uint32 { return t.Link })),
	listColumn("touches.time", "Array(DateTime64(3, 'UTC'))", touchList(func(t *wire.Touch) int64 { return int64(t.TimeMs) })),
	listColumn("touches.channel", "Array(LowCardinality(String))", touchList(func(t *wire.Touch) string { return t.Channel })),
	textColumn("country", keyword, func(e *wire.Event) string { return e.Country }),
	textColumn("region", keyword, func(e *wire.Event) string { return e.Region }),
	textColumn("city", keyword, func(e *wire.Event) string { return e.City }),
	uint32Column("network", func(e *wire.Event) uint32 { return e.Network }),
	textColumn("device", keyword, func(e *wire.Event) string { return e.Device }),
	textColumn("browser", keyword, func(e *wire.Event) string { return e.Browser }),
	textColumn("os", keyword, func(e *wire.Event) string { return e.Os }),
	textColumn("language", keyword, func(e *wire.Event) string { return e.Language }),
	textColumn("referrer_host", keyword, func(e *wire.Event) string { return e.ReferrerHost }),
	textColumn("utm_source", keyword, func(e *wire.Event) string { return e.UtmSource }),
	textColumn("utm_medium", keyword, func(e *wire.Event) string { return e.UtmMedium }),
	textColumn("utm_campaign", keyword, func(e *wire.Event) string { return e.UtmCampaign }),
	textColumn("utm_term", keyword, func(e *wire.Event) string { return e.UtmTerm }),
	textColumn("utm_content", keyword, func(e *wire.Event) string { return e.UtmContent }),
	uint64Column("address_hash", func(e *wire.Event, _ *tracker.Row) uint64 { return e.AddressHash }),
	{"source", "UInt32", func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.uint32s, b, func(*wire.Event, *tracker.Row) uint32 { return b.Source }))
	}},
	{"partition", "UInt16", func(c driver.BatchColumn, b *tracker.Block, s *scratch) error {
		return c.Append(values(&s.uint16s, b, func(*wire.Event, *tracker.Row) uint16 { return uint16(b.Partition) }))
	}},
	uint64Column("offset", func(_ *wire.Event, r *tracker.Row) uint64 { return uint64(r.Offset) }),
	int64Column("ordinal_shift", "Int64", func(e *wire.Event, r *tracker.Row) int64 { return int64(e.Ordinal) - r.Offset }),
}
