package tracker

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"waymark/tracker/wire"
)

// newActionLinks are the links of these tests: "hello" and "LOVE-7G2K9Q".
func newActionLinks(t testing.TB) *linksBench {
	wedding := NewProgram("wedding")
	wedding.PartyTypes = []string{"supplier", "couple"}
	links := newLinksBench(t)
	links.program(wedding)
	links.apply(
		&wire.Link{Number: 1, Code: "hello", Program: "general", Channel: "link", ReferrerId: "ada", ReferrerType: "user"},
		&wire.Link{
			Number: 2, Code: "LOVE-7G2K9Q", Program: "wedding", Campaign: "spring", Channel: "qr",
			ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple",
		},
	)
	return links
}

// testNow is the present of the tests of actions.
var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// testClick is a click on the link with this number, an hour ago.
func testClick(link LinkNumber) Click {
	return Click{Identity{TimeMS: uint64(testNow.Add(-time.Hour).UnixMilli()), Node: 3, Sequence: 9}, link}
}

func newTestActions(t testing.TB) *Actions {
	t.Helper()
	ring := goldenRing(t, "3")
	return NewActions(ActionsOptions{
		Keys: NewKeys("admin"), Links: newActionLinks(t), ClickIDs: NewClickIDs(ring), Cookies: NewCookies(ring),
		Now: func() time.Time { return testNow }, Logger: slog.New(slog.DiscardHandler),
	})
}

// noPatience is for tests in which no link is on its way.
func noPatience() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// eventCases are actions, what came with them, and what is kept of them.
type eventCases map[string]*struct {
	act  Action
	src  actionSource
	want wire.Event
}

func (cases eventCases) run(t *testing.T, a *Actions) {
	t.Helper()
	for name, c := range cases {
		c.src.now, c.src.patience = testNow, noPatience()
		got, err := a.event(&c.act, &c.src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !proto.Equal(got, &c.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, &c.want)
		}
	}
}

