package clickhouse

import (
	"fmt"
	"maps"
	"slices"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// column is a column of a raw table: its type, and how it takes rows of a block.
type column struct {
	name, kind string
	items      int // 1 for arrays, 2 for maps
	add        func(*values, *tracker.Block, []tracker.Row)
}

const (
	text    = "String"
	keyword = "LowCardinality(String)"
	moment  = "DateTime64(3, 'UTC')"
)

func textColumn(name string, get func(*wire.Event) string) column {
	return column{name, text, 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.text(get(rows[i].Event))
		}
	}}
}

func keywordColumn(name string, get func(*wire.Event) string) column {
	return column{name, keyword, 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.words.add(get(rows[i].Event))
		}
	}}
}

func uint16Column(name string, get func(*wire.Event) uint32) column {
	return column{name, "UInt16", 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.uint16(uint16(get(rows[i].Event)))
		}
	}}
}

func uint32Column(name string, get func(*wire.Event) uint32) column {
	return column{name, "UInt32", 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.uint32(get(rows[i].Event))
		}
	}}
}

func uint64Column(name, kind string, get func(*wire.Event) uint64) column {
	return column{name, kind, 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.uint64(get(rows[i].Event))
		}
	}}
}

// touchColumn is one field of the touches of an event.
func touchColumn(name, kind string, add func(*values, *wire.Touch)) column {
	return column{name, "Array(" + kind + ")", 1, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			touches := rows[i].Event.Touches
			v.list(len(touches))
			for _, touch := range touches {
				add(&v.items[0], touch)
			}
		}
	}}
}

// addProperties sorts the keys: the same range always gives the same block.
func addProperties(v *values, _ *tracker.Block, rows []tracker.Row) {
	for i := range rows {
		properties := rows[i].Event.Properties
		v.list(len(properties))
		if len(properties) == 0 {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(properties)) {
			v.items[0].words.add(key)
			v.items[1].text(properties[key])
		}
	}
}

// addValues reads the decimals into millionths. Ingest has checked them, so an
// error is a bug there, reported with the offset.
func addValues(v *values, _ *tracker.Block, rows []tracker.Row) {
	for i := range rows {
		given := rows[i].Event.Value
		if given == "" {
			v.uint64(0)
			continue
		}
		value, err := decimal.NewFromString(given)
		if err != nil && v.err == nil {
			v.err = fmt.Errorf("read the value at offset %d: %w", rows[i].Offset, err)
		}
		v.uint64(uint64(value.Shift(6).IntPart()))
	}
}

// eventColumns are the stored columns of events, in the order of its table.
var eventColumns = []column{
	keywordColumn("event", func(e *wire.Event) string { return e.Event }),
	keywordColumn("stage", func(e *wire.Event) string { return e.Stage }),
	uint64Column("time", moment, func(e *wire.Event) uint64 { return e.TimeMs }),
	keywordColumn("program", func(e *wire.Event) string { return e.Program }),
	keywordColumn("campaign", func(e *wire.Event) string { return e.Campaign }),
	keywordColumn("channel", func(e *wire.Event) string { return e.Channel }),
	uint32Column("link", func(e *wire.Event) uint32 { return e.Link }),
	textColumn("code", func(e *wire.Event) string { return e.Code }),
	keywordColumn("domain", func(e *wire.Event) string { return e.Domain }),
	textColumn("referrer_id", func(e *wire.Event) string { return e.ReferrerId }),
	keywordColumn("referrer_type", func(e *wire.Event) string { return e.ReferrerType }),
	keywordColumn("referee_type", func(e *wire.Event) string { return e.RefereeType }),
	uint16Column("node", func(e *wire.Event) uint32 { return e.Node }),
	uint16Column("sequence", func(e *wire.Event) uint32 { return e.Sequence }),
	uint32Column("reasons", func(e *wire.Event) uint32 { return e.Reasons }),
	uint64Column("visitor_id", "UInt64", func(e *wire.Event) uint64 { return e.VisitorId }),
	uint64Column("click_time", moment, func(e *wire.Event) uint64 { return e.ClickTimeMs }),
	uint16Column("click_node", func(e *wire.Event) uint32 { return e.ClickNode }),
	uint16Column("click_sequence", func(e *wire.Event) uint32 { return e.ClickSequence }),
	textColumn("id", func(e *wire.Event) string { return e.Id }),
	textColumn("user_id", func(e *wire.Event) string { return e.UserId }),
	textColumn("order_id", func(e *wire.Event) string { return e.OrderId }),
	{"value", "Decimal(18, 6)", 0, addValues},
	keywordColumn("currency", func(e *wire.Event) string { return e.Currency }),
	keywordColumn("plan", func(e *wire.Event) string { return e.Plan }),
	{"properties", "Map(LowCardinality(String), String)", 2, addProperties},
	touchColumn("touches.link", "UInt32", func(v *values, t *wire.Touch) { v.uint32(t.Link) }),
	touchColumn("touches.time", moment, func(v *values, t *wire.Touch) { v.uint64(t.TimeMs) }),
	touchColumn("touches.channel", keyword, func(v *values, t *wire.Touch) { v.words.add(t.Channel) }),
	keywordColumn("country", func(e *wire.Event) string { return e.Country }),
	keywordColumn("region", func(e *wire.Event) string { return e.Region }),
	keywordColumn("city", func(e *wire.Event) string { return e.City }),
	uint32Column("network", func(e *wire.Event) uint32 { return e.Network }),
	keywordColumn("device", func(e *wire.Event) string { return e.Device }),
	keywordColumn("browser", func(e *wire.Event) string { return e.Browser }),
	keywordColumn("os", func(e *wire.Event) string { return e.Os }),
	keywordColumn("language", func(e *wire.Event) string { return e.Language }),
	keywordColumn("referrer_host", func(e *wire.Event) string { return e.ReferrerHost }),
	keywordColumn("utm_source", func(e *wire.Event) string { return e.UtmSource }),
	keywordColumn("utm_medium", func(e *wire.Event) string { return e.UtmMedium }),
	keywordColumn("utm_campaign", func(e *wire.Event) string { return e.UtmCampaign }),
	keywordColumn("utm_term", func(e *wire.Event) string { return e.UtmTerm }),
	keywordColumn("utm_content", func(e *wire.Event) string { return e.UtmContent }),
	uint64Column("address_hash", "UInt64", func(e *wire.Event) uint64 { return e.AddressHash }),
	{"source", "UInt32", 0, func(v *values, b *tracker.Block, rows []tracker.Row) {
		for range rows {
			v.uint32(b.Source)
		}
	}},
	{"partition", "UInt16", 0, func(v *values, b *tracker.Block, rows []tracker.Row) {
		for range rows {
			v.uint16(uint16(b.Partition))
		}
	}},
	{"offset", "UInt64", 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.uint64(uint64(rows[i].Offset))
		}
	}},
	{"ordinal_shift", "Int64", 0, func(v *values, _ *tracker.Block, rows []tracker.Row) {
		for i := range rows {
			v.uint64(rows[i].Event.Ordinal - uint64(rows[i].Offset)) // in two's complement
		}
	}},
}
