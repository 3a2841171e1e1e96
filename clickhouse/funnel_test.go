package clickhouse

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// entry is one way into a cohort funnel.
type entry struct {
	program, key, unit string
	entered, at        uint64     // milliseconds; at is that of the last stage in known
	parties            []partyKey // who may go on
	known              int
}

// cohort recounts a cohort funnel by loops over all facts.
type cohort struct {
	*recount
	q       tracker.ReportQuery
	stages  []string
	windows map[string]int // days by programme
	longest int
}

func newCohort(r *recount, q tracker.ReportQuery, windows map[string]int) cohort {
	c := cohort{recount: r, q: q, stages: strings.Split(q.Stages, ","), windows: windows, longest: 30}
	for _, days := range windows {
		c.longest = max(c.longest, days)
	}
	return c
}

func days(n int) uint64 { return uint64(n) * 24 * 3600 * 1000 }

func (c cohort) window(program string) uint64 {
	if n, known := c.windows[program]; known {
		return days(n)
	}
	return days(30)
}

// acts reports whether a fact shows a person in the stages asked for, in time.
func (c cohort) acts(f fact) bool {
	return f.Stage != "clicked" && f.Stage != "invited" && f.Stage != "" && slices.Contains(c.stages, f.Stage) &&
		int64(f.TimeMs) >= c.q.From.UnixMilli() && f.TimeMs < uint64(c.q.To.UnixMilli())+days(c.longest)
}

// browsers are the parties behind a browser, by programme.
func (c cohort) browsers() map[partyKey][]partyKey {
	hits, acting, vouched := map[click]*wire.Event{}, map[partyKey]bool{}, map[partyKey]bool{}
	for _, f := range c.facts {
		key := partyKey{f.program, f.party}
		switch f.Stage {
		case "clicked":
			hits[click{f.TimeMs, f.Node, f.Sequence}] = f.Event
		case "invited":
		default:
			acting[key] = acting[key] || c.acts(f)
			vouched[key] = vouched[key] || !unverified(f.Event)
		}
	}
	tied := map[partyKey][]partyKey{}
	tie := func(program, browser string, party partyKey) {
		at := partyKey{program, browser}
		if !slices.Contains(tied[at], party) {
			tied[at] = append(tied[at], party)
		}
	}
	for _, f := range c.facts {
		key := partyKey{f.program, f.party}
		if f.Stage == "clicked" || f.Stage == "invited" || !acting[key] || unverified(f.Event) == vouched[key] {
			continue
		}
		if f.VisitorId != 0 {
			tie(f.program, browserOf(f.Event), key)
		}
		if hit := hits[click{f.ClickTimeMs, f.ClickNode, f.ClickSequence}]; hit != nil {
			tie(f.program, browserOf(hit), key)
		}
	}
	return tied
}

// entries are those of the period.
func (c cohort) entries() []entry {
	in := func(ms uint64) bool { return int64(ms) >= c.q.From.UnixMilli() && int64(ms) < c.q.To.UnixMilli() }
	tied := c.browsers()
	var all []entry
	for _, f := range c.facts {
		switch {
		case f.Stage == c.stages[0] && f.Stage == "clicked" && in(f.TimeMs) && counts(c.q.Hits, f.Reasons):
			e := entry{program: f.program, key: f.dimension(c.q.By), entered: f.TimeMs, at: f.TimeMs, known: 1}
			parties := tied[partyKey{f.program, browserOf(f.Event)}]
			for _, party := range parties {
				e.unit, e.parties = "party "+party.party, []partyKey{party}
				all = append(all, e)
			}
			if len(parties) == 0 {
				e.unit = browserOf(f.Event)
				all = append(all, e)
			}
		case f.Stage == c.stages[0] && f.Stage == "invited" && in(f.TimeMs):
			all = append(all, entry{program: f.program, key: f.dimension(c.q.By), unit: f.Id, entered: f.TimeMs, at: f.TimeMs, known: 1})
		case f.Stage == c.stages[0] && f.Stage != "clicked" && in(f.TimeMs):
			all = append(all, entry{program: f.program, key: f.dimension(c.q.By), unit: f.party, entered: f.TimeMs, at: f.TimeMs, known: 1,
				parties: []partyKey{{f.program, f.party}}})
		case c.stages[0] == "invited" && f.Stage == "clicked" && counts(c.q.Hits, f.Reasons):
			if by := c.invitation(f); by != nil && in(by.TimeMs) {
				e := entry{program: f.program, key: by.dimension(c.q.By), unit: by.Id, entered: by.TimeMs, at: f.TimeMs, known: 1,
					parties: tied[partyKey{f.program, browserOf(f.Event)}]}
				if c.stages[1] == "clicked" {
					e.known = 2
				}
				all = append(all, e)
			}
		}
	}
	return all
}