func TestActionEvent(t *testing.T) {
	a := newTestActions(t)
	click := testClick(2)
	id := string(a.ClickIDs.Append(nil, click))
	nowMS, clickMS := uint64(testNow.UnixMilli()), click.TimeMS
	bound := &APIKey{Role: RoleEvent, Program: "wedding"}
	eventCases{
		"by click": {
			Action{Event: "purchase", ID: "x", ClickID: id, Value: "5", Plan: "annual", UserID: "u1", Properties: map[string]string{"a": "b"}},
			actionSource{way: wayEvents},
			wire.Event{
				Program: "wedding", Campaign: "spring", Channel: "qr", Link: 2, Code: "LOVE-7G2K9Q",
				ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple",
				Event: "purchase", Stage: "converted", TimeMs: nowMS, ClickTimeMs: clickMS, ClickNode: 3, ClickSequence: 9,
				Id: "x", UserId: "u1", Value: "5", Currency: "EUR", Plan: "annual", Properties: map[string]string{"a": "b"},
				Touches: []*wire.Touch{{Link: 2, TimeMs: clickMS, Channel: "qr"}},
			},
		},
		"by code, at a time of its own": {
			Action{Event: "signup", UserID: "u1", Code: "hello", Time: testNow.Add(-48 * time.Hour)},
			actionSource{way: wayEvents},
			wire.Event{
				Program: "general", Channel: "link", Link: 1, Code: "hello", ReferrerId: "ada", ReferrerType: "user",
				Event: "signup", Stage: "signed_up", TimeMs: nowMS - 48*3600*1000, Id: "user:u1", UserId: "u1",
			},
		},
		"by code although the click was on another link": {
			Action{Event: "purchase", OrderID: "o", ClickID: id, Code: "hello"},
			actionSource{way: wayEvents},
			wire.Event{
				Program: "general", Channel: "link", Link: 1, Code: "hello", ReferrerId: "ada", ReferrerType: "user",
				Event: "purchase", Stage: "converted", TimeMs: nowMS, ClickTimeMs: clickMS, ClickNode: 3, ClickSequence: 9, OrderId: "o",
				Touches: []*wire.Touch{{Link: 2, TimeMs: clickMS, Channel: "qr"}},
			},
		},
		"by user only, programme unknown": {
			Action{Event: "purchase", ID: "p", UserID: "u1", Value: "7.5", Currency: "EUR"},
			actionSource{way: wayEvents},
			wire.Event{Event: "purchase", Stage: "converted", TimeMs: nowMS, Id: "p", UserId: "u1", Value: "7.5", Currency: "EUR"},
		},
		"by user with a key of one programme": {
			Action{Event: "activate", UserID: "u1", Value: "7"},
			actionSource{way: wayEvents, key: bound},
			wire.Event{Program: "wedding", Event: "activate", Stage: "activated", TimeMs: nowMS, Id: "user:u1", UserId: "u1", Value: "7", Currency: "EUR"},
		},
		"referrer and channel given": {
			Action{Event: "invite", ID: "i", ClickID: id, Referrer: Party{"c-9", "couple"}, Channel: "email"},
			actionSource{way: wayEvents},
			wire.Event{
				Program: "wedding", Campaign: "spring", Channel: "email", Link: 2, Code: "LOVE-7G2K9Q",
				ReferrerId: "c-9", ReferrerType: "couple", RefereeType: "couple",
				Event: "invite", Stage: "invited", TimeMs: nowMS, ClickTimeMs: clickMS, ClickNode: 3, ClickSequence: 9, Id: "i",
				Touches: []*wire.Touch{{Link: 2, TimeMs: clickMS, Channel: "qr"}},
			},
		},
		"programme given beats the link's": {
			Action{Event: "custom_1", ID: "i", Code: "hello", Program: "wedding"},
			actionSource{way: wayEvents},
			wire.Event{
				Program: "wedding", Channel: "link", Link: 1, Code: "hello", ReferrerId: "ada", ReferrerType: "user",
				Event: "custom_1", TimeMs: nowMS, Id: "i",
			},
		},
	}.run(t, a)
}

func TestActionEventOfPostbackAndPixel(t *testing.T) {
	a := newTestActions(t)
	click := testClick(2)
	id := string(a.ClickIDs.Append(nil, click))
	nowMS, clickMS := uint64(testNow.UnixMilli()), click.TimeMS
	onQR, onLink := &wire.Touch{Link: 2, TimeMs: clickMS + 9, Channel: "qr"}, &wire.Touch{Link: 1, TimeMs: clickMS + 20, Channel: "link"}
	cookie := []Touch{{2, clickMS + 9, clickMS - 9}, {1, clickMS + 20, clickMS + 20}} // the first began before the click
	both := []*wire.Touch{onQR, onLink}
	eventCases{
		"postback": {
			Action{Event: "purchase", ClickID: id},
			actionSource{way: wayPostback},
			wire.Event{
				Program: "wedding", Campaign: "spring", Channel: "qr", Link: 2, Code: "LOVE-7G2K9Q",
				ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple",
				Event: "purchase", Stage: "converted", TimeMs: nowMS, ClickTimeMs: clickMS, ClickNode: 3, ClickSequence: 9, Id: "click:" + id,
				Touches: []*wire.Touch{{Link: 2, TimeMs: clickMS, Channel: "qr"}},
			},
		},
		"pixel by cookie": {
			Action{Event: "activate"},
			actionSource{way: wayPixel, visitor: 0xabc, touches: cookie, reasons: Unverified},
			wire.Event{
				Program: "general", Channel: "link", Link: 1, Code: "hello", ReferrerId: "ada", ReferrerType: "user",
				Event: "activate", Stage: "activated", TimeMs: nowMS, Reasons: 1 << 7, VisitorId: 0xabc, Id: "visitor:0000000000000abc", Touches: both,
			},
		},
		"pixel by cookie and by a click that the cookie knows": {
			Action{Event: "purchase", ClickID: id},
			actionSource{way: wayPixel, visitor: 0xabc, touches: cookie},
			wire.Event{
				Program: "wedding", Campaign: "spring", Channel: "qr", Link: 2, Code: "LOVE-7G2K9Q",
				ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple",
				Event: "purchase", Stage: "converted", TimeMs: nowMS, ClickTimeMs: clickMS, ClickNode: 3, ClickSequence: 9,
				VisitorId: 0xabc, Id: "click:" + id, Touches: both,
			},
		},
		"pixel by a click that the cookie does not know": {
			Action{Event: "purchase", ClickID: id},
			actionSource{way: wayPixel, visitor: 0xabc, touches: cookie[1:]},
			wire.Event{
				Program: "wedding", Campaign: "spring", Channel: "qr", Link: 2, Code: "LOVE-7G2K9Q",
				ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple",
				Event: "purchase", Stage: "converted", TimeMs: nowMS, ClickTimeMs: clickMS, ClickNode: 3, ClickSequence: 9,
				VisitorId: 0xabc, Id: "click:" + id, Touches: []*wire.Touch{{Link: 2, TimeMs: clickMS, Channel: "qr"}, onLink},
			},
		},
	}.run(t, a)
}

