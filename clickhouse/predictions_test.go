package clickhouse

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// slow is a world whose forty days became two hundred, so that there are months to hold
// out.
func slow(seed uint64, n int) *world {
	w := newWorld(seed, n)
	start := uint64(w.start.UnixMilli())
	stretch := func(ms *uint64) {
		if *ms != 0 {
			*ms = start + 5*(*ms-start)
		}
	}
	for _, e := range w.events {
		stretch(&e.TimeMs)
		stretch(&e.ClickTimeMs)
		for _, touch := range e.Touches {
			stretch(&touch.TimeMs)
		}
	}
	w.span *= 5
	return w
}

// month is a referrer at a cut: learnt from, and what came then.
type month struct {
	referrer                         string
	days                             float64
	n, lastN, nextN, v, lastV, nextV float64
	toldN, toldV                     float64
}

// monthsBefore counts for every referrer of a programme known so many days before the
// present.
func (r *recount) monthsBefore(links []tracker.LinkRow, program string, present time.Time, ago int) []*month {
	cut := present.AddDate(0, 0, -ago)
	since := map[string]time.Time{}
	begin := func(referrer string, at time.Time) {
		if first, known := since[referrer]; !known || at.Before(first) {
			since[referrer] = at
		}
	}
	for _, l := range links {
		if l.Link.Program == program && l.Link.Referrer.ID != "" {
			begin(l.Link.Referrer.ID, l.Link.CreatedAt)
		}
	}
	within := func(at, from, to time.Time) bool { return !at.Before(from) && at.Before(to) }
	all, met := map[string]*month{}, map[[2]string]bool{}
	for _, f := range r.facts { // in their order
		at := time.UnixMilli(int64(f.TimeMs))
		if f.program != program || f.Stage == "clicked" || f.Stage == "invited" || f.referrer == "" || f.referrer == f.party || !at.Before(present) {
			continue
		}
		begin(f.referrer, at)
		m := all[f.referrer]
		if m == nil {
			m = &month{referrer: f.referrer}
			all[f.referrer] = m
		}
		if f.Stage != "converted" {
			continue
		}
		value, _ := strconv.ParseFloat(cmp.Or(f.Value, "0"), 64)
		if unverified(f.Event) {
			value = 0
		}
		one := 1.0
		if user := [2]string{f.referrer, f.party}; met[user] {
			one = 0
		} else {
			met[user] = true
		}
		if within(at, cut.AddDate(0, 0, -90), cut) {
			m.n, m.v = m.n+one, m.v+value
		}
		if within(at, cut.AddDate(0, 0, -30), cut) {
			m.lastN, m.lastV = m.lastN+one, m.lastV+value
		}
		if within(at, cut, cut.AddDate(0, 0, 30)) {
			m.nextN, m.nextV = m.nextN+one, m.nextV+value
		}
	}
	var months []*month
	for referrer, first := range since {
		m := all[referrer]
		if m == nil {
			m = &month{referrer: referrer}
		}
		m.days = min(90, max(1, cut.Sub(first).Hours()/24))
		if first.Before(cut) {
			months = append(months, m)
		}
	}
	shrink(months)
	return months
}

// shrink draws rates towards their mean as section 4 of Buehlmann and Straub has it: with
// weights w, observations x, their weighted mean m, and, for Poisson counts, an
// expected variance within of m per unit of weight.
func shrink(months []*month) {
	weight, squares, n, v := 0.0, 0.0, 0.0, 0.0
	for _, m := range months {
		weight, squares, n, v = weight+m.days, squares+m.days*m.days, n+m.n, v+m.v
	}
	mean, between := n/weight, 0.0
	for _, m := range months {
		x := m.n / m.days
		between += m.days * (x - mean) * (x - mean)
	}
	between = (between - float64(len(months)-1)*mean) / (weight - squares/weight)
	for _, m := range months {
		z := 0.0
		if len(months) > 1 && between > 0 {
			z = m.days * between / (m.days*between + mean)
		}
		m.toldN = 30 * (z*m.n/m.days + (1-z)*mean)
		m.toldV = 30 * (z*m.v/m.days + (1-z)*v/weight)
	}
}

