package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

const (
	// exactHits are the hits of a period in which distinct visitors are still
	// counted one by one, in a tenth of a second on two cores. The view
	// `visitors` has the same number.
	exactHits = 3_000_000
	// sampledHits bounds the hits of the sample that are read instead.
	sampledHits = 1_600_000
	// allBuckets is what visitors are dealt to; visitor_sample has sampleBuckets.
	allBuckets, sampleBuckets = 64, 4
)

// source is where a report takes its numbers from: the fields choose between
// the parts of its query, the rest are parameters.
type source struct {
	Rollup     string // clicks_hourly, link_clicks, or "" where no roll-up answers
	LinkRollup bool   // link_clicks has the breakdown and the filters
	visit      bool   // a filter is on what is known of hits only
	OverTime   bool   // rows are steps of time in a zone

	Key, RollupKey string // of a row, in the views and in clicks_hourly

	Where       string // conditions of the filters, on the columns of the views
	RollupWhere string // the same for clicks_hourly
	Links       string // narrows hits to the links of a filter, by the sort key

	dimension string            // of clicks_hourly
	args      map[string]string // of the conditions
}

// newSource plans a report. Filters are on dimensions that the report has.
func newSource(query tracker.ReportQuery, by dimension) source {
	s := source{dimension: by.rollup, args: map[string]string{}, Key: "toString({by:Identifier})", RollupKey: "toString({rollup_key:Identifier})"}
	s.OverTime = by.name == overTime || query.Name == "clicks" && query.By == ""
	s.LinkRollup = !by.visit && !s.OverTime // its days are those of UTC
	if by.name == overTime {
		const start = "toDateTime(dateTrunc({granularity:String}, %s, {tz:String}), {tz:String})"
		s.Key, s.RollupKey = fmt.Sprintf(start, "toDateTime(time, 'UTC')"), fmt.Sprintf(start, "hour")
	}
	var where strings.Builder
	named := []dimension{by}
	for i, name := range slices.Sorted(maps.Keys(query.Filters)) {
		d, _ := findDimension(name)
		parameter := fmt.Sprint("filter_", i)
		s.args[parameter] = query.Filters[name]
		fmt.Fprintf(&where, " AND %s = {%s:String}", d.column, parameter)
		s.LinkRollup, s.visit = s.LinkRollup && !d.visit, s.visit || d.visit
		if d.name == "link" {
			s.Links = fmt.Sprintf(" AND link IN (SELECT link FROM waymark.link_clicks_monthly WHERE link_key = {%s:String})", parameter)
		}
		if d.name == "program" {
			s.RollupWhere = fmt.Sprintf("%s AND program = {%s:String}", s.RollupWhere, parameter)
			continue
		}
		// Qualified: in the query, key alone is the breakdown.
		s.RollupWhere = fmt.Sprintf("%s AND c.key = {%s:String}", s.RollupWhere, parameter)
		s.dimension = d.rollup
		named = append(named, d)
	}
	s.Where = where.String()
	// clicks_hourly knows one dimension at a time, beside the programme.
	named = slices.DeleteFunc(named, func(d dimension) bool { return d.name == "" || d.name == "program" || d.name == overTime })
	slices.SortFunc(named, func(a, b dimension) int { return strings.Compare(a.name, b.name) })
	named = slices.CompactFunc(named, func(a, b dimension) bool { return a.name == b.name })
	switch {
	case len(named) == 0 || len(named) == 1 && named[0].rollup != "":
		s.Rollup = "clicks_hourly"
	case s.LinkRollup:
		s.Rollup = "link_clicks"
	}
	return s
}

// periodArgs divide the period: what the roll-ups have whole, and what is
// left over at its ends.
func (s *source) periodArgs(query tracker.ReportQuery, location *time.Location) map[string]string {
	from, to := ceilMilli(query.From), ceilMilli(query.To)
	days := inside(from, earlier(to, lastDay), startOfDay, 1, 0)
	months := inside(days[0], days[1], startOfMonth, 0, 1)
	rollup := [2]time.Time{from, from}
	switch {
	case s.Rollup == "link_clicks":
		rollup = days
	case s.Rollup == "clicks_hourly" && (!s.OverTime || wholeHours(location, from, to)):
		rollup = inside(from, to, startOfHour, 0, 0)
	}
	if !s.LinkRollup {
		days = [2]time.Time{from, from}
	}
	return map[string]string{
		"from": utc(from), "to": utc(to), "rollup_from": utc(rollup[0]), "rollup_to": utc(rollup[1]),
		"day_from": utc(days[0]), "day_to": utc(days[1]), "month_from": utc(months[0]), "month_to": utc(months[1]),
	}
}

