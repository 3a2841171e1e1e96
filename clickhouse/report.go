package clickhouse

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

//go:embed reports/*.sql
var reportFiles embed.FS

// reportQueries are templates, since a roll-up that cannot answer must not be
// asked; values reach them as parameters only.
var reportQueries = template.Must(template.ParseFS(reportFiles, "reports/*.sql"))

// report is a question that the API answers.
type report struct {
	info tracker.ReportInfo
	by   string                                      // dimension when none is asked for; "" for no breakdown
	file func(tracker.ReportQuery, dimension) string // file in reports/, when it is not the name
	end  func(*tracker.Report, tracker.ReportQuery)  // adds what the report says beside its rows

	whole  bool                                             // takes no filter but the programme
	check  func(*tracker.ReportQuery) error                 // judges parameters of its own
	derive func(*tracker.Report, tracker.ReportQuery) error // makes the rows of the report of those of the query
}

var (
	linkDimensions  = dimensionNames(false)
	visitDimensions = dimensionNames(true)
)

// reports are in the order in which the API lists them. Periods are
// from <= time < to throughout.
var reports = []report{
	{
		info: tracker.ReportInfo{
			Name:    "clicks",
			Doc:     "Clicks over time (key is the start of the hour, day, week or month in the time zone), or by a dimension.",
			By:      append(slices.Clone(visitDimensions), reason),
			Columns: []string{"key", "clicks", "visitors", "gross", "valid", "unique"},
		},
		file: clicksFile,
	},
	{
		info: tracker.ReportInfo{
			Name:    "funnel",
			Doc:     "Distinct parties at each stage: invitations, visitors, users; step_rate is of the stage before, overall_rate of the first; worst_step names the stage with the lowest step_rate.",
			By:      visitDimensions,
			Columns: []string{"stage", "position", "count", "step_rate", "overall_rate"},
		},
		end: endFunnel,
	},
	{
		info: tracker.ReportInfo{
			Name:    "conversion_rates",
			Doc:     "How many visitors sign up, activate and convert. Conversions are users reaching the stage converted, value is what they paid.",
			By:      visitDimensions,
			Columns: []string{"key", "clicks", "visitors", "signups", "activations", "conversions", "value", "signup_rate", "activation_rate", "conversion_rate", "signup_conversion_rate"},
		},
		by: "program",
	},
	{
		info: tracker.ReportInfo{
			Name:    "time_to_convert",
			Doc:     "Hours between the first times of two stages, over users that reached the second in the period: mean and exact quantiles.",
			By:      linkDimensions,
			Columns: []string{"from_stage", "to_stage", "count", "mean_hours", "median_hours", "p75_hours", "p90_hours"},
		},
		end: endBreakdown,
	},
	{
		info: tracker.ReportInfo{
			Name:    "channels",
			Doc:     "What each channel brings, from invitations to value.",
			By:      visitDimensions,
			Columns: []string{"key", "invitations", "clicks", "visitors", "referrers", "signups", "conversions", "value", "refunds", "signup_rate", "conversion_rate"},
		},
		by: "channel",
	},
	{
		info: tracker.ReportInfo{
			Name:    "geography",
			Doc:     "Where visitors, users and conversions come from. A user's country is that of the click.",
			By:      visitDimensions,
			Columns: []string{"key", "clicks", "visitors", "signups", "conversions", "value", "signup_rate", "conversion_rate"},
		},
		by: "country",
	},
	{
		info: tracker.ReportInfo{
			Name:    "viral",
			Doc:     "Viral coefficient K of each flow (one-sided), of opposite flows (two-sided) and of the cohort that signed up in the period (realised), with cycle and doubling time in hours.",
			By:      []string{"campaign"},
			Columns: []string{"program", "kind", "referrer_type", "referee_type", "invitations", "referrers", "signups", "invitations_per_referrer", "signups_per_invitation", "k", "cycle_hours", "status", "doubling_hours"},
		},
		end:   endBreakdown,
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "attribution",
			Doc:     "Conversions and their value, divided between what touched them by a model: first, last, linear, time_decay (half_life_days), position (first_share, last_share), markov or shapley. Journeys without a touch are (direct). All hits of the edge before final_until have arrived.",
			By:      linkDimensions,
			Columns: []string{"key", "conversions", "value"},
		},
		by:     "channel",
		file:   attributionFile,
		whole:  true,
		check:  checkAttribution,
		derive: deriveAttribution,
	},
	{
		info: tracker.ReportInfo{
			Name:    "cohorts",
			Doc:     "Retention triangles: of the users who signed up in a day, week or month of the time zone (cohort, size of them), how many were active (retained) that many steps later (period), and what they paid.",
			By:      linkDimensions,
			Columns: []string{"cohort", "period", "size", "retained", "rate", "value"},
		},
		whole:  true,
		check:  checkCohorts,
		derive: checkTriangles,
		end:    endBreakdown,
	},
	{
		info: tracker.ReportInfo{
			Name:    "leaderboard",
			Doc:     "Referrers by rank in their programme: by value, then conversions, then signups of those they referred, other than themselves; equal in all three is an equal rank. conversion_rate is of signups, previous_rank that of the period of equal length before, or null.",
			Columns: []string{"program", "rank", "referrer", "referrer_type", "signups", "conversions", "value", "conversion_rate", "previous_rank"},
		},
		whole: true,
	},
}

