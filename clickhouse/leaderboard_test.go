package clickhouse

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// standing is what the referees of a party did in a time.
type standing struct {
	signups, conversions map[string]bool
	value                decimal.Decimal
}

type seat struct{ program, referrer string }

// standings recounts who brought whom between two times.
func (r *recount) standings(program string, from, to time.Time) (map[seat]*standing, map[seat]string) {
	all, types := map[seat]*standing{}, map[seat]string{}
	for _, f := range r.facts {
		at := time.UnixMilli(int64(f.TimeMs))
		if at.Before(from) || !at.Before(to) || f.referrer == "" || f.referrer == f.party || program != "" && f.program != program {
			continue
		}
		if f.Stage != "signed_up" && f.Stage != "converted" {
			continue
		}
		key := seat{f.program, f.referrer}
		if all[key] == nil {
			all[key] = &standing{signups: map[string]bool{}, conversions: map[string]bool{}}
		}
		types[key] = max(types[key], f.referrerType)
		if f.Stage == "signed_up" {
			all[key].signups[f.party] = true
			continue
		}
		all[key].conversions[f.party] = true
		if !unverified(f.Event) {
			all[key].value = all[key].value.Add(decimal.RequireFromString(cmp.Or(f.Value, "0")))
		}
	}
	return all, types
}

func (s *standing) beats(o *standing) bool {
	return cmp.Or(s.value.Cmp(o.value), cmp.Compare(len(s.conversions), len(o.conversions)), cmp.Compare(len(s.signups), len(o.signups))) > 0
}

// rankOf is one more than the number of those who are strictly ahead.
func rankOf(key seat, all map[seat]*standing) any {
	if all[key] == nil {
		return nil
	}
	rank := 1.0
	for other, s := range all {
		if other.program == key.program && s.beats(all[key]) {
			rank++
		}
	}
	return rank
}

func (r *recount) leaderboard(q tracker.ReportQuery, before time.Time) want {
	if epoch := time.Unix(0, 0); before.Before(epoch) {
		before = epoch
	}
	now, _ := r.standings(q.Program, q.From, q.To)
	earlier, _ := r.standings(q.Program, before, q.From)
	_, types := r.standings(q.Program, before, q.To)
	var rows want
	for key, s := range now {
		rows = append(rows, []any{key.program, rankOf(key, now), key.referrer, types[key], float64(len(s.signups)), float64(len(s.conversions)), s.value,
			ratio(float64(len(s.conversions)), float64(len(s.signups))), rankOf(key, earlier)})
	}
	return rows
}

// withoutTiers are the rows of the report where no document has tiers.
func withoutTiers(rows want) want {
	for i := range rows {
		rows[i] = append(rows[i], "", "", "", nil, "", nil)
	}
	return rows
}

func TestLeaderboardAgainstRecount(t *testing.T) {
	world := tangled(29)
	recount := world.recount()
	db := openTestDB(t)
	insertAll(t, db, world.blocks(3))
	for _, program := range []string{"", "wedding"} {
		for _, days := range []int{-1, 3, 12, 30} {
			q := tracker.ReportQuery{Name: "leaderboard", Program: program, From: world.start.AddDate(0, 0, days).Add(7 * time.Millisecond), To: world.start.AddDate(0, 0, days+9)}
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatal(err)
			}
			compareRows(t, fmt.Sprintf("%+v", q), got, withoutTiers(recount.leaderboard(q, q.From.Add(-q.To.Sub(q.From)))))
		}
	}
	ever := tracker.ReportQuery{From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	compareRows(t, "all", view(t, db, "SELECT * EXCEPT period FROM waymark.leaderboard WHERE period = 'all'"), recount.leaderboard(ever, ever.From))
}

// Four referrers of this week, two of them equal, and one of the week before.
func TestLeaderboardOfTheWeek(t *testing.T) {
	db := openTestDB(t)
	now := time.Now().UTC()
	monday := time.Date(now.Year(), now.Month(), now.Day()-(int(now.Weekday())+6)%7, 0, 0, 0, 0, time.UTC)
	var rows []tracker.Row
	buy := func(referrer, value string, at time.Time) {
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: "purchase", Stage: "converted", Program: "p", Id: fmt.Sprint(len(rows)),
			UserId: fmt.Sprint("u", len(rows)), ReferrerId: referrer, ReferrerType: "couple", Value: value, TimeMs: uint64(at.UnixMilli())}})
	}
	buy("a", "10", monday)
	buy("b", "20", monday)
	buy("c", "10", monday)
	buy("d", "5", monday)
	buy("d", "50", monday.Add(-time.Millisecond))
	buy("a", "1", monday.AddDate(0, 0, -7))
	buy("c", "99", monday.AddDate(0, 0, -7).Add(-time.Millisecond))
	insertAll(t, db, []*tracker.Block{{Token: "w", Rows: rows}})
	got := ask(t, db, "SELECT rank, referrer, value, conversion_rate, previous_rank FROM waymark.leaderboard WHERE period = 'week' ORDER BY rank, referrer")
	if want := []string{"1 b 20 <nil> <nil>", "2 a 10 <nil> 2", "2 c 10 <nil> <nil>", "4 d 5 <nil> 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
