package clickhouse

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/wire"
)

func rowsOf(program string, entries ...*rewards.Entry) []tracker.Row {
	var rows []tracker.Row
	for i, e := range entries {
		rows = append(rows, tracker.Row{Offset: int64(i), Event: e.Event(program, "EUR")})
	}
	return rows
}

func money(text string) decimal.Decimal { return decimal.RequireFromString(text) }

// An entry comes back as it was written, whatever it holds, and is found by its
// place.
func TestRewardEntries(t *testing.T) {
	db := openTestDB(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)
	earned := &rewards.Entry{Chain: "R1", N: 10, Party: `o'hara\n`, Time: at, Value: money("9.98"), Kind: rewards.Earn, State: rewards.Pending,
		Rule: "couple", Fact: "purchase o:1", Referee: "c", Referrer: "s", ReferrerType: "supplier", Campaign: "spring", Base: "9.975", Multipliers: "annual 2 × first three 1.5",
		Cap: "budget", Version: 7, Actor: rewards.System, Reason: "because", RecordedAt: at.Add(time.Second)}
	paid := &rewards.Entry{Chain: "P1", Party: "s", Time: at, Value: money("-12.000001"), Kind: rewards.Payout, State: rewards.Paid, Actor: "k1", Batch: "B1", RecordedAt: at}
	for i := range rewards.LinesMax {
		line := rewards.Line{Reward: strings.Repeat("R", 26), Amount: money("999999999999.999999").Neg().Add(decimal.New(int64(i), -6))}
		paid.Lines = append(paid.Lines, line)
	}
	opened := &rewards.Entry{Chain: "B1", Time: at, Kind: rewards.Open, Actor: "k1", RecordedAt: at}
	insertAt(t, db, 1, 0, rowsOf("wedding", earned, paid, opened)...)
	insertAt(t, db, 1, 1, rowsOf("general", earned)...)

	var got []*rewards.Entry
	if err := db.RewardEntries(testContext(t), "wedding", nil, func(e *rewards.Entry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	check := func(what string, got *rewards.Entry, want *rewards.Entry) {
		t.Helper()
		if got == nil || !reflect.DeepEqual(entryText(got), entryText(want)) {
			t.Errorf("%s is\n%+v, want\n%+v", what, got, want)
		}
	}
	if len(got) != 3 {
		t.Fatalf("%d entries", len(got))
	}
	check("the entry of the batch", got[0], opened)
	check("the reward", got[1], earned)
	check("the payout", got[2], paid)

	free := *earned
	free.N = 11
	found, err := db.FindRewardEntries(testContext(t), "wedding", []*rewards.Entry{earned, paid, &free})
	if err != nil || len(found) != 2 {
		t.Fatalf("found %d, %v", len(found), err)
	}
	check("the reward by its place", found["R1/10"], earned)
	many := []*rewards.Entry{earned}
	for n := range rewardScan {
		one := free
		one.N += n
		many = append(many, &one)
	}
	if found, err := db.FindRewardEntries(testContext(t), "wedding", many); err != nil || len(found) != 1 || found["R1/10"] == nil {
		t.Errorf("of many found %d, %v", len(found), err)
	}
	program, chain, err := db.RewardChain(testContext(t), "P1")
	if err != nil || program != "wedding" || len(chain) != 1 {
		t.Fatalf("chain of %q with %d entries, %v", program, len(chain), err)
	}
	check("the payout by its chain", &chain[0], paid)
	batch, err := db.RewardBatch(testContext(t), "B1")
	if err != nil || len(batch) != 1 {
		t.Fatalf("%d entries in the batch, %v", len(batch), err)
	}
	check("the payout by its batch", &batch[0], paid)
	got = nil
	if err := db.RewardEntries(testContext(t), "wedding", []string{`o'hara\n`}, func(e *rewards.Entry) error { got = append(got, e); return nil }); err != nil || len(got) != 1 {
		t.Errorf("%d entries of one party, %v", len(got), err)
	}
}

// entryText is an entry in a form that can be compared: decimals as texts.
func entryText(e *rewards.Entry) any {
	amounts := []string{e.Value.String()}
	for _, line := range e.Lines {
		amounts = append(amounts, line.Reward+line.Amount.String())
	}
	plain := *e
	plain.Value, plain.Lines, plain.Time, plain.RecordedAt = decimal.Decimal{}, nil, e.Time.UTC(), e.RecordedAt.UTC()
	return []any{plain, amounts}
}

// A chain through all states, and what the views say of it.
func TestRewardViews(t *testing.T) {
	db := openTestDB(t)
	day := func(month, day int) time.Time { return time.Date(2026, time.Month(month), day, 0, 0, 0, 0, time.UTC) }
	entry := func(chain string, n int, at time.Time, kind rewards.Kind, state rewards.State, value string) *rewards.Entry {
		e := &rewards.Entry{Chain: chain, N: n, Party: "s", Time: at, Value: money(value), Kind: kind, State: state, Actor: rewards.System, RecordedAt: at}
		if kind == rewards.Earn {
			e.Rule, e.Base, e.Fact = "couple", value, "purchase o:"+chain
		}
		return e
	}
	payout := entry("P", 0, day(3, 5), rewards.Payout, rewards.Paid, "-30")
	payout.Lines, payout.Batch = []rewards.Line{{Reward: "A", Amount: money("10")}, {Reward: "B", Amount: money("20")}}, "B1"
	payout.Actor = "k1"
	insertAt(t, db, 1, 0, rowsOf("wedding",
		// Paid, then refunded in part.
		entry("A", 0, day(1, 1), rewards.Earn, rewards.Pending, "10"), entry("A", 1, day(1, 15), rewards.Move, rewards.Eligible, "0"),
		entry("A", 2, day(3, 5), rewards.Move, rewards.Paid, "0"), entry("A", 3, day(4, 1), rewards.Adjust, rewards.Paid, "-4"),
		// Paid, but the entry that says so is not there yet.
		entry("B", 0, day(1, 2), rewards.Earn, rewards.Pending, "20"), entry("B", 1, day(1, 16), rewards.Move, rewards.Eligible, "0"), payout,
		// Expired, cancelled, pending, eligible.
		entry("C", 0, day(1, 3), rewards.Earn, rewards.Pending, "7"), entry("C", 1, day(1, 17), rewards.Move, rewards.Eligible, "0"), entry("C", 2, day(2, 17), rewards.Expire, rewards.Expired, "-7"),
		entry("D", 0, day(1, 4), rewards.Earn, rewards.Pending, "5"), entry("D", 1, day(2, 4), rewards.Reverse, rewards.Cancelled, "-5"),
		entry("E", 0, day(3, 1), rewards.Earn, rewards.Pending, "3.5"),
		entry("F", 0, day(3, 2), rewards.Earn, rewards.Pending, "1.25"), entry("F", 1, day(3, 16), rewards.Move, rewards.Eligible, "0"),
	)...)
	for _, test := range []struct {
		sql  string
		want []string
	}{
		{"SELECT reward, state, amount, balance, settled, toDate(eligible_at), toDate(paid_at), batch, entries FROM waymark.rewards ORDER BY reward", []string{
			"A paid 6 6 10 2026-01-15 2026-03-05 B1 4", "B paid 20 20 20 2026-01-16 2026-03-05 B1 2", "C expired 7 0 0 2026-01-17 <nil>  3",
			"D cancelled 0 0 0 <nil> <nil>  2", "E pending 3.5 3.5 0 <nil> <nil>  1", "F eligible 1.25 1.25 0 2026-03-16 <nil>  2"}},
		{"SELECT pending, eligible, owed, payable, paid, expired, account, rewards FROM waymark.reward_balances", []string{"3.5 1.25 4 0 30 7 0.75 6"}},
		{"SELECT month, opening, earned, adjusted, expired, paid, closing FROM waymark.reward_statements ORDER BY month", []string{
			"2026-01-01 0 42 0 0 0 42", "2026-02-01 42 0 -5 -7 0 30", "2026-03-01 30 4.75 0 0 30 4.75", "2026-04-01 4.75 0 -4 0 0 0.75"}},
	} {
		got := ask(t, db, test.sql)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], " 00:00:00 +0000 UTC", "")
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\n got %s\nwant %s", test.sql, strings.Join(got, "\n     "), strings.Join(test.want, "\n     "))
		}
	}
	for by, want := range map[string]string{
		"":      "[couple EUR 5 1 37.75 3.5 1.25 4 30 7]",
		"party": "[s EUR 5 1 37.75 3.5 1.25 4 30 7]",
	} {
		report, err := db.Report(testContext(t), tracker.ReportQuery{Name: "rewards", By: by, Program: "wedding"})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(report.Rows[0]); len(report.Rows) != 1 || got != want {
			t.Errorf("the report by %q is %v, want %s", by, report.Rows, want)
		}
	}
	if report, err := db.Report(testContext(t), tracker.ReportQuery{Name: "rewards", From: day(1, 2), To: day(1, 3)}); err != nil || fmt.Sprint(report.Rows[0][4]) != "20" {
		t.Errorf("the report of a day is %v, %v", report, err)
	}
	var pages []string
	for query := (tracker.RewardQuery{Program: "wedding", Party: "s", Limit: 4}); ; {
		page, err := db.Rewards(testContext(t), query)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			pages = append(pages, row[slices.Index(page.Columns, "reward")].(string))
		}
		if query.Cursor = page.Extra["cursor"].(string); query.Cursor == "" {
			break
		}
	}
	if got := strings.Join(pages, ""); got != "ABCDEF" {
		t.Errorf("the pages list %s", got)
	}
	if page, err := db.Rewards(testContext(t), tracker.RewardQuery{State: "paid", Limit: 10}); err != nil || len(page.Rows) != 2 {
		t.Errorf("%d paid, %v", len(page.Rows), err)
	}
	// The ledger is no action of anybody: no report and no journey knows of it.
	if got := number(t, db, "SELECT toInt64((SELECT count() FROM waymark.actions) + (SELECT count() FROM waymark.journeys))"); got != 0 {
		t.Errorf("%d actions and journeys are of the ledger", got)
	}
}