// Reports lists the reports, each with the dimensions that it can be broken
// down by. Where a report without `by` has no column key, one with it has key
// in front.
func (db *DB) Reports() []tracker.ReportInfo {
	infos := make([]tracker.ReportInfo, len(reports))
	for i, r := range reports {
		infos[i] = r.info
	}
	return infos
}

// Report answers a query. An unknown report is tracker.ErrNotFound, a
// parameter at fault a *tracker.FieldError. Zero times leave the period open,
// a limit of 0 takes all rows.
func (db *DB) Report(ctx context.Context, query tracker.ReportQuery) (*tracker.Report, error) {
	i := slices.IndexFunc(reports, func(r report) bool { return r.info.Name == query.Name })
	if i < 0 {
		return nil, fmt.Errorf("report %q: %w", query.Name, tracker.ErrNotFound)
	}
	r := reports[i]
	if query.By == "" {
		query.By = r.by
	}
	location, err := checkQuery(r, &query)
	if err != nil {
		return nil, err
	}
	by, _ := findDimension(query.By) // reason is none, and needs none
	name := r.info.Name
	if r.file != nil {
		name = r.file(query, by)
	}
	answer, err := db.answer(ctx, name, query, by, location)
	if err != nil {
		return nil, fmt.Errorf("make report %s: %w", query.Name, err)
	}
	if len(answer.Columns) == 0 { // over HTTP, an answer without rows has no columns either
		answer.Columns = r.columns(query.By)
	}
	if r.derive != nil {
		if err := r.derive(answer, query); err != nil {
			return nil, err
		}
	}
	if r.end != nil {
		r.end(answer, query)
	}
	return answer, nil
}

// answer runs the query of a report.
func (db *DB) answer(ctx context.Context, file string, query tracker.ReportQuery, by dimension, location *time.Location) (*tracker.Report, error) {
	source := newSource(query, by)
	var text strings.Builder
	if err := reportQueries.ExecuteTemplate(&text, file+".sql", source); err != nil {
		panic("BUG: a report without its query: " + err.Error())
	}
	sql := text.String()
	args := reportArgs(query, by)
	args["dimension"] = source.dimension
	maps.Copy(args, source.args)
	maps.Copy(args, source.periodArgs(query, location))
	if strings.Contains(sql, "{actions:") || strings.Contains(sql, "{journeys:") {
		actions, err := db.actionArgs(ctx, by.visit || source.visit)
		if err != nil {
			return nil, err
		}
		maps.Copy(args, actions)
	}
	var extra map[string]any
	if strings.Contains(sql, "{visitors:") {
		visitors, estimated, err := db.visitorArgs(ctx, query, source)
		if err != nil {
			return nil, err
		}
		maps.Copy(args, visitors)
		extra = estimated
	}
	var named []any
	for name, value := range args {
		named = append(named, clickhouse.Named(name, value))
	}
	answer, err := db.table(ctx, sql, named...)
	if err == nil {
		maps.Copy(answer.Extra, extra)
	}
	return answer, err
}

// columns are those of an answer, key first in every breakdown.
func (r report) columns(by string) []string {
	if by == "" || r.info.Columns[0] == "key" {
		return r.info.Columns
	}
	return append([]string{"key"}, r.info.Columns...)
}

