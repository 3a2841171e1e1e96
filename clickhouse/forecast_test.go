package clickhouse

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// newVolumes is a world of programmes whose weekly volumes are planted: over
// both ends of summer time, from the middle of a week to the middle of one.
func newVolumes() *world {
	w := &world{
		random: rand.New(rand.NewPCG(41, 99)), used: map[uint64]bool{},
		start: time.Date(2025, 6, 4, 15, 0, 0, 0, time.UTC), span: 310 * 24 * time.Hour,
	}
	walk := 60.0
	for day := range 310 {
		at := w.start.AddDate(0, 0, day)
		season := []float64{1.6, 1.2, 1, 1, 0.8, 0.3, 0.1}[day%7]
		w.day("growing", at, int((4+float64(day)/15)*season))
		if day%7 == 5 {
			walk = max(0, walk+w.random.NormFloat64()*14)
		}
		w.day("wandering", at, int(walk/7))
		if day > 230 {
			w.day("young", at, 3)
		}
		if day < 120 {
			w.day("asleep", at, 2)
		}
	}
	return w
}

// day adds hits of all kinds, and signups and purchases of some users, again
// and again.
func (w *world) day(program string, start time.Time, hits int) {
	for range hits {
		ms := uint64(start.UnixMilli()) + uint64(w.random.Int64N(24*3600*1000))
		if w.random.IntN(4) == 0 {
			ms -= ms % 3_600_000 // midnight in Berlin, too
		}
		hit := &wire.Event{Program: program, Link: 7, Code: "volume", Event: "click", Stage: "clicked", TimeMs: ms,
			Sequence: uint32(len(w.events)), Reasons: pick(w, worldReasons), VisitorId: w.random.Uint64()}
		w.events = append(w.events, hit)
		if w.random.IntN(3) == 0 {
			w.act(&wire.Event{Program: program, UserId: w.user()}, "signup", "signed_up", ms+1)
		}
		if w.random.IntN(6) == 0 {
			w.act(&wire.Event{UserId: w.user()}, "purchase", "converted", ms+2)
		}
	}
}

// weeks counts a measure of a programme by week, from the one after the first
// event to the last whole one before until.
func (r *recount) weeks(program string, q tracker.ReportQuery, zone *time.Location) (first time.Time, counted []float64) {
	running := stepOf(uint64(q.To.UnixMilli()), "week", zone)
	hits, parties := map[time.Time]float64{}, map[time.Time]map[string]bool{}
	for _, f := range r.facts {
		stage := map[string]string{"clicks": "clicked", "signups": "signed_up", "conversions": "converted"}[q.Measure]
		week := stepOf(f.TimeMs, "week", zone)
		if f.program != program || f.Stage != stage || !week.Before(running) {
			continue
		}
		if first.IsZero() || week.Before(first) {
			first = week
		}
		if stage == "clicked" && counts(q.Hits, f.Reasons) {
			hits[week]++
		}
		if parties[week] == nil {
			parties[week] = map[string]bool{}
		}
		parties[week][f.party] = true
	}
	if first.IsZero() {
		return first, nil
	}
	first = nextStep(first, "week")
	for week := first; week.Before(running); week = nextStep(week, "week") {
		if q.Measure == "clicks" {
			counted = append(counted, hits[week])
		} else {
			counted = append(counted, float64(len(parties[week])))
		}
	}
	return first, counted
}

