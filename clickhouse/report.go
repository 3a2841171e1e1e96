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

	shapes map[string][]string                              // columns of a file where they are not those of the report
	whole  bool                                             // takes no filter but the programme
	check  func(*tracker.ReportQuery) error                 // judges parameters of its own
	derive func(*tracker.Report, tracker.ReportQuery) error // makes the rows of the report of those of the query
}

var (
	linkDimensions  = dimensionNames(false)
	visitDimensions = dimensionNames(true)
	linkOrTime      = append(dimensionNames(false), overTime)
	visitOrTime     = append(dimensionNames(true), overTime)
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
			Doc:     "Distinct parties at each stage: invitations, visitors, users; step_rate is of the stage before, overall_rate of the first; worst_step names the stage with the lowest step_rate. With mode=cohort how far those came in order (stages), within the programme's attribution window, who entered in the period.",
			By:      visitOrTime,
			Columns: []string{"stage", "position", "count", "step_rate", "overall_rate"},
		},
		file:  funnelFile,
		check: checkFunnel,
		end:   endFunnel,
	},
	{
		info: tracker.ReportInfo{
			Name:    "conversion_rates",
			Doc:     "How many visitors sign up, activate and convert. Conversions are users reaching the stage converted, value is what they paid.",
			By:      visitOrTime,
			Columns: []string{"key", "clicks", "visitors", "signups", "activations", "conversions", "value", "signup_rate", "activation_rate", "conversion_rate", "signup_conversion_rate"},
		},
		by: "program",
	},
	{
		info: tracker.ReportInfo{
			Name:    "time_to_convert",
			Doc:     "Hours between the first times of two stages, over users that reached the second in the period: mean and exact quantiles. With view=histogram how many took how long: from_stage, to_stage, bucket, from_hours, to_hours (null for the last), count, share, cumulative_share.",
			By:      linkOrTime,
			Columns: []string{"from_stage", "to_stage", "count", "mean_hours", "median_hours", "p75_hours", "p90_hours"},
		},
		file:   timeToConvertFile,
		check:  checkTimeToConvert,
		end:    endBreakdown,
		shapes: map[string][]string{histogramFile: {"from_stage", "to_stage", "bucket", "from_hours", "to_hours", "count", "share", "cumulative_share"}},
	},
	{
		info: tracker.ReportInfo{
			Name:    "channels",
			Doc:     "What each channel brings, from invitations to value.",
			By:      visitOrTime,
			Columns: []string{"key", "invitations", "clicks", "visitors", "referrers", "signups", "conversions", "value", "refunds", "signup_rate", "conversion_rate"},
		},
		by: "channel",
	},
	{
		info: tracker.ReportInfo{
			Name:    "geography",
			Doc:     "Where visitors, users and conversions come from. A user's country is that of the click.",
			By:      visitOrTime,
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
			Name:    "viral_cohorts",
			Doc:     "Realised K: of those who signed up in a day, week or month of the time zone (cohort, members of it), how many they referred that signed up within the programme's attribution window (referees), per member (k). Until the window of all members is over (final), k can only rise. The limit is one of programmes and keys.",
			By:      []string{"campaign"},
			Columns: []string{"program", "cohort", "members", "referees", "k", "final"},
		},
		whole:  true,
		check:  checkCohorts,
		derive: checkTriangles,
		end:    endBreakdown,
	},
	{
		info: tracker.ReportInfo{
			Name:    "viral_projection",
			Doc:     "New users that the active referrers of the period bring in the next 12 cycles (step, hours from now), cumulated, if invitations per referrer and signups per invitation stay what they were, with the interval that holds what is to be expected in nine of ten cases; users_limit is where it ends for K < 1. The limit is one of loops.",
			By:      []string{"campaign"},
			Columns: []string{"program", "kind", "referrer_type", "referee_type", "step", "hours", "referrers", "k", "k_low", "k_high", "users", "users_low", "users_high", "users_limit"},
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
			Doc:     "Referrers by rank in their programme: by value, then conversions, then signups of those they referred, other than themselves; equal in all three is an equal rank. conversion_rate is of signups, previous_rank that of the period of equal length before, or null. Tier, badge and milestone are of all time, by converted referrals that were not rejected; …_missing is how many more the next one takes.",
			Columns: []string{"program", "rank", "referrer", "referrer_type", "signups", "conversions", "value", "conversion_rate", "previous_rank", "tier", "badge", "next_tier", "conversions_missing", "next_milestone", "milestone_missing"},
		},
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "forecast",
			Doc:     "The next weeks (weeks) of each programme in clicks, signups or conversions (measure): forecast, a line through the last twelve weeks, beside baseline, as many as in the last week. Rows are of kind history, forecast, or holdout, where both were told lead weeks ahead of what they did not see; mae and wape are their errors there, winner has the smaller, expected is its number, between low and high in four of five weeks held out. Learns from the year before to, with which the weeks known end.",
			Columns: []string{"program", "kind", "week", "lead", "actual", "forecast", "baseline", "expected", "low", "high", "winner", "forecast_mae", "baseline_mae", "forecast_wape", "baseline_wape"},
		},
		whole: true,
		check: checkForecast,
		end:   endForecast,
	},
	{
		info: tracker.ReportInfo{
			Name:    "predictions",
			Doc:     "What is to be expected at the end of the period, or now: by partner, the conversions and value that each referrer brings in the 30 days to ends_at (known: in the 90 days before); by campaign, how far those that run come by ends_at (known: so far) and the probability that they reach their targets. Beside them a naive baseline, as in the last 30 days or on at the same pace, and the errors of both on held_out cases that they had not seen (root mean square by partner, Brier's by campaign); winner has the smaller.",
			By:      []string{"partner", "campaign"},
			Columns: []string{"key", "program", "measure", "ends_at", "known", "target", "expected", "baseline", "probability", "baseline_probability", "winner", "model_error", "baseline_error", "held_out"},
		},
		by:    "partner",
		file:  predictionsFile,
		whole: true,
		end:   endPredictions,
	},
	{
		info: tracker.ReportInfo{
			Name:    "rewards",
			Doc:     "Rewards that were earned in the period, as they are now: amount is what was calculated; pending, eligible (before owed is deducted), paid and expired are of it; owed was paid for what was taken back later.",
			By:      []string{"rule", "party", "campaign", "referrer_type", "program"},
			Columns: []string{"key", "currency", "rewards", "parties", "amount", "pending", "eligible", "owed", "paid", "expired"},
		},
		by:    "rule",
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "fraud",
			Doc:     "Referrals that began in the period by risk, by the action that follows (what was decided, else what was assessed), and with the mean of their scores. By signal, a referral counts under each that was triggered.",
			By:      []string{"referrer", "referrer_type", "program", "signal", "risk"},
			Columns: []string{"key", "referrals", "low", "medium", "high", "approve", "review", "hold", "reject", "decided", "mean_score"},
		},
		by:    "referrer",
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "campaigns",
			Doc:     "Campaigns that ran in the period, each whole: what belongs to it by name, time and audience against its targets and budget. spend is what its rewards cost and fixed_spend, cpa is spend by conversions, roi is (value - refunds - spend) / spend.",
			Columns: []string{"program", "campaign", "status", "starts_at", "ends_at", "audience", "currency", "invitations", "clicks", "visitors", "signups", "conversions", "value", "refunds", "signup_rate", "conversion_rate", "target_clicks", "target_signups", "target_conversions", "target_value", "clicks_attainment", "signups_attainment", "conversions_attainment", "value_attainment", "budget", "budget_used", "budget_left", "rewards", "fixed_spend", "spend", "cpa", "roi"},
		},
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "campaign_variants",
			Doc:     "The arms of the A/B tests of the campaigns that ran in the period, each whole: conversions by visitors, difference from the control and its 95 % interval (Newcombe, method 10), relative improvement, p-value (two-sided z-test of two proportions) and confidence, 1 - p_value.",
			Columns: []string{"program", "campaign", "variant", "control", "visitors", "conversions", "value", "conversion_rate", "difference", "improvement", "difference_low", "difference_high", "p_value", "confidence"},
		},
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "partners",
			Doc:     "Referrals that began in the period by partner or otherwise, as they are now: by state, with what they brought and cost. customers are those that converted, cac is cost by customer, ltv what a customer paid less refunds, roi (revenue - refunds - cost) / cost. Retention is the share of all partners who had a referral begin or convert in the last 30 or 90 days.",
			By:      []string{"partner", "type", "status", "source", "campaign", "channel", "program"},
			Columns: []string{"key", "partners", "active_30", "active_90", "retention_30", "retention_90", "referrals", "pending", "accepted", "rejected", "converted", "paid", "expired", "acceptance_rate", "customers", "conversion_rate", "revenue", "refunds", "commission", "commission_paid", "cost", "cac", "ltv", "roi"},
		},
		by:    "partner",
		whole: true,
	},
	{
		info: tracker.ReportInfo{
			Name:    "messages",
			Doc:     "The funnel of messages that a mailer reports (events sent, opened, clicked, bounced) by message, segment or programme, each party once a message: clicked are the visitors of its links unless the mailer reports clicks; target_… are those of the programme, value_per_message is of those sent. By segment, unreported clicks are those of who acted on them.",
			By:      []string{"message", "segment", "program"},
			Columns: []string{"key", "sent", "opened", "clicked", "converted", "bounced", "value", "open_rate", "click_rate", "conversion_rate", "bounce_rate", "target_open_rate", "target_click_rate", "target_conversion_rate", "target_bounce_rate", "value_per_message"},
		},
		by:    "message",
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
		answer.Columns = r.columns(name, query.By)
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

// columns are those that a file answers with, key first in every breakdown.
func (r report) columns(file, by string) []string {
	columns, other := r.shapes[file]
	if !other {
		columns = r.info.Columns
	}
	if by == "" || columns[0] == "key" {
		return columns
	}
	return append([]string{"key"}, columns...)
}

// checkQuery judges the parameters and fills what was left open.
func checkQuery(r report, query *tracker.ReportQuery) (*time.Location, error) {
	info := r.info
	if query.By != "" && !slices.Contains(info.By, query.By) {
		return nil, &tracker.FieldError{Field: "by", Detail: fmt.Sprintf("report %s has no breakdown by %q; it has %s", info.Name, query.By, orNone(info.By))}
	}
	for name := range query.Filters {
		if _, known := findDimension(name); !known || name == overTime || !slices.Contains(info.By, name) || r.whole {
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
		"measure": query.Measure, "weeks": strconv.Itoa(query.Weeks), "stages": query.Stages,
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
