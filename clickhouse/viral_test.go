package clickhouse

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// flow is named by its campaign, too, where the report is by campaign.
type flow struct{ program, campaign, referrerType, refereeType string }

// loopKey is the key that leads a row of the report: none without a breakdown.
func loopKey(q tracker.ReportQuery, campaign string) []any {
	if q.By == "" {
		return nil
	}
	return []any{campaign}
}

// campaignOf is the campaign that the report tells apart, "" for none.
func campaignOf(q tracker.ReportQuery, campaign string) string {
	if q.By == "" {
		return ""
	}
	return campaign
}

type flowCounts struct {
	invitations float64
	referrers   map[string]float64 // invitations of each
	signups     map[string]fact    // first of each party
	hours       []float64
}

func (c *flowCounts) k() any {
	i, n := ratio(c.invitations, float64(len(c.referrers))), ratio(float64(len(c.signups)), c.invitations)
	if i == nil || n == nil {
		return nil
	}
	return i.(float64) * n.(float64)
}

func (c *flowCounts) cycle() any {
	sum := 0.0
	for _, h := range c.hours {
		sum += h
	}
	return ratio(sum, float64(len(c.hours)))
}

// viral recounts the viral loop by the words of mission.md.
func (r *recount) viral(q tracker.ReportQuery) want {
	return append(r.loops(q, r.flows(q)), r.cohorts(q)...)
}

func (r *recount) flows(q tracker.ReportQuery) map[flow]*flowCounts {
	flows := map[flow]*flowCounts{}
	for _, f := range r.facts {
		at := time.UnixMilli(int64(f.TimeMs))
		if at.Before(q.From) || !at.Before(q.To) || q.Program != "" && f.program != q.Program {
			continue
		}
		if f.Stage != "invited" && (f.Stage != "signed_up" || f.number == 0 && f.referrer == "") {
			continue
		}
		key := flow{f.program, campaignOf(q, f.campaign), f.referrerType, f.refereeType}
		if flows[key] == nil {
			flows[key] = &flowCounts{referrers: map[string]float64{}, signups: map[string]fact{}}
		}
		if f.Stage == "invited" {
			flows[key].invitations++
			if f.referrer != "" {
				flows[key].referrers[f.referrer]++
			}
		} else if _, known := flows[key].signups[f.party]; !known {
			flows[key].signups[f.party] = f // facts are in order of time
		}
	}
	for _, c := range flows {
		for _, signup := range c.signups {
			if latest := r.latestInvitation(signup); latest != 0 {
				c.hours = append(c.hours, float64(signup.TimeMs-latest)/3_600_000)
			}
		}
	}
	return flows
}

func (r *recount) latestInvitation(signup fact) uint64 {
	moment := signup.TimeMs
	if signup.click.time != 0 && signup.click.time < moment {
		moment = signup.click.time
	}
	var latest uint64
	for _, f := range r.facts {
		if f.Stage == "invited" && f.Link != 0 && f.Link == signup.number && f.TimeMs <= moment {
			latest = max(latest, f.TimeMs)
		}
	}
	return latest
}

func (r *recount) loops(q tracker.ReportQuery, flows map[flow]*flowCounts) want {
	var rows want
	for key, c := range flows {
		k, cycle := c.k(), c.cycle()
		rows = append(rows, slices.Concat(loopKey(q, key.campaign), []any{key.program, "one-sided", key.referrerType, key.refereeType,
			c.invitations, float64(len(c.referrers)), float64(len(c.signups)),
			ratio(c.invitations, float64(len(c.referrers))), ratio(float64(len(c.signups)), c.invitations)}, growth(k, cycle)))
		back := flows[flow{key.program, key.campaign, key.refereeType, key.referrerType}]
		if back == nil || key.referrerType >= key.refereeType {
			continue
		}
		k, cycle = both(k, back.k(), func(a, b float64) float64 { return a * b }), both(cycle, back.cycle(), func(a, b float64) float64 { return a + b })
		rows = append(rows, slices.Concat(loopKey(q, key.campaign), []any{key.program, "two-sided", key.referrerType, key.refereeType,
			c.invitations + back.invitations, float64(len(c.referrers) + len(back.referrers)), float64(len(c.signups) + len(back.signups)), nil, nil}, growth(k, cycle)))
	}
	return rows
}

func both(a, b any, combine func(a, b float64) float64) any {
	if a == nil || b == nil {
		return nil
	}
	return combine(a.(float64), b.(float64))
}

// growth is K, cycle, status and doubling time.
func growth(k, cycle any) []any {
	status, doubling := "", any(nil)
	if k, ok := k.(float64); ok {
		switch {
		case k > 1:
			status = "viral growth"
			if cycle, ok := cycle.(float64); ok {
				doubling = cycle * math.Ln2 / math.Log(k)
			}
		case k > 0.7:
			status = "near viral"
		default:
			status = "sub-viral"
		}
	}
	return []any{k, cycle, status, doubling}
}

// newcomer is somebody who signed up, with how many it referred in time.
type newcomer struct {
	program, campaign string
	at                uint64
	window            int64 // milliseconds
	referees          float64
}