func startOfHour(t time.Time) time.Time  { return t.UTC().Truncate(time.Hour) }
func startOfDay(t time.Time) time.Time   { return t.UTC().Truncate(24 * time.Hour) }
func startOfMonth(t time.Time) time.Time { return startOfDay(t).AddDate(0, 0, 1-t.UTC().Day()) }

// inside is the part of a period that consists of whole steps of UTC: hours,
// or those of so many days or months. One without a whole step gives an empty
// range at its start, so that the rest is all of it.
func inside(from, to time.Time, start func(time.Time) time.Time, days, months int) [2]time.Time {
	first, end := start(from), start(to)
	if first.Before(from) {
		if first = first.AddDate(0, months, days); days+months == 0 {
			first = first.Add(time.Hour)
		}
	}
	if !first.Before(end) {
		return [2]time.Time{from, from}
	}
	return [2]time.Time{first, end}
}

// actionArgs choose between the settled actions and resolving all of them,
// which where none are settled is the shorter way to the same rows.
func (db *DB) actionArgs(ctx context.Context, visits bool) (map[string]string, error) {
	var settled uint64
	if err := db.conn.QueryRow(ctx, "SELECT count() FROM waymark.settled_until").Scan(&settled); err != nil {
		return nil, fmt.Errorf("ask how far actions are settled: %w", err)
	}
	args := map[string]string{"actions": "actions", "journeys": "journeys"}
	if visits {
		args["actions"] = "action_visits"
	}
	if settled > 0 {
		args = map[string]string{"actions": "resolved", "journeys": "resolved_journeys"}
		if visits {
			args["actions"] = "resolved_visits"
		}
	}
	return args, nil
}

// visitorArgs choose between counting distinct visitors in all hits of the
// period and in the sample, by how many there are. The second result says
// what the estimate is worth, nil for exact numbers.
func (db *DB) visitorArgs(ctx context.Context, query tracker.ReportQuery, s source) (map[string]string, map[string]any, error) {
	exact := map[string]string{"visitors": "hits", "buckets": strconv.Itoa(allBuckets), "scale": "1"}
	if s.Links != "" { // the sort key makes the hits of a link few
		return exact, nil, nil
	}
	var hits uint64
	err := db.conn.QueryRow(ctx, `
SELECT sum(hits)
FROM waymark.clicks_hourly
WHERE dimension = 'total' AND hour >= {from:DateTime} AND hour < {to:DateTime} AND ({program:String} = '' OR program = {program:String})`,
		clickhouse.Named("from", startOfHour(query.From).Format(time.DateTime)),
		clickhouse.Named("to", earlier(startOfHour(query.To), lastDay).Add(time.Hour).Format(time.DateTime)),
		clickhouse.Named("program", query.Program)).Scan(&hits)
	if err != nil {
		return nil, nil, fmt.Errorf("count the hits of the period: %w", err)
	}
	if hits <= db.exactHits {
		return exact, nil, nil
	}
	buckets := sampleBuckets
	for buckets > 1 && hits*uint64(buckets)/allBuckets > sampledHits {
		buckets /= 2
	}
	oneIn := allBuckets / buckets
	error1M := math.Sqrt(float64(oneIn-1) / 1e6)
	return map[string]string{"visitors": "sampled_hits", "buckets": strconv.Itoa(buckets), "scale": strconv.Itoa(oneIn)}, map[string]any{
		"visitors_estimated": map[string]any{
			"from_one_in":             oneIn,
			"standard_error":          fmt.Sprintf("sqrt(%d/visitors)", oneIn-1),
			"standard_error_of_1e6":   error1M,
			"exact_up_to_hits":        db.exactHits,
			"hits_in_the_period_read": hits,
		},
	}, nil
}

// lastDay bounds what is compared with a Date, which ends in 2149, or a
// DateTime, which ends in 2106.
var lastDay = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
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
		switch {
		case end.IsZero():
			return true
		case end.After(t):
			t = end
		default: // ZoneBounds may end where it began: in Berlin, on 31 December 2040
			t = t.Add(time.Hour)
		}
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
