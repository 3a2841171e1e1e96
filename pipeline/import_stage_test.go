package pipeline

import (
	"errors"
	"testing"

	"waymark/tracker"
)

// TestImportedStage: history reaches the stages of its programme, as what the
// edge is told does, and cannot hold what Waymark alone writes.
func TestImportedStage(t *testing.T) {
	b := testImportEvents(t)
	program := tracker.NewProgram("contest")
	program.Stages = map[string]string{"entered": tracker.StageConverted}
	if err := b.links.(*tracker.Links).ApplyProgram(program); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ event, program, want string }{
		{"entered", "contest", "converted"},
		{"entered", "wedding", ""},
		{"entered", "", ""},
		{"purchase", "contest", "converted"},
		{"opened", "contest", ""},
	} {
		e := mustEvent(t, b, "event", c.event, "time", "1735787045", "user_id", "u", "program", c.program)
		if e.Stage != c.want {
			t.Errorf("%s in %q has the stage %q, want %q", c.event, c.program, e.Stage, c.want)
		}
	}
	_, err := b.event(rowOf(t, "event", "reward_entry", "time", "1735787045", "user_id", "u"))
	if fault, ok := errors.AsType[*tracker.FieldError](err); !ok || fault.Field != "event" {
		t.Errorf("an entry of the ledger was imported: %v", err)
	}
}
