package clickhouse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/partners"
	"waymark/tracker/rewards"
	"waymark/tracker/wire"
)

// life is a referral as it is recounted.
type life struct {
	program, referrer, referee, kind, source        string
	created, judged, converted, paid                time.Time
	judgement                                       string
	orders                                          float64
	value, refunds, commission, commissionPaid, bid decimal.Decimal
}

// lives recounts the referrals from the facts, in the order of time.
func (r *recount) lives() map[partyKey]*life {
	all := map[partyKey]*life{}
	for _, f := range r.facts {
		if f.Stage == "clicked" || f.Stage == "invited" {
			continue
		}
		key, at := partyKey{f.program, f.party}, time.UnixMilli(int64(f.TimeMs)).UTC()
		l := all[key]
		if l == nil {
			l = &life{program: f.program, referee: f.party}
			all[key] = l
		}
		if l.source == "" {
			l.source = f.Properties["source"]
		}
		value := decimal.RequireFromString(cmp.Or(f.Value, "0"))
		switch f.Event.Event {
		case "accept", "reject":
			if !unverified(f.Event) {
				l.judgement, l.judged = f.Event.Event, at
			}
			continue
		case "refund":
			if !unverified(f.Event) {
				l.refunds = l.refunds.Add(value)
			}
			continue
		}
		if l.created.IsZero() {
			l.created = at
		}
		if f.Stage == "converted" && l.converted.IsZero() {
			l.converted = at
		}
		if f.Stage == "converted" && !unverified(f.Event) {
			l.orders++
			l.value = l.value.Add(value)
		}
	}
	for key, l := range all {
		if credit := r.paths[key].credit; credit != nil {
			l.referrer, l.kind = credit.ReferrerId, credit.ReferrerType
		}
		if l.referrer == "" || l.referrer == l.referee || l.created.IsZero() {
			delete(all, key)
		}
	}
	return all
}

// state is what the life cycle of the programme makes of it; times that there
// are none of are nil.
func (l *life) state(rules tracker.ReferralRules, now time.Time) (state string, accepted, rejected, expired any) {
	switch {
	case l.judgement == "reject":
		rejected = l.judged
	case l.judgement == "accept":
		accepted = l.judged
	case rules.Acceptance == tracker.Automatic:
		accepted = l.created
	}
	end := l.created.AddDate(0, 0, rules.ExpiresAfterDays)
	if rules.ExpiresAfterDays > 0 && end.Before(now) && (l.converted.IsZero() || l.converted.After(end)) {
		expired = end
	}
	switch {
	case rejected != nil:
		state = "rejected"
	case expired != nil:
		state = "expired"
	case !l.paid.IsZero():
		state = "paid"
	case !l.converted.IsZero():
		state = "converted"
	case accepted != nil:
		state = "accepted"
	default:
		state = "pending"
	}
	return state, accepted, rejected, expired
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// newReferrals are two programmes with life cycles of their own, one without a
// document, and a world that accepts, rejects, names sources, and has paid some.
func newReferrals(t *testing.T, db *DB) (map[partyKey]*life, map[string]tracker.ReferralRules) {
	t.Helper()
	w := tangled(41)
	wedding, patient := tracker.NewProgram("wedding"), tracker.NewProgram(worldPrograms[2])
	wedding.Referrals = tracker.ReferralRules{Acceptance: tracker.Manual, ExpiresAfterDays: 15}
	patient.Referrals.Acceptance = tracker.Manual
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: wedding, Version: 1}, {Program: patient, Version: 2}}); err != nil {
		t.Fatal(err)
	}
	users := func() string {
		if w.random.IntN(2) == 0 {
			return w.user()
		}
		return fmt.Sprint("g", w.random.IntN(90))
	}
	for i := range 260 {
		e := &wire.Event{UserId: users(), Program: pick(w, []string{"", "wedding", "wedding", "general"})}
		switch i % 3 {
		case 0:
			if i%4 == 0 {
				e.Reasons = 128 // nobody is rejected by a browser
			}
			w.act(e, pick(w, []string{"accept", "accept", "reject"}), "", w.moment())
		case 1:
			e.Properties = map[string]string{"source": pick(w, []string{"website", "phone", ""})}
			w.act(e, "lead", "", w.moment())
		case 2:
			w.act(e, "purchase", "converted", w.moment()).Value = "10.25"
		}
	}
	insertAll(t, db, w.blocks(4))
	lives := w.recount().lives()
	var entries []*rewards.Entry
	add := func(e rewards.Entry) {
		e.RecordedAt = e.Time
		entries = append(entries, &e)
	}
	for i, key := range sortedParties(lives) {
		l, chain := lives[key], fmt.Sprint("R", i)
		if key.program != "wedding" || i%5 == 1 {
			continue
		}
		earned := rewards.Entry{Chain: chain, Party: l.referrer, Time: l.created, Value: money("7.5"), Kind: rewards.Earn, State: rewards.Eligible, Referrer: l.referrer, Referee: l.referee, Base: "7.5"}
		add(earned)
		l.commission, l.bid = money("7.5"), money("7.5")
		gift := earned // which the referee gets
		gift.Chain, gift.Party, gift.Value = chain+"g", l.referee, money("2")
		add(gift)
		l.bid = money("9.5")
		if i%4 == 0 {
			l.paid = l.created.AddDate(0, 0, 40)
			l.commissionPaid = money("7.5")
			add(rewards.Entry{Chain: "P" + chain, Party: l.referrer, Time: l.paid, Value: money("-7.5"), Kind: rewards.Payout, State: rewards.Paid, Batch: "b", Lines: []rewards.Line{{Reward: chain, Amount: money("7.5")}}})
		}
	}
	insertAt(t, db, 9, 0, rowsOf("wedding", entries...)...)
	return lives, map[string]tracker.ReferralRules{"wedding": wedding.Referrals, "general": {Acceptance: tracker.Automatic}, worldPrograms[2]: patient.Referrals}
}