// checkQuery judges the parameters and fills what was left open.
func checkQuery(r report, query *tracker.ReportQuery) (*time.Location, error) {
	info := r.info
	if query.By != "" && !slices.Contains(info.By, query.By) {
		return nil, &tracker.FieldError{Field: "by", Detail: fmt.Sprintf("report %s has no breakdown by %q; it has %s", info.Name, query.By, orNone(info.By))}
	}
	for name := range query.Filters {
		if _, known := findDimension(name); !known || !slices.Contains(info.By, name) || r.whole {
			return nil, &tracker.FieldError{Field: name, Detail: fmt.Sprintf("report %s cannot be filtered by it", info.Name)}
		}
	}
	setDefault(&query.Hits, "valid")
	if !slices.Contains([]string{"valid", "gross", "unique"}, query.Hits) {
		return nil, &tracker.FieldError{Field: "hits", Detail: "must be valid, gross or unique"}
	}
	setDefault(&query.Granularity, "day")
	if !slices.Contains([]string{"hour", "day", "week", "month"}, query.Granularity) {
		return nil, &tracker.FieldError{Field: "granularity", Detail: "must be hour, day, week or month"}
	}
	setDefault(&query.TZ, "UTC")
	location, err := time.LoadLocation(query.TZ)
	if err != nil || query.TZ == "Local" {
		return nil, &tracker.FieldError{Field: "tz", Detail: fmt.Sprintf("%q is no IANA time zone; give one like Europe/Berlin", query.TZ)}
	}
	// Nothing is older or younger, and ClickHouse reads no year of five digits.
	if oldest := time.Unix(0, 0); query.From.Before(oldest) {
		query.From = oldest
	}
	if youngest := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC); query.To.IsZero() || query.To.After(youngest) {
		query.To = youngest
	}
	if !query.From.Before(query.To) {
		return nil, &tracker.FieldError{Field: "from", Detail: "must lie before to"}
	}
	if query.Limit < 0 {
		return nil, &tracker.FieldError{Field: "limit", Detail: "must not be negative"}
	}
	if r.check != nil {
		return location, r.check(query)
	}
	return location, nil
}

func setDefault(value *string, other string) {
	if *value == "" {
		*value = other
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// reportArgs are the parameters of every report query; each takes those that
// it names.
func reportArgs(query tracker.ReportQuery, by dimension) map[string]string {
	limit := int64(query.Limit)
	if limit == 0 {
		limit = math.MaxInt64
	}
	rollupKey := "key"
	switch by.column { // beside every dimension
	case "program", "total":
		rollupKey = by.column
	}
	return map[string]string{
		"program": query.Program, "hits": query.Hits, "by": by.column, "rollup_key": rollupKey,
		"granularity": query.Granularity, "tz": query.TZ, "limit": strconv.FormatInt(limit, 10),
		"breakdown": query.By, "model": query.Model, "half_life_days": fmt.Sprint(query.HalfLifeDays),
		"first_share": fmt.Sprint(query.FirstShare), "last_share": fmt.Sprint(query.LastShare), "steps_max": fmt.Sprint(markovStepsMax + 1), "cells_max": fmt.Sprint(cohortCellsMax + 1),
	}
}

// table runs a query and returns whatever it gives, with the values that JSON
// knows: nil for null and for what is no number.
func (db *DB) table(ctx context.Context, sql string, args ...any) (*tracker.Report, error) {
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	answer := &tracker.Report{Columns: rows.Columns(), Rows: [][]any{}, Extra: map[string]any{}}
	types := rows.ColumnTypes()
	for rows.Next() {
		cells := make([]any, len(types))
		for i, t := range types {
			cells[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(cells...); err != nil {
			return nil, err
		}
		for i := range cells {
			cells[i] = plain(cells[i])
		}
		answer.Rows = append(answer.Rows, cells)
	}
	return answer, rows.Err()
}

// plain takes the value out of the pointer that it was scanned into.
func plain(cell any) any {
	v := reflect.ValueOf(cell).Elem()
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if f, ok := v.Interface().(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil
	}
	return v.Interface()
}

// endBreakdown drops the empty key of a report that is not broken down.
func endBreakdown(answer *tracker.Report, query tracker.ReportQuery) {
	if query.By != "" || answer.Columns[0] != "key" {
		return
	}
	answer.Columns = answer.Columns[1:]
	for i := range answer.Rows {
		answer.Rows[i] = answer.Rows[i][1:]
	}
}

// endFunnel adds worst_step: the stage with the lowest step_rate, of equals
// the first, or null; in a breakdown an object of them by key.
func endFunnel(answer *tracker.Report, query tracker.ReportQuery) {
	key, stage, rate := 0, slices.Index(answer.Columns, "stage"), slices.Index(answer.Columns, "step_rate")
	worst, lowest := map[string]any{}, map[string]float64{}
	for _, row := range answer.Rows {
		k := row[key].(string)
		if _, known := worst[k]; !known {
			worst[k] = nil
		}
		r, ok := row[rate].(float64)
		if low, known := lowest[k]; ok && (!known || r < low) {
			worst[k], lowest[k] = row[stage], r
		}
	}
	answer.Extra["worst_step"] = worst
	if query.By == "" {
		answer.Extra["worst_step"] = worst[""]
	}
	endBreakdown(answer, query)
}
