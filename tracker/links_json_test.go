package tracker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"waymark/tracker/wire"
)

// designLink is the link that the documentation shows, all defaults but the
// first nine members.
const designLink = `{"code":"LOVE-7G2K9Q","domain":"","url":"https://shop.example/landing","program":"wedding","campaign":"spring",
 "channel":"qr","referrer":{"id":"s-17","type":"supplier"},"referee_type":"couple","tags":[],"status":302,
 "active":true,"starts_at":null,"expires_at":null,"expired_url":"","password":"","forward_query":true,
 "click_param":"wm_click","utm":{},"rules":[],"variants":[],"preview":{},"ios_url":"","android_url":"","noindex":true}`

func TestParseLink(t *testing.T) {
	l, err := ParseLink([]byte(designLink))
	if err != nil {
		t.Fatal(err)
	}
	want := NewLink()
	want.Code, want.URL, want.Program, want.Campaign = "LOVE-7G2K9Q", "https://shop.example/landing", "wedding", "spring"
	want.Channel, want.Referrer, want.RefereeType = "qr", Party{ID: "s-17", Type: "supplier"}, "couple"
	if !reflect.DeepEqual(l, want) {
		t.Fatalf("read as\n%+v, want\n%+v", l, want)
	}
	// Every member may be left out, and null is the same.
	for _, text := range []string{`{}`, nullsOf(t, designLink), ` { } `} {
		if l, err := ParseLink([]byte(text)); err != nil || !reflect.DeepEqual(l, NewLink()) {
			t.Errorf("%s is read as %+v, %v", text, l, err)
		}
	}
	l, err = ParseLink([]byte(`{"starts_at":"2026-12-24T18:00:00.1239+02:00","utm":{"utm_source":"a","medium":"b","term":""},"tags":["x"],
		"number":7,"created_at":"2020-01-01T00:00:00Z","updated_at":5,"active":false,"click_param":""}`))
	if err != nil {
		t.Fatal(err)
	}
	if !l.StartsAt.Equal(time.Date(2026, 12, 24, 16, 0, 0, 123e6, time.UTC)) || l.Number != 0 || !l.CreatedAt.IsZero() {
		t.Errorf("starts_at %v, number %d, created_at %v", l.StartsAt, l.Number, l.CreatedAt)
	}
	if !reflect.DeepEqual(l.UTM, map[string]string{"source": "a", "medium": "b"}) || l.Active || l.ClickParam != "" || len(l.Tags) != 1 {
		t.Errorf("read as %+v", l)
	}
}

// nullsOf is an object with all members null.
func nullsOf(t *testing.T, object string) string {
	var members map[string]any
	if err := json.Unmarshal([]byte(object), &members); err != nil {
		t.Fatal(err)
	}
	for name := range members {
		members[name] = nil
	}
	nulls, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(nulls)
}

func TestParseLinkFaults(t *testing.T) {
	for text, field := range map[string]string{
		`{"colour":"red"}`:                        "colour",
		`{"URL":"https://x"}`:                     "URL",
		`{"url":5}`:                               "url",
		`{"url":"a","url":"b"}`:                   "url",
		`{"status":"302"}`:                        "status",
		`{"status":302.5}`:                        "status",
		`{"status":1e99}`:                         "status",
		`{"active":"true"}`:                       "active",
		`{"tags":"a"}`:                            "tags",
		`{"tags":[1]}`:                            "tags",
		`{"starts_at":"tomorrow"}`:                "starts_at",
		`{"starts_at":1700000000}`:                "starts_at",
		`{"expires_at":"2026-02-30T00:00:00Z"}`:   "expires_at",
		`{"referrer":"ada"}`:                      "referrer",
		`{"referrer":{"id":5}}`:                   "referrer.id",
		`{"referrer":{"name":"ada"}}`:             "referrer.name",
		`{"utm":[]}`:                              "utm",
		`{"utm":{"colour":"red"}}`:                "utm.colour",
		`{"utm":{"source":1}}`:                    "utm.source",
		`{"utm":{"source":"a","utm_source":"b"}}`: "utm.utm_source",
		`{"rules":{}}`:                            "rules",
		`{"preview":[]}`:                          "preview",
		`[]`:                                      "",
		`"x"`:                                     "",
		``:                                        "",
		`{"url":"a"`:                              "",
		`{"url":"a"} {}`:                          "",
		"{\"url\":\"\xff\"}":                      "",
	} {
		_, err := ParseLink([]byte(text))
		fault, ok := err.(*FieldError)
		if !ok || fault.Field != field {
			t.Errorf("%s gives %v, want a fault of %q", text, err, field)
		}
	}
}