func sortedParties(lives map[partyKey]*life) []partyKey {
	var keys []partyKey
	for key := range lives {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b partyKey) int {
		return cmp.Or(cmp.Compare(a.program, b.program), cmp.Compare(a.party, b.party))
	})
	return keys
}

func TestReferralStatesAgainstRecount(t *testing.T) {
	db := openTestDB(t)
	lives, rules := newReferrals(t, db)
	states := map[string]int{}
	var rows want
	for _, l := range lives {
		state, accepted, rejected, expired := l.state(rules[l.program], time.Now())
		states[state]++
		rows = append(rows, []any{l.program, l.referrer, l.referee, l.kind, l.source, state, l.created, accepted, rejected, orNull(l.converted), orNull(l.paid), expired, l.orders, l.value, l.refunds, l.commission, l.commissionPaid, l.bid})
	}
	compareRows(t, "referral_states", view(t, db, `
SELECT program, referrer, referee, referrer_type, source, state, created_at, accepted_at, rejected_at, converted_at, paid_at, expired_at, orders, value, refunds, commission, commission_paid, cost
FROM waymark.referral_states`), rows)
	for _, state := range []string{"pending", "accepted", "rejected", "converted", "paid", "expired"} {
		if states[state] == 0 {
			t.Errorf("no referral is %s: %v", state, states)
		}
	}
}

// measures are what a group of partners is measured by.
type measures struct {
	partners                         map[partyKey]bool
	states                           map[string]float64
	accepted, decided                float64
	revenue, refunds                 decimal.Decimal
	commission, commissionPaid, cost decimal.Decimal
}

func (m *measures) row(key string) []any {
	n := m.states
	referrals, customers := n["pending"]+n["accepted"]+n["rejected"]+n["converted"]+n["paid"]+n["expired"], n["converted"]+n["paid"]
	float := func(d decimal.Decimal) float64 { return d.InexactFloat64() }
	return []any{key, float64(len(m.partners)), referrals, n["pending"], n["accepted"], n["rejected"], n["converted"], n["paid"], n["expired"], ratio(m.accepted, m.decided), customers, ratio(customers, referrals),
		m.revenue, m.refunds, m.commission, m.commissionPaid, m.cost, ratio(float(m.cost), customers), ratio(float(m.revenue.Sub(m.refunds)), customers), ratio(float(m.revenue.Sub(m.refunds).Sub(m.cost)), float(m.cost))}
}