func TestActionEventRefuses(t *testing.T) {
	a := newTestActions(t)
	id := string(a.ClickIDs.Append(nil, testClick(2)))
	younger := string(a.ClickIDs.Append(nil, testClick(3)))
	forged := []byte(id)
	forged[5] ^= 1
	bound := &APIKey{Role: RoleEvent, Program: "wedding"}
	lost := &APIKey{Role: RoleEvent, Program: "gone"}
	for name, c := range map[string]struct {
		act   Action
		key   *APIKey
		field string
	}{
		"no event":              {Action{UserID: "u"}, nil, "event"},
		"click":                 {Action{Event: "click", UserID: "u"}, nil, "event"},
		"scan":                  {Action{Event: "scan", UserID: "u"}, nil, "event"},
		"future":                {Action{Event: "signup", UserID: "u", Time: testNow.Add(5*time.Minute + time.Millisecond)}, nil, "time"},
		"negative refund":       {Action{Event: "refund", UserID: "u", Value: "-5"}, nil, "value"},
		"nobody's":              {Action{Event: "signup", Program: "general", OrderID: "o"}, nil, "click_id"},
		"referrer without id":   {Action{Event: "signup", UserID: "u", Referrer: Party{Type: "couple"}}, nil, "referrer.id"},
		"forged click":          {Action{Event: "signup", ClickID: string(forged)}, nil, "click_id"},
		"short click id":        {Action{Event: "signup", ClickID: "abc"}, nil, "click_id"},
		"click of no link":      {Action{Event: "signup", ClickID: younger}, nil, "click_id"},
		"unknown code":          {Action{Event: "signup", Code: "nope"}, nil, "code"},
		"unknown programme":     {Action{Event: "signup", UserID: "u", Program: "nope"}, nil, "program"},
		"foreign programme":     {Action{Event: "signup", UserID: "u", Program: "general"}, bound, "program"},
		"foreign code":          {Action{Event: "signup", Code: "hello"}, bound, "code"},
		"foreign click":         {Action{Event: "signup", ClickID: id}, &APIKey{Role: RoleEvent, Program: "general"}, "click_id"},
		"key of no programme":   {Action{Event: "signup", UserID: "u"}, lost, "program"},
		"nobody's currency":     {Action{Event: "purchase", UserID: "u", Value: "1", Currency: "USD"}, nil, "currency"},
		"other currency":        {Action{Event: "purchase", ClickID: id, Value: "1", Currency: "USD"}, nil, "currency"},
		"unknown type of party": {Action{Event: "invite", Program: "wedding", Referrer: Party{"x", "guest"}}, nil, "referrer.type"},
	} {
		_, err := a.event(&c.act, &actionSource{way: wayEvents, key: c.key, now: testNow, patience: noPatience()})
		fault, ok := errors.AsType[*FieldError](err)
		if !ok || fault.Field != c.field {
			t.Errorf("%s: %v, want the field %q", name, err, c.field)
		}
	}
}

