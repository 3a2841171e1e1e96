package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker"
)

// viewTarget is a table that a materialised view on events fills, with what it
// takes to bring rows of the table, and rows of the view's query, to one form:
// grouped by keys, with measures merged. Everything comes from the database
// itself, so a view of a later migration is audited without being listed here.
type viewTarget struct {
	name     string
	query    string   // of the view
	time     string   // column by whose month the table is partitioned, "" for none
	step     string   // what a row of it counts at most: "hour", "day" or "month"
	keys     []string // expressions
	measures []string
	columns  []string // as they are stored
}

// ViewTargets lists the tables that the audit of views compares.
func (db *DB) ViewTargets(ctx context.Context) ([]string, error) {
	targets, err := db.viewTargets(ctx)
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.name
	}
	return names, err
}

// targetOf finds the target in the statement that made a view. A refreshable
// view has its schedule before the target, and is none of those meant here.
var targetOf = regexp.MustCompile("^CREATE MATERIALIZED VIEW \\S+ TO `?waymark`?\\.`?(\\w+)`?[ (]")

func (db *DB) viewTargets(ctx context.Context) ([]viewTarget, error) {
	var targets []viewTarget
	err := db.scan(ctx, `
SELECT create_table_query, as_select
FROM system.tables
WHERE database = 'waymark' AND engine = 'MaterializedView'
    AND has((SELECT any(dependencies_table) FROM system.tables WHERE database = 'waymark' AND name = 'events'), name)
ORDER BY name`, nil, func(rows driver.Rows) error {
		var create, query string
		if err := rows.Scan(&create, &query); err != nil {
			return err
		}
		if found := targetOf.FindStringSubmatch(create); found != nil {
			targets = append(targets, viewTarget{name: found[1], query: query})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the views on events: %w", err)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("ask ClickHouse for the views on events: there are none; run `waymark migrate` first")
	}
	for i := range targets {
		if err := db.describe(ctx, &targets[i]); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

var (
	byMonth   = regexp.MustCompile(`^toYYYYMM\((\w+)\)$`)
	merged    = regexp.MustCompile(`^SimpleAggregateFunction\((\w+), (.*)\)$`)
	stateful  = regexp.MustCompile(`^AggregateFunction\((\w+)\b`)
	replicate = regexp.MustCompile(`^(Replicated|Shared)`)
)

// describe reads how the rows of a target merge.
func (db *DB) describe(ctx context.Context, t *viewTarget) error {
	var engine, partition string
	table := []any{clickhouse.Named("table", t.name)}
	if err := db.conn.QueryRow(ctx, "SELECT engine, partition_key FROM system.tables WHERE database = 'waymark' AND name = {table:String}", table...).
		Scan(&engine, &partition); err != nil {
		return fmt.Errorf("ask ClickHouse for table %s: %w", t.name, err)
	}
	engine = replicate.ReplaceAllString(engine, "")
	month := byMonth.FindStringSubmatch(partition)
	switch {
	case month != nil:
		t.time, t.step = month[1], "hour"
	case partition != "":
		return fmt.Errorf("audit table %s: it is partitioned by %s; only months of the events' time, toYYYYMM(…), are known here", t.name, partition)
	}
	return db.scan(ctx, `
SELECT name, type, is_in_sorting_key
FROM system.columns
WHERE database = 'waymark' AND table = {table:String} AND default_kind IN ('', 'DEFAULT')
ORDER BY position`, table, func(rows driver.Rows) error {
		var name, kind string
		var key uint8
		if err := rows.Scan(&name, &kind, &key); err != nil {
			return err
		}
		switch {
		case name == t.time && name == "month": // its type would do for days, too
			t.step = "month"
		case name == t.time && kind == "Date":
			t.step = "day"
		}
		return t.addColumn(engine, name, kind, key == 1)
	})
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

func (t *viewTarget) recounted(s slice) string { return t.merge("(" + t.query + ")" + t.ofShare(s)) }

func (t *viewTarget) ofShare(s slice) string {
	if s.shares < 2 {
		return ""
	}
	return fmt.Sprintf(" WHERE cityHash64(%s) %% %d = %d", t.columns[0], s.shares, s.share)
}

// settings restrict the view's query to the events of a slice. Rewriting the
// query was rejected: what is compared must be what fills the target.
func (t *viewTarget) settings(s slice) string {
	settings := " SETTINGS " + auditSettings
	if t.time != "" {
		filter := fmt.Sprintf("time >= %s AND time < %s", literal(s.from), literal(s.to))
		settings += ", additional_table_filters = {'waymark.events': '" + strings.ReplaceAll(filter, "'", "''") + "'}"
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
// that the target or events has, or shares of the keys, few enough at a time
// for the memory.
func (db *DB) slices(ctx context.Context, t *viewTarget, since time.Time) ([]slice, error) {
	if t.time == "" {
		var rows, actions uint64
		err := db.conn.QueryRow(ctx, "SELECT (SELECT count() FROM waymark."+t.name+"), (SELECT count() FROM waymark.events WHERE stage != 'clicked')").Scan(&rows, &actions)
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
	var days []slice
	err := db.scan(ctx, fmt.Sprintf(`
SELECT DISTINCT day
FROM
(
    SELECT toDateTime(%[1]s(time), 'UTC') AS day FROM waymark.events WHERE time >= %[2]s
    UNION ALL
    SELECT toDateTime(%[1]s(%[3]s), 'UTC') FROM waymark.%[4]s WHERE %[3]s >= %[2]s
)
ORDER BY day`, start, literal(first), t.time, t.name), nil, func(rows driver.Rows) error {
		var day time.Time
		err := rows.Scan(&day)
		from := day.UTC()
		to := from.AddDate(0, months, 1-min(months, 1))
		days = append(days, slice{from: from, to: to})
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

// AuditView compares a view target with a recount from events: the days since
// a time, the zero time for all. A target without months has no time to go by
// and is compared whole, from the actions alone. The first result sums up; one
// follows for each day that is not as it should be, or for each hour of a day
// that ingest writes to.
func (db *DB) AuditView(ctx context.Context, name string, since time.Time, still Stillness) ([]tracker.AuditResult, error) {
	t, err := db.viewTarget(ctx, name)
	if err != nil {
		return nil, err
	}
	all, err := db.slices(ctx, t, since)
	if err != nil {
		return nil, err
	}
	sum := tracker.AuditResult{What: name, Range: t.rangeOf(slice{}), Verdict: tracker.AuditOK}
	if len(all) > 0 {
		sum.Range = t.rangeOf(slice{from: all[0].from, to: all[len(all)-1].to})
	}
	var lines []tracker.AuditResult
	for _, s := range all {
		results, err := db.auditSlice(ctx, t, s, still)
		if err != nil {
			return nil, fmt.Errorf("compare %s with events: %w", name, err)
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
