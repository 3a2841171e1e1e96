package verify

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// daily recounts the hits of each link and day. It grows with the links that
// were clicked and the days of the run.
type daily struct {
	numbers map[string]uint32 // of the codes
	codes   []string          // by number
	counts  map[linkDay]*hits
	total   hits
}

type linkDay struct{ code, day uint32 }

// hits are counted as the roll-ups do; gross are those that were not HEAD.
type hits struct {
	hits, gross uint64
	found       bool
}

func newDaily() daily {
	return daily{numbers: map[string]uint32{}, counts: map[linkDay]*hits{}}
}

// promise counts a click that must be there.
func (d *daily) promise(code []byte, timeMS uint64, head bool) {
	number, ok := d.numbers[string(code)]
	if !ok {
		number = uint32(len(d.codes))
		d.codes = append(d.codes, string(code))
		d.numbers[string(code)] = number
	}
	at := linkDay{number, uint32(timeMS / uint64(24*time.Hour/time.Millisecond))}
	counted := d.counts[at]
	if counted == nil {
		counted = new(hits)
		d.counts[at] = counted
	}
	counted.hits++
	d.total.hits++
	if !head {
		counted.gross++
		d.total.gross++
	}
}

func (d *daily) find(code string, day uint32) *hits {
	number, known := d.numbers[code]
	if !known {
		return nil
	}
	return d.counts[linkDay{number, day}]
}

// compareDaily compares link_clicks_daily with the recount.
func (v *verification) compareDaily(ctx context.Context) error {
	v.Progress("comparing hits per link and day")
	line := v.line("link_clicks_daily", "by link and day")
	named := func(code string, day uint32) func() string {
		return func() string { return code + " on " + time.Unix(int64(day)*24*3600, 0).UTC().Format(time.DateOnly) }
	}
	var code string
	var day uint32
	var row hits
	query := "SELECT link_key, toUInt32(toUInt16(day)), sum(hits), sum(gross) FROM waymark.link_clicks_daily" +
		" WHERE program IN " + quoted(v.programs) + " GROUP BY link_key, day"
	err := stream(ctx, v.conn, query, func() error {
		expected := v.daily.find(code, day)
		if expected == nil {
			line.Found += row.hits
			line.differ(foreign, row.hits, named(code, day))
			return nil
		}
		expected.found = true
		line.sums(expected.hits, row.hits, named(code, day))
		if expected.hits == row.hits && expected.gross != row.gross {
			line.differ(altered, 1, named(code, day))
		}
		return nil
	}, &code, &day, &row.hits, &row.gross)
	if err != nil {
		return fmt.Errorf("read link_clicks_daily: %w", err)
	}
	for at, expected := range v.daily.counts {
		if !expected.found {
			line.sums(expected.hits, 0, named(v.daily.codes[at.code], at.day))
		}
	}
	return nil
}

// dimensions of clicks_hourly. Each counts every hit once.
var dimensions = []string{"total", "channel", "campaign", "referrer_type", "country", "device", "browser", "referrer_host", "reasons"}

// compareDimensions compares the sums of clicks_hourly.
func (v *verification) compareDimensions(ctx context.Context) error {
	var valid, unique uint64
	err := stream(ctx, v.conn, "SELECT countIf(valid), countIf(unique) FROM waymark.events WHERE "+v.scope.clicks(), func() error { return nil }, &valid, &unique)
	if err != nil {
		return fmt.Errorf("count the clicks: %w", err)
	}
	type sums struct{ hits, gross, valid, unique uint64 }
	found := map[string]sums{}
	names := slices.Clone(dimensions)
	var name string
	var row sums
	query := "SELECT dimension, sum(hits), sum(gross), sum(valid), sum(unique) FROM waymark.clicks_hourly" +
		" WHERE program IN " + quoted(v.programs) + " GROUP BY dimension"
	err = stream(ctx, v.conn, query, func() error {
		found[name] = row
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return nil
	}, &name, &row.hits, &row.gross, &row.valid, &row.unique)
	if err != nil {
		return fmt.Errorf("read clicks_hourly: %w", err)
	}
	for _, name := range names {
		line, row := v.line("clicks_hourly", "sums by "+name), found[name]
		line.sums(v.daily.total.hits, row.hits, func() string { return "hits" })
		if line.Differences() > 0 {
			continue
		}
		for _, sum := range []struct {
			name            string
			expected, found uint64
		}{{"gross", v.daily.total.gross, row.gross}, {"valid", valid, row.valid}, {"unique", unique, row.unique}} {
			if sum.expected != sum.found {
				line.differ(altered, 1, func() string { return fmt.Sprintf("%s: %d, expected %d", sum.name, sum.found, sum.expected) })
			}
		}
	}
	return nil
}
