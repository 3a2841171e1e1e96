package clickhouse

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

// want is an expected report: its rows in any order, named by their first
// cells, so that a failure says which row is wrong.
type want [][]any

func compareRows(t *testing.T, name string, got *tracker.Report, want want) {
	t.Helper()
	index := func(rows [][]any) map[string][]any {
		m := map[string][]any{}
		for _, row := range rows {
			m[fmt.Sprint(row[:min(len(row), 4)])] = nil
			m[rowName(row)] = row
		}
		return m
	}
	g, w := index(got.Rows), index(want)
	failures := 0
	for key := range maps.Keys(w) {
		if !sameRow(g[key], w[key]) {
			failures++
			t.Errorf("%s %s: got %v, want %v", name, key, g[key], w[key])
		}
		if failures > 5 {
			t.Fatalf("%s: and more", name)
		}
	}
	if len(got.Rows) != len(want) {
		t.Errorf("%s: %d rows, want %d", name, len(got.Rows), len(want))
	}
}

// rowName is the text that leads a row.
func rowName(row []any) string {
	var name []string
	for _, cell := range row {
		switch cell := cell.(type) {
		case string:
			name = append(name, fmt.Sprintf("%q", cell))
		case time.Time:
			name = append(name, cell.UTC().Format(time.RFC3339))
		}
	}
	return strings.Join(name, " ")
}

func sameRow(got, want []any) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !sameCell(got[i], want[i]) {
			return false
		}
	}
	return true
}

// sameCell compares counts and decimals exactly, and quotients to the last
// digits of a float.
func sameCell(got, want any) bool {
	switch want := want.(type) {
	case nil:
		return got == nil
	case decimal.Decimal:
		d, ok := got.(decimal.Decimal)
		return ok && d.Equal(want)
	case time.Time:
		at, ok := got.(time.Time)
		return ok && at.Equal(want)
	case float64:
		switch got := got.(type) {
		case float64:
			return math.Abs(got-want) <= 1e-9*math.Abs(want)
		case uint64:
			return float64(got) == want
		case uint32:
			return float64(got) == want
		case int64:
			return float64(got) == want
		}
		return false
	}
	return got == want
}

// only keeps the tallies that have a row.
func only(all map[string]*tally, has func(*tally) bool, row func(string, *tally) []any) want {
	var rows want
	for key, t := range all {
		if has(t) {
			rows = append(rows, row(key, t))
		}
	}
	return rows
}

func (r *recount) clicks(q tracker.ReportQuery, keys func(fact) []string, key func(string) any) want {
	return only(r.tallies(q, keys), func(t *tally) bool { return t.clicks > 0 }, func(k string, t *tally) []any {
		return []any{key(k), t.clicks, t.visits(), t.gross, t.valid, t.unique}
	})
}

func (r *recount) conversionRates(q tracker.ReportQuery, has func(*tally) bool) want {
	return only(r.tallies(q, by(q)), has, func(key string, t *tally) []any {
		signups, activations, conversions := t.reached("signed_up"), t.reached("activated"), t.reached("converted")
		return []any{key, t.clicks, t.visits(), signups, activations, conversions, t.value,
			ratio(signups, t.visits()), ratio(activations, signups), ratio(conversions, t.visits()), ratio(conversions, signups)}
	})
}

func (r *recount) channels(q tracker.ReportQuery) want {
	return only(r.tallies(q, by(q)), func(t *tally) bool {
		return t.clicks+t.invitations+t.reached("signed_up")+t.reached("converted") > 0 || !t.refunds.IsZero()
	}, func(key string, t *tally) []any {
		signups, conversions := t.reached("signed_up"), t.reached("converted")
		return []any{key, t.invitations, t.clicks, t.visits(), float64(len(t.referrers)), signups, conversions, t.value, t.refunds,
			ratio(signups, t.visits()), ratio(conversions, t.visits())}
	})
}

func (r *recount) geography(q tracker.ReportQuery) want {
	return only(r.tallies(q, by(q)), func(t *tally) bool { return t.clicks+t.reached("signed_up")+t.reached("converted") > 0 },
		func(key string, t *tally) []any {
			signups, conversions := t.reached("signed_up"), t.reached("converted")
			return []any{key, t.clicks, t.visits(), signups, conversions, t.value, ratio(signups, t.visits()), ratio(conversions, t.visits())}
		})
}

var stages = []string{"invited", "clicked", "signed_up", "activated", "converted", "retained"}