func TestActionWithoutAnyKeyIsRandom(t *testing.T) {
	a := newTestActions(t)
	seen := make(map[string]bool)
	for range 100 {
		act := Action{Event: "purchase", UserID: "u"}
		e, err := a.event(&act, &actionSource{way: wayEvents, now: testNow, patience: noPatience()})
		if err != nil || len(e.Id) < 20 || seen[e.Id] {
			t.Fatalf("id %q, %v", e.GetId(), err)
		}
		seen[e.Id] = true
	}
}

// arrivingLinks is a view that link 3 reaches only after it was looked for a
// few times.
type arrivingLinks struct {
	*linksBench
	asked int
}

func (l *arrivingLinks) MaxNumber() LinkNumber {
	if l.asked++; l.asked == 3 {
		l.apply(&wire.Link{Number: 3, Code: "young", Program: "general"})
	}
	return l.linksBench.MaxNumber()
}

func TestActionWaitsForAYoungLink(t *testing.T) {
	a := newTestActions(t)
	a.Links = &arrivingLinks{linksBench: newActionLinks(t)}
	patience, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	act := Action{Event: "signup", UserID: "u", ClickID: string(a.ClickIDs.Append(nil, testClick(3)))}
	e, err := a.event(&act, &actionSource{way: wayEvents, now: testNow, patience: patience})
	if err != nil || e.Code != "young" {
		t.Errorf("got %v, %v", e, err)
	}
}

// TestActionGolden holds the encoding of an action, checked by hand against
// the field numbers of wire.proto: tag = number<<3 | type, two bytes from
// number 16 on.
func TestActionGolden(t *testing.T) {
	a := newTestActions(t)
	act, err := ParseAction([]byte(`{"event":"purchase","time":"2026-11-20T11:59:59.5Z","code":"hello","user_id":"u1","order_id":"o1","value":19.90,"plan":"pro","properties":{"k":"v"}}`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := a.event(&act, &actionSource{way: wayEvents, now: testNow, patience: noPatience()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	// 2026-11-20T11:59:59.5Z is 1795175999500 ms, as a varint 8c d0 cf c6 9f 34.
	want := strings.Join([]string{
		"0a07" + hex.EncodeToString([]byte("general")),
		"1a04" + hex.EncodeToString([]byte("link")),
		"2001",
		"2a05" + hex.EncodeToString([]byte("hello")),
		"3a03" + hex.EncodeToString([]byte("ada")),
		"4204" + hex.EncodeToString([]byte("user")),
		"5208" + hex.EncodeToString([]byte("purchase")),
		"5a09" + hex.EncodeToString([]byte("converted")),
		"60" + "8cd0cfc69f34",
		"b20102" + hex.EncodeToString([]byte("u1")),
		"ba0102" + hex.EncodeToString([]byte("o1")),
		"c20104" + hex.EncodeToString([]byte("19.9")),
		"ca0103" + hex.EncodeToString([]byte("EUR")),
		"d20103" + hex.EncodeToString([]byte("pro")),
		"da0106" + "0a016b" + "120176",
	}, "")
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	var back wire.Event
	if err := back.UnmarshalVT(got); err != nil || !reflect.DeepEqual(back.Properties, map[string]string{"k": "v"}) {
		t.Errorf("read back: %v, %v", &back, err)
	}
}

func TestVisitorID(t *testing.T) {
	for _, text := range []string{"", "0000000000000001", "ffffffffffffffff", "0123456789abcdef"} {
		id, err := ParseVisitorID(text)
		if err != nil || FormatVisitorID(id) != text {
			t.Errorf("%q gives %x, %v", text, id, err)
		}
	}
}