// groups recounts partners by a key of each referral; those that are not of the period count as partners alone.
func groups(lives map[partyKey]*life, rules map[string]tracker.ReferralRules, key func(*life) string, counted func(*life) bool) map[string]*measures {
	all := map[string]*measures{}
	for _, l := range lives {
		m := all[key(l)]
		if m == nil {
			m = &measures{partners: map[partyKey]bool{}, states: map[string]float64{}}
			all[key(l)] = m
		}
		m.partners[partyKey{l.program, l.referrer}] = true
		if !counted(l) {
			continue
		}
		state, accepted, rejected, _ := l.state(rules[l.program], time.Now())
		m.states[state]++
		if accepted != nil {
			m.accepted++
		}
		if accepted != nil || rejected != nil {
			m.decided++
		}
		if state == "converted" || state == "paid" {
			m.revenue, m.refunds = m.revenue.Add(l.value), m.refunds.Add(l.refunds)
		}
		m.commission, m.commissionPaid, m.cost = m.commission.Add(l.commission), m.commissionPaid.Add(l.commissionPaid), m.cost.Add(l.bid)
	}
	return all
}

func TestPartnersAgainstRecount(t *testing.T) {
	db := openTestDB(t)
	lives, rules := newReferrals(t, db)
	// One who has a record and no referral counts as a partner.
	idle := partners.Change{Partner: partners.Partner{Program: "wedding", ID: "idle", Code: "IDLE", Status: partners.Active, JoinedAt: time.Unix(0, 0)}, Actor: "k"}
	insertAt(t, db, 8, 0, tracker.Row{Event: idle.Event()})
	from, to := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
	always := func(*life) bool { return true }
	inPeriod := func(l *life) bool { return !l.created.Before(from) && l.created.Before(to) }
	for by, key := range map[string]func(*life) string{
		"partner": func(l *life) string { return l.referrer }, "source": func(l *life) string { return l.source },
		"type": func(l *life) string { return l.kind }, "program": func(l *life) string { return l.program }, "status": func(*life) string { return "" },
	} {
		for _, counted := range []func(*life) bool{always, inPeriod} {
			q := tracker.ReportQuery{Name: "partners", By: by, From: from, To: to}
			if counted(&life{}) {
				q.From, q.To = time.Time{}, time.Time{}
			}
			got, err := db.Report(testContext(t), q)
			if err != nil {
				t.Fatal(err)
			}
			all := groups(lives, rules, key, counted)
			if at := map[string]string{"partner": "idle", "program": "wedding", "status": "active", "type": ""}; by != "source" {
				if all[at[by]] == nil {
					all[at[by]] = &measures{partners: map[partyKey]bool{}}
				}
				all[at[by]].partners[partyKey{"wedding", "idle"}] = true
			}
			var rows want
			for key, m := range all {
				rows = append(rows, m.row(key))
			}
			for i := range got.Rows { // activity has a test of its own
				got.Rows[i] = append(slices.Clone(got.Rows[i][:2]), got.Rows[i][6:]...)
			}
			compareRows(t, fmt.Sprintf("partners by %s from %v", by, q.From), got, rows)
		}
	}
	var rows want
	for key, m := range groups(lives, rules, func(l *life) string { return l.program + "/" + l.referrer }, always) {
		rows = append(rows, append([]any{key}, m.row("")[2:]...))
	}
	rows = append(rows, append([]any{"wedding/idle"}, (&measures{}).row("")[2:]...))
	compareRows(t, "view partners", view(t, db, `
SELECT concat(program, '/', partner) AS key, referrals, pending, accepted, rejected, converted, paid, expired, acceptance_rate, customers, conversion_rate,
    revenue, refunds, commission, commission_paid, cost, cac, ltv, roi
FROM waymark.partners`), rows)
}