func (r *recount) funnel(q tracker.ReportQuery) want {
	all := r.tallies(q, by(q))
	if q.By == "" && all[""] == nil {
		all[""] = &tally{}
	}
	var rows want
	for key, t := range all {
		n := []float64{t.invitations, t.visits(), t.reached("signed_up"), t.reached("activated"), t.reached("converted"), t.reached("retained")}
		if q.By != "" && n[0]+n[1]+n[2]+n[3]+n[4]+n[5] == 0 {
			continue
		}
		for i, stage := range stages {
			row := []any{key, stage, float64(i + 1), n[i], nil, ratio(n[i], n[0])}
			if i > 0 {
				row[4] = ratio(n[i], n[i-1])
			}
			if q.By == "" {
				row = row[1:]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

var spans = [][2]string{
	{"clicked", "signed_up"}, {"signed_up", "activated"}, {"activated", "converted"}, {"converted", "retained"},
	{"clicked", "converted"}, {"signed_up", "converted"},
}

// hours are those that each party took between the stages of each pair, by key.
func (r *recount) hours(q tracker.ReportQuery) map[string]map[[2]string][]float64 {
	hours := map[string]map[[2]string][]float64{}
	if q.By == "" {
		hours[""] = map[[2]string][]float64{}
	}
	for key, p := range r.paths {
		if q.Program != "" && key.program != q.Program {
			continue
		}
		f := fact{program: key.program, campaign: p.credit.Campaign, channel: p.credit.Channel, link: linkKey(p.credit),
			referrer: p.credit.ReferrerId, referrerType: p.credit.ReferrerType, refereeType: p.credit.RefereeType, visit: p.credit}
		for _, span := range spans {
			from, to := p.first[span[0]], p.first[span[1]]
			if from == 0 || to == 0 || from > to || int64(to) < q.From.UnixMilli() || int64(to) >= q.To.UnixMilli() {
				continue
			}
			k := f.dimension(q.By)
			if q.By == overTime {
				k = bucketOf(q)(to)
			}
			if hours[k] == nil {
				hours[k] = map[[2]string][]float64{}
			}
			hours[k][span] = append(hours[k][span], float64(to-from)/3_600_000)
		}
	}
	return hours
}

func (r *recount) timeToConvert(q tracker.ReportQuery) want {
	var rows want
	for key, bySpan := range r.hours(q) {
		for _, span := range spans {
			list := bySpan[span]
			if len(list) == 0 && q.By != "" {
				continue
			}
			sum := 0.0
			for _, h := range list {
				sum += h
			}
			row := []any{key, span[0], span[1], float64(len(list)), ratio(sum, float64(len(list))), quantile(list, 0.5), quantile(list, 0.75), quantile(list, 0.9)}
			if q.By == "" {
				row = row[1:]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// quantile interpolates between the neighbours, as PERCENTILE.INC does.
func quantile(list []float64, level float64) any {
	if len(list) == 0 {
		return nil
	}
	sort.Float64s(list)
	at := level * float64(len(list)-1)
	low := int(at)
	if low+1 == len(list) {
		return list[low]
	}
	return list[low] + (at-float64(low))*(list[low+1]-list[low])
}

func by(q tracker.ReportQuery) func(fact) []string {
	if q.By == overTime {
		bucket := bucketOf(q)
		return func(f fact) []string { return []string{bucket(f.TimeMs)} }
	}
	return func(f fact) []string { return []string{f.dimension(q.By)} }
}

// reasonsOf names the reasons of a hit.
func reasonsOf(f fact) []string {
	var names []string
	if f.Stage == "clicked" {
		for i, name := range strings.Fields("bot prefetch head preview datacenter repeat gpc unverified inactive early expired simulated late") {
			if f.Reasons&(1<<i) != 0 {
				names = append(names, name)
			}
		}
	}
	return names
}

// bucketOf is the start of the hour, day, week or month in a zone.
func bucketOf(q tracker.ReportQuery) func(ms uint64) string {
	zone, err := time.LoadLocation(q.TZ)
	if err != nil {
		panic(err)
	}
	return func(ms uint64) string {
		at := time.UnixMilli(int64(ms)).In(zone)
		_, offset := at.Zone()
		y, m, d := at.Date()
		switch q.Granularity {
		case "hour":
			at = at.Add(time.Duration(offset) * time.Second).Truncate(time.Hour).Add(-time.Duration(offset) * time.Second)
		case "day":
			at = time.Date(y, m, d, 0, 0, 0, 0, zone)
		case "week":
			at = time.Date(y, m, d-(int(at.Weekday())+6)%7, 0, 0, 0, 0, zone)
		case "month":
			at = time.Date(y, m, 1, 0, 0, 0, 0, zone)
		}
		return at.UTC().Format(time.RFC3339)
	}
}

// hitsOverTime names the step of a hit, and none for an action.
func hitsOverTime(q tracker.ReportQuery) func(fact) []string {
	bucket := bucketOf(q)
	return func(f fact) []string {
		if f.Stage != "clicked" {
			return nil
		}
		return []string{bucket(f.TimeMs)}
	}
}

// expected is the answer that the recount gives to a query.
func (r *recount) expected(t *testing.T, q tracker.ReportQuery) want {
	rows := r.answer(t, q)
	if q.By == overTime {
		for _, row := range rows {
			at, err := time.Parse(time.RFC3339, row[0].(string))
			if err != nil {
				t.Fatal(err)
			}
			row[0] = at
		}
	}
	return rows
}

func (r *recount) answer(t *testing.T, q tracker.ReportQuery) want {
	switch q.Name {
	case "clicks":
		text := func(key string) any { return key }
		switch q.By {
		case "":
			return r.clicks(q, hitsOverTime(q), func(key string) any {
				at, err := time.Parse(time.RFC3339, key)
				if err != nil {
					t.Fatal(err)
				}
				return at
			})
		case "reason":
			return r.clicks(q, reasonsOf, text)
		}
		return r.clicks(q, by(q), text)
	case "funnel":
		return r.funnel(q)
	case "conversion_rates":
		q.By = cmp.Or(q.By, "program")
		return r.conversionRates(q, func(t *tally) bool {
			return t.clicks+t.reached("signed_up")+t.reached("activated")+t.reached("converted") > 0
		})
	case "channels":
		q.By = cmp.Or(q.By, "channel")
		return r.channels(q)
	case "geography":
		q.By = cmp.Or(q.By, "country")
		return r.geography(q)
	case "time_to_convert":
		return r.timeToConvert(q)
	case "viral":
		return r.viral(q)
	case "viral_cohorts":
		return r.viralCohorts(t, q)
	case "viral_projection":
		return r.projection(q)
	case "cohorts":
		return r.triangles(t, q)
	case "forecast":
		q.Measure, q.Weeks = forecastMeasures[0], defaultForecastWeeks
		var rows want
		for _, program := range worldPrograms {
			if q.Program == "" || q.Program == program {
				rows = append(rows, r.forecastOf(program, q, time.UTC)...)
			}
		}
		return rows
	case "leaderboard":
		return withoutTiers(r.leaderboard(q, q.From.Add(-q.To.Sub(q.From))))
	}
	t.Fatalf("no recount of %s", q.Name)
	return nil
}

func insertAll(t *testing.T, db *DB, blocks []*tracker.Block) {
	t.Helper()
	for _, block := range blocks {
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
}

// ownWorlds are reports of what a world has not (ledgers, documents, mailers):
// their recounts have worlds of their own.
var ownWorlds = []string{"rewards", "fraud", "campaigns", "campaign_variants", "partners", "messages", "predictions"}

// queries are every other report with every breakdown, over periods that begin and
// end anywhere, in zones with and without whole hours.
func (w *world) queries() []tracker.ReportQuery {
	year := tracker.ReportQuery{From: w.start.AddDate(-1, 0, 0), To: w.start.AddDate(1, 0, 0), Hits: "valid", Granularity: "day", TZ: "UTC"}
	var all []tracker.ReportQuery
	for _, r := range reports {
		if slices.Contains(ownWorlds, r.info.Name) {
			continue
		}
		for _, by := range append([]string{""}, r.info.By...) {
			q := year
			q.Name, q.By = r.info.Name, by
			if q.Name == "forecast" { // which looks back a year at most
				q.To = w.start.Add(w.span)
			}
			all = append(all, q)
			q.Hits, q.Program = pick(w, []string{"gross", "unique"}), pick(w, worldPrograms)
			q.From = w.start.Add(time.Duration(w.random.Int64N(int64(w.span)))).Truncate(pick(w, []time.Duration{1, time.Millisecond, time.Minute, time.Hour}))
			q.To = q.From.Add(pick(w, []time.Duration{7 * time.Minute, 3 * time.Hour, 100 * time.Hour, 300 * time.Hour}))
			// Or whole times of events, the first of which counts and the last not.
			if a, b := pick(w, w.events).TimeMs, pick(w, w.events).TimeMs; a != b && w.random.IntN(2) == 0 {
				q.From, q.To = time.UnixMilli(int64(min(a, b))), time.UnixMilli(int64(max(a, b)))
				q.Hits, q.Program = "gross", ""
			}
			all = append(all, q)
		}
	}
	steps := [][2]string{{"clicks", ""}, {"funnel", overTime}, {"conversion_rates", overTime}, {"channels", overTime}, {"geography", overTime}, {"time_to_convert", overTime}}
	for i, tz := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"} {
		for j, granularity := range []string{"hour", "day", "week", "month"} {
			q := year
			q.TZ, q.Granularity = tz, granularity
			for k, step := range steps {
				if k > 0 && (i+j+k)%4 > 0 { // each of the others in each zone, and in each granularity
					continue
				}
				q := q
				q.Name, q.By = step[0], step[1]
				if k == 0 || i%2 == 0 {
					all = append(all, q)
				}
				q.From, q.To, q.Hits = w.start.Add(100*time.Hour+13*time.Minute), w.start.Add(900*time.Hour+time.Millisecond), "unique"
				if k == 0 || i%2 == 1 {
					all = append(all, q)
				}
			}
		}
	}
	return all
}

func TestReportsAgainstRecount(t *testing.T) {
	world := newWorld(3, 5000)
	recount := world.recount()
	db := openTestDB(t)
	programs := []tracker.ProgramRow{{Program: tracker.NewProgram("general"), Version: 1}, {Program: tracker.NewProgram("wedding"), Version: 2}}
	programs[1].Program.AttributionWindowDays = 5
	if err := db.InsertPrograms(testContext(t), programs); err != nil {
		t.Fatal(err)
	}
	blocks := world.blocks(9)
	insertAll(t, db, blocks)
	check := func(t *testing.T, queries []tracker.ReportQuery) {
		for _, q := range queries {
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			switch q.Name {
			case "attribution":
				q.Model, q.By = defaultModel, cmp.Or(q.By, "channel")
				compareAttribution(t, db, got, q, recount)
			case "forecast":
				asText(got, "lead")
				compareRows(t, fmt.Sprintf("%+v", q), got, recount.expected(t, q))
			case "cohorts", "viral_projection":
				compareTriangles(t, q, got, recount.expected(t, q))
			default:
				compareRows(t, fmt.Sprintf("%+v", q), got, recount.expected(t, q))
			}
			i := slices.IndexFunc(reports, func(r report) bool { return r.info.Name == q.Name })
			if columns := reports[i].columns(q.Name, q.By); !slices.Equal(got.Columns, columns) {
				t.Errorf("%+v: columns %v, announced %v", q, got.Columns, columns)
			}
		}
	}
	queries := world.queries()
	t.Run("as inserted", func(t *testing.T) { check(t, queries) })
	world.random.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
	insertAll(t, db, blocks)
	t.Run("after a replay", func(t *testing.T) { check(t, queries[:20]) })
	for _, table := range slices.Sorted(maps.Keys(viewTargets)) {
		exec(t, db, "OPTIMIZE TABLE waymark."+table+" FINAL")
	}
	t.Run("after merges", func(t *testing.T) { check(t, queries[:40]) })
	t.Run("views", func(t *testing.T) { checkViews(t, db, recount) })
}

// checkViews compares what analysts read with the same recount: over all time,
// programme by programme.
func checkViews(t *testing.T, db *DB, r *recount) {
	view := func(sql string) *tracker.Report {
		answer, err := db.table(testContext(t), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return answer
	}
	ever := tracker.ReportQuery{From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Hits: "valid"}
	var funnel, rates, channels, geography, spans want
	for _, program := range append(slices.Clone(worldPrograms), "") {
		q := ever
		q.Program = program
		r := r
		if program == "" {
			r = r.only(func(f fact) bool { return f.program == "" }, func(k partyKey) bool { return k.program == "" })
		}
		prefix := func(rows want) want {
			for i := range rows {
				rows[i] = append([]any{program}, rows[i]...)
			}
			return rows
		}
		funnel = append(funnel, prefix(r.funnel(q))...)
		for _, row := range r.timeToConvert(q) {
			if row[2].(float64) > 0 {
				spans = append(spans, append([]any{program}, row...))
			}
		}
		q.By = "channel"
		channels = append(channels, prefix(r.channels(q))...)
		q.By = "country"
		geography = append(geography, prefix(r.geography(q))...)
		for _, by := range []string{"", "campaign", "channel", "link", "referrer", "referrer_type"} {
			q.By = by
			for _, row := range r.conversionRates(q, func(t *tally) bool { return true }) {
				rates = append(rates, append([]any{program, cmp.Or(by, "total")}, row...))
			}
		}
	}
	compareRows(t, "view funnel", view("SELECT * FROM waymark.funnel"), funnel)
	compareRows(t, "view time_to_convert", view("SELECT * FROM waymark.time_to_convert"), spans)
	compareRows(t, "view channels", view("SELECT * FROM waymark.channels"), channels)
	compareRows(t, "view geography", view("SELECT * FROM waymark.geography"), geography)
	compareRows(t, "view conversion_rates", view("SELECT * FROM waymark.conversion_rates"), rates)
	compareRows(t, "view viral", view("SELECT * FROM waymark.viral"), r.viral(ever))
	checkClicksView(t, view("SELECT dimension, key, sum(c.clicks), sum(c.unique), sum(c.gross), sum(c.hits) FROM waymark.clicks AS c GROUP BY dimension, key"), r)
}

func checkClicksView(t *testing.T, got *tracker.Report, r *recount) {
	var rows want
	for _, by := range []string{"", "link", "channel", "campaign", "referrer", "referrer_type", "country", "device", "browser", "referrer_host", "reasons"} {
		q := tracker.ReportQuery{From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), By: by}
		sums := map[string][4]float64{}
		for _, f := range r.facts {
			key := f.dimension(q.By)
			if by == "reasons" {
				key = strings.Join(reasonsOf(f), ",")
			}
			if f.Stage != "clicked" {
				continue
			}
			s := sums[key]
			for i, hits := range []string{"valid", "unique", "gross"} {
				if counts(hits, f.Reasons) {
					s[i]++
				}
			}
			s[3]++
			sums[key] = s
		}
		for key, s := range sums {
			rows = append(rows, []any{cmp.Or(by, "total"), key, s[0], s[1], s[2], s[3]})
		}
	}
	compareRows(t, "view clicks", got, rows)
}

// only is a recount of some facts and parties.
func (r *recount) only(facts func(fact) bool, parties func(partyKey) bool) *recount {
	part := &recount{paths: map[partyKey]*path{}}
	for _, f := range r.facts {
		if facts(f) {
			part.facts = append(part.facts, f)
		}
	}
	for key, p := range r.paths {
		if parties(key) {
			part.paths[key] = p
		}
	}
	return part
}

func TestReportNamesTheParameterAtFault(t *testing.T) {
	db := openTestDB(t)
	ok := tracker.ReportQuery{Name: "funnel"}
	for field, change := range map[string]func(*tracker.ReportQuery){
		"by":          func(q *tracker.ReportQuery) { q.By = "stage; DROP TABLE x" },
		"hits":        func(q *tracker.ReportQuery) { q.Hits = "all" },
		"granularity": func(q *tracker.ReportQuery) { q.Granularity = "year" },
		"tz":          func(q *tracker.ReportQuery) { q.TZ = "Mars/Olympus" },
		"from":        func(q *tracker.ReportQuery) { q.From, q.To = time.Unix(9, 0), time.Unix(9, 0) },
		"limit":       func(q *tracker.ReportQuery) { q.Limit = -1 },
	} {
		q := ok
		change(&q)
		_, err := db.Report(testContext(t), q)
		var fault *tracker.FieldError
		if !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := db.Report(testContext(t), tracker.ReportQuery{Name: "nope"}); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("unknown report: %v", err)
	}
}

// A program of an installation without events: the funnel has its six stages.
func TestReportsOfNothing(t *testing.T) {
	db := openTestDB(t)
	for _, info := range db.Reports() {
		got, err := db.Report(testContext(t), tracker.ReportQuery{Name: info.Name})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Columns, info.Columns) {
			t.Errorf("%s: columns %v, announced %v", info.Name, got.Columns, info.Columns)
		}
		rows := map[string]int{"funnel": 6, "time_to_convert": 6}[info.Name]
		if len(got.Rows) != rows {
			t.Errorf("%s: %d rows of nothing, want %d", info.Name, len(got.Rows), rows)
		}
	}
}