func TestRewardFacts(t *testing.T) {
	db := openTestDB(t)
	at := uint64(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	event := func(offset int64, e *wire.Event) tracker.Row {
		e.TimeMs = at + uint64(offset)
		return tracker.Row{Offset: offset, Event: e}
	}
	insertAt(t, db, 1, 0,
		event(0, &wire.Event{Event: "signup", Stage: "signed_up", Program: "p", Id: "1", UserId: "u", ReferrerId: "s", ReferrerType: "supplier", RefereeType: "couple", Campaign: "spring", Channel: "qr", Link: 5, Code: "c"}),
		event(1, &wire.Event{Event: "purchase", Stage: "converted", OrderId: "7", UserId: "u", Value: "19.99", Plan: "scale", Properties: map[string]string{"billing": "annual"}}),
		event(2, &wire.Event{Event: "refund", Program: "p", Id: "3", OrderId: "7", Value: "5"}),
		event(3, &wire.Event{Event: "purchase", Stage: "converted", Program: "p", OrderId: "8", UserId: "u", Value: "3.50", Reasons: 128}),
		event(4, &wire.Event{Event: "purchase", Stage: "converted", Program: "p", OrderId: "9", UserId: "stranger", Value: "1"}),
		event(5, &wire.Event{Event: "purchase", Stage: "converted", Program: "q", OrderId: "7", UserId: "w", ReferrerId: "s", Value: "2"}),
	)
	for _, countries := range []bool{false, true} {
		facts, err := db.RewardFacts(testContext(t), "p", countries)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(facts, func(a, b *rewards.Fact) int { return a.Time.Compare(b.Time) })
		var got []string
		for _, f := range facts {
			got = append(got, strings.Join([]string{f.Identity(), f.Stage, f.Party, f.Order, f.Value.String(), f.Plan, f.Referrer, f.ReferrerType, f.RefereeType, f.Campaign, f.Channel, f.Properties["billing"]}, "|"))
			if f.Unverified != (f.Order == "8") || f.User == (f.Event == "refund") {
				t.Errorf("%s: unverified %t, of a user %t", f.Identity(), f.Unverified, f.User)
			}
		}
		want := []string{
			"signup i:1|signed_up|u||0||s|supplier|couple|spring|qr|",
			"purchase o:7|converted|u|7|19.99|scale|s|supplier|couple|spring|qr|annual",
			"refund o:7||action:3|7|5|||||||",
			"purchase uo:8|converted|u|8|3.5||s|supplier|couple|spring|qr|",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestPayouts(t *testing.T) {
	db := openTestDB(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var entries []*rewards.Entry
	for i, batch := range []string{"X", "Y", "Z"} {
		opened := at.AddDate(0, 0, i)
		entries = append(entries, &rewards.Entry{Chain: batch, Time: opened, Kind: rewards.Open, Actor: "k", RecordedAt: opened})
		if i > 0 {
			entries = append(entries, &rewards.Entry{Chain: batch, N: 1, Time: opened, Kind: rewards.Close, Actor: "k", RecordedAt: opened})
		}
		for party := range i {
			name := string(rune('a' + party))
			entries = append(entries, &rewards.Entry{Chain: "chain of " + name, N: i, Party: name, Value: money("-2.5"), Time: opened, Kind: rewards.Payout, State: rewards.Paid, Batch: batch, Actor: "k", RecordedAt: opened})
		}
	}
	insertAt(t, db, 1, 0, rowsOf("wedding", entries...)...)
	list := func(query tracker.RewardQuery) (lines string, cursor string) {
		t.Helper()
		page, err := db.Payouts(testContext(t), query)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			lines += fmt.Sprintln(row[1], row[4], row[6], row[7])
		}
		return lines, page.Extra["cursor"].(string)
	}
	first, cursor := list(tracker.RewardQuery{Program: "wedding", Limit: 2})
	second, end := list(tracker.RewardQuery{Program: "wedding", Limit: 2, Cursor: cursor})
	if want := "Z true 2 5\nY true 1 2.5\nX false 0 0\n"; first+second != want || end != "" {
		t.Errorf("the batches are\n%s%s, want\n%s", first, second, want)
	}
	if of, _ := list(tracker.RewardQuery{Party: "b", Limit: 9}); of != "Z true 2 5\n" {
		t.Errorf("the batches of b are\n%s", of)
	}
}

// The terms have what the records of partners said, and from when on.
func TestRewardTerms(t *testing.T) {
	db := openTestDB(t)
	record := func(offset int64, day int, status, rate string) tracker.Row {
		return tracker.Row{Offset: offset, Event: &wire.Event{
			Event: "partner_change", Program: "p", UserId: "a-1", Id: fmt.Sprint("partner/", offset), TimeMs: uint64(time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC).UnixMilli()),
			Properties: map[string]string{"kind": "record", "n": fmt.Sprint(offset), "status": status, "commission_rate": rate},
		}}
	}
	insertAt(t, db, 1, 0, record(0, 1, "active", ""), record(1, 5, "active", "12.5"), record(2, 9, "suspended", "12.5"))
	terms, err := db.RewardTerms(testContext(t), "p")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range terms.Partners["a-1"] {
		got = append(got, fmt.Sprint(p.Since.Day(), p.Percent, p.Barred))
	}
	if want := []string{"1 <nil> false", "5 12.5 false", "9 12.5 true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
