package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/fraud"
	"waymark/tracker/rewards"
	"waymark/tracker/wire"
)

// scheme writes the events of referrals, as honest or not as a test wants them.
type scheme struct {
	rows  []tracker.Row
	nodes uint32
}

var schemeStart = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// referral is one of a scheme; what is zero is left out.
type referral struct {
	program, referrer, referee string
	at                         time.Duration // of the signup, after schemeStart
	lag                        time.Duration // from click to signup
	buys                       time.Duration // from click to purchase
	visitor, address           uint64
	network, reasons           uint32
	email, name                string
}

func (s *scheme) add(e *wire.Event) *wire.Event {
	s.rows = append(s.rows, row(int64(len(s.rows)), e))
	return e
}

func (s *scheme) refer(r referral) {
	at := schemeStart.Add(r.at)
	e := &wire.Event{Event: "signup", Stage: "signed_up", Program: r.program, Id: fmt.Sprint("s", len(s.rows)), TimeMs: uint64(at.UnixMilli()), UserId: r.referee,
		ReferrerId: r.referrer, ReferrerType: "supplier"}
	if r.email != "" || r.name != "" {
		e.Properties = map[string]string{"email": r.email, "name": r.name}
	}
	if r.lag+r.buys != 0 || r.visitor+r.address != 0 || r.network+r.reasons != 0 {
		s.nodes++
		hit := s.add(&wire.Event{Event: "click", Stage: "clicked", Program: r.program, TimeMs: uint64(at.Add(-r.lag).UnixMilli()), Node: s.nodes, Link: 1, ReferrerId: r.referrer,
			VisitorId: r.visitor, AddressHash: r.address, Network: r.network, Reasons: r.reasons})
		e.ClickTimeMs, e.ClickNode, e.Link = hit.TimeMs, hit.Node, 1
	}
	s.add(e)
	if r.buys != 0 { // names no link: the signup says whose it is
		s.add(&wire.Event{Event: "purchase", Stage: "converted", Program: r.program, OrderId: fmt.Sprint("o", len(s.rows)), TimeMs: e.ClickTimeMs + uint64(r.buys.Milliseconds()), UserId: r.referee, Value: "10"})
	}
}

// each adds n referrals by one referrer, the i-th as the function has it.
func (s *scheme) each(program, referrer string, n int, of func(i int) referral) {
	for i := range n {
		r := of(i)
		r.program, r.referrer = program, referrer
		if r.referee == "" {
			r.referee = fmt.Sprint(referrer, " ", i)
		}
		s.refer(r)
	}
}

// clicks adds hits of a referrer that bring nobody.
func (s *scheme) clicks(program, referrer string, n int) {
	for i := range n {
		s.add(&wire.Event{Event: "click", Stage: "clicked", Program: program, TimeMs: uint64(schemeStart.UnixMilli()) + uint64(i), Node: 9, Link: 1, ReferrerId: referrer})
	}
}

// spaced are referrals whose gaps are those given, in turns.
func spaced(gaps ...time.Duration) func(i int) referral {
	return func(i int) referral {
		var at time.Duration
		for k := range i {
			at += gaps[k%len(gaps)]
		}
		return referral{at: at}
	}
}

func constant(r referral) func(int) referral {
	return func(i int) referral { r.at = time.Duration(i*i) * time.Hour; return r }
}

