package clickhouse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// viralCohorts recounts realised K, cohort by cohort.
func (r *recount) viralCohorts(t *testing.T, q tracker.ReportQuery) want {
	t.Helper()
	zone, err := time.LoadLocation(q.TZ)
	if err != nil {
		t.Fatal(err)
	}
	type cohort struct {
		program, campaign string
		start             int64
	}
	members, referees, final := map[cohort]float64{}, map[cohort]float64{}, map[cohort]bool{}
	for _, m := range r.members(q) {
		start := stepOf(m.at, q.Granularity, zone)
		end := nextStep(start, q.Granularity)
		if q.To.Before(end) {
			end = q.To
		}
		of := cohort{m.program, m.campaign, start.Unix()}
		members[of]++
		referees[of] += m.referees
		final[of] = end.UnixMilli()+m.window <= time.Now().UnixMilli()
	}
	var rows want
	for of, n := range members {
		rows = append(rows, slices.Concat(loopKey(q, of.campaign), []any{of.program, time.Unix(of.start, 0), n, referees[of], referees[of] / n, final[of]}))
	}
	return rows
}

func TestViralCohortsAgainstRecount(t *testing.T) {
	world := newWorld(31, 3000)
	recount := world.recount()
	db := openTestDB(t)
	programs := []tracker.ProgramRow{{Program: tracker.NewProgram("wedding"), Version: 2}, {Program: tracker.NewProgram("general"), Version: 1}}
	programs[0].Program.AttributionWindowDays = 5
	if err := db.InsertPrograms(testContext(t), programs); err != nil {
		t.Fatal(err)
	}
	insertAll(t, db, world.blocks(4))
	year := tracker.ReportQuery{Name: "viral_cohorts", From: world.start.AddDate(-1, 0, 0), To: world.start.AddDate(1, 0, 0)}
	check := func(q tracker.ReportQuery) {
		t.Helper()
		got, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		compareRows(t, fmt.Sprintf("%+v", q), got, recount.viralCohorts(t, q))
	}
	for i, tz := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"} {
		for j, granularity := range []string{"day", "week", "month"} {
			q := year
			q.TZ, q.Granularity, q.By = tz, granularity, []string{"", "campaign"}[(i+j)%2]
			check(q)
			q.Program = worldPrograms[(i+j)%len(worldPrograms)]
			q.From, q.To = world.start.Add(77*time.Hour+13*time.Minute), world.start.Add(700*time.Hour+time.Millisecond)
			check(q)
		}
	}
	settle(t, db)
	settle(t, db)
	q := year
	q.TZ, q.Granularity = "UTC", "month"
	check(q)
	got, err := db.table(testContext(t), "SELECT program, toDateTime(cohort, 'UTC'), members, referees, k, final FROM waymark.viral_cohorts WHERE granularity = 'month'")
	if err != nil {
		t.Fatal(err)
	}
	compareRows(t, "view", got, recount.viralCohorts(t, q))
	if _, err := db.Report(testContext(t), tracker.ReportQuery{Name: "viral_cohorts", Granularity: "hour"}); err == nil {
		t.Error("cohorts by the hour are answered")
	}
}

// signups are the actions of parties that signed up at a moment, referred by
// another.
func signups(program string, at map[string]time.Time, referrer map[string]string) *tracker.Block {
	block := &tracker.Block{Token: "signups " + program}
	for party, time := range at {
		block.Rows = append(block.Rows, tracker.Row{Offset: int64(len(block.Rows)), Event: &wire.Event{
			Event: "signup", Stage: "signed_up", Program: program, Id: party, UserId: party, ReferrerId: referrer[party], TimeMs: uint64(time.UnixMilli()),
		}})
	}
	return block
}

