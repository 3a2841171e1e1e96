package clickhouse

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/wire"
)

// promoted are the programmes of a world with campaigns: one that begins and
// ends within a day and has an audience, one that is open, and none that is
// written down for the third programme.
func promoted(t *testing.T, db *DB, w *world) map[[2]string]*tracker.Campaign {
	t.Helper()
	ends, budget := w.start.AddDate(0, 0, 31).Add(17*time.Hour+3*time.Millisecond), money("12.5")
	spring := tracker.Campaign{Name: "spring", StartsAt: w.start.AddDate(0, 0, 9).Add(5*time.Hour + 7*time.Millisecond), EndsAt: &ends, Audience: []string{"supplier"},
		Multiplier: decimal.NewFromInt(1), Budget: &budget, Spend: money("40"), Targets: tracker.CampaignTargets{Clicks: 30, Conversions: 4, Value: money("2000")}, Variants: []string{"plain", "photo"}}
	midnight := w.start.AddDate(0, 0, 20)
	summer := tracker.Campaign{Name: "summer", StartsAt: w.start.AddDate(0, 0, 3), EndsAt: &midnight, Multiplier: decimal.NewFromInt(1), Targets: tracker.CampaignTargets{Signups: 8}}
	open := tracker.Campaign{Name: "spring", StartsAt: w.start.AddDate(0, 0, 12).Add(time.Hour), Multiplier: decimal.NewFromInt(1), Variants: []string{"photo", "plain"}}
	quiet := tracker.Campaign{Name: "nobody came", StartsAt: w.start, Multiplier: decimal.NewFromInt(1), Spend: money("3")}
	all := map[[2]string]*tracker.Campaign{
		{"wedding", "spring"}: &spring, {"wedding", "summer"}: &summer, {"general", "spring"}: &open, {"general", "nobody came"}: &quiet,
	}
	wedding, general := tracker.NewProgram("wedding"), tracker.NewProgram("general")
	wedding.Campaigns, general.Campaigns = []tracker.Campaign{spring, summer}, []tracker.Campaign{open, quiet}
	// A later version that does not hold yet, and an earlier one.
	before, after := wedding, wedding
	before.Campaigns, after.Campaigns = nil, nil
	wedding.EffectiveFrom, after.EffectiveFrom = w.start, time.Now().AddDate(1, 0, 0)
	rows := []tracker.ProgramRow{{Program: before, Version: 1}, {Program: wedding, Version: 2}, {Program: after, Version: 3}, {Program: general, Version: 4}}
	if err := db.InsertPrograms(testContext(t), rows); err != nil {
		t.Fatal(err)
	}
	return all
}

// worth is what a campaign brought, event by event.
type worth struct {
	invitations, clicks             float64
	visitors                        map[string]bool
	signups, conversions            map[string]bool
	value, refunds, rewards, earned decimal.Decimal
}

// inCampaign reports whether something belongs to a campaign, nil for one that
// is not written down.
func inCampaign(c *tracker.Campaign, at time.Time, referrerType string) bool {
	if c == nil {
		return true
	}
	return !at.Before(c.StartsAt) && (c.EndsAt == nil || at.Before(*c.EndsAt)) &&
		(len(c.Audience) == 0 || referrerType == "" || slices.Contains(c.Audience, referrerType))
}

func (w *worth) add(f fact) {
	value := decimal.RequireFromString(cmp.Or(f.Value, "0"))
	if unverified(f.Event) {
		value = decimal.Zero
	}
	switch {
	case f.Stage == "clicked" && counts("valid", f.Reasons):
		w.clicks++
		visitor := fmt.Sprint(f.VisitorId)
		if f.VisitorId == 0 {
			visitor = fmt.Sprint("hit ", f.TimeMs, f.Node, f.Sequence)
		}
		w.visitors[visitor] = true
	case f.Stage == "invited":
		w.invitations++
	case f.Stage == "signed_up":
		w.signups[f.party] = true
	case f.Stage == "converted":
		w.conversions[f.party] = true
		w.value = w.value.Add(value)
	case f.Event.Event == "refund":
		w.refunds = w.refunds.Add(value)
	}
}

func newWorth() *worth {
	return &worth{visitors: map[string]bool{}, signups: map[string]bool{}, conversions: map[string]bool{}}
}