func winnerOf(held, enough int, model, baseline any) string {
	switch {
	case held < enough:
		return tooLittleHistory
	case model.(float64) < baseline.(float64):
		return "model"
	}
	return "baseline"
}

func root(sum float64, n int) any {
	if n == 0 {
		return nil
	}
	return math.Sqrt(sum / float64(n))
}

func (r *recount) predictPartners(links []tracker.LinkRow, program string, present time.Time) (rows want) {
	var errors [4]float64
	held := 0
	for _, ago := range []int{30, 60, 90} {
		for _, m := range r.monthsBefore(links, program, present, ago) {
			held++
			for i, off := range []float64{m.toldN - m.nextN, m.lastN - m.nextN, m.toldV - m.nextV, m.lastV - m.nextV} {
				errors[i] += off * off
			}
		}
	}
	for _, m := range r.monthsBefore(links, program, present, 0) {
		row := func(measure string, known, told, last, error, naive float64) {
			model, baseline := root(error, held), root(naive, held)
			rows = append(rows, []any{m.referrer, program, measure, present.AddDate(0, 0, 30), known, nil, told, last, nil, nil,
				winnerOf(held, 20, model, baseline), model, baseline, float64(held)})
		}
		row("conversions", m.n, m.toldN, m.lastN, errors[0], errors[1])
		row("value", m.v, m.toldV, m.lastV, errors[2], errors[3])
	}
	return rows
}

func TestPartnerPredictionsAgainstRecount(t *testing.T) {
	w := slow(71, 9000)
	db := openTestDB(t)
	insertAll(t, db, w.blocks(4))
	var links []tracker.LinkRow
	for i := range 40 { // some of whom nothing else is known, one from before all else
		l := tracker.Link{Number: tracker.LinkNumber(i + 1), Code: fmt.Sprint("c", i), Program: worldPrograms[i%2], Referrer: tracker.Party{ID: fmt.Sprint("u", 5*i)}, CreatedAt: w.start.AddDate(0, 0, 9*i-100)}
		links = append(links, tracker.LinkRow{Link: l, Version: uint64(i + 1)})
	}
	if err := db.InsertLinks(testContext(t), links); err != nil {
		t.Fatal(err)
	}
	recount := w.recount()
	for _, days := range []int{40, 110, 200} {
		present := w.start.AddDate(0, 0, days).Add(7*time.Hour + 5*time.Millisecond)
		if days == 200 && present.After(time.Now()) {
			t.Fatal("the world lies ahead")
		}
		q := tracker.ReportQuery{Name: "predictions", To: present}
		got, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatal(err)
		}
		var rows want
		for _, program := range worldPrograms {
			rows = append(rows, recount.predictPartners(links, program, present)...)
		}
		if len(rows) < 50 {
			t.Errorf("only %d rows", len(rows))
		}
		asFloats(got, "held_out")
		compareRows(t, fmt.Sprint(days, " days"), got, rows)
	}
}

// asFloats makes the counts of a column the numbers that a recount has.
func asFloats(r *tracker.Report, names ...string) {
	for i, column := range r.Columns {
		for _, name := range names {
			for _, row := range r.Rows {
				if n, is := row[i].(uint64); is && column == name {
					row[i] = float64(n)
				}
			}
		}
	}
}

// atLeast is the probability that a negative binomial count with a mean and a variance
// is missing or more, term by term: each is the one before it, times a ratio.
func atLeast(missing int, mean, variance float64) float64 {
	if missing <= 0 {
		return 1
	}
	p, r := mean/variance, mean*mean/(variance-mean)
	term, below := math.Pow(p, r), 0.0
	for k := range missing {
		below += term
		term *= (float64(k) + r) / float64(k+1) * (1 - p)
	}
	return math.Round(min(1, max(0, 1-below))*1e6) / 1e6
}

// stand is a campaign as it stood at a cut.
type stand struct{ n, total, mean, chance, pace float64 }