// thresholdCases are referrals just below, at and above what triggers each
// signal by default. What is asked of is the last referral of a case.
var thresholdCases = []struct {
	signal    string
	value     any // of the view, nil for what cannot be measured
	triggered bool
	build     func(s *scheme, program string)
}{
	{"velocity", 10., false, func(s *scheme, p string) { s.each(p, "r", 10, spaced(time.Minute, 7*time.Minute)) }},
	{"velocity", 11., true, func(s *scheme, p string) { s.each(p, "r", 11, spaced(time.Minute, 7*time.Minute)) }},
	{"velocity", 6., false, func(s *scheme, p string) { // twelve within a minute, of two days
		s.each(p, "r", 12, func(i int) referral { return referral{at: 15*time.Hour - time.Duration(6-i)*time.Second} })
	}},

	{"similarity", 0.7, false, similar(referral{email: "abcdefghij@a.example"}, referral{email: "abcdefgxyz@a.example"})},
	{"similarity", 0.8, true, similar(referral{email: "abcdefghij@a.example"}, referral{email: "abcdefghyz@b.example"})},
	{"similarity", 0.9, true, similar(referral{name: "Ännchen Ro"}, referral{name: "  ännchen  RA"})},
	{"similarity", 1., true, similar(referral{email: "Anna.Berg@a.example"}, referral{email: "annaberg+2@b.example"})},
	{"similarity", 13. / 17, false, similar(referral{email: "info@flor.example"}, referral{email: "info@cake.example"})}, // a role is no name
	{"similarity", nil, false, similar(referral{email: "anna@a.example"}, referral{})},
	{"similarity", 0.8, true, func(s *scheme, p string) {
		s.refer(referral{program: p, referrer: "x", referee: "r", email: "maier@a.example"})
		s.refer(referral{program: p, referrer: "r", referee: "last", email: "meier@a.example"})
	}},
	{"similarity", 1., true, func(s *scheme, p string) { // beyond the hundred next ones
		s.each(p, "r", 150, func(i int) referral {
			return referral{at: time.Duration(i*i) * time.Minute, email: strings.Repeat(string(rune(0x4e00+i%149)), 9) + "@a.example"}
		})
	}},

	{"address", 4., false, func(s *scheme, p string) { s.each(p, "r", 4, constant(referral{address: 7})) }},
	{"address", 5., true, func(s *scheme, p string) {
		s.each(p, "r", 5, func(i int) referral { return referral{at: time.Duration(i) * time.Hour, address: 7} })
	}},
	{"address", 3., false, func(s *scheme, p string) { // six of two days
		s.each(p, "r", 6, func(i int) referral { return referral{at: 15*time.Hour - time.Duration(3-i)*time.Minute, address: 7} })
	}},
	{"address", 4., false, func(s *scheme, p string) { // a fifth by somebody else
		s.each(p, "other", 1, constant(referral{address: 7}))
		s.each(p, "r", 4, func(i int) referral { return referral{at: time.Duration(i) * time.Hour, address: 7} })
	}},

	{"regularity", nil, false, func(s *scheme, p string) { s.each(p, "r", 5, spaced(time.Hour)) }},
	{"regularity", 1., true, func(s *scheme, p string) { s.each(p, "r", 6, spaced(time.Hour)) }},
	{"regularity", 0.9, true, func(s *scheme, p string) { s.each(p, "r", 7, spaced(9*time.Hour, 11*time.Hour)) }},
	{"regularity", 0.89, false, func(s *scheme, p string) { s.each(p, "r", 7, spaced(89*time.Hour, 111*time.Hour)) }},
	{"regularity", 0., false, func(s *scheme, p string) { s.each(p, "r", 7, spaced(time.Second, time.Second, 99*time.Hour)) }},
	{"regularity", 1., true, func(s *scheme, p string) { // every minute of an hour, once in three days
		s.each(p, "r", 12, func(i int) referral {
			return referral{at: time.Duration(i/6)*72*time.Hour + time.Duration(i)*time.Minute}
		})
	}},

	{"speed", 299. / 60, true, bought(299 * time.Second)},
	{"speed", 5., false, bought(300 * time.Second)},
	{"speed", 301. / 60, false, bought(301 * time.Second)},
	{"speed", nil, false, func(s *scheme, p string) { s.refer(referral{program: p, referrer: "r", referee: "last"}) }},

	{"injection", 9.999, true, bought(9999 * time.Millisecond)},
	{"injection", 10., false, bought(10 * time.Second)},
	{"injection", nil, false, func(s *scheme, p string) { // where everybody buys in a minute
		for i := range 5 {
			s.refer(referral{program: p, referrer: fmt.Sprint("x", i), referee: fmt.Sprint("y", i), lag: 5 * time.Second, buys: time.Minute})
		}
		bought(9*time.Second)(s, p)
	}},
	{"injection", 9., true, func(s *scheme, p string) { // where everybody takes an hour, but for many of one cheat
		for i := range 5 {
			s.refer(referral{program: p, referrer: fmt.Sprint("x", i), referee: fmt.Sprint("y", i), lag: 5 * time.Second, buys: time.Hour})
		}
		s.each(p, "r", 20, func(i int) referral { return referral{lag: time.Second, buys: 3 * time.Second} })
		bought(9*time.Second)(s, p)
	}},

	{"self_referral", 1., true, func(s *scheme, p string) { s.refer(referral{program: p, referrer: "r", referee: "r"}) }},
	{"self_referral", 0., false, similar(referral{visitor: 5, email: "a@a.example"}, referral{visitor: 5, email: "a@a.example"})}, // of two referees
	{"self_referral", 1., true, byReferrer(referral{visitor: 5}, referral{visitor: 5})},
	{"self_referral", 0., false, byReferrer(referral{visitor: 5}, referral{visitor: 6})},
	{"self_referral", 1., true, byReferrer(referral{email: "Jo.Do@a.example"}, referral{email: "jodo+x@a.example"})},
	{"self_referral", 0., false, byReferrer(referral{email: "jodo@a.example"}, referral{email: "jodo@b.example"})},

	{"shared_device", 1., false, similar(referral{visitor: 5}, referral{visitor: 6})},
	{"shared_device", 2., true, similar(referral{visitor: 5}, referral{visitor: 5})},
	{"shared_device", nil, false, similar(referral{visitor: 5}, referral{})},

	{"shared_network", 9., false, inNetwork(9)},
	{"shared_network", 10., true, inNetwork(10)},

	{"datacenter", 0., false, similar(referral{}, referral{reasons: 32})},
	{"datacenter", 1., true, similar(referral{}, referral{reasons: 16})},

	{"flooding", 199.8, false, flooded(5, 994, 24*time.Hour)},
	{"flooding", 200., true, flooded(5, 995, 24*time.Hour)},
	{"flooding", 0., false, flooded(5, 995, 23*time.Hour)},
	{"flooding", nil, false, flooded(4, 996, 24*time.Hour)},
}