func TestPatchLink(t *testing.T) {
	l, err := ParseLink([]byte(designLink))
	if err != nil {
		t.Fatal(err)
	}
	l.Number, l.UTM = 9, map[string]string{"source": "a", "term": "t"}
	before := l
	before.UTM = map[string]string{"source": "a", "term": "t"}
	patched, err := PatchLink(l, []byte(`{"referrer":{"id":"s-18"},"utm":{"source":null,"medium":"m"},"campaign":null,"active":false,"code":"LOVE-7G2K9Q"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := before
	want.Referrer, want.Campaign, want.Active = Party{ID: "s-18", Type: "supplier"}, "", false
	want.UTM = map[string]string{"medium": "m", "term": "t"}
	if !reflect.DeepEqual(patched, want) {
		t.Errorf("patched to\n%+v, want\n%+v", patched, want)
	}
	if !reflect.DeepEqual(l, before) {
		t.Errorf("the link itself became %+v", l)
	}
	for text, field := range map[string]string{`{"code":"x"}`: "code", `{"domain":"x"}`: "domain", `{"code":null}`: "code", `{"x":1}`: "x"} {
		_, err := PatchLink(l, []byte(text))
		wantFault(t, err, field)
	}
}

func TestParseProgram(t *testing.T) {
	p, err := ParseProgram("wedding", []byte(`{"party_types":["couple"],"cookie_lifetime_days":30,"case_insensitive":true,"currency":null}`))
	want := NewProgram("wedding")
	want.PartyTypes, want.CookieLifetimeDays, want.CaseInsensitive = []string{"couple"}, 30, true
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("read as %+v, %v", p, err)
	}
	// What is written can be read.
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseProgram("wedding", encoded); err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("read again as %+v, %v", again, err)
	}
	for text, field := range map[string]string{`{"name":"x"}`: "name", `{"currency":1}`: "currency", `{"window":1}`: "window", `x`: ""} {
		_, err := ParseProgram("wedding", []byte(text))
		if fault, ok := err.(*FieldError); !ok || fault.Field != field {
			t.Errorf("%s gives %v, want a fault of %q", text, err, field)
		}
	}
}

// FuzzParseLink checks that a link that is accepted survives being stored and
// shown, whatever it holds.
func FuzzParseLink(f *testing.F) {
	f.Add([]byte(designLink))
	f.Add([]byte(`{"url":"https://a.example","starts_at":"2026-01-01T00:00:00Z","utm":{"utm_source":"x"},"tags":["a"],"status":301,"click_param":""}`))
	f.Add([]byte(`{"url":"https://a.example","url":"b"}`))
	p := NewProgram(DefaultProgram)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLink(data)
		if err != nil {
			if _, ok := err.(*FieldError); !ok {
				t.Fatalf("%q gives %v", data, err)
			}
			return
		}
		if l.Validate(&p) != nil {
			return
		}
		l.Number, l.CreatedAt, l.UpdatedAt = 1, time.UnixMilli(1).UTC(), time.UnixMilli(2).UTC()
		value, err := l.Wire().MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		var w wire.Link
		if err := w.UnmarshalVT(value); err != nil {
			t.Fatal(err)
		}
		stored := LinkFromWire(&w)
		shown, err := json.Marshal(stored)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseLink(shown)
		if err != nil {
			t.Fatalf("%s: %v", shown, err)
		}
		again.Number, again.CreatedAt, again.UpdatedAt = 1, stored.CreatedAt, stored.UpdatedAt
		if first, second := mustJSON(t, l), mustJSON(t, again); first != second {
			t.Fatalf("%s became %s", first, second)
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	// Absent and empty lists are the same to the API's users.
	return strings.NewReplacer(`"tags":null`, `"tags":[]`).Replace(string(encoded))
}
