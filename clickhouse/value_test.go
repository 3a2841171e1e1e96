package clickhouse

import (
	"testing"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// An order that names a user only belongs to the programme of the sign-up; what
// came by a visitor's hand is worth nothing.
func TestHasValue(t *testing.T) {
	db := openTestDB(t)
	const at = 1_789_999_999_000
	block := &tracker.Block{Token: "value", Source: 1, From: 0, To: 4}
	for i, e := range []*wire.Event{
		{Event: "signup", Stage: "signed_up", Program: "valued", UserId: "u1", Id: "1"},
		{Event: "signup", Stage: "signed_up", Program: "empty", UserId: "u2", Id: "2"},
		{Event: "purchase", Stage: "converted", UserId: "u1", OrderId: "3", Value: "0.01"},
		{Event: "purchase", Stage: "converted", Program: "empty", UserId: "u2", OrderId: "4", Value: "5", Reasons: uint32(tracker.Unverified)},
	} {
		e.TimeMs = at + uint64(i)
		block.Rows = append(block.Rows, tracker.Row{Offset: int64(i), Event: e})
	}
	if err := db.InsertBlock(testContext(t), block); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]bool{"valued": true, "empty": false, "unknown": false, "": false} {
		got, err := db.HasValue(testContext(t), program)
		if err != nil || got != want {
			t.Errorf("programme %q: %v, %v; want %v", program, got, err, want)
		}
	}
}