// members are those who first signed up in the period, each with whom it
// referred within the programme's window (5 days in wedding, else 30).
func (r *recount) members(q tracker.ReportQuery) []newcomer {
	var all []newcomer
	for key, p := range r.paths {
		signup := int64(p.first["signed_up"])
		if signup == 0 || signup < q.From.UnixMilli() || signup >= q.To.UnixMilli() || q.Program != "" && key.program != q.Program {
			continue
		}
		m := newcomer{key.program, campaignOf(q, p.credit.Campaign), uint64(signup), 30 * 24 * 3600 * 1000, 0}
		if key.program == "wedding" {
			m.window = 5 * 24 * 3600 * 1000
		}
		for other, path := range r.paths {
			at := int64(path.first["signed_up"])
			if other.program == key.program && path.credit.ReferrerId == key.party && other.party != key.party &&
				at >= signup && at < signup+m.window {
				m.referees++
			}
		}
		all = append(all, m)
	}
	return all
}

// cohorts counts whom those who first signed up in the period referred.
func (r *recount) cohorts(q tracker.ReportQuery) want {
	type cohort struct{ program, campaign string }
	members, referees := map[cohort]float64{}, map[cohort]float64{}
	for _, m := range r.members(q) {
		of := cohort{m.program, m.campaign}
		members[of]++
		referees[of] += m.referees
	}
	var rows want
	for of, n := range members {
		k := referees[of] / n
		rows = append(rows, slices.Concat(loopKey(q, of.campaign), []any{of.program, "realised", "", "", 0.0, n, referees[of], nil, nil}, growth(k, nil)))
	}
	return rows
}

// insertLoops makes both halves of a loop in the programme wedding: ten
// suppliers invite ten couples each, two of whom sign up; five couples invite
// four suppliers each, three of whom sign up. Each signup follows the latest
// invitation of its link by 48 hours one way and by 12 the other.
func insertLoops(t *testing.T, db *DB) {
	t.Helper()
	const hour = 3_600_000
	base := uint64(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	var rows []tracker.Row
	add := func(e *wire.Event) {
		e.Program, e.Id = "wedding", strconv.Itoa(len(rows))
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: e})
	}
	side := func(from, to string, referrers, invitations, signups int, link uint32, hours uint64) {
		for i := range referrers {
			name := from + strconv.Itoa(i)
			for j := range invitations {
				add(&wire.Event{Event: "invite", Stage: "invited", TimeMs: base + uint64(j), Link: link + uint32(i), ReferrerId: name, ReferrerType: from, RefereeType: to})
			}
			for j := range signups {
				clicked := base + hour
				if j%2 == 1 {
					clicked = 0 // reported without a click
				}
				add(&wire.Event{Event: "signup", Stage: "signed_up", TimeMs: base + uint64(invitations) - 1 + hours*hour, ClickTimeMs: clicked,
					Link: link + uint32(i), ReferrerId: name, ReferrerType: from, RefereeType: to, UserId: fmt.Sprint(name, to, j)})
			}
		}
	}
	side("supplier", "couple", 10, 10, 2, 100, 48)
	side("couple", "supplier", 5, 4, 3, 200, 12)
	insertAll(t, db, []*tracker.Block{{Token: "v", Rows: rows}})
}

// By hand: K₁ = 10·0.2 = 2, K₂ = 4·0.75 = 3, together 6. A cycle takes 48 + 12
// = 60 hours and doubles after 60·ln 2/ln 6 = 23.2112.
func TestViralByHand(t *testing.T) {
	db := openTestDB(t)
	insertLoops(t, db)
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "viral", Program: "wedding"})
	if err != nil {
		t.Fatal(err)
	}
	var two []any
	for _, row := range got.Rows {
		if row[1] == "two-sided" {
			two = row
		}
	}
	want := []any{"wedding", "two-sided", "couple", "supplier", 120.0, 15.0, 35.0, nil, nil, 6.0, 60.0, "viral growth"}
	if len(two) != 13 || !sameRow(two[:12], want) || math.Abs(two[12].(float64)-23.2112) > 1e-4 {
		t.Errorf("got %v, want %v and 23.2112", two, want)
	}
}

// The same from settled actions, those newer than them, and both together.
func TestViralFromSettledActions(t *testing.T) {
	world := newWorld(34, 3000)
	recount := world.recount()
	db := openTestDB(t)
	programs := []tracker.ProgramRow{{Program: tracker.NewProgram("wedding"), Version: 1}}
	programs[0].Program.AttributionWindowDays = 5
	if err := db.InsertPrograms(testContext(t), programs); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		ever := tracker.ReportQuery{Name: "viral", From: world.start.AddDate(-1, 0, 0), To: world.start.AddDate(1, 0, 0)}
		for _, q := range []tracker.ReportQuery{
			ever,
			{Name: "viral", From: ever.From, To: ever.To, By: "campaign"},
			{Name: "viral", From: world.start.Add(77 * time.Hour), To: world.start.Add(300*time.Hour + time.Millisecond), By: "campaign", Program: "wedding"},
		} {
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			compareRows(t, fmt.Sprintf("%+v", q), got, recount.viral(q))
		}
	}
	blocks := world.blocks(10)
	insertAll(t, db, blocks[:7])
	settle(t, db)
	settle(t, db)
	insertAll(t, db, blocks[7:])
	check()
	settle(t, db)
	settle(t, db)
	if left := number(t, db, "SELECT count() FROM waymark.unsettled"); left != 0 {
		t.Errorf("%d parties are unsettled", left)
	}
	check()
}
