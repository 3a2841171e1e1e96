package clickhouse

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

func TestProgramVersions(t *testing.T) {
	db := openTestDB(t)
	version := func(offset uint64, day int, fixed int64) tracker.ProgramRow {
		p := tracker.NewProgram("wedding")
		p.EffectiveFrom = time.Date(2026, 11, day, 12, 30, 0, 250e6, time.UTC)
		amount := decimal.NewFromInt(fixed)
		p.Rewards.Rules = []tracker.RewardRule{{Name: "signup", On: "signed_up", Fixed: &amount}}
		p.Webhooks = []tracker.Webhook{{URL: "https://shop.example/hook", Events: []string{}, Secret: "a secret of some length"}}
		return tracker.ProgramRow{Program: p, Version: offset, WrittenAt: time.Date(2026, 11, 20, 0, 0, int(offset), 0, time.UTC)}
	}
	other := tracker.NewProgram("other")
	batches := [][]tracker.ProgramRow{
		{version(3, 1, 10), {Program: other, Version: 4}},
		{version(9, 5, 20)},
		{version(7, 9, 30), version(9, 5, 20)}, // what came before comes again
	}
	for _, rows := range batches {
		if err := db.InsertPrograms(testContext(t), rows); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.ProgramVersions(testContext(t), "wedding")
	if err != nil || len(got) != 3 {
		t.Fatalf("%d versions, %v", len(got), err)
	}
	for i, want := range []tracker.ProgramRow{version(3, 1, 10), version(7, 9, 30), version(9, 5, 20)} {
		want.Program = want.Program.Masked()
		if got[i].Version != want.Version || !got[i].WrittenAt.Equal(want.WrittenAt) || !got[i].Program.EffectiveFrom.Equal(want.Program.EffectiveFrom) {
			t.Errorf("version %d of %v and %v, want %d of %v and %v", got[i].Version, got[i].Program.EffectiveFrom, got[i].WrittenAt,
				want.Version, want.Program.EffectiveFrom, want.WrittenAt)
		}
		if !got[i].Program.Rewards.Rules[0].Fixed.Equal(*want.Program.Rewards.Rules[0].Fixed) || !reflect.DeepEqual(got[i].Program.Webhooks, want.Program.Webhooks) {
			t.Errorf("version %d is %+v", want.Version, got[i].Program)
		}
	}
	for _, row := range ask(t, db, "SELECT name, effective_from, document FROM waymark.program_versions FINAL ORDER BY version") {
		if strings.Contains(row, "a secret") {
			t.Errorf("a secret is in the database: %s", row)
		}
	}
	if none, err := db.ProgramVersions(testContext(t), "general"); err != nil || len(none) != 0 {
		t.Errorf("versions of what was never written: %v, %v", none, err)
	}
}
