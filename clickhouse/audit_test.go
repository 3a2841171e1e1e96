package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// interloper is a Stillness under which ingest inserts a hit of a certain day
// whenever it is asked, up to a number of times.
type interloper struct {
	db    *DB
	at    time.Time
	times int
	rows  int
}

func (i *interloper) Settle(ctx context.Context) error {
	if i.rows == i.times {
		return nil
	}
	i.rows++
	return i.db.InsertBlock(ctx, &tracker.Block{
		Token: fmt.Sprint("interloper ", i.at, i.times, i.rows), Source: 5, Partition: 1, From: int64(i.rows), To: int64(i.rows) + 1,
		Rows: []tracker.Row{{Offset: int64(i.rows), Event: &wire.Event{
			Event: "click", Stage: "clicked", Program: "general", TimeMs: uint64(i.at.UnixMilli() + int64(i.rows)), Code: "x", Link: 1,
		}}},
	})
}

// Watch is what RemoveRows goes by: something has always come.
func (i *interloper) Watch(context.Context) (func(context.Context) (bool, error), error) {
	return func(context.Context) (bool, error) { return i.rows < i.times, nil }, nil
}

// auditDay is a day that the world of these tests has events of.
var auditDay = time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC)

// damagedDB has a world in it, and a row too many in clicks_hourly.
func damagedDB(t *testing.T) *DB {
	t.Helper()
	db := openTestDB(t)
	for _, block := range newWorld(4, 2000).blocks(3) {
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, "INSERT INTO waymark.clicks_hourly (dimension, program, key, hour, hits) VALUES ('country', 'general', 'ghost', '2026-03-03 07:00:00', 1)")
	return db
}