// leastSquares is the line through points at 1, 2, 3, …
func leastSquares(points []float64) (at func(x float64) float64) {
	n, sx, sy, sxx, sxy := float64(len(points)), 0.0, 0.0, 0.0, 0.0
	for i, y := range points {
		x := float64(i + 1)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	return func(x float64) float64 { return sy/n + slope*(x-sx/n) }
}

// told is what both say from the first n weeks about a later one.
func told(counted []float64, n, lead int) (forecast, baseline float64) {
	return max(0, leastSquares(counted[n-12:n])(float64(12+lead))), counted[n-1]
}

// forecastOf recounts the report for one programme; lead is text, so that it
// names a row.
func (r *recount) forecastOf(program string, q tracker.ReportQuery, zone *time.Location) want {
	first, counted := r.weeks(program, q, zone)
	var rows want
	known, lineErrors, sameErrors, volume, pairs := len(counted), 0.0, 0.0, 0.0, 0.0
	row := func(kind string, week, lead int, cells ...any) {
		rows = append(rows, append([]any{program, kind, nextWeeks(first, week), fmt.Sprint(lead)}, cells...))
	}
	held := map[int][][2]float64{} // by lead
	enough := known >= 12+q.Weeks+3
	for n := max(12, known-26); enough && n < known; n++ {
		for lead := 1; lead <= q.Weeks && n+lead <= known; lead++ {
			line, same := told(counted, n, lead)
			actual := counted[n+lead-1]
			lineErrors, sameErrors, volume, pairs = lineErrors+math.Abs(actual-line), sameErrors+math.Abs(actual-same), volume+actual, pairs+1
			held[lead] = append(held[lead], [2]float64{actual - line, actual - same})
			row("holdout", n+lead-1, lead, actual, line, same)
		}
	}
	winner, choice := "too little history", 1
	switch {
	case enough && lineErrors < sameErrors:
		winner, choice = "forecast", 0
	case enough:
		winner = "baseline"
	}
	errors := []any{winner, ratio(lineErrors, pairs), ratio(sameErrors, pairs), ratio(lineErrors, volume), ratio(sameErrors, volume)}
	for i, cells := range rows {
		rows[i] = append(append(cells, cells[5+choice], nil, nil), errors...)
	}
	for lead := 1; enough && lead <= q.Weeks; lead++ {
		var residuals []float64
		for _, e := range held[lead] {
			residuals = append(residuals, e[choice])
		}
		line, same := told(counted, known, lead)
		best := []float64{line, same}[choice]
		row("forecast", known+lead-1, lead, append([]any{nil, line, same, best,
			max(0, best+quantile(residuals, 0.1).(float64)), max(0, best+quantile(residuals, 0.9).(float64))}, errors...)...)
	}
	for week, n := range counted {
		if !nextWeeks(first, week).Before(stepOf(uint64(q.From.UnixMilli()), "day", zone)) {
			row("history", week, 0, append([]any{n, nil, nil, nil, nil, nil}, errors...)...)
		}
	}
	return rows
}

func nextWeeks(start time.Time, n int) time.Time { return start.AddDate(0, 0, 7*n) }

func TestForecastAgainstRecount(t *testing.T) {
	w := newVolumes()
	recount := w.recount()
	db := openTestDB(t)
	insertAll(t, db, w.blocks(3))
	for i, tz := range []string{"Europe/Berlin", "UTC", "America/New_York"} {
		zone, err := time.LoadLocation(tz)
		if err != nil {
			t.Fatal(err)
		}
		for j, measure := range []string{"clicks", "signups", "conversions"} {
			q := tracker.ReportQuery{Name: "forecast", Measure: measure, Hits: []string{"valid", "gross", "unique"}[(i+j)%3], TZ: tz, Weeks: 2 + i + 2*j,
				From: time.Date(2026, 1, 14, 7, 0, 0, 0, time.UTC), To: time.Date(2026, 4, 8, 23, 0, 0, 0, time.UTC)}
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatal(err)
			}
			var rows want
			for _, program := range []string{"growing", "wandering", "young", "asleep"} {
				rows = append(rows, recount.forecastOf(program, q, zone)...)
			}
			asText(got, "lead")
			compareRows(t, fmt.Sprintf("%+v", q), got, rows)
		}
	}
	t.Run("who wins", func(t *testing.T) { checkWinners(t, db) })
}