// In Berlin the week from 23 March 2026 has 167 hours: it begins on Sunday at
// 23:00 of UTC and ends the Sunday after at 22:00, where the next begins. Of
// the 30 days after it signed up, ada brings two: bob in the first moment, cy
// in the last; dan comes at their end, so he is of no cohort's K, and eve
// referred herself. First week: ada, bob, K = 2/2; second: flo alone, K = 0/1.
func TestViralCohortsByHand(t *testing.T) {
	db := openTestDB(t)
	at := func(text string) time.Time {
		moment, err := time.Parse("2006-01-02T15:04:05.000", text)
		if err != nil {
			t.Fatal(err)
		}
		return moment
	}
	ada := at("2026-03-22T23:00:00.000")
	insertAll(t, db, []*tracker.Block{signups("general", map[string]time.Time{
		"early": ada.Add(-time.Millisecond), "ada": ada, "bob": ada, "cy": ada.Add(30*24*time.Hour - time.Millisecond), "dan": ada.Add(30 * 24 * time.Hour),
		"eve": at("2026-03-29T21:59:59.999"), "flo": at("2026-03-29T22:00:00.000"),
	}, map[string]string{"bob": "ada", "cy": "ada", "dan": "ada", "eve": "eve", "ada": "early"})})
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "viral_cohorts", Granularity: "week", TZ: "Europe/Berlin", To: at("2026-04-20T00:00:00.000")})
	if err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	monday := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, zone) }
	compareRows(t, "Berlin", got, want{
		{"general", monday(3, 16), 1.0, 1.0, 1.0, true},
		{"general", monday(3, 23), 3.0, 2.0, 2.0 / 3, true},
		{"general", monday(3, 30), 1.0, 0.0, 0.0, true},
	})
}

// A cohort is final when the window, 30 days, of its last possible member is
// over: at the end of its day, or of the period if that comes first.
func TestViralCohortsAreFinal(t *testing.T) {
	db := openTestDB(t)
	now := time.Now()
	days := func(n time.Duration) time.Time { return now.Add(-n * 24 * time.Hour) }
	insertAll(t, db, []*tracker.Block{signups("general", map[string]time.Time{"a": days(32), "b": days(30).Add(-time.Hour), "c": days(29)}, nil)})
	for _, tc := range []struct {
		to   time.Time
		want map[int]bool // of the last cohorts
	}{
		{now, map[int]bool{0: true, 2: false}},
		{days(30).Add(-time.Minute), map[int]bool{0: true, 1: true}},
	} {
		got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "viral_cohorts", To: tc.to})
		if err != nil {
			t.Fatal(err)
		}
		for i, final := range tc.want {
			if len(got.Rows) <= i || got.Rows[i][5] != final {
				t.Errorf("to %v: cohort %d should be final: %v; got %v", tc.to, i, final, got.Rows)
			}
		}
	}
}

// wilson is the interval of a proportion as the roots of
// (p - c)² = z²·p·(1 - p)/n, from which Wilson came to it.
func wilson(c, n, z float64) (low, high float64) {
	a, b, d := 1+z*z/n, -(2*c + z*z/n), c*c
	root := math.Sqrt(b*b - 4*a*d)
	return (-b - root) / (2 * a), (-b + root) / (2 * a)
}

// limits are those of K at 90 %.
func (c *flowCounts) limits() (low, high float64) {
	const z = 1.6448536269514722
	referrers, signups := float64(len(c.referrers)), float64(len(c.signups))
	i, rate := c.invitations/referrers, signups/c.invitations
	mean, variance := 0.0, 0.0
	for _, n := range c.referrers {
		mean += n / referrers
	}
	for _, n := range c.referrers {
		variance += (n - mean) * (n - mean) / math.Max(referrers-1, 1)
	}
	iError := z * math.Sqrt(math.Max(variance, i)/referrers)
	rateLow, rateHigh := rate-z*math.Sqrt(signups)/c.invitations, rate+z*math.Sqrt(signups)/c.invitations
	if rate <= 1 {
		rateLow, rateHigh = wilson(rate, c.invitations, z)
	}
	low = i*rate - math.Hypot(rate*math.Min(i, iError), i*(rate-rateLow))
	return math.Max(0, low), i*rate + math.Hypot(rate*iError, i*(rateHigh-rate))
}

