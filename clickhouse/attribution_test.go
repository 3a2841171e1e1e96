package clickhouse

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// journey is a conversion with the hits before it, or, in the Markov model,
// the hits of a visitor who did not convert.
type journey struct {
	touches   []*wire.Event
	at        uint64
	value     decimal.Decimal
	converted bool
}

// browserOf names who made a hit: the visitor, or a visitor of this hit only.
func browserOf(hit *wire.Event) string {
	if hit.VisitorId != 0 {
		return fmt.Sprint("visitor ", hit.VisitorId)
	}
	return fmt.Sprint("hit ", hit.TimeMs, " ", hit.Node, " ", hit.Sequence)
}

// journeys finds the way to each conversion of a period by going through all
// events for every question; the window is 5 days in wedding, else 30.
func (r *recount) journeys(q tracker.ReportQuery) []journey {
	within := func(e *wire.Event) bool {
		at := time.UnixMilli(int64(e.TimeMs))
		return !at.Before(q.From) && at.Before(q.To)
	}
	hits, byClick := map[string][]*wire.Event{}, map[click]*wire.Event{}
	actions, conversions := map[partyKey][]*wire.Event{}, map[partyKey]*journey{}
	for _, f := range r.facts { // in order of time
		switch key := (partyKey{f.program, f.party}); {
		case q.Program != "" && f.program != q.Program:
			if f.Stage == "clicked" {
				byClick[click{f.TimeMs, f.Node, f.Sequence}] = f.Event
			}
		case f.Stage == "clicked":
			hits[browserOf(f.Event)] = append(hits[browserOf(f.Event)], f.Event)
			byClick[click{f.TimeMs, f.Node, f.Sequence}] = f.Event
		case f.Stage != "invited":
			actions[key] = append(actions[key], f.Event)
			if f.Stage != "converted" || !within(f.Event) {
				break
			}
			if conversions[key] == nil {
				conversions[key] = &journey{at: f.TimeMs, converted: true}
			}
			if !unverified(f.Event) {
				conversions[key].value = conversions[key].value.Add(decimal.RequireFromString(cmp.Or(f.Value, "0")))
			}
		}
	}
	var all []journey
	taken := map[string]bool{} // programme and browser
	for key, j := range conversions {
		window := uint64(30)
		if key.program == "wedding" {
			window = 5
		}
		for browser := range browsersOf(actions[key], byClick) {
			taken[key.program+"\x00"+browser] = true
			for _, hit := range hits[browser] {
				if hit.Program == key.program && counts(q.Hits, hit.Reasons) && hit.TimeMs <= j.at && hit.TimeMs+window*24*3600*1000 >= j.at {
					j.touches = append(j.touches, hit)
				}
			}
		}
		all = append(all, *j)
	}
	for browser, list := range hits {
		lost := map[string]*journey{} // by programme
		for _, hit := range list {
			if within(hit) && counts(q.Hits, hit.Reasons) && !taken[hit.Program+"\x00"+browser] {
				if lost[hit.Program] == nil {
					lost[hit.Program] = &journey{}
				}
				lost[hit.Program].touches = append(lost[hit.Program].touches, hit)
			}
		}
		for _, j := range lost {
			all = append(all, *j)
		}
	}
	for _, j := range all {
		slices.SortFunc(j.touches, func(a, b *wire.Event) int {
			return cmp.Or(cmp.Compare(a.TimeMs, b.TimeMs), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Sequence, b.Sequence))
		})
	}
	return all
}

// browsersOf are those that a party's actions speak of: the verified ones, if
// there is any.
func browsersOf(actions []*wire.Event, hits map[click]*wire.Event) map[string]bool {
	anyVerified := slices.ContainsFunc(actions, func(e *wire.Event) bool { return !unverified(e) })
	browsers := map[string]bool{}
	for _, e := range actions {
		if anyVerified && unverified(e) {
			continue
		}
		if e.VisitorId != 0 {
			browsers[browserOf(&wire.Event{VisitorId: e.VisitorId})] = true
		}
		if hit := hits[click{e.ClickTimeMs, e.ClickNode, e.ClickSequence}]; hit != nil && e.ClickTimeMs != 0 {
			browsers[browserOf(hit)] = true
		}
	}
	return browsers
}