func similar(first, last referral) func(*scheme, string) {
	return func(s *scheme, program string) {
		last.at = 5 * time.Hour
		all := []referral{first, last}
		s.each(program, "r", 2, func(i int) referral { return all[i] })
	}
}

// byReferrer has a referrer who signed up without anybody's link.
func byReferrer(referrer, referee referral) func(*scheme, string) {
	return func(s *scheme, program string) {
		referrer.program, referrer.referee = program, "r"
		s.refer(referrer)
		referee.program, referee.referrer, referee.referee = program, "r", "last"
		s.refer(referee)
	}
}

func bought(after time.Duration) func(*scheme, string) {
	return func(s *scheme, program string) {
		s.refer(referral{program: program, referrer: "r", referee: "last", lag: time.Second, buys: after})
	}
}

func inNetwork(n int) func(*scheme, string) {
	return func(s *scheme, program string) {
		s.each(program, "r", n, func(i int) referral { return referral{at: time.Duration(i*i) * time.Minute, network: 64500} })
	}
}

// flooded has n referrals that took so long, and clicks besides theirs.
func flooded(n, clicks int, lag time.Duration) func(*scheme, string) {
	return func(s *scheme, program string) {
		s.each(program, "r", n, func(i int) referral { return referral{at: time.Duration(i*i) * time.Hour, lag: lag} })
		s.clicks(program, "r", clicks)
	}
}