// newUsers follows the users of a loop cycle by cycle: users[0] of the
// first type bring k[0] of the second each, and so on around. A cycle of a
// loop of two types is two steps from each.
func newUsers(users, k []float64, cycles int) (total float64) {
	now := slices.Clone(users)
	for range cycles * len(k) {
		next := make([]float64, len(k))
		for i := range now {
			next[(i+1)%len(k)] += now[i] * k[i]
		}
		for i := range next {
			total += next[i]
		}
		now = next
	}
	return total
}

// aside moves each K to where it is when all go wrong together.
func aside(k, limit []float64, width func(k, limit float64) float64) []float64 {
	length := 0.0
	for i := range k {
		length = math.Hypot(length, width(k[i], limit[i]))
	}
	moved := slices.Clone(k)
	for i := range k {
		if length > 0 {
			moved[i] += (limit[i] - k[i]) * width(k[i], limit[i]) / length
		}
	}
	return moved
}

func widthBelow(k, low float64) float64 {
	if k == 0 {
		return 0
	}
	return (k - low) / k
}

func widthAbove(k, high float64) float64 { return (high - k) / high }

// projection recounts where the loops of a period lead.
func (r *recount) projection(q tracker.ReportQuery) want {
	flows := r.flows(q)
	var rows want
	add := func(kind string, key flow, ways ...*flowCounts) {
		var users, k, low, high []float64
		cycle := any(0.0)
		for _, way := range ways {
			if way.k() == nil {
				return
			}
			l, h := way.limits()
			users, k = append(users, float64(len(way.referrers))), append(k, way.k().(float64))
			low, high = append(low, l), append(high, h)
			cycle = both(cycle, way.cycle(), func(a, b float64) float64 { return a + b })
		}
		low, high = aside(k, low, widthBelow), aside(k, high, widthAbove)
		product, sum := func(list []float64) float64 { return list[0] }, users[0]
		if len(ways) == 2 {
			product, sum = func(list []float64) float64 { return list[0] * list[1] }, users[0]+users[1]
		}
		for step := range 12 {
			limit := any(nil)
			if product(k) < 1 {
				limit = newUsers(users, k, 1) / (1 - product(k))
			}
			rows = append(rows, slices.Concat(loopKey(q, key.campaign), []any{key.program, kind, key.referrerType, key.refereeType, float64(step + 1),
				both(cycle, float64(step+1), func(a, b float64) float64 { return a * b }), sum, product(k), product(low), product(high),
				newUsers(users, k, step+1), newUsers(users, low, step+1), newUsers(users, high, step+1), limit}))
		}
	}
	for key, there := range flows {
		add("one-sided", key, there)
		if back := flows[flow{key.program, key.campaign, key.refereeType, key.referrerType}]; back != nil && key.referrerType < key.refereeType {
			add("two-sided", key, there, back)
		}
	}
	return rows
}