// keysOf are the keys of the touches in a breakdown.
func keysOf(j journey, by string) []string {
	var keys []string
	for _, e := range j.touches {
		f := fact{program: e.Program, campaign: e.Campaign, channel: e.Channel, link: linkKey(e), referrer: e.ReferrerId,
			referrerType: e.ReferrerType, refereeType: e.RefereeType, visit: e}
		keys = append(keys, f.dimension(by))
	}
	return keys
}

// weigh says what the rules say, a case for each.
func weigh(j journey, q tracker.ReportQuery) []float64 {
	n := len(j.touches)
	weights := make([]float64, n)
	switch {
	case q.Model == "first" || n == 1:
		weights[0] = 1
	case q.Model == "last":
		weights[n-1] = 1
	case q.Model == "linear":
		for i := range weights {
			weights[i] = 1 / float64(n)
		}
	case q.Model == "time_decay":
		for i, touch := range j.touches {
			weights[i] = math.Pow(0.5, float64(j.at-touch.TimeMs)/3_600_000/24/q.HalfLifeDays)
		}
	case q.Model == "position" && n == 2:
		weights[0], weights[1] = q.FirstShare, q.LastShare
	case q.Model == "position":
		for i := range weights {
			weights[i] = (1 - q.FirstShare - q.LastShare) / float64(n-2)
		}
		weights[0], weights[n-1] = q.FirstShare, q.LastShare
	}
	total := 0.0
	for _, w := range weights {
		total += w
	}
	for i := range weights {
		weights[i] /= total
	}
	return weights
}

type share struct{ conversions, value float64 }

// attribution recounts the report, values as floats.
func (r *recount) attribution(q tracker.ReportQuery) map[string]share {
	if q.Model == "markov" {
		return markovByHand(r.journeys(q), q.By)
	}
	all := map[string]share{}
	add := func(key string, weight float64, j journey) {
		value, _ := j.value.Float64()
		all[key] = share{all[key].conversions + weight, all[key].value + weight*value}
	}
	for _, j := range r.journeys(q) {
		keys := keysOf(j, q.By)
		switch {
		case !j.converted:
		case len(keys) == 0:
			add("(direct)", 1, j)
		case q.Model == "shapley":
			slices.Sort(keys)
			distinct := slices.Compact(keys)
			for _, key := range distinct {
				add(key, 1/float64(len(distinct)), j)
			}
		default:
			for i, weight := range weigh(j, q) {
				add(keys[i], weight, j)
			}
		}
	}
	return all
}

// compareAttribution compares each key with the recount, and the sums exactly
// with those of conversion_rates: parts of a value are rounded to a millionth.
func compareAttribution(t *testing.T, db *DB, got *tracker.Report, q tracker.ReportQuery, r *recount) {
	t.Helper()
	want := r.attribution(q)
	conversions, value := 0.0, decimal.Zero
	for _, row := range got.Rows {
		key, c, v := row[0].(string), row[1].(float64), row[2].(decimal.Decimal)
		f, _ := v.Float64()
		if w := want[key]; math.Abs(w.conversions-c) > 1e-7 || math.Abs(w.value-f) > 1e-6*(10+c)+1e-9*f {
			t.Errorf("%+v %q: got %v conversions and %v, want %v", q, key, c, v, w)
		}
		delete(want, key)
		conversions, value = conversions+c, value.Add(v)
	}
	for key, w := range want {
		if w.conversions > 0 {
			t.Errorf("%+v %q is missing, want %v", q, key, w)
		}
	}
	rates, err := db.Report(testContext(t), tracker.ReportQuery{Name: "conversion_rates", From: q.From, To: q.To, Program: q.Program, By: "program"})
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string) int { return slices.Index(rates.Columns, name) }
	total, paid := 0.0, decimal.Zero
	for _, row := range rates.Rows {
		total += float64(row[column("conversions")].(uint64))
		paid = paid.Add(row[column("value")].(decimal.Decimal))
	}
	if math.Abs(total-conversions) > 1e-7 || !paid.Equal(value) {
		t.Errorf("%+v: %v conversions of %v in all, conversion_rates has %v of %v", q, conversions, value, total, paid)
	}
}

