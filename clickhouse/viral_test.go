package clickhouse

import (
	"math"
	"slices"
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
	referrers   map[string]bool
	signups     map[string]fact // first of each party
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
			flows[key] = &flowCounts{referrers: map[string]bool{}, signups: map[string]fact{}}
		}
		if f.Stage == "invited" {
			flows[key].invitations++
			if f.referrer != "" {
				flows[key].referrers[f.referrer] = true
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
	return append(r.loops(q, flows), r.cohorts(q)...)
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

// cohorts counts, for those who first signed up in the period, whom they
// referred within the programme's window (5 days in wedding, else 30).
func (r *recount) cohorts(q tracker.ReportQuery) want {
	type cohort struct{ program, campaign string }
	members, referees := map[cohort]float64{}, map[cohort]float64{}
	for key, p := range r.paths {
		signup := int64(p.first["signed_up"])
		if signup == 0 || signup < q.From.UnixMilli() || signup >= q.To.UnixMilli() || q.Program != "" && key.program != q.Program {
			continue
		}
		of := cohort{key.program, campaignOf(q, p.credit.Campaign)}
		members[of]++
		window := int64(30)
		if key.program == "wedding" {
			window = 5
		}
		for other, path := range r.paths {
			at := int64(path.first["signed_up"])
			if other.program == key.program && path.credit.ReferrerId == key.party && other.party != key.party &&
				at >= signup && at < signup+window*24*3600*1000 {
				referees[of]++
			}
		}
	}
	var rows want
	for of, n := range members {
		k := referees[of] / n
		rows = append(rows, slices.Concat(loopKey(q, of.campaign), []any{of.program, "realised", "", "", 0.0, n, referees[of], nil, nil}, growth(k, nil)))
	}
	return rows
}

// Ten suppliers invite ten couples each, two of whom sign up; five couples
// invite four suppliers each, three of whom sign up: K₁ = 10·0.2 = 2, K₂ =
// 4·0.75 = 3, together 6. Each signup follows the latest invitation of its link
// by 48 hours one way and by 12 the other, so a cycle takes 60 hours and
// doubles after 60·ln 2/ln 6 = 23.2112 (by hand).
func TestViralByHand(t *testing.T) {
	db := openTestDB(t)
	const hour = 3_600_000
	base := uint64(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	var rows []tracker.Row
	add := func(e *wire.Event) {
		e.Program, e.Id = "wedding", string(rune('a'+len(rows)))
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: e})
	}
	side := func(from, to string, referrers, invitations, signups int, link uint32, hours uint64) {
		for i := range referrers {
			name := from + string(rune('A'+i))
			for j := range invitations {
				add(&wire.Event{Event: "invite", Stage: "invited", TimeMs: base + uint64(j), Link: link + uint32(i), ReferrerId: name, ReferrerType: from, RefereeType: to})
			}
			for j := range signups {
				clicked := base + hour
				if j%2 == 1 {
					clicked = 0 // reported without a click
				}
				add(&wire.Event{Event: "signup", Stage: "signed_up", TimeMs: base + uint64(invitations) - 1 + hours*hour, ClickTimeMs: clicked,
					Link: link + uint32(i), ReferrerId: name, ReferrerType: from, RefereeType: to, UserId: name + to + string(rune('a'+j))})
			}
		}
	}
	side("supplier", "couple", 10, 10, 2, 100, 48)
	side("couple", "supplier", 5, 4, 3, 200, 12)
	insertAll(t, db, []*tracker.Block{{Token: "v", Rows: rows}})
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