func TestViralProjectionAgainstRecount(t *testing.T) {
	world := newWorld(33, 4000)
	recount := world.recount()
	db := openTestDB(t)
	insertAll(t, db, world.blocks(3))
	ever := tracker.ReportQuery{Name: "viral_projection", From: world.start.AddDate(-1, 0, 0), To: world.start.AddDate(1, 0, 0)}
	for _, q := range []tracker.ReportQuery{
		ever,
		{Name: ever.Name, From: ever.From, To: ever.To, By: "campaign"},
		{Name: ever.Name, From: ever.From, To: ever.To, Program: "wedding"},
		{Name: ever.Name, From: world.start.Add(77 * time.Hour), To: world.start.Add(300*time.Hour + time.Millisecond), By: "campaign"},
	} {
		got, err := db.Report(testContext(t), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		compareTriangles(t, q, got, recount.projection(q))
	}
}

// projection asks for the rows of a loop, 12 steps.
func projection(t *testing.T, db *DB, q tracker.ReportQuery, kind, from, to string) [][]any {
	t.Helper()
	q.Name = "viral_projection"
	got, err := db.Report(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	for _, row := range got.Rows {
		if row[1] == kind && row[2] == from && row[3] == to {
			rows = append(rows, row)
		}
	}
	if len(rows) != 12 {
		t.Fatalf("%s %s → %s: %d steps", kind, from, to, len(rows))
	}
	return rows
}

// The loops of insertLoops. Ten suppliers with K = 2 bring 20, then 40 more,
// then 80: 20, 60, 140. Of both, five couples with K₁ = 3 bring 15 suppliers,
// who bring 15·2 = 30 couples; ten suppliers with K₂ = 2 bring 20 couples, who
// bring 20·3 = 60 suppliers: 125 in a cycle, and 6 times as many in the next.
//
// The interval of suppliers → couples: all sent ten invitations, so that s² = 0
// is replaced by i = 10, and i is known to 1.644854·√(10/10) = 1.644854. Wilson's
// of 20 in 100 at 90 % is 0.142501 … 0.273305. So K goes down by √((0.2·1.644854)² + (10·0.057499)²)
// = √(0.108221 + 0.330619) = 0.662450 and up by √(0.108221 + (10·0.073305)²) = 0.803503.
func TestViralProjectionByHand(t *testing.T) {
	db := openTestDB(t)
	insertLoops(t, db)
	q := tracker.ReportQuery{Program: "wedding"}
	near := func(name string, got, want any) {
		t.Helper()
		if g, w := got.(float64), want.(float64); math.Abs(g-w) > 2e-5*w {
			t.Errorf("%s: got %v, want %v", name, g, w)
		}
	}
	one := projection(t, db, q, "one-sided", "supplier", "couple")
	for i, users := range []float64{20, 60, 140} {
		near("one-sided", one[i][10], users)
		near("hours", one[i][5], 48*float64(i+1))
	}
	near("k", one[0][7], 2.0)
	near("k_low", one[0][8], 2-0.662450)
	near("k_high", one[0][9], 2+0.803503)
	near("users_low", one[1][11], 10*(1.337550+1.337550*1.337550))
	near("users_high", one[1][12], 10*(2.803503+2.803503*2.803503))
	two := projection(t, db, q, "two-sided", "couple", "supplier")
	for i, users := range []float64{125, 875, 125 * 43} {
		near("two-sided", two[i][10], users)
		near("hours", two[i][5], 60*float64(i+1))
	}
	if one[0][13] != nil || two[0][13] != nil {
		t.Error("growth above 1 has a limit")
	}
	if one[0][4] != uint64(1) || one[0][6] != uint64(10) || two[11][6] != uint64(15) {
		t.Errorf("steps and referrers: %v %v", one[0], two[11])
	}
}

// draw adds a flow of a programme: each referrer sends 1 + Poisson(mean - 1)
// invitations, each of which brings a signup with the rate.
func draw(random *rand.Rand, rows []tracker.Row, program, from, to string, referrers int, mean, rate float64) []tracker.Row {
	add := func(e *wire.Event) {
		e.Program, e.ReferrerType, e.RefereeType, e.TimeMs = program, from, to, uint64(1_780_000_000_000+len(rows))
		e.Id = fmt.Sprint("e", len(rows))
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: e})
	}
	for r := range referrers {
		name := fmt.Sprint(from, r)
		invitations := 1
		for p := random.Float64(); p > math.Exp(1-mean); p *= random.Float64() { // Knuth
			invitations++
		}
		for range invitations {
			add(&wire.Event{Event: "invite", Stage: "invited", ReferrerId: name})
			if random.Float64() < rate {
				add(&wire.Event{Event: "signup", Stage: "signed_up", ReferrerId: name, UserId: fmt.Sprint("u", len(rows))})
			}
		}
	}
	return rows
}