func TestAttributionAgainstRecount(t *testing.T) {
	world := newWorld(8, 6000)
	recount := world.recount()
	db := openTestDB(t)
	insertWindows(t, db)
	insertAll(t, db, world.blocks(7))
	ever := tracker.ReportQuery{Name: "attribution", From: time.Unix(0, 0), To: world.start.AddDate(1, 0, 0), Hits: "valid", HalfLifeDays: 7, FirstShare: 0.4, LastShare: 0.4}
	check := func(q tracker.ReportQuery) {
		t.Helper()
		got, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		compareAttribution(t, db, got, q, recount)
	}
	for i, model := range attributionModels {
		q := ever
		q.Model, q.By = model, linkDimensions[i%len(linkDimensions)]
		check(q)
		q.By, q.Program = "channel", pick(world, worldPrograms)
		q.From = world.start.Add(time.Duration(world.random.Int64N(int64(world.span / 2)))).Truncate(time.Millisecond)
		q.To = q.From.Add(200 * time.Hour)
		q.HalfLifeDays, q.FirstShare, q.LastShare, q.Hits = 0.5, 0.1, 0.6, pick(world, []string{"unique", "gross"})
		check(q)
	}
	for table := range viewTargets {
		exec(t, db, "OPTIMIZE TABLE waymark."+table+" FINAL")
	}
	q := ever
	q.Model, q.By = "linear", "link"
	check(q)
	checkAttributionView(t, db, recount, ever)
}

// checkAttributionView compares what analysts read: every programme, model
// and dimension in one view.
func checkAttributionView(t *testing.T, db *DB, r *recount, q tracker.ReportQuery) {
	rows, err := db.table(testContext(t), "SELECT program, model, dimension, key, conversions, toFloat64(value) FROM waymark.attribution")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]share{}
	for _, row := range rows.Rows {
		got[fmt.Sprint(row[:4])] = share{row[4].(float64), row[5].(float64)}
	}
	found := 0
	for _, program := range append(slices.Clone(worldPrograms), "") {
		part := r.only(func(f fact) bool { return f.program == program || f.Stage == "clicked" }, func(partyKey) bool { return true })
		for _, model := range []string{"first", "last", "linear", "time_decay", "position", "shapley"} {
			for _, by := range []string{"link", "campaign", "channel", "referrer", "referrer_type", "referee_type"} {
				q.Model, q.By = model, by
				for key, want := range part.attribution(q) {
					found++
					name := fmt.Sprint([]any{program, model, by, key})
					if g := got[name]; math.Abs(g.conversions-want.conversions) > 1e-7 || math.Abs(g.value-want.value) > 1e-4 {
						t.Errorf("view attribution %s: got %v, want %v", name, g, want)
					}
				}
			}
		}
	}
	if found != len(rows.Rows) {
		t.Errorf("view attribution has %d rows, want %d", len(rows.Rows), found)
	}
}

// insertWindows gives wedding a window of 5 days.
func insertWindows(t *testing.T, db *DB) {
	t.Helper()
	programs := []tracker.ProgramRow{{Program: tracker.NewProgram("general"), Version: 1}, {Program: tracker.NewProgram("wedding"), Version: 2}}
	programs[1].Program.AttributionWindowDays = 5
	if err := db.InsertPrograms(testContext(t), programs); err != nil {
		t.Fatal(err)
	}
}

