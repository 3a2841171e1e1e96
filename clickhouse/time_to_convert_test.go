package clickhouse

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// bucketHours are the edges of the histogram, as the README lists them.
var bucketHours = []float64{0, 5.0 / 60, 1, 6, 24, 3 * 24, 7 * 24, 14 * 24, 30 * 24}

// histogram recounts the buckets, span by span. A row is named by its texts, so
// its bucket is one, too; see asText.
func (r *recount) histogram(q tracker.ReportQuery) want {
	var rows want
	for key, bySpan := range r.hours(q) {
		for span, list := range bySpan {
			counts := make([]float64, len(bucketHours))
			for _, hours := range list {
				i := len(bucketHours) - 1
				for hours < bucketHours[i] {
					i--
				}
				counts[i]++
			}
			below := 0.0
			for i, count := range counts {
				below += count
				var to any
				if i+1 < len(counts) {
					to = bucketHours[i+1]
				}
				row := []any{key, span[0], span[1], fmt.Sprint(i + 1), bucketHours[i], to, count, count / float64(len(list)), below / float64(len(list))}
				if q.By == "" {
					row = row[1:]
				}
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// asText makes a column a part of the name of its rows.
func asText(answer *tracker.Report, column string) {
	i := slices.Index(answer.Columns, column)
	for _, row := range answer.Rows {
		row[i] = fmt.Sprint(row[i])
	}
}

// Spans that are as long as an edge, and a millisecond shorter, lie on both
// sides of it.
func (w *world) onEdges() {
	for i, hours := range bucketHours {
		for j := range uint64(2) {
			user, at := fmt.Sprint("edge", i, j), uint64(w.start.UnixMilli())+uint64(100*i)
			w.act(&wire.Event{Program: "general", UserId: user}, "signup", "signed_up", at)
			w.act(&wire.Event{Program: "general", UserId: user}, "purchase", "converted", at+uint64(hours*3_600_000)+1-j)
		}
	}
}

func TestHistogramAgainstRecount(t *testing.T) {
	world := newWorld(31, 3000)
	world.onEdges()
	recount := world.recount()
	db := openTestDB(t)
	insertAll(t, db, world.blocks(3))
	ever := tracker.ReportQuery{Name: "time_to_convert", View: "histogram", From: world.start.AddDate(-1, 0, 0), To: world.start.AddDate(1, 0, 0), Hits: "valid"}
	part := ever
	part.From, part.To, part.Program = world.start.Add(77*time.Hour), world.start.Add(500*time.Hour+time.Millisecond), "wedding"
	for _, q := range []tracker.ReportQuery{ever, part} {
		for _, by := range []string{"", "channel", "referrer", "program"} {
			q.By = by
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatal(err)
			}
			asText(got, "bucket")
			compareRows(t, fmt.Sprintf("%+v", q), got, recount.histogram(q))
			view, err := db.table(testContext(t), fmt.Sprintf(`SELECT %s from_stage, to_stage, bucket, any(from_hours), any(to_hours), sum(h.count) AS n,
				n / sum(n) OVER (PARTITION BY key, from_stage, to_stage), sum(n) OVER (PARTITION BY key, from_stage, to_stage ORDER BY bucket) / sum(n) OVER (PARTITION BY key, from_stage, to_stage)
				FROM waymark.time_to_convert_histogram_between(program = '%s', from = '%s', to = '%s', by = '%s') AS h
				GROUP BY key, from_stage, to_stage, bucket`, map[bool]string{true: "", false: "key,"}[by == ""], q.Program, utc(q.From), utc(q.To), by))
			if err != nil {
				t.Fatal(err)
			}
			asText(view, "bucket")
			compareRows(t, fmt.Sprintf("view %+v", q), view, recount.histogram(q))
		}
	}
	q := part
	q.By, q.TZ, q.Granularity = overTime, "Europe/Berlin", "week"
	got, err := db.Report(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range got.Rows {
		row[0] = row[0].(time.Time).UTC().Format(time.RFC3339)
	}
	asText(got, "bucket")
	compareRows(t, "histogram over time", got, recount.histogram(q))
}

// Of more steps than the limit, the latest stay, in order.
func TestLatestStepsStay(t *testing.T) {
	world := newWorld(32, 1500)
	db := openTestDB(t)
	insertAll(t, db, world.blocks(1))
	for _, name := range []string{"clicks", "funnel", "conversion_rates", "channels", "geography", "time_to_convert"} {
		q := tracker.ReportQuery{Name: name, By: overTime, Granularity: "week"}
		if name == "clicks" {
			q.By = ""
		}
		all, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatal(err)
		}
		steps := func(answer *tracker.Report) (keys []time.Time) {
			for _, row := range answer.Rows {
				keys = append(keys, row[0].(time.Time).UTC())
			}
			if !slices.IsSortedFunc(keys, time.Time.Compare) {
				t.Errorf("%s: the steps are not in order", name)
			}
			return slices.Compact(keys)
		}
		whole := steps(all)
		if len(whole) < 5 {
			t.Fatalf("%s: %d steps", name, len(whole))
		}
		q.Limit = 3
		latest, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatal(err)
		}
		if got := steps(latest); !slices.Equal(got, whole[len(whole)-3:]) {
			t.Errorf("%s: %v of %v", name, got, whole)
		}
	}
}
