package clickhouse

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// The tiers of the marketplace: supplier 1, 3, 5, 10, couple 1, 3, 5; at, below
// and above each. A rejected referral does not count, nor does a second purchase
// or the party itself.
func TestTiers(t *testing.T) {
	db := openTestDB(t)
	p := tracker.NewProgram("wedding")
	for i, name := range []string{"bronze", "silver", "gold", "platinum"} {
		p.Tiers = append(p.Tiers, tracker.Tier{Name: name, PartyType: "supplier", Conversions: []int{1, 3, 5, 10}[i], Badge: name + " badge", Multiplier: decimal.NewFromInt(1)})
	}
	for i, name := range []string{"first", "active", "champion"} {
		p.Tiers = append(p.Tiers, tracker.Tier{Name: name, PartyType: "couple", Conversions: []int{1, 3, 5}[i], Multiplier: decimal.NewFromInt(1)})
	}
	p.Rewards.Milestones = []tracker.Milestone{
		{Name: "four", Stage: "converted", Count: 4, Badge: "star"}, {Name: "two", Stage: "converted", Count: 2}, {Name: "signups", Stage: "signed_up", Count: 1}, {Name: "couples", PartyType: "couple", Stage: "converted", Count: 3},
	}
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: p, Version: 1}}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var rows []tracker.Row
	act := func(event, stage, user, referrer, kind string) {
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: event, Stage: stage, Program: "wedding", Id: fmt.Sprint(len(rows)), UserId: user, ReferrerId: referrer, ReferrerType: kind,
			TimeMs: uint64(at.UnixMilli()) + uint64(len(rows))}})
	}
	for _, kind := range []string{"supplier", "couple"} {
		for n := range 12 {
			party := fmt.Sprintf("%s-%02d", kind, n)
			act("signup", "signed_up", "only signed up with "+party, party, kind)
			for user := range n {
				act("purchase", "converted", fmt.Sprint(party, "/", user), party, kind)
				act("purchase", "converted", fmt.Sprint(party, "/", user), party, kind)
			}
			act("purchase", "converted", party, party, kind)
			act("purchase", "converted", party+"/rejected", party, kind)
			act("accept", "", party+"/rejected", "", "")
			act("reject", "", party+"/rejected", "", "")
		}
	}
	insertAt(t, db, 1, 0, rows...)
	got := ask(t, db, "SELECT party, conversions, tier, badge, next_tier, conversions_missing, arrayStringConcat(milestones, '+'), next_milestone, milestone_missing FROM waymark.tiers WHERE conversions IN (1, 2, 3, 4, 5, 9, 10, 11) ORDER BY party_type DESC, party")
	want := []string{
		"supplier-01 1 bronze bronze badge silver 2  two 1",
		"supplier-02 2 bronze bronze badge silver 1 two four 2",
		"supplier-03 3 silver silver badge gold 2 two four 1",
		"supplier-04 4 silver silver badge gold 1 two+star  <nil>",
		"supplier-05 5 gold gold badge platinum 5 two+star  <nil>",
		"supplier-09 9 gold gold badge platinum 1 two+star  <nil>",
		"supplier-10 10 platinum platinum badge  <nil> two+star  <nil>",
		"supplier-11 11 platinum platinum badge  <nil> two+star  <nil>",
		"couple-01 1 first  active 2  two 1",
		"couple-02 2 first  active 1 two couples 1",
		"couple-03 3 active  champion 2 two+couples four 1",
		"couple-04 4 active  champion 1 two+couples+star  <nil>",
		"couple-05 5 champion   <nil> two+couples+star  <nil>",
		"couple-09 9 champion   <nil> two+couples+star  <nil>",
		"couple-10 10 champion   <nil> two+couples+star  <nil>",
		"couple-11 11 champion   <nil> two+couples+star  <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", fmt.Sprint(got))
	}
	board, err := db.Report(testContext(t), tracker.ReportQuery{Name: "leaderboard", Program: "wedding"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range board.Rows {
		if row[2] == "supplier-02" && fmt.Sprint(row[9:]) != "[bronze bronze badge silver 1 four 2]" {
			t.Errorf("on the leaderboard: %v", row)
		}
	}
}