// Four partners: one with a fresh referral, one with an old referral that just
// converted, one who has been still for two months, and one who never referred.
func TestPartnerRetention(t *testing.T) {
	db := openTestDB(t)
	now := time.Now().UTC()
	var rows []tracker.Row
	act := func(event, stage, user, referrer string, days int) {
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: event, Stage: stage, Program: "p", Id: fmt.Sprint(len(rows)), UserId: user, ReferrerId: referrer,
			ReferrerType: "agent", TimeMs: uint64(now.AddDate(0, 0, -days).UnixMilli())}})
	}
	act("signup", "signed_up", "u1", "fresh", 3)
	act("signup", "signed_up", "u2", "late", 200)
	act("purchase", "converted", "u2", "late", 10)
	act("signup", "signed_up", "u3", "still", 60)
	joined := partners.Change{Partner: partners.Partner{Program: "p", ID: "never", Code: "N", Type: "agent", Status: partners.Suspended, JoinedAt: now}, Actor: "k"}
	rows = append(rows, tracker.Row{Offset: 9, Event: joined.Event()})
	insertAt(t, db, 1, 0, rows...)
	report, err := db.Report(testContext(t), tracker.ReportQuery{Name: "partners", By: "program"})
	if err != nil || len(report.Rows) != 1 {
		t.Fatal(report, err)
	}
	if got := fmt.Sprint(report.Rows[0][1:6]); got != "[4 2 3 0.5 0.75]" {
		t.Errorf("partners, active in 30 and 90 days, retention: %s", got)
	}
	got := ask(t, db, "SELECT partner, type, status, active_30, active_90, last_active_at IS NULL FROM waymark.partners ORDER BY partner")
	if want := []string{"fresh agent  true true 0", "late agent  true true 0", "never agent suspended false false 1", "still agent  false true 0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Records come back as they were written, and become terms of the rewards.
func TestPartnerRecords(t *testing.T) {
	db := openTestDB(t)
	at := time.Date(2026, 4, 1, 12, 0, 0, 5e6, time.UTC)
	rate := money("12.5")
	first := partners.Change{Partner: partners.Partner{Program: "insurance", ID: `o'hara\`, Code: "Anna-1", Type: "agent", Name: "Anna O'Hara", Email: "anna@example.com", Status: partners.Active, CommissionRate: &rate, JoinedAt: at},
		Time: at, Actor: "k1", RecordedAt: at.Add(time.Second)}
	second := first
	second.N, second.Time, second.Actor = 1, at.AddDate(0, 1, 0), "k2"
	second.Partner.Status, second.Partner.CommissionRate = partners.Suspended, nil
	other := partners.Change{Partner: partners.Partner{Program: "general", ID: "x", Code: "X", Status: partners.Active, JoinedAt: at}, Time: at, RecordedAt: at}
	var rows []tracker.Row
	for i, c := range []partners.Change{first, second, other} {
		rows = append(rows, tracker.Row{Offset: int64(i), Event: c.Event()})
	}
	insertAt(t, db, 1, 0, rows...)
	changes, err := db.PartnerChanges(testContext(t), "insurance", `o'hara\`)
	if err != nil || len(changes) != 2 {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	for i, want := range []partners.Change{first, second} {
		if got, want := *changes[i].Event(), *want.Event(); got.Id != want.Id || got.TimeMs != want.TimeMs || fmt.Sprint(got.Properties) != fmt.Sprint(want.Properties) {
			t.Errorf("change %d is %v, want %v", i, got.Properties, want.Properties)
		}
	}
	terms, err := db.RewardTerms(testContext(t), "insurance")
	if err != nil {
		t.Fatal(err)
	}
	of := terms.Partners[`o'hara\`]
	if len(of) != 2 || !of[0].Since.Equal(at) || of[0].Barred || !of[0].Percent.Equal(rate) || !of[1].Barred || of[1].Percent != nil {
		t.Errorf("terms %+v", of)
	}
	for query, want := range map[partners.Query]string{
		{Limit: 9}: "x " + `o'hara\`, {Limit: 1}: "x", {Limit: 9, After: [2]string{"general", "x"}}: `o'hara\`,
		{Limit: 9, Status: "suspended"}: `o'hara\`, {Limit: 9, Program: "general"}: "x", {Limit: 9, ID: "nobody"}: "",
	} {
		page, err := db.Partners(testContext(t), query)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, p := range page {
			ids = append(ids, p.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%+v lists %q, want %q", query, got, want)
		}
	}
}
