package admin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// testClick is a click on link 1, "first", which newClickFixture makes.
var testClick = tracker.Click{
	Identity: tracker.Identity{TimeMS: uint64(time.Date(2020, 1, 2, 3, 4, 5, 678e6, time.UTC).UnixMilli()), Node: 3, Sequence: 77},
	Link:     1,
}

// newClickFixture has the links "first" of the programme "wedding" and
// "other"; path is that of testClick.
func newClickFixture(t *testing.T) (f *fixture, path string) {
	t.Helper()
	f = newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"first","url":"https://example.com/","program":"wedding"}`)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"other","url":"https://example.com/"}`)
	return f, "/v1/clicks/" + string(f.clickIDs.Append(nil, testClick))
}

func TestClick(t *testing.T) {
	f, path := newClickFixture(t)
	answer := f.want(t, 200, "GET", path, f.read, "")
	link, _ := answer["link"].(map[string]any)
	if answer["genuine"] != true || answer["time"] != "2020-01-02T03:04:05.678Z" || answer["node"] != 3.0 || answer["sequence"] != 77.0 ||
		answer["arrived"] != false || answer["hit"] != nil || link["code"] != "first" || link["deleted"] != false {
		t.Errorf("before it arrived: %v", answer)
	}
	f.history.Hit = &tracker.Row{Event: &wire.Event{
		Event: "click", Reasons: uint32(tracker.Repeat | tracker.GPC), VisitorId: 0xabc, Country: "AT", Device: "mobile", Os: "iOS",
	}}
	answer = f.want(t, 200, "GET", path, f.read, "")
	hit, _ := answer["hit"].(map[string]any)
	if answer["arrived"] != true || hit["valid"] != true || hit["unique"] != false || hit["visitor_id"] != "0000000000000abc" ||
		hit["country"] != "AT" || hit["os"] != "iOS" || fmt.Sprint(hit["reasons"]) != "[repeat gpc]" {
		t.Errorf("hit: %v", hit)
	}
	f.history.Hit.Event.Reasons = uint32(tracker.Bot)
	answer = f.want(t, 200, "GET", path, f.weddingRead, "")
	if !strings.Contains(answer["explanation"].(string), "(bot)") {
		t.Errorf("explained: %s", answer["explanation"])
	}
	f.want(t, 204, "DELETE", "/v1/links/first", f.admin, "")
	answer = f.want(t, 200, "GET", path, f.read, "")
	if answer["link"].(map[string]any)["deleted"] != true {
		t.Errorf("after the link was deleted: %v", answer["link"])
	}
}

func TestClickActions(t *testing.T) {
	f, path := newClickFixture(t)
	noClick := func(e *wire.Event) { e.ClickTimeMs, e.ClickNode, e.ClickSequence, e.Link, e.Code = 0, 0, 0, 0, "" }
	cases := []struct {
		days       float64           // after the click
		change     func(*wire.Event) // of an action that brought the click id
		attributed bool
		why        string
	}{
		{0, func(*wire.Event) {}, true, "click id"},
		{30, func(*wire.Event) {}, true, "click id"},
		{30.01, func(e *wire.Event) { e.Reasons, e.Link, e.Code = uint32(tracker.Late), 0, "" }, false, "window"},
		{0, func(e *wire.Event) { e.TimeMs-- }, true, "click id"}, // clocks differ
		{1, func(e *wire.Event) { e.Link, e.Code = 2, "other" }, false, `the code "other"`},
		{1, func(e *wire.Event) { e.Reasons = uint32(tracker.Unverified) }, true, "unverified"},
		{1, noClick, true, `the user "u1"`},
		{1, func(e *wire.Event) { noClick(e); e.Link, e.Code = 2, "other" }, false, `the link "other"`},
		{1, func(e *wire.Event) { e.ClickSequence = 78 }, false, "another click"},
	}
	for _, c := range cases {
		e := &wire.Event{
			Event: "purchase", Stage: "converted", Program: "wedding", Link: 1, Code: "first", UserId: "u1", Value: "5", Currency: "EUR",
			TimeMs: testClick.TimeMS + uint64(c.days*86_400_000), ClickTimeMs: testClick.TimeMS, ClickNode: 3, ClickSequence: 77,
		}
		c.change(e)
		f.history.Actions = append(f.history.Actions, tracker.Row{Event: e})
	}
	answer := f.want(t, 200, "GET", path, f.read, "")
	actions := answer["actions"].([]any)
	if len(actions) != len(cases) {
		t.Fatalf("%d actions", len(actions))
	}
	for i, c := range cases {
		action := actions[i].(map[string]any)
		if action["attributed"] != c.attributed || !strings.Contains(action["explanation"].(string), c.why) {
			t.Errorf("%v: %v %s, want %v because of %s", f.history.Actions[i].Event, action["attributed"], action["explanation"], c.attributed, c.why)
		}
	}
	if !strings.Contains(answer["explanation"].(string), "5 of the 9") {
		t.Errorf("explained: %s", answer["explanation"])
	}
}

func TestClickOfOthers(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"theirs","url":"https://example.com/"}`)
	for _, link := range []tracker.LinkNumber{1, 99} {
		id := f.clickIDs.Append(nil, tracker.Click{Identity: tracker.Identity{TimeMS: 1577934245678}, Link: link})
		f.want(t, 404, "GET", "/v1/clicks/"+string(id), f.weddingRead, "")
		answer := f.want(t, 200, "GET", "/v1/clicks/"+string(id), f.read, "")
		if answer["genuine"] != true || (answer["link"] == nil) != (link == 99) {
			t.Errorf("link %d: %v", link, answer)
		}
	}
	for _, id := range []string{"x", strings.Repeat("A", 22), "%00"} {
		answer := f.want(t, 200, "GET", "/v1/clicks/"+id, f.read, "")
		if answer["genuine"] != false || answer["time"] != nil || answer["explanation"] == "" {
			t.Errorf("%q: %v", id, answer)
		}
	}
}