// Over 600 draws of a loop with known i and c, each a programme of its own, the
// 90 % interval holds the true expectation in 85 to 95 % of them: of either
// flow and of the loop, after a cycle and after many. The flow whose K is 0.8
// saturates below its limit.
func TestViralProjectionCoverage(t *testing.T) {
	const draws = 600
	random := rand.New(rand.NewPCG(5, 8))
	var rows []tracker.Row
	for i := range draws {
		program := fmt.Sprintf("p%03d", i)
		rows = draw(random, rows, program, "a", "b", 25, 4, 0.2)
		rows = draw(random, rows, program, "b", "a", 20, 3, 0.5)
	}
	db := openTestDB(t)
	insertAll(t, db, []*tracker.Block{{Token: "draws", Rows: rows}})
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "viral_projection"})
	if err != nil {
		t.Fatal(err)
	}
	sum := func(k float64, from, to uint64) float64 { // k^from + … + k^to
		total := 0.0
		for n := from; n <= to; n++ {
			total += math.Pow(k, float64(n))
		}
		return total
	}
	truth := map[string]func(step uint64) float64{
		"a b": func(step uint64) float64 { return 25 * sum(4*0.2, 1, step) },
		"b a": func(step uint64) float64 { return 20 * sum(3*0.5, 1, step) },
		// 25 a bring 20 b, who bring 30 a; 20 b bring 30 a, who bring 24 b.
		"two-sided": func(step uint64) float64 { return 104 * sum(0.8*1.5, 0, step-1) },
	}
	held, rowsOf := map[string]int{}, map[string]int{}
	for _, row := range got.Rows {
		loop := fmt.Sprint(row[2], " ", row[3])
		if row[1] == "two-sided" {
			loop = "two-sided"
		}
		step, users, low, high := row[4].(uint64), row[10].(float64), row[11].(float64), row[12].(float64)
		if k := row[7].(float64); k < 1 {
			if limit := row[13].(float64); users > limit || loop == "a b" && math.Abs(limit-users/(1-math.Pow(k, float64(step)))) > 1e-9*limit {
				t.Errorf("K = %v: %v users after %d steps, %v in the end", k, users, step, limit)
			}
		}
		if low > users || users > high {
			t.Errorf("%v users are not between %v and %v", users, low, high)
		}
		if step != 1 && step != 3 && step != 12 {
			continue
		}
		name := fmt.Sprint(loop, " after ", step)
		rowsOf[name]++
		if expected := truth[loop](step); low <= expected && expected <= high {
			held[name]++
		}
	}
	for name, n := range rowsOf {
		share := float64(held[name]) / float64(n)
		t.Logf("%s: %.3f of %d", name, share, n)
		if n != draws || share < 0.85 || share > 0.95 {
			t.Errorf("%s: the interval holds the truth in %.3f of %d draws", name, share, n)
		}
	}
	if len(rowsOf) != 9 {
		t.Errorf("coverage of %v", rowsOf)
	}
}

// No signup at all: K is 0 and brings nobody, but what is not known of c may.
func TestViralProjectionWithoutSignups(t *testing.T) {
	db := openTestDB(t)
	insertAll(t, db, []*tracker.Block{{Token: "none", Rows: draw(rand.New(rand.NewPCG(1, 1)), nil, "general", "a", "a", 1, 4, 0)}})
	row := projection(t, db, tracker.ReportQuery{}, "one-sided", "a", "a")[11]
	if row[5] != nil || row[7] != 0.0 || row[8] != 0.0 || row[10] != 0.0 || row[11] != 0.0 || row[13] != 0.0 {
		t.Errorf("got %v", row)
	}
	if high := row[12].(float64); high <= 0 {
		t.Errorf("nothing is uncertain: %v", row)
	}
}