// checkWinners asks who foresees a planted trend with a season of weekdays, and
// who a random walk, of which the last value is the best that can be said.
func checkWinners(t *testing.T, db *DB) {
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "forecast", Hits: "gross", To: time.Date(2026, 4, 8, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	winners := fmt.Sprint(got.Extra["winners"])
	if winners != "map[asleep:baseline growing:forecast wandering:baseline young:too little history]" || got.Extra["weeks_needed"] != 19 {
		t.Errorf("%s, %v weeks needed", winners, got.Extra["weeks_needed"])
	}
	for _, row := range got.Rows {
		if row[0] == "young" && row[1] != "history" {
			t.Fatalf("told of a programme with too little history: %v", row)
		}
	}
	none, err := db.Report(testContext(t), tracker.ReportQuery{Name: "forecast", Program: "nobody"})
	if err != nil || fmt.Sprint(none.Extra["winners"]) != "map[nobody:too little history]" {
		t.Errorf("%v, %v", none, err)
	}
	one, err := db.Report(testContext(t), tracker.ReportQuery{Name: "forecast", Hits: "gross", Limit: 1, To: time.Date(2026, 4, 8, 0, 0, 0, 0, time.UTC)})
	if err != nil || fmt.Sprint(one.Extra["winners"]) != "map[wandering:baseline]" && fmt.Sprint(one.Extra["winners"]) != "map[growing:forecast]" {
		t.Errorf("the largest alone: %v, %v", one.Extra, err)
	}
	for _, view := range []string{"clicks", "signups", "conversions"} {
		if n := number(t, db, "SELECT count() FROM waymark.forecast WHERE measure = '"+view+"' AND winner = 'too little history' AND kind != 'history'"); n != 0 {
			t.Errorf("view forecast tells %d weeks of %s of too little history", n, view)
		}
	}
}

// Nineteen weeks of 1, 2, 3, … clicks, by hand. The last weeks known are the
// 12th to the 18th. From the first four of them each of 1, 2, 3 and 4 weeks
// ahead is seen, from the last three up to 3, 2 and 1, so there are 22 rows. The
// baseline is as far off as it looks ahead: 4·(1+2+3+4) + (1+2+3) + (1+2) + 1 =
// 50 in all. What was counted is 58 + 62 + 66 + 70 + 54 + 37 + 19 = 366.
func TestForecastOfALine(t *testing.T) {
	w := &world{random: rand.New(rand.NewPCG(42, 99)), used: map[uint64]bool{}}
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for week := range 20 {
		for i := range max(1, week) { // the week of the first event does not count
			w.events = append(w.events, &wire.Event{Program: "general", Link: 1, Code: "line", Event: "click", Stage: "clicked",
				TimeMs: uint64(monday.AddDate(0, 0, 7*week+i%7).UnixMilli()) + uint64(i), VisitorId: uint64(i + 1)})
		}
	}
	db := openTestDB(t)
	insertAll(t, db, w.blocks(1))
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "forecast", To: monday.AddDate(0, 0, 7*20)})
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, row := range got.Rows {
		lead, err := strconv.Atoi(fmt.Sprint(row[3]))
		if err != nil {
			t.Fatal(err)
		}
		switch row[1] {
		case "holdout":
			held++
		case "forecast":
			for _, cell := range []any{row[5], row[7], row[8], row[9]} { // forecast, expected, low, high
				if told := cell.(float64); math.Abs(told-float64(19+lead)) > 1e-9 {
					t.Errorf("%d weeks ahead: %v", lead, row)
				}
			}
			if row[6] != 19.0 {
				t.Errorf("the baseline is %v", row[6])
			}
		}
		if lineMAE, sameMAE, sameWAPE := row[11].(float64), row[12].(float64), row[14].(float64); lineMAE > 1e-9 || math.Abs(sameMAE-50.0/22) > 1e-9 || math.Abs(sameWAPE-50.0/366) > 1e-9 {
			t.Fatalf("errors %v", row[11:])
		}
	}
	if held != 22 || len(got.Rows) != 22+19+4 {
		t.Errorf("%d weeks held out, %d rows", held, len(got.Rows))
	}
}

func TestForecastRefuses(t *testing.T) {
	db := openTestDB(t)
	for field, q := range map[string]tracker.ReportQuery{
		"measure": {Measure: "money"}, "weeks": {Weeks: 14},
	} {
		q.Name = "forecast"
		_, err := db.Report(testContext(t), q)
		var fault *tracker.FieldError
		if !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
