package tracker

import (
	"testing"

	"waymark/tracker/wire"
)

func TestIdentityOfAction(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event *wire.Event
		want  ActionIdentity
		ok    bool
	}{
		{"an order wins over the id", &wire.Event{Program: "p", Event: "purchase", OrderId: "7", Id: "x"}, ActionIdentity{"p", "purchase", "o:7"}, true},
		{"id without order", &wire.Event{Event: "signup", Id: "user:u1"}, ActionIdentity{"", "signup", "i:user:u1"}, true},
		{"order 7 is not id 7", &wire.Event{Event: "purchase", Id: "7"}, ActionIdentity{"", "purchase", "i:7"}, true},
		{"an unverified order is not the order", &wire.Event{Event: "purchase", OrderId: "7", Reasons: uint32(Unverified | Bot)}, ActionIdentity{"", "purchase", "uo:7"}, true},
		{"an unverified id is not the id", &wire.Event{Event: "signup", Id: "user:u1", Reasons: uint32(Unverified)}, ActionIdentity{"", "signup", "ui:user:u1"}, true},
		{"neither", &wire.Event{Event: "purchase", UserId: "u1"}, ActionIdentity{}, false},
	} {
		if got, ok := IdentityOfAction(tc.event); got != tc.want || ok != tc.ok {
			t.Errorf("%s: got %+v, %v; want %+v, %v", tc.name, got, ok, tc.want, tc.ok)
		}
	}
}

func TestActionIdentityMatches(t *testing.T) {
	a := ActionIdentity{"p", "purchase", "o:7"}
	for _, tc := range []struct {
		name string
		b    ActionIdentity
		want bool
	}{
		{"same", ActionIdentity{"p", "purchase", "o:7"}, true},
		{"programme left out", ActionIdentity{"", "purchase", "o:7"}, true},
		{"other programme", ActionIdentity{"q", "purchase", "o:7"}, false},
		{"other event", ActionIdentity{"p", "refund", "o:7"}, false},
		{"other key", ActionIdentity{"p", "purchase", "o:8"}, false},
	} {
		if got := a.Matches(tc.b); got != tc.want {
			t.Errorf("%s: got %v", tc.name, got)
		}
		if got := tc.b.Matches(a); got != tc.want {
			t.Errorf("%s, the other way round: got %v", tc.name, got)
		}
	}
	if got, want := a.RecordKey(), "purchase\x00o:7"; got != want {
		t.Errorf("record key %q, want %q", got, want)
	}
}
