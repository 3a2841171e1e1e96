package clickhouse

import (
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// stepOf is the start of the day, week or month that holds a moment.
func stepOf(ms uint64, granularity string, zone *time.Location) time.Time {
	y, m, d := time.UnixMilli(int64(ms)).In(zone).Date()
	switch granularity {
	case "week":
		d -= (int(time.Date(y, m, d, 12, 0, 0, 0, zone).Weekday()) + 6) % 7
	case "month":
		d = 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, zone)
}

// nextStep is the start of the following one.
func nextStep(start time.Time, granularity string) time.Time {
	switch granularity {
	case "week":
		return start.AddDate(0, 0, 7)
	case "month":
		return start.AddDate(0, 1, 0)
	}
	return start.AddDate(0, 0, 1)
}

// triangles recounts retention: cohort by cohort, step by step.
func (r *recount) triangles(t *testing.T, q tracker.ReportQuery) want {
	zone, err := time.LoadLocation(q.TZ)
	if err != nil {
		t.Fatal(err)
	}
	within := func(ms uint64) bool {
		at := time.UnixMilli(int64(ms))
		return ms != 0 && !at.Before(q.From) && at.Before(q.To)
	}
	type cohort struct {
		key   string
		start int64
	}
	members, last := map[cohort][]partyKey{}, time.Time{}
	cohortOf := map[partyKey]cohort{}
	for key, p := range r.paths {
		if !within(p.first["signed_up"]) || q.Program != "" && key.program != q.Program {
			continue
		}
		f := fact{program: key.program, campaign: p.credit.Campaign, channel: p.credit.Channel, link: linkKey(p.credit),
			referrer: p.credit.ReferrerId, referrerType: p.credit.ReferrerType, refereeType: p.credit.RefereeType, visit: p.credit}
		start := stepOf(p.first["signed_up"], q.Granularity, zone)
		c := cohort{f.dimension(q.By), start.Unix()}
		members[c], cohortOf[key] = append(members[c], key), c
		last = latest(last, start)
	}
	active := map[partyKey][]*wire.Event{}
	for _, f := range r.facts {
		key := partyKey{f.program, f.party}
		if f.Stage == "clicked" || f.Stage == "signed_up" || f.Event.Event == "refund" || f.Event.Event == "churn" || !within(f.TimeMs) {
			continue
		}
		active[key] = append(active[key], f.Event)
		if _, known := cohortOf[key]; known {
			last = latest(last, stepOf(f.TimeMs, q.Granularity, zone))
		}
	}
	var rows want
	for c, parties := range members {
		start := time.Unix(c.start, 0).In(zone)
		for period, step := 0.0, start; !step.After(last); period, step = period+1, nextStep(step, q.Granularity) {
			retained, value := 0.0, decimal.Zero
			for _, party := range parties {
				did := false
				for _, e := range active[party] {
					if !stepOf(e.TimeMs, q.Granularity, zone).Equal(step) {
						continue
					}
					did = true
					if e.Stage == "converted" && !unverified(e) && e.Value != "" {
						value = value.Add(decimal.RequireFromString(e.Value))
					}
				}
				if did {
					retained++
				}
			}
			row := []any{c.key, start, period, float64(len(parties)), retained, retained / float64(len(parties)), value}
			if q.By == "" {
				row = row[1:]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// compareTriangles compares triangles cell by cell: compareRows names rows by their
// texts and times, of which a triangle has one row per period.
func compareTriangles(t *testing.T, q tracker.ReportQuery, got *tracker.Report, want want) {
	t.Helper()
	order := func(rows [][]any) {
		slices.SortFunc(rows, func(a, b []any) int {
			for i := range a {
				if c := compareCells(a[i], b[i]); c != 0 {
					return c
				}
			}
			return 0
		})
	}
	order(got.Rows)
	order(want)
	if len(got.Rows) != len(want) {
		t.Fatalf("%+v: %d rows, want %d", q, len(got.Rows), len(want))
	}
	for i, row := range want {
		if !sameRow(got.Rows[i], row) {
			t.Fatalf("%+v: got %v, want %v", q, got.Rows[i], row)
		}
	}
}

func compareCells(a, b any) int {
	number := func(v any) float64 {
		switch v := v.(type) {
		case float64:
			return v
		case int64:
			return float64(v)
		case uint64:
			return float64(v)
		}
		return 0
	}
	switch a := a.(type) {
	case string:
		if a == b.(string) {
			return 0
		} else if a < b.(string) {
			return -1
		}
		return 1
	case time.Time:
		return a.Compare(b.(time.Time))
	}
	switch d := number(a) - number(b); {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return 0
}

func TestCohortsAgainstRecount(t *testing.T) {
	world := newWorld(21, 2500)
	recount := world.recount()
	db := openTestDB(t)
	insertAll(t, db, world.blocks(4))
	year := tracker.ReportQuery{Name: "cohorts", From: world.start.AddDate(-1, 0, 0), To: world.start.AddDate(1, 0, 0), Hits: "valid"}
	check := func(q tracker.ReportQuery) {
		t.Helper()
		got, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		compareTriangles(t, q, got, recount.triangles(t, q))
	}
	for i, tz := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"} {
		for j, granularity := range []string{"day", "week", "month"} {
			q := year
			q.TZ, q.Granularity, q.By = tz, granularity, []string{"", "channel", "referrer", "program"}[(i+j)%4]
			check(q)
		}
	}
	q := year
	q.TZ, q.Granularity, q.Program, q.By = "Europe/Berlin", "week", "wedding", "campaign"
	q.From, q.To = world.start.Add(77*time.Hour+13*time.Minute), world.start.Add(700*time.Hour+time.Millisecond)
	check(q)
	rows, err := db.table(testContext(t), "SELECT toDateTime(cohort, 'UTC'), period, sum(size) AS n, sum(retained) AS r, r / n, sum(value) FROM waymark.cohorts WHERE granularity = 'week' GROUP BY cohort, period")
	if err != nil {
		t.Fatal(err)
	}
	q = year
	q.TZ, q.Granularity = "UTC", "week"
	compareTriangles(t, q, rows, recount.triangles(t, q))
}