// auditOf compares one target.
func auditOf(t *testing.T, db *DB, target string, still Stillness) ([]tracker.AuditResult, error) {
	t.Helper()
	found, err := db.viewTarget(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	return db.auditView(testContext(t), found, time.Time{}, still)
}

// differing lists the verdicts on a target, the sum left out.
func differing(t *testing.T, db *DB, target string, still Stillness) []string {
	t.Helper()
	results, err := auditOf(t, db, target, still)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range results[1:] {
		lines = append(lines, fmt.Sprint(r.Verdict, " ", r.Range.From))
	}
	return lines
}

func TestAuditViewWhileEventsArrive(t *testing.T) {
	db := damagedDB(t)
	if got, want := differing(t, db, "clicks_hourly", &interloper{db: db}), []string{"differs 2026-03-03T00:00:00Z"}; !slices.Equal(got, want) {
		t.Errorf("at rest: %v, want %v", got, want)
	}
	// Into another day: the damage is told all the same.
	elsewhere := &interloper{db: db, at: auditDay.AddDate(0, 0, 2), times: 1000}
	if got, want := differing(t, db, "clicks_hourly", elsewhere), []string{"differs 2026-03-03T00:00:00Z"}; !slices.Equal(got, want) {
		t.Errorf("inserts elsewhere: %v, want %v", got, want)
	}
	// Into the day, at 07:00: of the hour nothing can be told, but the others
	// of the day are as they should be.
	inside := &interloper{db: db, at: auditDay.Add(7 * time.Hour), times: 1000}
	if got, want := differing(t, db, "clicks_hourly", inside), []string{"unproven 2026-03-03T07:00:00Z"}; !slices.Equal(got, want) {
		t.Errorf("inserts into the hour: %v, want %v", got, want)
	}
	if elsewhere.rows == 0 || inside.rows == 0 {
		t.Error("nothing was inserted meanwhile")
	}
}

func TestRebuildViewWhileEventsArrive(t *testing.T) {
	db := damagedDB(t)
	of := tracker.AuditRange{Unit: "time", From: auditDay.Format(time.RFC3339), To: auditDay.AddDate(0, 0, 1).Format(time.RFC3339)}
	before := ask(t, db, "SELECT toYYYYMM(hour), sum(cityHash64(tuple(*))) FROM waymark.clicks_hourly FINAL WHERE toYYYYMM(hour) != 202603 GROUP BY 1 ORDER BY 1")
	always := &interloper{db: db, at: auditDay, times: 1000}
	if _, err := db.RebuildView(testContext(t), "clicks_hourly", of, always); !errors.Is(err, errRestless) {
		t.Errorf("while inserts go on: %v", err)
	}
	// The first attempt is disturbed, the next is not.
	once := &interloper{db: db, at: auditDay, times: 2}
	if partitions, err := db.RebuildView(testContext(t), "clicks_hourly", of, once); err != nil || !slices.Equal(partitions, []string{"202603"}) {
		t.Errorf("after some inserts: %v, %v", partitions, err)
	}
	if got := differing(t, db, "clicks_hourly", &interloper{db: db}); len(got) > 0 {
		t.Errorf("after the repair: %v", got)
	}
	// One that comes on a day without events before is not lost with the month
	// that is replaced.
	exec(t, db, "INSERT INTO waymark.clicks_hourly (dimension, program, key, hour, hits) VALUES ('country', 'general', 'ghost', '2026-03-03 07:00:00', 1)")
	quiet := time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC)
	exec(t, db, "ALTER TABLE waymark.events DELETE WHERE toDate(time) = '2026-03-30' SETTINGS mutations_sync = 2")
	exec(t, db, "ALTER TABLE waymark.clicks_hourly DELETE WHERE toDate(hour) = '2026-03-30' SETTINGS mutations_sync = 2")
	if _, err := db.RebuildView(testContext(t), "clicks_hourly", of, &interloper{db: db, at: quiet, times: 2}); err != nil {
		t.Error(err)
	}
	if got := differing(t, db, "clicks_hourly", &interloper{db: db}); len(got) > 0 {
		t.Errorf("after a repair that events of a new day came between: %v", got)
	}
	after := ask(t, db, "SELECT toYYYYMM(hour), sum(cityHash64(tuple(*))) FROM waymark.clicks_hourly FINAL WHERE toYYYYMM(hour) != 202603 GROUP BY 1 ORDER BY 1")
	if !slices.Equal(after, before) || len(before) == 0 {
		t.Errorf("other months were %v and are %v", before, after)
	}
	if left := ask(t, db, "SELECT name FROM system.tables WHERE database = 'waymark' AND name LIKE 'audit\\_clicks\\_hourly%'"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Every target of a view is audited, whoever added it, and those of the schema
// are found by name.
func TestViewTargets(t *testing.T) {
	db := openTestDB(t)
	targets, err := db.viewTargets(testContext(t))
	var got []string
	for _, target := range targets {
		got = append(got, target.name)
	}
	if want := []string{"action_ids", "actions_by_party", "audit_entries", "clicks_hourly", "conversions", "fraud_entries", "hit_days", "link_clicks_daily", "link_clicks_monthly", "message_events", "partner_changes", "referees", "referrals", "reward_entries", "visitor_sample"}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("targets %v, %v; want %v", got, err, want)
	}
	exec(t, db, "CREATE TABLE waymark.visitors_daily (day Date, visitors AggregateFunction(uniq, UInt64), last SimpleAggregateFunction(max, DateTime64(3, 'UTC'))) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(day) ORDER BY day")
	exec(t, db, "CREATE MATERIALIZED VIEW waymark.visitors_daily_view TO waymark.visitors_daily AS SELECT toDate(time) AS day, uniqState(visitor_id) AS visitors, max(time) AS last FROM waymark.events GROUP BY day")
	for _, block := range newWorld(5, 1000).blocks(4) {
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
	if got := differing(t, db, "visitors_daily", &interloper{db: db}); len(got) > 0 {
		t.Errorf("fresh from the insert: %v", got)
	}
	exec(t, db, "INSERT INTO waymark.visitors_daily SELECT toDate('2026-03-05'), uniqState(toUInt64(1)), toDateTime64(0, 3)")
	if got, want := differing(t, db, "visitors_daily", &interloper{db: db}), []string{"differs 2026-03-05T00:00:00Z"}; !slices.Equal(got, want) {
		t.Errorf("a visitor too many: %v, want %v", got, want)
	}
	exec(t, db, "CREATE TABLE waymark.daily (day Date) ENGINE = MergeTree PARTITION BY day ORDER BY day")
	exec(t, db, "CREATE MATERIALIZED VIEW waymark.daily_view TO waymark.daily AS SELECT toDate(time) AS day FROM waymark.events")
	if _, err := db.viewTargets(testContext(t)); err == nil {
		t.Error("a target whose partitions are no months is taken for one that can be audited")
	}
}

// A damaged view of decisions is told and rebuilt, also where events fill the
// same target; a row too many is taken out of decisions.
func TestAuditOfDecisions(t *testing.T) {
	db := openTestDB(t)
	still := &interloper{db: db}
	again := *decisionBlocks(7)[6]
	again.Token = "again"
	insertAll(t, db, append(append(newWorld(4, 300).blocks(2), decisionBlocks(40)...), &again))
	surplus := tracker.SurplusRows{Place: tracker.Place{Source: 99, Partition: 3}, From: 6, To: 7, Keep: true}
	var runs []string
	err := db.OffsetRuns(testContext(t), surplus.Place, 0, 100, func(run tracker.OffsetRun) error {
		runs = append(runs, fmt.Sprint(run))
		return nil
	})
	if want := []string{"{0 6 1}", "{6 7 2}", "{7 40 1}"}; err != nil || !slices.Equal(runs, want) {
		t.Fatalf("runs %v, %v; want %v", runs, err, want)
	}
	holdings, err := db.Holdings(testContext(t), time.Time{})
	if i := slices.IndexFunc(holdings, func(h tracker.Holding) bool { return h.Place == surplus.Place }); err != nil || i < 0 || holdings[i].Actions != 41 || holdings[i].To != 40 {
		t.Fatalf("holdings %+v, %v", holdings, err)
	}
	if err := db.RemoveRows(testContext(t), []tracker.SurplusRows{surplus}, still); err != nil {
		t.Fatal(err)
	}
	if n, err := db.CountRange(testContext(t), 99, 3, 0, 100); err != nil || n != 40 {
		t.Fatalf("%d rows are left, %v", n, err)
	}
	exec(t, db, "INSERT INTO waymark.reward_entries (program, reward) VALUES ('wedding', 'ghost')")
	bad := func() (names []string) {
		results, err := db.AuditViews(testContext(t), time.Time{}, still)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Verdict.Bad() {
				names = append(names, r.What)
			}
		}
		return names
	}
	damaged := bad() // also by the row that was there twice, an assessment
	if want := []string{"action_ids", "fraud_entries", "reward_entries"}; !slices.Equal(damaged, want) {
		t.Errorf("damaged are %v, want %v", damaged, want)
	}
	for _, name := range damaged {
		if _, err := db.RebuildView(testContext(t), name, tracker.AuditRange{Unit: "key"}, still); err != nil {
			t.Fatal(err)
		}
	}
	if left := bad(); len(left) > 0 {
		t.Errorf("after the repair %v", left)
	}
	if ids := ask(t, db, "SELECT count(), uniqExact(offset) FROM waymark.action_ids WHERE source = 99"); ids[0] != "40 40" {
		t.Errorf("after the repair there are identities of decisions: %s, want 40", ids)
	}
}