// invitation is the last one before a hit with its link, nil for none in time.
func (c cohort) invitation(hit fact) *fact {
	var last *fact
	for i, f := range c.facts {
		if f.Stage == "invited" && f.program == hit.program && f.link != "" && f.link == hit.link && f.TimeMs <= hit.TimeMs && (last == nil || f.TimeMs > last.TimeMs) {
			last = &c.facts[i]
		}
	}
	if last == nil || last.TimeMs+c.window(hit.program) < hit.TimeMs {
		return nil
	}
	return last
}

// reached counts the stages of an entry, of which each is the next in time.
func (c cohort) reached(e entry, times map[partyKey]map[string][]uint64) int {
	furthest := e.known
	for _, party := range e.parties {
		at, n := e.at, e.known
		for _, stage := range c.stages[e.known:] {
			next := uint64(0)
			for _, ms := range times[party][stage] {
				if ms >= at && ms <= e.entered+c.window(e.program) && (next == 0 || ms < next) {
					next = ms
				}
			}
			if next == 0 {
				break
			}
			at, n = next, n+1
		}
		furthest = max(furthest, n)
	}
	return furthest
}

func (c cohort) funnel() want {
	times := map[partyKey]map[string][]uint64{}
	for _, f := range c.facts {
		key := partyKey{f.program, f.party}
		if times[key] == nil {
			times[key] = map[string][]uint64{}
		}
		times[key][f.Stage] = append(times[key][f.Stage], f.TimeMs)
	}
	furthest := map[string]map[[2]string]int{} // by key, then programme and unit
	if c.q.By == "" {
		furthest[""] = nil
	}
	for _, e := range c.entries() {
		if c.q.Program != "" && e.program != c.q.Program {
			continue
		}
		if furthest[e.key] == nil {
			furthest[e.key] = map[[2]string]int{}
		}
		unit := [2]string{e.program, e.unit}
		furthest[e.key][unit] = max(furthest[e.key][unit], c.reached(e, times))
	}
	var rows want
	for key, units := range furthest {
		counts := make([]float64, len(c.stages))
		for _, reached := range units {
			for i := range reached {
				counts[i]++
			}
		}
		for i, stage := range c.stages {
			row := []any{key, stage, float64(i + 1), counts[i], nil, ratio(counts[i], counts[0])}
			if i > 0 {
				row[4] = ratio(counts[i], counts[i-1])
			}
			if c.q.By == "" {
				row = row[1:]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// setWindows gives programmes their windows; the third is unknown and
// has the usual one.
func setWindows(t *testing.T, db *DB, windows map[string]int) {
	t.Helper()
	var rows []tracker.ProgramRow
	for name, n := range windows {
		p := tracker.NewProgram(name)
		p.AttributionWindowDays = n
		rows = append(rows, tracker.ProgramRow{Program: p, Version: uint64(len(rows) + 1)})
	}
	if err := db.InsertPrograms(testContext(t), rows); err != nil {
		t.Fatal(err)
	}
}

func TestCohortFunnelAgainstRecount(t *testing.T) {
	world := newWorld(51, 4000)
	recount := world.recount()
	db := openTestDB(t)
	windows := map[string]int{"wedding": 3, "general": 45}
	setWindows(t, db, windows)
	insertAll(t, db, world.blocks(3))
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	ever := tracker.ReportQuery{Name: "funnel", Mode: "cohort", From: world.start.AddDate(-1, 0, 0), To: world.start.AddDate(1, 0, 0), Hits: "valid"}
	march := ever
	march.From, march.To, march.Hits = time.Date(2026, 3, 1, 0, 0, 0, 0, berlin), time.Date(2026, 4, 1, 0, 0, 0, 0, berlin), "unique"
	hour := ever
	hour.From, hour.To, hour.Hits, hour.Program = world.start.Add(300*time.Hour+time.Millisecond), world.start.Add(420*time.Hour), "gross", "wedding"
	for i, stages := range []string{"", "clicked,converted", "signed_up,activated,converted", "signed_up,retained", "converted",
		"invited,clicked,signed_up,converted", "invited,signed_up,activated"} {
		for j, q := range []tracker.ReportQuery{ever, march, hour} {
			if (i+j)%2 == 1 {
				continue
			}
			q.Stages = stages
			q.By = []string{"", "channel", "referrer", "program", "link", "campaign", "referee_type"}[(i+j*3)%7]
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			if stages == "" {
				q.Stages = "clicked,signed_up,activated,converted,retained"
			}
			compareRows(t, fmt.Sprintf("%+v", q), got, newCohort(recount, q, windows).funnel())
		}
	}
}

// Three days are the window. What follows an entry in order, up to its end to
// the millisecond, counts; what precedes it does not.
func TestCohortFunnelByHand(t *testing.T) {
	w := &world{random: rand.New(rand.NewPCG(1, 1)), used: map[uint64]bool{}}
	start := time.Date(2026, 3, 31, 21, 59, 59, 999_000_000, time.UTC) // the last of March in Berlin
	const window = 3 * 24 * 3600 * 1000
	at := func(ms int) uint64 { return uint64(start.UnixMilli()) + uint64(ms) }
	visit := func(visitor uint64, ms int, reasons uint32) {
		w.events = append(w.events, &wire.Event{Program: "wedding", Link: 1, Code: "L", Channel: "qr", Event: "click", Stage: "clicked", TimeMs: at(ms), VisitorId: visitor, Reasons: reasons, Sequence: uint32(len(w.events))})
	}
	reach := func(user string, visitor uint64, stage string, ms int) {
		w.act(&wire.Event{Program: "wedding", UserId: user, VisitorId: visitor}, stage, stage, at(ms))
	}
	visit(1, 0, 0) // in time at every stage, the last at the very end
	reach("u1", 1, "signed_up", 0)
	reach("u1", 0, "converted", window)
	visit(2, 0, 0) // too late by a millisecond
	reach("u2", 2, "signed_up", 1)
	reach("u2", 0, "converted", window+1)
	visit(3, 0, 0) // paid first, then signed up
	reach("u3", 3, "converted", 1)
	reach("u3", 0, "signed_up", 2)
	visit(4, 0, 1) // a bot
	reach("u4", 4, "signed_up", 1)
	visit(5, 1, 0) // in April
	reach("u5", 5, "signed_up", 2)
	visit(6, -9, 0) // one person with two browsers, of which the first visit is too early for the purchase
	visit(7, -8, 0)
	reach("u6", 6, "signed_up", -7)
	reach("u6", 7, "converted", window-8)
	visit(8, 0, 0) // nobody knows who
	db := openTestDB(t)
	setWindows(t, db, map[string]int{"wedding": 3})
	insertAll(t, db, w.blocks(1))
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "funnel", Mode: "cohort", Stages: "clicked,signed_up,converted",
		From: start.AddDate(0, 0, -20), To: start.Add(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	// Clicked: u1, u2, u3, u6 and visitor 8; all but the last signed up after it. In
	// time for a conversion are u1, and u6 after the visit with the second browser.
	compareRows(t, "by hand", got, want{
		{"clicked", 1.0, 5.0, nil, 1.0}, {"signed_up", 2.0, 4.0, 4.0 / 5, 4.0 / 5}, {"converted", 3.0, 2.0, 2.0 / 4, 2.0 / 5},
	})
	if got.Extra["worst_step"] != "converted" {
		t.Errorf("the worst step is %v", got.Extra["worst_step"])
	}
}

func TestCohortFunnelRefuses(t *testing.T) {
	db := openTestDB(t)
	for i, c := range []struct {
		field string
		query tracker.ReportQuery
	}{
		{"mode", tracker.ReportQuery{Mode: "both"}},
		{"stages", tracker.ReportQuery{Stages: "clicked"}},
		{"stages", tracker.ReportQuery{Mode: "cohort", Stages: "clicked,paid"}},
		{"stages", tracker.ReportQuery{Mode: "cohort", Stages: "converted,clicked"}},
		{"stages", tracker.ReportQuery{Mode: "cohort", Stages: "clicked,clicked"}},
		{"by", tracker.ReportQuery{Mode: "cohort", By: "country"}},
		{"by", tracker.ReportQuery{Mode: "cohort", By: overTime}},
		{"channel", tracker.ReportQuery{Mode: "cohort", Filters: map[string]string{"channel": "qr"}}},
	} {
		c.query.Name = "funnel"
		_, err := db.Report(testContext(t), c.query)
		var fault *tracker.FieldError
		if !errors.As(err, &fault) || fault.Field != c.field {
			t.Errorf("%d, %s: %v", i, c.field, err)
		}
	}
}
