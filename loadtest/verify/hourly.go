package verify

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// hourly recounts the hits of each link and hour. It grows with the links that
// were clicked and the hours of the run.
type hourly struct {
	numbers map[string]uint32 // of the codes
	codes   []string          // by number
	counts  map[linkHour]*hits
	total   hits
}

type linkHour struct{ code, hour uint32 }

// hits are counted as clicks_hourly does; gross are those that were not HEAD.
type hits struct {
	hits, gross uint64
	found       bool
}

func newHourly() hourly {
	return hourly{numbers: map[string]uint32{}, counts: map[linkHour]*hits{}}
}

// promise counts a click that must be there.
func (h *hourly) promise(code []byte, timeMS uint64, head bool) {
	number, ok := h.numbers[string(code)]
	if !ok {
		number = uint32(len(h.codes))
		h.codes = append(h.codes, string(code))
		h.numbers[string(code)] = number
	}
	at := linkHour{number, uint32(timeMS / uint64(time.Hour/time.Millisecond))}
	counted := h.counts[at]
	if counted == nil {
		counted = new(hits)
		h.counts[at] = counted
	}
	counted.hits++
	h.total.hits++
	if !head {
		counted.gross++
		h.total.gross++
	}
}

func (h *hourly) find(code string, hour uint32) *hits {
	number, known := h.numbers[code]
	if !known {
		return nil
	}
	return h.counts[linkHour{number, hour}]
}

// compareHourly compares dimension link of clicks_hourly with the recount.
func (v *verification) compareHourly(ctx context.Context) error {
	v.Progress("comparing hits per link and hour")
	line := v.line("clicks_hourly", "by link and hour")
	named := func(code string, hour uint32) func() string {
		return func() string { return code + " at " + time.Unix(int64(hour)*3600, 0).UTC().Format(time.RFC3339) }
	}
	var code string
	var hour uint32
	var row hits
	query := "SELECT key, toUInt32(intDiv(toUnixTimestamp(hour), 3600)), sum(hits), sum(gross) FROM waymark.clicks_hourly" +
		" WHERE dimension = 'link' AND program IN " + quoted(v.programs) + " GROUP BY key, hour"
	err := stream(ctx, v.conn, query, func() error {
		expected := v.hourly.find(code, hour)
		if expected == nil {
			line.Found += row.hits
			line.differ(foreign, row.hits, named(code, hour))
			return nil
		}
		expected.found = true
		line.sums(expected.hits, row.hits, named(code, hour))
		if expected.hits == row.hits && expected.gross != row.gross {
			line.differ(altered, 1, named(code, hour))
		}
		return nil
	}, &code, &hour, &row.hits, &row.gross)
	if err != nil {
		return fmt.Errorf("read clicks_hourly: %w", err)
	}
	for at, expected := range v.hourly.counts {
		if !expected.found {
			line.sums(expected.hits, 0, named(v.hourly.codes[at.code], at.hour))
		}
	}
	return nil
}

// dimensions of clicks_hourly besides link. Each counts every hit once.
var dimensions = []string{"total", "channel", "campaign", "referrer", "referrer_type", "country", "device", "browser", "referrer_host", "reasons"}

// compareDimensions compares the sums of the other dimensions.
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
		" WHERE dimension != 'link' AND program IN " + quoted(v.programs) + " GROUP BY dimension"
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
		line.sums(v.hourly.total.hits, row.hits, func() string { return "hits" })
		if line.Differences() > 0 {
			continue
		}
		for _, sum := range []struct {
			name            string
			expected, found uint64
		}{{"gross", v.hourly.total.gross, row.gross}, {"valid", valid, row.valid}, {"unique", unique, row.unique}} {
			if sum.expected != sum.found {
				line.differ(altered, 1, func() string { return fmt.Sprintf("%s: %d, expected %d", sum.name, sum.found, sum.expected) })
			}
		}
	}
	return nil
}
