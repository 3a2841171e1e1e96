package tracker

import (
	"errors"
	"testing"
)

func TestStageOfProgram(t *testing.T) {
	plain, own := NewProgram("general"), NewProgram("insurance")
	own.Stages = map[string]string{"policy_issued": StageConverted, EventPurchase: ""}
	for _, c := range []struct {
		program *Program
		event   string
		want    string
	}{
		{&plain, EventPurchase, StageConverted},
		{&plain, "policy_issued", ""},
		{&own, "policy_issued", StageConverted},
		{&own, EventPurchase, ""},
		{&own, EventSignup, StageSignedUp},
		{&own, EventClick, StageClicked},
	} {
		if got := c.program.StageOf(c.event); got != c.want {
			t.Errorf("%s in %s reaches %q, want %q", c.event, c.program.Name, got, c.want)
		}
	}
}

// TestActionHasTheStageOfItsProgram: where the programme is known, its stages
// hold, else the usual ones.
func TestActionHasTheStageOfItsProgram(t *testing.T) {
	a := newTestActions(t)
	wedding := NewProgram("wedding")
	wedding.Stages = map[string]string{"booked": StageConverted, EventPurchase: StageRetained}
	a.Links.(*linksBench).program(wedding)
	for _, c := range []struct {
		act  Action
		key  *APIKey
		want string
	}{
		{Action{Event: "booked", Code: "LOVE-7G2K9Q"}, nil, StageConverted},
		{Action{Event: EventPurchase, UserID: "u", Program: "wedding"}, nil, StageRetained},
		{Action{Event: EventPurchase, UserID: "u"}, &APIKey{Role: RoleEvent, Program: "wedding"}, StageRetained},
		{Action{Event: EventPurchase, Code: "hello"}, nil, StageConverted},
		{Action{Event: EventPurchase, UserID: "u"}, nil, StageConverted},
		{Action{Event: "booked", UserID: "u"}, nil, ""},
	} {
		e, err := a.event(&c.act, &actionSource{way: wayEvents, key: c.key, now: testNow, patience: noPatience()})
		if err != nil || e.Stage != c.want {
			t.Errorf("%+v: stage %q, %v; want %q", c.act, e.GetStage(), err, c.want)
		}
	}
}

func TestReservedEventsAreRefused(t *testing.T) {
	a := newTestActions(t)
	for _, event := range []string{"reward_entry", "fraud_assessment", "fraud_decision", "partner_change", "audit_entry"} {
		act := Action{Event: event, UserID: "u", Program: "general"}
		_, err := a.event(&act, &actionSource{way: wayEvents, now: testNow, patience: noPatience()})
		if fault, ok := errors.AsType[*FieldError](err); !ok || fault.Field != "event" {
			t.Errorf("%s: %v", event, err)
		}
	}
	if ReservedEvent(EventPurchase) || ReservedEvent("rewards") {
		t.Error("a customer's event is reserved")
	}
}

func TestFlowsOfLinks(t *testing.T) {
	p := NewProgram("wedding")
	p.PartyTypes = []string{"supplier", "couple", "guest"}
	p.Flows = []Flow{{"supplier", "couple"}, {"couple", "couple"}}
	for _, c := range []struct {
		referrer, referee string
		ok                bool
	}{
		{"supplier", "couple", true},
		{"couple", "couple", true},
		{"couple", "supplier", false},
		{"guest", "", false},
		{"", "supplier", false},
		{"supplier", "", true},
		{"", "couple", true},
		{"", "", true},
	} {
		l := NewLink()
		l.Code, l.URL, l.Program = "a", "https://shop.example/", "wedding"
		l.RefereeType = c.referee
		if c.referrer != "" {
			l.Referrer = Party{ID: "x", Type: c.referrer}
		}
		err := l.Validate(&p)
		fault, _ := errors.AsType[*FieldError](err)
		if c.ok && err != nil || !c.ok && (fault == nil || fault.Field != "referee_type") {
			t.Errorf("%q to %q: %v", c.referrer, c.referee, err)
		}
	}
	free := NewProgram("general")
	if !free.Allows("anybody", "anybody") {
		t.Error("a programme without flows allows not all")
	}
}
