package clickhouse

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// settle does what the refreshable views do each half hour, for however few
// actions there are.
func settle(t *testing.T, db *DB) {
	t.Helper()
	for _, table := range []string{"settling", "settled", "settled_journeys", "settled_paths", "settled_until"} {
		query := ask(t, db, "SELECT as_select FROM system.tables WHERE database = 'waymark' AND name = '"+table+"_view'")[0]
		exec(t, db, "CREATE TABLE waymark.renewed AS waymark."+table)
		exec(t, db, "INSERT INTO waymark.renewed "+strings.Replace(query, "200000", "0", 1))
		exec(t, db, "EXCHANGE TABLES waymark.renewed AND waymark."+table)
		exec(t, db, "DROP TABLE waymark.renewed SYNC")
	}
}

// number asks for one number.
func number(t *testing.T, db *DB, sql string) int {
	t.Helper()
	n, err := strconv.Atoi(ask(t, db, sql)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A report says the same whether everything is resolved as it is read, or most
// of it was before: of parties that something newer is known of, too.
func TestReportsFromSettledActions(t *testing.T) {
	world := newWorld(6, 3000)
	recount := world.recount()
	db := openTestDB(t)
	blocks := world.blocks(10)
	insertAll(t, db, blocks[:7])
	settle(t, db)
	if n := number(t, db, "SELECT count() FROM waymark.settled_journeys"); n != 0 {
		t.Errorf("%d journeys are settled by actions whose blocks may have been in the middle of an insert", n)
	}
	settle(t, db)
	all := number(t, db, "SELECT uniqExact(party) FROM waymark.actions_by_party")
	if left := number(t, db, "SELECT count() FROM waymark.unsettled"); left != 0 {
		t.Errorf("%d of %d parties are unsettled before anything is new", left, all)
	}
	insertAll(t, db, blocks[7:])
	if left := number(t, db, "SELECT count() FROM waymark.unsettled"); left == 0 || left >= number(t, db, "SELECT uniqExact(party) FROM waymark.actions_by_party") {
		t.Errorf("%d parties are unsettled", left)
	}
	ever := tracker.ReportQuery{From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Hits: "valid", Granularity: "day", TZ: "UTC"}
	check := func(name string, dimensions ...string) {
		for _, by := range dimensions {
			q := ever
			q.Name, q.By = name, by
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			compareRows(t, fmt.Sprintf("%+v", q), got, recount.expected(t, q))
		}
	}
	check("funnel", "", "link")
	check("conversion_rates", "program", "referrer")
	check("channels", "channel")
	check("time_to_convert", "", "channel")
	settle(t, db) // clicks that came after their actions
	check("geography", "country")
	check("funnel", "device")
	// The settled rows are used: without them something is missing.
	before := number(t, db, "SELECT uniqExact(who) FROM waymark.resolved WHERE stage = 'signed_up'")
	exec(t, db, "TRUNCATE TABLE waymark.settled")
	if after := number(t, db, "SELECT uniqExact(who) FROM waymark.resolved WHERE stage = 'signed_up'"); after >= before {
		t.Errorf("%d parties without the settled rows, %d with them", after, before)
	}
}

// Beyond a number of hits visitors are estimated, within the stated error, and
// everything else stays exact.
func TestVisitorsAreEstimated(t *testing.T) {
	const visitors, each = 20_000, 2
	block := &tracker.Block{Token: "many", Source: 3, Rows: make([]tracker.Row, 0, visitors*each)}
	channels := []string{"qr", "email", "email", "email"}
	want := map[string]float64{}
	for v := range visitors {
		channel := channels[v%len(channels)]
		want[channel]++
		for range each {
			at := len(block.Rows)
			e := &wire.Event{Event: "click", Stage: "clicked", Program: "general", Channel: channel, Code: "a", Link: 1, TimeMs: uint64(1_780_000_000_000 + at*50_000)}
			if v%10 > 0 {
				e.VisitorId = uint64(v) * 0x9E3779B97F4A7C15
			} else if at%2 > 0 { // without an identity, each hit is a visitor
				want[channel]++
			}
			block.Rows = append(block.Rows, tracker.Row{Offset: int64(at), Event: e})
		}
	}
	db := openTestDB(t)
	insertAll(t, db, []*tracker.Block{block})
	q := tracker.ReportQuery{Name: "clicks", By: "channel"}
	exact, err := db.Report(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	db.exactHits = visitors
	estimate, err := db.Report(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	if exact.Extra["visitors_estimated"] != nil || estimate.Extra["visitors_estimated"] == nil {
		t.Errorf("extras %v and %v", exact.Extra, estimate.Extra)
	}
	for i, row := range exact.Rows {
		key, count := row[0].(string), want[row[0].(string)]
		if got := float64(row[2].(uint64)); got != count {
			t.Errorf("%s: %v visitors, want %v", key, got, count)
		}
		about := estimate.Rows[i]
		if about[0] != row[0] || about[1] != row[1] || about[5] != row[5] {
			t.Errorf("%s: clicks %v, want %v", key, about, row)
		}
		if off := math.Abs(float64(about[2].(uint64))/count - 1); off > 4*math.Sqrt(15/count) {
			t.Errorf("%s: about %v visitors, want %v: off by %.3f", key, about[2], count, off)
		}
	}
}

// A filter leaves what a recount of the matching facts gives, whichever table
// answers.
func TestReportFilters(t *testing.T) {
	world := newWorld(7, 800)
	recount := world.recount()
	db := openTestDB(t)
	insertAll(t, db, world.blocks(2))
	ever := tracker.ReportQuery{From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Hits: "valid", Granularity: "day", TZ: "Europe/Berlin"}
	for _, tc := range []struct {
		name, by string
		filters  map[string]string
	}{
		{"clicks", "", map[string]string{"channel": "qr"}},
		{"clicks", "", map[string]string{"link": "Ü/3"}},
		{"clicks", "device", map[string]string{"country": "DE"}},
		{"clicks", "program", map[string]string{"country": "DE"}},
		{"conversion_rates", "country", map[string]string{"country": "DE"}},
		{"conversion_rates", "channel", map[string]string{"campaign": "spring", "referrer_type": "couple"}},
		{"channels", "channel", map[string]string{"program": "wedding", "campaign": "spring"}},
		{"channels", "device", map[string]string{"channel": "qr"}},
		{"funnel", "", map[string]string{"device": "mobile", "channel": "email"}},
		{"funnel", "", map[string]string{"program": "wedding"}},
		{"funnel", "link", map[string]string{"referee_type": "couple"}},
	} {
		q := ever
		q.Name, q.By, q.Filters = tc.name, tc.by, tc.filters
		part := recount.only(func(f fact) bool {
			for name, value := range tc.filters {
				if f.dimension(name) != value {
					return false
				}
			}
			return true
		}, func(partyKey) bool { return true })
		t.Run(fmt.Sprint(tc.name, " by ", tc.by, " of ", tc.filters), func(t *testing.T) {
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatal(err)
			}
			compareRows(t, tc.name, got, part.expected(t, q))
		})
	}
}

// Attribution says the same whether paths are settled or not, of late clicks,
// late actions and clicks that come after the action that names them, too. The
// window is a programme's at the moment of asking.
func TestAttributionFromSettledPaths(t *testing.T) {
	world := newWorld(16, 3000)
	recount := world.recount()
	db := openTestDB(t)
	blocks := world.blocks(10)
	insertAll(t, db, blocks[:6])
	settle(t, db)
	settle(t, db)
	insertAll(t, db, blocks[6:])
	insertWindows(t, db)
	all := number(t, db, "SELECT uniqExact(party) FROM waymark.conversions")
	if left := number(t, db, "SELECT uniqExact(party) FROM waymark.unsettled_conversions"); left == 0 || left >= all {
		t.Errorf("%d of %d parties with a conversion are unsettled", left, all)
	}
	check := func(when string) {
		t.Helper()
		for i, model := range attributionModels {
			q := tracker.ReportQuery{Name: "attribution", Model: model, By: linkDimensions[i%len(linkDimensions)],
				From: world.start.Add(time.Duration(i) * 20 * time.Hour), To: world.start.AddDate(1, 0, 0), Hits: "valid", HalfLifeDays: 3, FirstShare: 0.3, LastShare: 0.5}
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatalf("%s, %+v: %v", when, q, err)
			}
			compareAttribution(t, db, got, q, recount)
		}
	}
	check("partly settled")
	settle(t, db)
	settle(t, db)
	if left := number(t, db, "SELECT count() FROM waymark.unsettled_conversions"); left != 0 {
		t.Errorf("%d parties with a conversion are unsettled before anything is new", left)
	}
	check("settled")
	exec(t, db, "TRUNCATE TABLE waymark.settled_paths")
	if left := number(t, db, "SELECT count() FROM waymark.paths"); left != 0 {
		t.Errorf("%d paths without the settled ones: they are not used", left)
	}
}

// A click that comes after everything is settled is in its place at once: one
// of a known browser before its conversion, and one that an action had named.
// One after all conversions unsettles nobody.
func TestLateClicksUnsettle(t *testing.T) {
	db := openTestDB(t)
	hit := func(at, visitor uint64, channel string) *wire.Event {
		return &wire.Event{Event: "click", Stage: "clicked", Program: "general", TimeMs: 1_790_000_000_000 + at, VisitorId: visitor, Channel: channel}
	}
	buy := func(at, visitor uint64, id string) *wire.Event {
		return &wire.Event{Event: "purchase", Stage: "converted", Program: "general", TimeMs: 1_790_000_000_000 + at, VisitorId: visitor, Id: id, Value: "1"}
	}
	named := buy(9000, 0, "c")
	named.UserId, named.ClickTimeMs = "c", 1_790_000_000_500
	block := func(partition int32, from int64, events ...*wire.Event) *tracker.Block {
		b := &tracker.Block{Token: fmt.Sprint(partition, "-", from), Source: 5, Partition: partition, From: from, To: from + int64(len(events))}
		for i, e := range events {
			b.Rows = append(b.Rows, tracker.Row{Offset: from + int64(i), Event: e})
		}
		return b
	}
	insertAll(t, db, []*tracker.Block{
		block(0, 0, hit(1000, 1, "email"), hit(1001, 2, "email")),
		block(1, 0, buy(8000, 1, "a"), buy(8001, 2, "b"), named),
	})
	settle(t, db)
	settle(t, db)
	paths := func() []string {
		return ask(t, db, `SELECT party, arrayStringConcat(touches.channel, ' > ')
			FROM waymark.paths_between(program = '', from = '2020-01-01 00:00:00', to = '2030-01-01 00:00:00', by = 'channel', hits = 'valid') ORDER BY party`)
	}
	expect := func(when string, unsettled int, want ...string) {
		t.Helper()
		if got := paths(); !slices.Equal(got, want) {
			t.Errorf("%s: paths %q, want %q", when, got, want)
		}
		if got := number(t, db, "SELECT uniqExact(party) FROM waymark.unsettled_conversions"); got != unsettled {
			t.Errorf("%s: %d parties are unsettled, want %d", when, got, unsettled)
		}
	}
	const a, b = "visitor:0000000000000001 email", "visitor:0000000000000002 email"
	expect("settled", 0, "c ", a, b)
	insertAll(t, db, []*tracker.Block{block(0, 2, hit(9500, 1, "social"), hit(7000, 9, "social"))})
	expect("with clicks that touch nobody", 0, "c ", a, b)
	insertAll(t, db, []*tracker.Block{block(0, 4, hit(500, 7, "qr"), hit(7000, 2, "qr"))})
	expect("with late clicks", 2, "c qr", a, b+" > qr")
	settle(t, db)
	settle(t, db)
	expect("settled again", 0, "c qr", a, b+" > qr")
}