// 40/20/40 and a half-life of seven days by hand: touches 8, 7 and 0 days
// before the conversion, of 100.00 in all.
func TestAttributionByHand(t *testing.T) {
	db := openTestDB(t)
	const day = 24 * 3_600_000
	at := uint64(time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC).UnixMilli())
	hit := func(channel string, before uint64, visitor uint64, reasons uint32) *wire.Event {
		return &wire.Event{Event: "click", Stage: "clicked", Program: "general", TimeMs: at - before, Link: 1, Channel: channel, VisitorId: visitor, Reasons: reasons}
	}
	rows := []*wire.Event{
		hit("email", 8*day, 1, 0), hit("qr", 7*day, 2, 0), hit("social", 0, 1, 0),
		hit("bot", 3*day, 1, 1), hit("preview", 3*day+1, 2, 8), hit("early", 30*day+1, 1, 0), hit("stranger", day, 3, 0),
		{Event: "signup", Stage: "signed_up", Program: "general", TimeMs: at - day, UserId: "u", Id: "s", ClickTimeMs: at - 7*day},
		{Event: "purchase", Stage: "converted", TimeMs: at, UserId: "u", Id: "p", Value: "70", VisitorId: 1},
		{Event: "purchase", Stage: "converted", TimeMs: at + day, UserId: "u", Id: "p2", Value: "30", VisitorId: 1},
		{Event: "refund", TimeMs: at + 2*day, UserId: "u", Id: "r", Value: "30"},
		// Anybody's browser may report that it is u's.
		{Event: "purchase", Stage: "converted", Program: "general", TimeMs: at, UserId: "u", Id: "x", Value: "999", VisitorId: 3, Reasons: 128},
	}
	block := &tracker.Block{Token: "h"}
	for i, e := range rows {
		block.Rows = append(block.Rows, tracker.Row{Offset: int64(i), Event: e})
	}
	insertAll(t, db, []*tracker.Block{block})
	for model, want := range map[string][3]float64{ // email, qr, social
		"first": {1, 0, 0}, "last": {0, 0, 1}, "linear": {1. / 3, 1. / 3, 1. / 3}, "shapley": {1. / 3, 1. / 3, 1. / 3},
		"position": {0.4, 0.2, 0.4},
		// 2^(-8/7) = 0.452862, 1/2 and 1, of 1.952862.
		"time_decay": {0.231897, 0.256035, 0.512069},
		// start → email → qr → social → converted, a stranger lost: all the same.
		"markov": {1. / 3, 1. / 3, 1. / 3},
	} {
		got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "attribution", Model: model})
		if err != nil {
			t.Fatal(err)
		}
		shares, value := map[string]float64{}, decimal.Zero
		for _, row := range got.Rows {
			shares[row[0].(string)] = row[1].(float64)
			value = value.Add(row[2].(decimal.Decimal))
		}
		for i, channel := range []string{"email", "qr", "social"} {
			if math.Abs(shares[channel]-want[i]) > 1e-6 {
				t.Errorf("%s: %s gets %v, want %v", model, channel, shares[channel], want[i])
			}
			delete(shares, channel)
		}
		for channel, rest := range shares {
			if rest != 0 {
				t.Errorf("%s: %s gets %v", model, channel, rest)
			}
		}
		if !value.Equal(decimal.NewFromInt(100)) {
			t.Errorf("%s: value %v, want 100", model, value)
		}
		final, _ := got.Extra["final_until"].(time.Time)
		if !final.Equal(time.UnixMilli(int64(at))) {
			t.Errorf("%s: final until %v, want the only node's newest hit", model, final)
		}
	}
}

func TestAttributionNamesTheParameterAtFault(t *testing.T) {
	for field, q := range map[string]tracker.ReportQuery{
		"model":          {Model: "middle"},
		"half_life_days": {HalfLifeDays: math.NaN()},
		"first_share":    {FirstShare: -0.1},
		"last_share":     {FirstShare: 0.7, LastShare: 0.4},
	} {
		var fault *tracker.FieldError
		if err := checkAttribution(&q); !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestDivideIsExact(t *testing.T) {
	amount := decimal.RequireFromString("100.000001")
	parts := divide(amount, []float64{1. / 3, 1. / 3, 1. / 3})
	for i, want := range []string{"33.333334", "33.333333", "33.333334"} {
		if !parts[i].Equal(decimal.RequireFromString(want)) {
			t.Errorf("part %d is %v, want %s", i, parts[i], want)
		}
	}
}

// A chain of too many keys is refused, not thinned out.
func TestMarkovIsBounded(t *testing.T) {
	answer := &tracker.Report{Extra: map[string]any{}}
	for i := range markovKeysMax + 1 {
		answer.Rows = append(answer.Rows, []any{"start", "", fmt.Sprint(i), uint64(1), decimal.Zero})
	}
	var fault *tracker.FieldError
	if err := endMarkov(answer, 0); !errors.As(err, &fault) || fault.Field != "by" {
		t.Errorf("%d keys: %v", markovKeysMax+1, err)
	}
}
