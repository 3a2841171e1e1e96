package tracker

import (
	"testing"
	"time"

	"waymark/tracker/wire"
)

// TestActionEventOutsideWindow: a click before the attribution window, 30 days
// by default, tells the programme and which click it was, and credits nobody.
func TestActionEventOutsideWindow(t *testing.T) {
	a := newTestActions(t)
	click := testClick(2)
	id := string(a.ClickIDs.Append(nil, click))
	window := time.UnixMilli(int64(click.TimeMS)).Add(30 * 24 * time.Hour).UTC()
	a.Now = func() time.Time { return window.Add(time.Hour) }
	old := []Touch{{1, click.TimeMS, click.TimeMS}}
	event := func(act Action, touches []Touch) *wire.Event {
		t.Helper()
		src := actionSource{way: wayPixel, visitor: 0xabc, touches: touches, now: a.Now(), patience: noPatience()}
		e, err := a.event(&act, &src)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := event(Action{Event: "signup", UserID: "u", ClickID: id, Time: window}, nil); Reasons(e.Reasons)&Late != 0 || e.Code != "LOVE-7G2K9Q" || len(e.Touches) != 1 {
		t.Errorf("at the end of the window: %v", e)
	}
	late := event(Action{Event: "signup", UserID: "u", ClickID: id, Time: window.Add(time.Millisecond)}, nil)
	if Reasons(late.Reasons)&Late == 0 || late.Program != "wedding" || late.ClickTimeMs != click.TimeMS ||
		late.Link != 0 || late.Code != "" || late.ReferrerId != "" || late.Campaign != "" || len(late.Touches) != 0 {
		t.Errorf("after the window: %v", late)
	}
	if e := event(Action{Event: "signup", UserID: "u", Time: window.Add(time.Millisecond)}, old); Reasons(e.Reasons)&Late == 0 || e.Program != "general" || e.Link != 0 {
		t.Errorf("by a cookie whose last touch is too old: %v", e)
	}
	if e := event(Action{Event: "signup", UserID: "u", ClickID: id, Code: "hello", Time: window.Add(time.Hour)}, nil); Reasons(e.Reasons)&Late != 0 || e.Code != "hello" {
		t.Errorf("by a code, which has no window: %v", e)
	}
}
