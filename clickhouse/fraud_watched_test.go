package clickhouse

import (
	"slices"
	"testing"

	"waymark/tracker"
)

// Nothing is written about the referrals of a programme that pays nothing and
// has no rules of its own, and where there are only such, nobody looks for news.
func TestFraudWatched(t *testing.T) {
	db := openTestDB(t)
	version := func(n uint64, name string, change func(*tracker.Program)) tracker.ProgramRow {
		p := tracker.NewProgram(name)
		change(&p)
		return tracker.ProgramRow{Program: p, Version: n}
	}
	rows := []tracker.ProgramRow{
		version(1, "plain", func(*tracker.Program) {}),
		version(2, "pays", func(p *tracker.Program) { p.Rewards.Rules = []tracker.RewardRule{{Name: "x"}} }),
		version(3, "badges", func(p *tracker.Program) { p.Rewards.Milestones = []tracker.Milestone{{Name: "x"}} }),
		version(4, "strict", func(p *tracker.Program) { p.Fraud.Medium = 0.3 }),
		version(5, "fast", func(p *tracker.Program) {
			p.Fraud.Signals["velocity"] = tracker.FraudSignal{Weight: 0.3, Threshold: 20}
		}),
	}
	mark := func(rows []tracker.ProgramRow) string {
		t.Helper()
		if err := db.InsertPrograms(testContext(t), rows); err != nil {
			t.Fatal(err)
		}
		mark, err := db.FraudMark(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		return mark
	}
	if none := mark(rows[:1]); none != "" {
		t.Errorf("the mark is %q where nothing is watched", none)
	}
	first := mark(rows[1:4])
	if next := mark(rows[4:]); first == "" || next == first {
		t.Errorf("the marks are %q and, with another version, %q", first, next)
	}
	got := ask(t, db, "SELECT program FROM waymark.fraud_watched ORDER BY program")
	if want := []string{"badges", "fast", "pays", "strict"}; !slices.Equal(got, want) {
		t.Errorf("watched are %v, want %v", got, want)
	}
}
