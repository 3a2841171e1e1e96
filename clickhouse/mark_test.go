package clickhouse

import (
	"fmt"
	"testing"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/wire"
)

// Whatever rewards and assessments follow from is news, and what the accountant,
// the assessor and the webhooks write is none of what it follows from: or each
// would look again for what it wrote itself.
func TestMarks(t *testing.T) {
	db := openTestDB(t)
	version := func(n uint64) {
		t.Helper()
		p := tracker.NewProgram("p")
		p.Rewards.Rules = []tracker.RewardRule{{Name: "x"}}
		if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: p, Version: n}}); err != nil {
			t.Fatal(err)
		}
	}
	version(1)
	marks := func() (rewards, fraud string) {
		t.Helper()
		rewards, err := db.RewardsMark(testContext(t))
		if err == nil {
			fraud, err = db.FraudMark(testContext(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		return rewards, fraud
	}
	next := int64(0)
	insert := func(e *wire.Event, decision bool) {
		t.Helper()
		block := &tracker.Block{Token: fmt.Sprint("block ", next), Source: 1, Decisions: decision, Rows: []tracker.Row{{Offset: next, Event: e}}}
		if decision {
			block.Source = 2
		}
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
		next++
	}
	action := func(event, stage string) func() {
		return func() {
			insert(&wire.Event{Event: event, Stage: stage, Program: "p", UserId: "u", Id: fmt.Sprint("id", next)}, false)
		}
	}
	decided := func(event string) func() {
		return func() {
			insert(&wire.Event{Event: event, Program: "p", UserId: "u", Id: fmt.Sprint("id", next), Properties: map[string]string{"n": "0", "actor": "k"}}, true)
		}
	}
	entry := func(actor string) func() {
		return func() {
			e := &rewards.Entry{Chain: "R", N: int(next), Party: "s", Kind: rewards.Move, State: rewards.Eligible, Actor: actor}
			insert(e.Event("p", "EUR"), true)
		}
	}
	for _, test := range []struct {
		what           string
		do             func()
		rewards, fraud bool
	}{
		{"nothing", func() {}, false, false},
		{"an action", action("purchase", "converted"), true, true},
		{"an invitation", action("invite", "invited"), true, true},
		{"an entry of the accountant", entry(rewards.System), false, false},
		{"a person's entry", entry("k"), true, false},
		{"an assessment", decided(tracker.EventFraudAssessment), true, false},
		{"a decision about fraud", decided(tracker.EventFraudDecision), true, false},
		{"a partner", decided(tracker.EventPartnerChange), true, false},
		{"an entry of the audit log", decided(tracker.EventAuditEntry), false, false},
		{"a version", func() { version(2) }, true, true},
	} {
		r, f := marks()
		test.do()
		if r2, f2 := marks(); r2 != r != test.rewards || f2 != f != test.fraud {
			t.Errorf("%s: the mark of rewards changed from %s to %s, that of fraud from %s to %s", test.what, r, r2, f, f2)
		}
	}
}