// standOf counts what a campaign had by a midnight, day by day, and tells what it will
// come to.
func (r *recount) standOf(program string, c *tracker.Campaign, measure string, target int, cut, present time.Time) stand {
	daily, met := map[time.Time]float64{}, map[string]bool{}
	day := func(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }
	for _, f := range r.facts {
		at := time.UnixMilli(int64(f.TimeMs)).UTC()
		if f.program != program || f.campaign != c.Name {
			continue
		}
		if measure == "clicks" {
			audience := *c
			audience.StartsAt, audience.EndsAt = day(c.StartsAt), nil
			if f.Stage == "clicked" && counts("valid", f.Reasons) && inCampaign(&audience, at, f.referrerType) && day(at).Before(*c.EndsAt) && day(at).Before(present) {
				daily[day(at)]++
			}
			continue
		}
		stage := map[string]string{"signups": "signed_up", "conversions": "converted"}[measure]
		if f.Stage == stage && inCampaign(c, at, f.referrerType) && at.Before(present) && !met[f.party] {
			met[f.party] = true
			daily[day(at)]++
		}
	}
	var s stand
	squares, dates := 0.0, 0.0
	for d := day(c.StartsAt); d.Before(cut); d = d.AddDate(0, 0, 1) {
		s.n, squares, dates = s.n+daily[d], squares+daily[d]*daily[d], dates+1
	}
	for _, n := range daily {
		s.total += n
	}
	spread := 1.0
	if mean := s.n / dates; dates > 1 && s.n > 0 {
		spread = max(1, (squares-s.n*mean)/(dates-1)/mean)
	}
	share := c.EndsAt.Sub(cut).Hours() / cut.Sub(c.StartsAt).Hours()
	s.mean, s.pace = (s.n+0.5)*share, s.n*(1+share)
	s.chance = atLeast(target-int(s.n), s.mean, spread*s.mean*(1+share))
	return s
}

// predictCampaigns tells of those of a programme that run, and judges by those that are
// over.
func (r *recount) predictCampaigns(program string, campaigns []tracker.Campaign, present time.Time) (rows want) {
	held, model, baseline := 0, 0.0, 0.0
	of := func(hit bool) float64 {
		if hit {
			return 1
		}
		return 0
	}
	for i := range campaigns {
		c := &campaigns[i]
		for measure, target := range map[string]int{"clicks": c.Targets.Clicks, "signups": c.Targets.Signups, "conversions": c.Targets.Conversions} {
			if target == 0 || c.EndsAt == nil || !c.StartsAt.Before(present) {
				continue
			}
			if c.EndsAt.After(present) {
				cut := present.Truncate(24 * time.Hour)
				if s := r.standOf(program, c, measure, target, cut, present); cut.After(c.StartsAt) {
					rows = append(rows, []any{c.Name, program, measure, *c.EndsAt, s.n, float64(target), s.n + s.mean, s.pace, s.chance, of(s.pace >= float64(target))})
				}
				continue
			}
			for quarter := range 3 {
				cut := c.StartsAt.Add(c.EndsAt.Sub(c.StartsAt) * time.Duration(quarter+1) / 4).Truncate(24 * time.Hour)
				if !cut.After(c.StartsAt) {
					continue
				}
				s := r.standOf(program, c, measure, target, cut, present)
				reached := of(s.total >= float64(target))
				held++
				model += (s.chance - reached) * (s.chance - reached)
				baseline += math.Abs(of(s.pace >= float64(target)) - reached)
			}
		}
	}
	for i := range rows {
		m, b := ratio(model, float64(held)), ratio(baseline, float64(held))
		rows[i] = append(rows[i], winnerOf(held, 6, m, b), m, b, float64(held))
	}
	return rows
}