func TestFraudThresholds(t *testing.T) {
	db := openTestDB(t)
	s := new(scheme)
	last := make([]string, len(thresholdCases))
	for i, c := range thresholdCases {
		c.build(s, fmt.Sprint("case ", i))
		for k := len(s.rows) - 1; last[i] == ""; k-- {
			last[i] = s.rows[k].Event.UserId
		}
	}
	insertAt(t, db, 1, 0, s.rows...)
	type key struct{ program, referee, signal string }
	got := map[key][]any{}
	for _, r := range view(t, db, "SELECT program, referee, signal, value, triggered FROM waymark.fraud_signals WHERE referrer = 'r'").Rows {
		got[key{r[0].(string), r[1].(string), r[2].(string)}] = r[3:]
	}
	for i, c := range thresholdCases {
		found := got[key{fmt.Sprint("case ", i), last[i], c.signal}]
		if len(found) != 2 {
			t.Errorf("case %d, %s: no such referral of %s", i, c.signal, last[i])
			continue
		}
		if !reflect.DeepEqual(rounded(found[0]), rounded(c.value)) || fmt.Sprint(found[1]) != fmt.Sprint(c.triggered) && fmt.Sprint(found[1]) != fmt.Sprint(map[bool]int{true: 1}[c.triggered]) {
			t.Errorf("case %d: %s is %v, triggered %v; want %v, %v", i, c.signal, found[0], found[1], c.value, c.triggered)
		}
	}
}

// rounded drops what the order of a sum decides.
func rounded(v any) any {
	if f, ok := v.(float64); ok {
		return fmt.Sprintf("%.9f", f)
	}
	return v
}

// fraudSink writes entries where ingest would.
type fraudSink struct {
	t  *testing.T
	db *DB
	n  int64
}

func (s *fraudSink) Append(_ context.Context, payloads ...[]byte) error {
	rows := make([]tracker.Row, len(payloads))
	for i, payload := range payloads {
		e := new(wire.Event)
		if err := e.UnmarshalVT(payload); err != nil {
			return err
		}
		rows[i] = row(s.n, e)
		s.n++
	}
	insertAt(s.t, s.db, 9, 0, rows...)
	return nil
}

// paying writes a programme that pays, since only the referrals of such are
// assessed.
func paying(t *testing.T, db *DB, names ...string) {
	t.Helper()
	var rows []tracker.ProgramRow
	for _, name := range names {
		p := tracker.NewProgram(name)
		p.EffectiveFrom = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
		p.Rewards.Rules = []tracker.RewardRule{{Name: "thanks"}}
		rows = append(rows, tracker.ProgramRow{Program: p})
	}
	if err := db.InsertPrograms(testContext(t), rows); err != nil {
		t.Fatal(err)
	}
}