// row is the campaign as the view has it, without the audience.
func (w *worth) row(key [2]string, c *tracker.Campaign) []any {
	number := func(n int) any {
		if n == 0 {
			return nil
		}
		return float64(n)
	}
	share := func(n float64, of int) any { return ratio(n, float64(of)) }
	float := func(d decimal.Decimal) float64 { return d.InexactFloat64() }
	signups, conversions, visitors := float64(len(w.signups)), float64(len(w.conversions)), float64(len(w.visitors))
	status, starts, ends := "", any(nil), any(nil)
	var targets tracker.CampaignTargets
	spend, budget, used, left := decimal.Zero, any(nil), any(nil), any(nil)
	currency := map[string]string{"wedding": "EUR", "general": "EUR"}[key[0]]
	if c != nil {
		status, starts, targets, spend = "running", c.StartsAt, c.Targets, c.Spend
		if c.EndsAt != nil {
			status, ends = "ended", *c.EndsAt
		}
		if c.Budget != nil {
			budget, used, left = *c.Budget, w.earned, decimal.Max(decimal.Zero, c.Budget.Sub(w.earned))
		}
	}
	total := w.rewards.Add(spend)
	var target any
	if !targets.Value.IsZero() {
		target = targets.Value
	}
	return []any{
		key[0], key[1], status, starts, ends, currency, w.invitations, w.clicks, visitors, signups, conversions, w.value, w.refunds,
		ratio(signups, visitors), ratio(conversions, visitors), number(targets.Clicks), number(targets.Signups), number(targets.Conversions), target,
		share(w.clicks, targets.Clicks), share(signups, targets.Signups), share(conversions, targets.Conversions), ratio(float(w.value), float(targets.Value)),
		budget, used, left, w.rewards, spend, total, ratio(float(total), conversions), ratio(float(w.value.Sub(w.refunds).Sub(total)), float(total)),
	}
}

func TestCampaignsAgainstRecount(t *testing.T) {
	w := newWorld(11, 4000)
	db := openTestDB(t)
	terms := promoted(t, db, w)
	insertAll(t, db, w.blocks(4))
	// Rewards of spring: one in its time and of its audience, that lost some again; one that expired; one too early; one of another type.
	in, early := w.start.AddDate(0, 0, 15), w.start.AddDate(0, 0, 1)
	entry := func(chain string, n int, at time.Time, kind rewards.Kind, state rewards.State, value, referrerType string) *rewards.Entry {
		return &rewards.Entry{Chain: chain, N: n, Party: "s", Time: at, Value: money(value), Kind: kind, State: state, Campaign: "spring", ReferrerType: referrerType, Base: value, RecordedAt: at}
	}
	insertAt(t, db, 9, 0, rowsOf("wedding",
		entry("A", 0, in, rewards.Earn, rewards.Pending, "10", "supplier"), entry("A", 1, in.Add(time.Hour), rewards.Adjust, rewards.Pending, "-2.25", "supplier"),
		entry("B", 0, in, rewards.Earn, rewards.Eligible, "3", "supplier"), entry("B", 1, in.AddDate(1, 0, 0), rewards.Expire, rewards.Expired, "-3", "supplier"),
		entry("C", 0, early, rewards.Earn, rewards.Pending, "100", "supplier"), entry("D", 0, in, rewards.Earn, rewards.Pending, "1000", "couple"))...)

	all := map[[2]string]*worth{}
	for key := range terms {
		all[key] = newWorth()
	}
	for _, f := range w.recount().facts {
		key := [2]string{f.program, f.campaign}
		counts := f.Stage != "clicked" || counts("valid", f.Reasons)
		if f.campaign == "" || !counts || !inCampaign(terms[key], time.UnixMilli(int64(f.TimeMs)), f.referrerType) {
			continue
		}
		if all[key] == nil {
			all[key] = newWorth()
		}
		all[key].add(f)
	}
	all[[2]string{"wedding", "spring"}].rewards, all[[2]string{"wedding", "spring"}].earned = money("7.75"), money("10.75")
	var rows want
	for key, sum := range all {
		rows = append(rows, sum.row(key, terms[key]))
	}
	compareRows(t, "campaigns", view(t, db, "SELECT * EXCEPT audience FROM waymark.campaigns"), rows)
	if len(rows) < 6 {
		t.Errorf("only %d campaigns", len(rows))
	}
	report, err := db.Report(testContext(t), tracker.ReportQuery{Name: "campaigns", Program: "wedding", From: w.start.AddDate(0, 0, 25), To: w.start.AddDate(0, 0, 26)})
	if err != nil || len(report.Rows) != 1 || report.Rows[0][1] != "spring" {
		t.Errorf("of a day in which spring alone ran: %v, %v", report, err)
	}
}