func TestCampaignPredictionsAgainstRecount(t *testing.T) {
	w := slow(72, 9000)
	db := openTestDB(t)
	all := map[string][]tracker.Campaign{}
	random := rand.New(rand.NewPCG(5, 6))
	var rows []tracker.ProgramRow
	for i, name := range []string{"wedding", "general"} {
		program := tracker.NewProgram(name)
		for _, campaign := range []string{"spring", "summer", "nobody came"} {
			starts := w.start.AddDate(0, 0, random.IntN(60)).Add(time.Duration(random.IntN(86_400_000)) * time.Millisecond)
			ends := starts.AddDate(0, 0, 40+random.IntN(90)).Add(3 * time.Hour)
			program.Campaigns = append(program.Campaigns, tracker.Campaign{Name: campaign, StartsAt: starts, EndsAt: &ends, Multiplier: decimal.NewFromInt(1),
				Audience: [][]string{nil, {"supplier"}}[random.IntN(2)], Targets: tracker.CampaignTargets{Clicks: 60 + random.IntN(90), Signups: 6 + random.IntN(12), Conversions: 3 + random.IntN(8)}})
		}
		program.Campaigns = append(program.Campaigns, tracker.Campaign{Name: "open", StartsAt: w.start, Multiplier: decimal.NewFromInt(1), Targets: tracker.CampaignTargets{Signups: 1}})
		all[name] = program.Campaigns
		rows = append(rows, tracker.ProgramRow{Program: program, Version: uint64(i + 1)})
	}
	if err := db.InsertPrograms(testContext(t), rows); err != nil {
		t.Fatal(err)
	}
	insertAll(t, db, w.blocks(4))
	recount := w.recount()
	told, judged := 0, false
	for days := 24; days < 200; days += 38 {
		present := w.start.AddDate(0, 0, days).Add(7*time.Hour + 5*time.Millisecond)
		got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "predictions", By: "campaign", To: present})
		if err != nil {
			t.Fatal(err)
		}
		var rows want
		for name, campaigns := range all {
			rows = append(rows, recount.predictCampaigns(name, campaigns, present)...)
		}
		for _, row := range rows {
			judged = judged || row[10] != tooLittleHistory
		}
		told += len(rows)
		asFloats(got, "held_out")
		compareRows(t, fmt.Sprint(days, " days"), got, rows)
	}
	if told < 15 || !judged {
		t.Errorf("%d predictions, judged: %t", told, judged)
	}
}

// Referrers of two kinds, some five times as good, and each month the chance of Poisson:
// what is drawn together must beat last month's count, and know the kinds apart. Where each
// goes on for ever as he went, the last month is right and wins.
func TestPredictionsWinners(t *testing.T) {
	db := openTestDB(t)
	random := rand.New(rand.NewPCG(7, 7))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var rows []tracker.Row
	buy := func(program, referrer string, at time.Time) {
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: "purchase", Stage: "converted", Program: program, UserId: fmt.Sprint("u", len(rows)),
			Id: fmt.Sprint("p", len(rows)), ReferrerId: referrer, Value: "10", TimeMs: uint64(at.UnixMilli())}})
	}
	for i := range 60 {
		rate := 1.0
		if i < 20 {
			rate = 5
		}
		for day := range 240 {
			at := start.AddDate(0, 0, day).Add(time.Duration(i) * time.Minute)
			if random.Float64() < rate/30 {
				buy("chance", fmt.Sprintf("r%02d", i), at)
			}
			if i < 20 && day%30 < i { // the same days of each thirty
				buy("clockwork", fmt.Sprintf("r%02d", i), at)
			}
		}
	}
	insertAt(t, db, 1, 0, rows...)
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "predictions", To: start.AddDate(0, 0, 240)})
	if err != nil {
		t.Fatal(err)
	}
	if winners := fmt.Sprint(got.Extra["winners"]); winners != "map[chance:map[conversions:model value:model] clockwork:map[conversions:baseline value:baseline]]" {
		t.Error(winners)
	}
	sums := map[bool]float64{}
	for _, row := range got.Rows {
		if row[1] == "chance" && row[2] == "conversions" {
			sums[row[0].(string) < "r20"] += row[6].(float64)
		}
	}
	if good, others := sums[true]/20, sums[false]/40; math.Abs(good-5) > 1 || math.Abs(others-1) > 0.4 {
		t.Errorf("of good referrers %f are expected, of the others %f", good, others)
	}
	one, err := db.Report(testContext(t), tracker.ReportQuery{Name: "predictions", Program: "clockwork", Limit: 1, To: start.AddDate(0, 0, 240)})
	if err != nil || len(one.Rows) != 2 || one.Rows[0][0] != "r19" {
		t.Errorf("the most promising: %v, %v", one, err)
	}
}
