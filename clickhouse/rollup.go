package clickhouse

import (
	"time"

	"waymark/tracker"
)

// clicksFile picks the query of report clicks.
func clicksFile(query tracker.ReportQuery, _ dimension) string {
	switch query.By {
	case "":
		return "clicks_over_time"
	case reason:
		return "clicks_by_reason"
	}
	return "clicks"
}

// wholeHourRange is the part of a period that consists of whole hours of UTC,
// which the roll-up can answer; what is left over at both ends, under an hour
// each, is counted in the hits. A period without a whole hour gives an empty
// range at its start, so that the rest is all of it.
func wholeHourRange(from, to time.Time) (time.Time, time.Time) {
	start, end := from.UTC().Truncate(time.Hour), to.UTC().Truncate(time.Hour)
	if start.Before(from) {
		start = start.Add(time.Hour)
	}
	if !start.Before(end) {
		return from, from
	}
	return start, end
}

// wholeHours reports whether each hour of UTC between from and to lies in one
// hour of the zone. Where an offset has half an hour the roll-up cannot tell
// the zone's hours apart, and everything is counted in the hits.
func wholeHours(zone *time.Location, from, to time.Time) bool {
	for t := from; t.Before(to); {
		local := t.In(zone)
		if _, offset := local.Zone(); offset%3600 != 0 {
			return false
		}
		_, end := local.ZoneBounds()
		if end.IsZero() {
			return true
		}
		t = end
	}
	return true
}

// ceilMilli is the first millisecond at or after t, the resolution of events.
func ceilMilli(t time.Time) time.Time {
	floor := t.Truncate(time.Millisecond)
	if floor.Before(t) {
		return floor.Add(time.Millisecond)
	}
	return floor
}