// What is written is read back, and nothing is written twice; facts that come
// later, and versions of the rules that come into force, are followed.
func TestFraudLog(t *testing.T) {
	db := openTestDB(t)
	paying(t, db, `p'"\`, "q")
	clock := schemeStart.AddDate(0, 1, 0)
	sink := &fraudSink{t: t, db: db}
	a := fraud.NewAssessor(fraud.Options{Store: db, Sink: sink, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { clock = clock.Add(time.Second); return clock }})
	assess := func(want int) {
		t.Helper()
		if n, err := a.Assess(testContext(t)); err != nil || n != want {
			t.Fatalf("%d assessments were written, want %d: %v", n, want, err)
		}
	}
	expect := func(sql string, want ...string) {
		t.Helper()
		if got := ask(t, db, sql); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", sql, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	s := new(scheme)
	s.each(`p'"\`, "r", 10, spaced(time.Minute, 7*time.Minute))
	s.refer(referral{program: "q", referrer: "r", referee: "r 1", at: time.Hour, lag: time.Minute, buys: 2 * time.Minute})
	insertAt(t, db, 1, 0, s.rows...)
	assess(11)
	assess(0)

	// An eleventh of the day changes all of the day's. That its own chain goes on
	// where it began, and no value alone is news, the numbers tell.
	before := len(s.rows)
	s.refer(referral{program: `p'"\`, referrer: "r", referee: "late", at: 2 * time.Hour})
	insertAt(t, db, 1, 1, s.rows[before:]...)
	assess(11)
	assess(0)
	expect("SELECT n, score, risk, action, signals, count() FROM waymark.fraud_log WHERE program != 'q' GROUP BY ALL ORDER BY n, score",
		"0 0 low approve [] 10", "0 0.3 low approve [velocity] 1", "1 0.3 low approve [velocity] 10")
	expect("SELECT program, referrer, referee, score, risk, action, signals, assessments, version FROM waymark.fraud WHERE referee IN ('r 1', 'late') ORDER BY program, referee",
		`p'"\ r late 0.3 low approve [velocity] 1 0`, `p'"\ r r 1 0.3 low approve [velocity] 2 0`, "q r r 1 0.1 low approve [speed] 1 0")

	// A referral follows the rules that were in force when it began.
	strict := tracker.NewProgram(`p'"\`)
	strict.Fraud.Signals["velocity"] = tracker.FraudSignal{Weight: 0.5, Threshold: 3}
	strict.Fraud.Actions.Medium = "reject"
	strict.EffectiveFrom = schemeStart.Add(80 * time.Minute)
	lax := tracker.NewProgram(strict.Name)
	lax.Fraud.Signals["velocity"] = tracker.FraudSignal{Weight: 0, Threshold: 3}
	lax.EffectiveFrom = schemeStart.AddDate(0, 0, -1)
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: strict, Version: 5}, {Program: lax, Version: 7}}); err != nil {
		t.Fatal(err)
	}
	assess(11)
	expect("SELECT referee, score, risk, action, version FROM waymark.fraud WHERE program != 'q' AND version = 5", "late 0.5 medium reject 5")
	expect("SELECT count() FROM waymark.fraud WHERE program != 'q' AND version = 7 AND score = 0", "10")
	holds, err := db.Holds(testContext(t), strict.Name)
	if passes, known := holds[rewards.Referral{Referrer: "r", Referee: "r 1"}]; err != nil || len(holds) != 11 || !known || passes != "" ||
		holds[rewards.Referral{Referrer: "r", Referee: "late"}] != rewards.VerdictReject {
		t.Errorf("held: %v, %v", holds, err)
	}
	checkFraudReport(t, db)
	decideInTurns(t, db, a)
	audit, err := auditOf(t, db, "fraud_entries", &interloper{db: db})
	if err != nil || audit[0].Verdict != tracker.AuditOK || audit[0].Found != 36 {
		t.Errorf("the audit of the log: %+v, %v", audit, err)
	}
}

// checkFraudReport asks for the referrals of the log, one of which was made an
// hour and a half after the others.
func checkFraudReport(t *testing.T, db *DB) {
	t.Helper()
	for _, test := range []struct {
		by, want string
		from     time.Time
	}{
		{"program", "q 1 1 0 0 1 0 0 0 0 0.100;p'\"\\ 11 10 1 0 10 0 0 1 0 0.045", time.Time{}},
		{"signal", "velocity 1 0 1 0 0 0 0 1 0 0.500;speed 1 1 0 0 1 0 0 0 0 0.100", time.Time{}},
		{"", "r 1 0 1 0 0 0 0 1 0 0.500", schemeStart.Add(90 * time.Minute)},
	} {
		report, err := db.Report(testContext(t), tracker.ReportQuery{Name: "fraud", By: test.by, From: test.from})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range report.Rows {
			got = append(got, fmt.Sprint(row[0])+" "+strings.Trim(fmt.Sprint(row[1:10]), "[]")+fmt.Sprintf(" %.3f", row[10]))
		}
		if all := strings.Join(got, ";"); all != test.want {
			t.Errorf("fraud by %q: %s, want %s", test.by, all, test.want)
		}
	}
}

// decideInTurns decides about the referral that is rejected.
func decideInTurns(t *testing.T, db *DB, a *fraud.Assessor) {
	t.Helper()
	id := ask(t, db, "SELECT id FROM waymark.fraud WHERE referee = 'late'")[0]
	if err := a.Decide(testContext(t), id, fraud.Withdraw, "k1", ""); !errors.Is(err, fraud.ErrNothing) {
		t.Errorf("withdraw what nobody decided: %v", err)
	}
	if err := a.Decide(testContext(t), "x", fraud.Approve, "k1", ""); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("decide about nothing: %v", err)
	}
	for _, step := range []struct{ decision, want string }{
		{fraud.Approve, "approve approve k1 why not 1 reject"}, {fraud.Reject, "reject reject k1 why not 2 reject"}, {fraud.Withdraw, "reject    3 reject"},
	} {
		if err := a.Decide(testContext(t), id, step.decision, "k1", "why not"); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, db, "SELECT action, decision, decider, decision_reason, decisions, assessed FROM waymark.fraud WHERE id = "+quoteText(id)); got[0] != step.want {
			t.Errorf("after %s it is %q, want %q", step.decision, got[0], step.want)
		}
	}
	if n, err := a.Assess(testContext(t)); n != 0 || err != nil {
		t.Errorf("decisions led to %d assessments, %v", n, err)
	}
	var pages []string
	for query := (tracker.FraudQuery{Limit: 5}); ; {
		page, err := db.FraudReferrals(testContext(t), query)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			pages = append(pages, fmt.Sprint(row[slices.Index(page.Columns, "score")]))
		}
		if query.Cursor = page.Extra["cursor"].(string); query.Cursor == "" {
			break
		}
	}
	if got := strings.Join(pages, " "); got != "0.5 0.1 0 0 0 0 0 0 0 0 0 0" {
		t.Errorf("the pages list scores of %s", got)
	}
}

// A referral that later facts take away is no referral any more, and comes
// back if it does.
func TestFraudOfAReferralThatMoves(t *testing.T) {
	db := openTestDB(t)
	paying(t, db, "p")
	a := fraud.NewAssessor(fraud.Options{Store: db, Sink: &fraudSink{t: t, db: db}, Logger: slog.New(slog.DiscardHandler)})
	s := new(scheme)
	s.add(&wire.Event{Event: "signup", Stage: "signed_up", Program: "p", Id: "1", UserId: "u", TimeMs: uint64(schemeStart.UnixMilli()), ReferrerId: "first", Reasons: 128})
	s.add(&wire.Event{Event: "purchase", Stage: "converted", Program: "p", Id: "2", UserId: "u", TimeMs: uint64(schemeStart.UnixMilli()) + 1})
	s.add(&wire.Event{Event: "signup", Stage: "signed_up", Program: "p", Id: "3", UserId: "u", TimeMs: uint64(schemeStart.UnixMilli()) + 2, ReferrerId: "second"})
	// The signup is the visitor's word, which gives way to a purchase that names nobody.
	for i, want := range [][]string{{"first"}, {}, {"second"}} {
		insertAt(t, db, 1, int32(i), s.rows[i])
		if _, err := a.Assess(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, db, "SELECT referrer FROM waymark.fraud"); !slices.Equal(got, want) {
			t.Errorf("after event %d the referrers are %v, want %v", i, got, want)
		}
	}
	if got := ask(t, db, "SELECT n, risk = '' FROM waymark.fraud_log WHERE referrer = 'first' ORDER BY n"); !slices.Equal(got, []string{"0 0", "1 1"}) {
		t.Errorf("the log of the first referrer is %v", got)
	}
}

// The view has the defaults of the program for programmes of which no version
// is known.
func TestFraudDefaults(t *testing.T) {
	db := openTestDB(t)
	s := new(scheme)
	s.refer(referral{program: "unknown", referrer: "r", referee: "u"})
	s.refer(referral{program: "known", referrer: "r", referee: "u"})
	insertAt(t, db, 1, 0, s.rows...)
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: tracker.NewProgram("known"), Version: 1}}); err != nil {
		t.Fatal(err)
	}
	rules := "SELECT signal, threshold, weight, medium, high, actions FROM waymark.fraud_signals WHERE program = '%s' ORDER BY signal"
	unknown, known := ask(t, db, fmt.Sprintf(rules, "unknown")), ask(t, db, fmt.Sprintf(rules, "known"))
	if len(known) != len(tracker.NewProgram("p").Fraud.Signals) || !slices.Equal(unknown, known) {
		t.Errorf("without a version:\n%s\nwith the defaults written:\n%s", strings.Join(unknown, "\n"), strings.Join(known, "\n"))
	}
}
