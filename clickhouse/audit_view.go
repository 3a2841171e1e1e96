package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker"
)

// viewTarget is a table that materialised views on raw tables fill, with what it
// takes to bring rows of the table, and rows of the view's query, to one form:
// grouped by keys, with measures merged. Everything comes from the database
// itself, so a view of a later migration is audited without being listed here.
type viewTarget struct {
	name     string
	raw      []string // tables that the views read
	queries  []string // of the views
	time     string   // column by whose month the table is partitioned, "" for none
	step     string   // what a row of it counts at most: "hour", "day" or "month"
	keys     []string // expressions
	measures []string
	columns  []string // as they are stored
}

// targetOf finds the target in the statement that made a view. A refreshable
// view has its schedule before the target, and is none of those meant here.
var targetOf = regexp.MustCompile("^CREATE MATERIALIZED VIEW \\S+ TO `?waymark`?\\.`?(\\w+)`?[ (]")

func (db *DB) viewTargets(ctx context.Context) ([]viewTarget, error) {
	var targets []viewTarget
	err := db.scan(ctx, `
SELECT d.raw, v.create_table_query, v.as_select
FROM system.tables AS v
INNER JOIN
(
    SELECT name AS raw, arrayJoin(dependencies_table) AS view
    FROM system.tables
    WHERE database = 'waymark' AND name IN ('events', 'decisions')
) AS d ON d.view = v.name
WHERE v.database = 'waymark' AND v.engine = 'MaterializedView'
ORDER BY v.name`, nil, func(rows driver.Rows) error {
		var raw, create, query string
		if err := rows.Scan(&raw, &create, &query); err != nil {
			return err
		}
		found := targetOf.FindStringSubmatch(create)
		if found == nil {
			return nil
		}
		i := slices.IndexFunc(targets, func(t viewTarget) bool { return t.name == found[1] })
		if i < 0 {
			i, targets = len(targets), append(targets, viewTarget{name: found[1]})
		}
		targets[i].raw, targets[i].queries = append(targets[i].raw, raw), append(targets[i].queries, query)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the views on events and decisions: %w", err)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("ask ClickHouse for the views on events and decisions: there are none; run `waymark migrate` first")
	}
	return targets, db.describe(ctx, targets)
}

var (
	byMonth   = regexp.MustCompile(`^toYYYYMM\((\w+)\)$`)
	merged    = regexp.MustCompile(`^SimpleAggregateFunction\((\w+), (.*)\)$`)
	stateful  = regexp.MustCompile(`^AggregateFunction\((\w+)\b`)
	replicate = regexp.MustCompile(`^(Replicated|Shared)`)
)

// describe reads how the rows of targets merge. It asks for all at once, since
// ClickHouse goes through the whole catalogue for each question.
func (db *DB) describe(ctx context.Context, targets []viewTarget) error {
	err := db.scan(ctx, `
SELECT t.name, t.engine, t.partition_key, c.name, c.type, c.is_in_sorting_key
FROM system.columns AS c
INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
WHERE c.database = 'waymark' AND t.database = 'waymark' AND c.default_kind IN ('', 'DEFAULT')
ORDER BY t.name, c.position`, nil, func(rows driver.Rows) error {
		var table, engine, partition, name, kind string
		var key uint8
		if err := rows.Scan(&table, &engine, &partition, &name, &kind, &key); err != nil {
			return err
		}
		for i := range targets {
			if targets[i].name != table {
				continue
			}
			if err := targets[i].partitionBy(partition, name, kind); err != nil {
				return err
			}
			if err := targets[i].addColumn(replicate.ReplaceAllString(engine, ""), name, kind, key == 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ask ClickHouse for the columns of the targets of views: %w", err)
	}
	for _, t := range targets {
		if len(t.columns) == 0 {
			return fmt.Errorf("ask ClickHouse for the columns of table %s: there is no such table", t.name)
		}
	}
	return nil
}

// partitionBy takes the time of a target from its partitions and their column.
func (t *viewTarget) partitionBy(partition, column, kind string) error {
	month := byMonth.FindStringSubmatch(partition)
	switch {
	case month == nil && partition != "":
		return fmt.Errorf("audit table %s: it is partitioned by %s; only months of the events' time, toYYYYMM(…), are known here", t.name, partition)
	case month == nil || column != month[1]:
	case column == "month": // its type would do for days, too
		t.time, t.step = column, "month"
	case kind == "Date":
		t.time, t.step = column, "day"
	default:
		t.time, t.step = column, "hour"
	}
	return nil
}

// addColumn says how a column takes part. Values are cast to the type of the
// table, since the hash of a value depends on its type.
func (t *viewTarget) addColumn(engine, name, kind string, key bool) error {
	column := "`" + name + "`"
	t.columns = append(t.columns, column)
	simple, state := merged.FindStringSubmatch(kind), stateful.FindStringSubmatch(kind)
	cast := func(kind string) string { return "CAST(" + column + " AS " + kind + ")" }
	switch {
	case engine == "MergeTree": // no row merges with another
		t.keys = append(t.keys, cast(kind))
		t.measures = []string{"count()"}
	case key:
		t.keys = append(t.keys, cast(kind))
	case engine == "SummingMergeTree":
		t.measures = append(t.measures, "sum("+cast(kind)+")")
	case engine == "AggregatingMergeTree" && simple != nil:
		t.measures = append(t.measures, simple[1]+"("+cast(simple[2])+")")
	case engine == "AggregatingMergeTree" && state != nil:
		t.measures = append(t.measures, state[1]+"Merge("+column+")")
	default:
		return fmt.Errorf("audit table %s: how column %s of type %s merges in a %s is not known here", t.name, name, kind, engine)
	}
	return nil
}

// slice is the part of a target that one query compares: a range of time, or
// where time is no column, a share of the first key.
type slice struct {
	from, to      time.Time
	rows          uint64 // of events and the target in a range of time
	share, shares uint64
}

// merge brings rows to the common form. The name of a column must not hide it
// from the aggregate function.
func (t *viewTarget) merge(from string) string {
	var columns []string
	for i, key := range t.keys {
		columns = append(columns, fmt.Sprintf("%s AS k%d", key, i))
	}
	for i, measure := range t.measures {
		columns = append(columns, fmt.Sprintf("%s AS m%d", measure, i))
	}
	var by []string
	for i := range t.keys {
		by = append(by, fmt.Sprint("k", i))
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + from + " GROUP BY " + strings.Join(by, ", ")
}

// stored and recounted are a slice of the target as it is, and as it should be.
func (t *viewTarget) stored(s slice) string {
	if t.time != "" {
		return t.merge(fmt.Sprintf("waymark.%s WHERE %s >= %s AND %s < %s", t.name, t.time, literal(s.from), t.time, literal(s.to)))
	}
	return t.merge("waymark." + t.name + t.ofShare(s))
}

func (t *viewTarget) recounted(s slice) string { return t.merge("(" + t.query() + ")" + t.ofShare(s)) }

// query gives what the views would fill the target with.
func (t *viewTarget) query() string {
	if len(t.queries) == 1 {
		return t.queries[0]
	}
	var all []string // a view finds the columns by name, UNION ALL by place
	for _, query := range t.queries {
		all = append(all, "SELECT "+strings.Join(t.columns, ", ")+" FROM ("+query+")")
	}
	return strings.Join(all, " UNION ALL ")
}

func (t *viewTarget) ofShare(s slice) string {
	if s.shares < 2 {
		return ""
	}
	return fmt.Sprintf(" WHERE cityHash64(%s) %% %d = %d", t.columns[0], s.shares, s.share)
}

// settings restrict the views' queries to the raw rows of a slice. Rewriting a
// query was rejected: what is compared must be what fills the target.
func (t *viewTarget) settings(s slice) string {
	settings := " SETTINGS " + auditSettings
	if t.time != "" {
		filter := fmt.Sprintf("time >= %s AND time < %s", literal(s.from), literal(s.to))
		var filters []string
		for _, raw := range t.raw {
			filters = append(filters, "'waymark."+raw+"': '"+strings.ReplaceAll(filter, "'", "''")+"'")
		}
		settings += ", additional_table_filters = {" + strings.Join(filters, ", ") + "}"
	}
	return settings
}

func literal(t time.Time) string { return "toDateTime64('" + utc(t) + "', 3, 'UTC')" }

func (t *viewTarget) rangeOf(s slice) tracker.AuditRange {
	switch {
	case t.time != "" && s.to.IsZero():
		return tracker.AuditRange{Unit: "time"}
	case t.time != "":
		return tracker.AuditRange{Unit: "time", From: s.from.Format(time.RFC3339), To: s.to.Format(time.RFC3339)}
	}
	return tracker.AuditRange{Unit: "key"}
}

// slices lists what to compare: each day (of a target by month, each month)
// that the target or its raw tables have, or shares of the keys, few enough at a time
// for the memory.
func (db *DB) slices(ctx context.Context, t *viewTarget, since time.Time) ([]slice, error) {
	if t.time == "" {
		var rows, actions uint64
		err := db.conn.QueryRow(ctx, "SELECT (SELECT count() FROM waymark."+t.name+"), "+
			"(SELECT count() FROM waymark.events WHERE stage != 'clicked') + (SELECT count() FROM waymark.decisions)").Scan(&rows, &actions)
		if err != nil {
			return nil, fmt.Errorf("count the rows of %s: %w", t.name, err)
		}
		shares := max(rows, actions)/auditRows + 1
		all := make([]slice, shares)
		for i := range all {
			all[i] = slice{share: uint64(i), shares: shares}
		}
		return all, nil
	}
	first, months, start := auditSince(since).UTC().Truncate(24*time.Hour), 0, "toStartOfDay"
	if t.step == "month" {
		first, months, start = monthOf(first), 1, "toStartOfMonth"
	}
	ofTable := func(table, column string) string {
		return fmt.Sprintf("SELECT toDateTime(%s(%s), 'UTC') AS day, count() AS rows FROM waymark.%s WHERE %[2]s >= %[4]s GROUP BY day", start, column, table, literal(first))
	}
	tables := []string{ofTable(t.name, t.time)}
	for _, raw := range t.raw {
		tables = append(tables, ofTable(raw, "time"))
	}
	var days []slice
	err := db.scan(ctx, "SELECT day, sum(rows) FROM ("+strings.Join(tables, " UNION ALL ")+") GROUP BY day ORDER BY day", nil, func(rows driver.Rows) error {
		var day time.Time
		var n uint64
		err := rows.Scan(&day, &n)
		from := day.UTC()
		to := from.AddDate(0, months, 1-min(months, 1))
		days = append(days, slice{from: from, to: to, rows: n})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the days of %s: %w", t.name, err)
	}
	return days, nil
}

// A Stillness knows what ingest inserts into ClickHouse. Its errors say that
// an insert does not come to an end, and what to do.
type Stillness interface {
	// Settle returns when the inserts that were under way are over.
	Settle(ctx context.Context) error
	// Watch waits until no insert is under way; the function that it returns
	// tells later whether any began since.
	Watch(ctx context.Context) (moved func(context.Context) (bool, error), err error)
}

// stillAttempts is how often a slice is looked at again that differs while
// ingest writes, and how often a rebuild is begun anew for the same reason.
const stillAttempts = 3

// AuditViews compares the targets of all views with a recount from events, in
// order of the views' names: the days since a time, the zero time for all. A
// target without months has no time to go by and is compared whole, from the
// actions alone. Of each target the first result sums up; one follows for each
// day that is not as it should be, or for each hour of a day that ingest
// writes to.
func (db *DB) AuditViews(ctx context.Context, since time.Time, still Stillness) ([]tracker.AuditResult, error) {
	targets, err := db.viewTargets(ctx)
	if err != nil {
		return nil, err
	}
	var all []tracker.AuditResult
	for i := range targets {
		results, err := db.auditView(ctx, &targets[i], since, still)
		if err != nil {
			return nil, fmt.Errorf("compare %s with events: %w", targets[i].name, err)
		}
		all = append(all, results...)
	}
	return all, nil
}

func (db *DB) auditView(ctx context.Context, t *viewTarget, since time.Time, still Stillness) ([]tracker.AuditResult, error) {
	all, err := db.slices(ctx, t, since)
	if err != nil {
		return nil, err
	}
	sum := tracker.AuditResult{What: t.name, Range: t.rangeOf(slice{}), Verdict: tracker.AuditOK}
	if len(all) > 0 {
		sum.Range = t.rangeOf(slice{from: all[0].from, to: all[len(all)-1].to})
	}
	var lines []tracker.AuditResult
	for rest := all; len(rest) > 0; {
		var span []slice
		span, rest = t.span(rest)
		results, err := db.auditSpan(ctx, t, span, still)
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			sum.Expected, sum.Found = sum.Expected+r.Expected, sum.Found+r.Found
			if r.Verdict == tracker.AuditOK {
				continue
			}
			lines = append(lines, r)
			if !sum.Verdict.Bad() {
				sum.Verdict = r.Verdict
			}
		}
	}
	if t.time == "" && len(lines) > 0 { // shares of the keys mean nothing to a reader
		sum.Detail, sum.Repair = lines[0].Detail, lines[0].Repair
		return []tracker.AuditResult{sum}, nil
	}
	return append([]tracker.AuditResult{sum}, lines...), nil
}

// spanRows is how many rows of events and the target are compared at a time
// where days are small: to plan the query of a view costs as much as to run it
// over some ten thousand rows.
const spanRows = 100_000

// span cuts as many slices from the front of a list as are compared at a time.
func (t *viewTarget) span(all []slice) (span, rest []slice) {
	n, rows := 1, all[0].rows
	for t.time != "" && n < len(all) && rows+all[n].rows <= spanRows {
		rows += all[n].rows
		n++
	}
	return all[:n], all[n:]
}

// auditSpan compares slices at once, and each by itself if they differ.
func (db *DB) auditSpan(ctx context.Context, t *viewTarget, span []slice, still Stillness) ([]tracker.AuditResult, error) {
	if len(span) > 1 {
		result, err := db.compare(ctx, t, slice{from: span[0].from, to: span[len(span)-1].to})
		if err != nil || result.Verdict == tracker.AuditOK {
			return []tracker.AuditResult{result}, err
		}
	}
	var all []tracker.AuditResult
	for _, s := range span {
		results, err := db.auditSlice(ctx, t, s, still)
		if err != nil {
			return nil, err
		}
		all = append(all, results...)
	}
	return all, nil
}

func (db *DB) viewTarget(ctx context.Context, name string) (*viewTarget, error) {
	targets, err := db.viewTargets(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(targets, func(t viewTarget) bool { return t.name == name })
	if i < 0 {
		return nil, fmt.Errorf("find view target %s: %w", name, tracker.ErrNotFound)
	}
	return &targets[i], nil
}

// auditSlice compares a slice. One that agrees is proven whatever is written
// meanwhile; one that differs is only a difference if nothing was.
func (db *DB) auditSlice(ctx context.Context, t *viewTarget, s slice, still Stillness) ([]tracker.AuditResult, error) {
	result, err := db.compare(ctx, t, s)
	if err != nil || result.Verdict == tracker.AuditOK {
		return []tracker.AuditResult{result}, err
	}
	var restless error // why there is no moment to compare in
	for attempt := 0; attempt < stillAttempts && restless == nil; attempt++ {
		var moved func(context.Context) (bool, error)
		if moved, restless = db.watch(ctx, t, []slice{s}, still); restless != nil {
			break
		}
		if result, err = db.compare(ctx, t, s); err != nil || result.Verdict == tracker.AuditOK {
			return []tracker.AuditResult{result}, err
		}
		var disturbed bool
		if disturbed, restless = moved(ctx); restless == nil && !disturbed {
			result.Detail, err = db.examples(ctx, t, s)
			return []tracker.AuditResult{result}, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if t.step == "hour" && s.to.Sub(s.from) > time.Hour {
		return db.auditHours(ctx, t, s, still, restless)
	}
	return []tracker.AuditResult{unproven(result, restless)}, nil
}

// auditHours compares a day by the hour: those that are over mostly agree.
// Where ingest gives no moment of rest, waiting for one each hour is spared.
func (db *DB) auditHours(ctx context.Context, t *viewTarget, day slice, still Stillness, restless error) ([]tracker.AuditResult, error) {
	var all []tracker.AuditResult
	for from := day.from; from.Before(day.to); from = from.Add(time.Hour) {
		hour := slice{from: from, to: from.Add(time.Hour)}
		if restless == nil {
			results, err := db.auditSlice(ctx, t, hour, still)
			if err != nil {
				return nil, err
			}
			all = append(all, results...)
			continue
		}
		result, err := db.compare(ctx, t, hour)
		if err != nil {
			return nil, err
		}
		if result.Verdict != tracker.AuditOK {
			result = unproven(result, restless)
		}
		all = append(all, result)
	}
	return all, nil
}

// unproven is the result of a slice that differs while ingest writes.
func unproven(result tracker.AuditResult, restless error) tracker.AuditResult {
	if restless == nil {
		restless = errRestless
	}
	result.Verdict, result.Detail, result.Repair = tracker.AuditUnproven, "it differs, but may be in the middle of a change: "+restless.Error(), ""
	return result
}

// watch is a Stillness for slices of one view: it tells whether anything came
// to events that changes what they should be. What comes elsewhere does not
// matter, so a day that is over can be compared and rebuilt while ingest runs.
//
// A block may be in events and not yet in the target, or the other way round.
// Of one that was in events at first, the insert is over after the first
// Settle; of one that was in the target only, after the second, and then it
// shows in events. So if events says the same before and after, no block was
// anywhere in between.
func (db *DB) watch(ctx context.Context, t *viewTarget, parts []slice, still Stillness) (moved func(context.Context) (bool, error), err error) {
	before, err := db.recounts(ctx, t, parts)
	if err != nil {
		return nil, err
	}
	if err := still.Settle(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (bool, error) {
		if err := still.Settle(ctx); err != nil {
			return false, err
		}
		after, err := db.recounts(ctx, t, parts)
		return !slices.Equal(before, after), err
	}, nil
}

// checksum is a number of rows and the sum of their hashes.
type checksum struct{ rows, sum uint64 }

func checksumOf(form string) string {
	return "(SELECT (count(), sum(cityHash64(tuple(*)))) FROM (" + form + "))"
}

// recounts are the checksums of what slices should be.
func (db *DB) recounts(ctx context.Context, t *viewTarget, parts []slice) ([]checksum, error) {
	all := make([]checksum, len(parts))
	for i, s := range parts {
		err := db.conn.QueryRow(ctx, "SELECT want.1, want.2 FROM (SELECT "+checksumOf(t.recounted(s))+" AS want)"+t.settings(s)).Scan(&all[i].rows, &all[i].sum)
		if err != nil {
			return nil, fmt.Errorf("recount %s from events: %w", t.name, err)
		}
	}
	return all, nil
}

// compare sets both forms of a slice side by side.
func (db *DB) compare(ctx context.Context, t *viewTarget, s slice) (tracker.AuditResult, error) {
	result := tracker.AuditResult{What: t.name, Range: t.rangeOf(s), Verdict: tracker.AuditOK}
	var want, got checksum
	err := db.conn.QueryRow(ctx, "SELECT want.1, want.2, got.1, got.2 FROM (SELECT "+checksumOf(t.recounted(s))+" AS want, "+checksumOf(t.stored(s))+" AS got)"+t.settings(s)).
		Scan(&want.rows, &want.sum, &got.rows, &got.sum)
	result.Expected, result.Found = int64(want.rows), int64(got.rows)
	if want != got {
		result.Verdict, result.Repair = tracker.AuditDiffers, "waymark audit --repair"
	}
	return result, err
}

// examples counts the keys that differ in a slice, and shows the first.
func (db *DB) examples(ctx context.Context, t *viewTarget, s slice) (string, error) {
	values := func(letter string, n int) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint(letter, i))
		}
		return "toString(tuple(" + strings.Join(names, ", ") + "))"
	}
	side := func(form string, want string) string {
		return "SELECT " + want + " AS want, " + values("k", len(t.keys)) + " AS key, " + values("m", len(t.measures)) + " AS value FROM (" + form + ")"
	}
	var differing uint64
	var key, want, got string
	err := db.conn.QueryRow(ctx, `
SELECT count(), min(key), argMin(wanted, key), argMin(stored, key)
FROM
(
    SELECT key, anyIf(value, want) AS wanted, anyIf(value, NOT want) AS stored
    FROM (`+side(t.recounted(s), "true")+" UNION ALL "+side(t.stored(s), "false")+`)
    GROUP BY key
    HAVING wanted != stored
)`+t.settings(s)).Scan(&differing, &key, &want, &got)
	if err != nil {
		return "", err
	}
	none := func(value string) string {
		if value == "" {
			return "nothing"
		}
		return value
	}
	return fmt.Sprintf("rows that differ: %d; the first, %s, is %s, should be %s", differing, key, none(got), none(want)), nil
}