// Arms of a test against the examples of Newcombe 1998, table II, method 10; the
// p-values by hand.
func TestVariantsAgainstPublished(t *testing.T) {
	db := openTestDB(t)
	cases := []struct {
		x, n, x0, n0 int
		low, high    float64
		p            float64 // NaN where there is none
	}{
		{56, 70, 48, 80, 0.0524, 0.3339, 0.008045},
		{9, 10, 3, 10, 0.1705, 0.8090, 0.006170},
		{6, 7, 2, 7, 0.0582, 0.8062, 0.030755},
		{5, 56, 0, 29, -0.0381, 0.1926, 0.097187},
		{0, 10, 0, 20, -0.1611, 0.2775, math.NaN()},
		{10, 10, 0, 20, 0.6791, 1, 0},
	}
	program := tracker.NewProgram("ab")
	var links []tracker.LinkRow
	var rows []tracker.Row
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for i, c := range cases {
		name := fmt.Sprint("test ", i)
		program.Campaigns = append(program.Campaigns, tracker.Campaign{Name: name, StartsAt: start, Variants: []string{"old", "new"}})
		for arm, numbers := range [][2]int{{c.x0, c.n0}, {c.x, c.n}} {
			number := uint32(10*i + arm + 1)
			links = append(links, tracker.LinkRow{Link: tracker.Link{Number: tracker.LinkNumber(number), Code: fmt.Sprint("l", number), Program: "ab", Campaign: name, Tags: []string{"print", []string{"old", "new"}[arm]}}, Version: uint64(number)})
			for v := range numbers[1] {
				at := uint64(start.UnixMilli()) + uint64(len(rows))
				hit := func(at uint64) *wire.Event {
					return &wire.Event{Event: "click", Stage: "clicked", Program: "ab", Campaign: name, Link: number, Code: fmt.Sprint("l", number), TimeMs: at, VisitorId: uint64(number)<<20 + uint64(v) + 1}
				}
				rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: hit(at)}, tracker.Row{Offset: int64(len(rows) + 1), Event: hit(at + 1)})
				if v < numbers[0] {
					rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: "purchase", Stage: "converted", Program: "ab", Campaign: name, Link: number, Code: fmt.Sprint("l", number),
						UserId: fmt.Sprint("u", number, "-", v), Id: fmt.Sprint("p", number, "-", v), Value: "2", TimeMs: at + 5}})
				}
			}
		}
	}
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: program, Version: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := db.InsertLinks(testContext(t), links); err != nil {
		t.Fatal(err)
	}
	insertAt(t, db, 1, 0, rows...)
	report, err := db.Report(testContext(t), tracker.ReportQuery{Name: "campaign_variants", Program: "ab", From: start, To: start.AddDate(0, 1, 0)})
	if err != nil || len(report.Rows) != 2*len(cases) {
		t.Fatalf("%d rows, %v", len(report.Rows), err)
	}
	near := func(what string, got any, want, by float64) {
		t.Helper()
		if value, ok := got.(float64); !ok && !math.IsNaN(want) || ok && !(math.Abs(value-want) <= by) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	for i, c := range cases {
		control, arm := report.Rows[2*i], report.Rows[2*i+1]
		if control[2] != "old" || control[3] != true || arm[2] != "new" || arm[3] != false || arm[4] != uint64(c.n) || arm[5] != uint64(c.x) || control[4] != uint64(c.n0) || control[5] != uint64(c.x0) {
			t.Errorf("case %d counts %v and %v", i, control, arm)
		}
		if control[8] != nil || control[12] != nil {
			t.Errorf("case %d compares the control with itself: %v", i, control)
		}
		name := fmt.Sprintf("case %d: ", i)
		near(name+"difference", arm[8], float64(c.x)/float64(c.n)-float64(c.x0)/float64(c.n0), 1e-12)
		near(name+"low", arm[10], c.low, 0.00005)
		near(name+"high", arm[11], c.high, 0.00005)
		near(name+"p", arm[12], c.p, 0.00005)
		near(name+"confidence", arm[13], 1-c.p, 0.00005)
	}
	if improvement, ok := report.Rows[1][9].(float64); !ok || math.Abs(improvement-1./3) > 1e-12 {
		t.Errorf("56 of 70 is %v better than 48 of 80, want a third", report.Rows[1][9])
	}
}
