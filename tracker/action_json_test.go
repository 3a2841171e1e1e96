package tracker

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseAction(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 30, 0, 250e6, time.UTC)
	full := Action{
		ID: "ev-1", Event: "purchase", Time: at, Program: "wedding", ClickID: "abc", VisitorID: 0x0102030405060708,
		UserID: "u1", Code: "LOVE-7G2K9Q", Referrer: Party{ID: "s-17", Type: "supplier"}, OrderID: "o-1", Value: "19.9",
		Currency: "EUR", Plan: "annual", Channel: "email", Properties: map[string]string{"a": "x", "n": "1.50", "b": "true", "e": ""},
	}
	for name, c := range map[string]struct {
		json string
		want Action
	}{
		"every field": {`{"id":"ev-1","event":"purchase","time":"2026-11-20T10:30:00.25+01:00","program":"wedding","click_id":"abc",
			"visitor_id":"0102030405060708","user_id":"u1","code":"LOVE-7G2K9Q","referrer":{"id":"s-17","type":"supplier"},
			"order_id":"o-1","value":"19.90","currency":"eur","plan":"annual","channel":"email",
			"properties":{"a":"x","n":1.50,"b":true,"e":"","none":null}}`, full},
		"nothing":          {`{}`, Action{}},
		"nulls":            {`{"id":null,"time":null,"value":null,"referrer":null,"properties":null,"visitor_id":null}`, Action{}},
		"empty strings":    {`{"id":"","time":"","value":"","currency":"","visitor_id":"","event":""}`, Action{}},
		"Unix seconds":     {`{"time":1763631000}`, Action{Time: time.Date(2025, 11, 20, 9, 30, 0, 0, time.UTC)}},
		"Unix ms":          {`{"time":1763631000250}`, Action{Time: time.Date(2025, 11, 20, 9, 30, 0, 250e6, time.UTC)}},
		"Unix ms as text":  {`{"time":"1763631000250"}`, Action{Time: time.Date(2025, 11, 20, 9, 30, 0, 250e6, time.UTC)}},
		"value as number":  {`{"value":123456789.123456}`, Action{Value: "123456789.123456"}},
		"no float":         {`{"value":0.1}`, Action{Value: "0.1"}},
		"largest value":    {`{"value":999999999999.999999}`, Action{Value: "999999999999.999999"}},
		"negative value":   {`{"value":"-5.00"}`, Action{Value: "-5"}},
		"exponent":         {`{"value":1.5e3}`, Action{Value: "1500"}},
		"zeros at the end": {`{"value":"1.000000000"}`, Action{Value: "1"}},
		"white space":      {" {\"id\" : \"x\"}\r\n", Action{ID: "x"}},
		"UTF-8":            {`{"user_id":"Zoë – 北京"}`, Action{UserID: "Zoë – 北京"}},
	} {
		got, err := ParseAction([]byte(c.json))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
}

// A message that asks for a string where none would do sends the reader astray.
func TestParseActionNamesTheRemedy(t *testing.T) {
	for _, c := range []struct{ json, field, detail string }{
		{`{"amount":1}`, "amount", "unknown field"}, {`{"amount":[]}`, "amount", "unknown field"}, {`{"amount":"1"}`, "amount", "unknown field"},
		{`{"value":true}`, "value", "must be a decimal"}, {`{"value":{}}`, "value", "must be a decimal"}, {`{"value":1e999}`, "value", "must be a decimal"},
		{`{"time":false}`, "time", "must be RFC 3339"}, {`{"time":[2026]}`, "time", "must be RFC 3339"}, {`{"user_id":7}`, "user_id", "in quotes"},
	} {
		_, err := ParseAction([]byte(c.json))
		fault, ok := errors.AsType[*FieldError](err)
		if !ok || fault.Field != c.field || !strings.Contains(fault.Detail, c.detail) {
			t.Errorf("%s: got %v, want %s: … %s …", c.json, err, c.field, c.detail)
		}
	}
}

func TestParseActionNamesTheField(t *testing.T) {
	long := strings.Repeat("x", 256)
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprintf(`"p%d":1`, i)
	}
	for _, c := range []struct{ json, field string }{
		{`[]`, ""}, {`"x"`, ""}, {`null`, ""}, {``, ""}, {`{`, ""}, {`{"id":"a"`, ""}, {`{"id":"a"} x`, ""}, {`{"id" "a"}`, ""},
		{"{\"id\":\"\xff\"}", ""},
		{`{"amount":1}`, "amount"}, {`{"ID":"x"}`, "ID"}, {`{"referrer.id":"x"}`, "referrer.id"}, {`{"amount":null}`, "amount"},
		{`{"id":"a","id":"b"}`, "id"}, {`{"referrer":{"id":"a","id":"b"}}`, "referrer.id"},
		{`{"id":1}`, "id"}, {`{"user_id":{}}`, "user_id"}, {`{"event":["signup"]}`, "event"}, {`{"currency":5}`, "currency"},
		{`{"id":"` + long + `"}`, "id"}, {`{"plan":"` + long + `"}`, "plan"}, {`{"user_id":"a\u0000b"}`, "user_id"}, {`{"order_id":"a\nb"}`, "order_id"},
		{`{"event":"Signup"}`, "event"}, {`{"event":"sign up"}`, "event"}, {`{"event":"1st"}`, "event"}, {`{"event":"` + long + `"}`, "event"},
		{`{"time":"yesterday"}`, "time"}, {`{"time":"2026-11-20"}`, "time"}, {`{"time":17636310002}`, "time"}, {`{"time":1.5}`, "time"}, {`{"time":true}`, "time"},
		{`{"time":"1970-01-01T00:00:00Z"}`, "time"}, {`{"time":-176363100}`, "time"},
		{`{"value":"12,50"}`, "value"}, {`{"value":"€5"}`, "value"}, {`{"value":"1e9999"}`, "value"}, {`{"value":"1e999999999"}`, "value"}, {`{"value":1e99}`, "value"},
		{`{"value":1e-99}`, "value"}, {`{"value":"0x10"}`, "value"}, {`{"value":"NaN"}`, "value"}, {`{"value":"1."}`, "value"}, {`{"value":".5"}`, "value"},
		{`{"value":"01"}`, "value"}, {`{"value":"+1"}`, "value"}, {`{"value":1000000000000}`, "value"}, {`{"value":0.0000001}`, "value"}, {`{"value":[]}`, "value"},
		{`{"currency":"EURO"}`, "currency"}, {`{"currency":"E1R"}`, "currency"}, {`{"currency":"ſſſ"}`, "currency"},
		{`{"visitor_id":"xyz"}`, "visitor_id"}, {`{"visitor_id":"0000000000000000"}`, "visitor_id"}, {`{"visitor_id":"010203040506070g"}`, "visitor_id"},
		{`{"referrer":"s-17"}`, "referrer"}, {`{"referrer":{"name":"x"}}`, "referrer.name"}, {`{"referrer":{"id":7}}`, "referrer.id"},
		{`{"properties":[]}`, "properties"}, {`{"properties":{"a":{}}}`, "properties.a"}, {`{"properties":{"a":[1]}}`, "properties.a"},
		{`{"properties":{"":1}}`, "properties"}, {`{"properties":{"` + long + `":1}}`, "properties"}, {`{"properties":{"a\u0007":1}}`, "properties"},
		{`{"properties":{"a":"` + strings.Repeat("x", 1025) + `"}}`, "properties.a"}, {`{"properties":{` + strings.Join(many, ",") + `}}`, "properties"},
	} {
		_, err := ParseAction([]byte(c.json))
		fault, ok := errors.AsType[*FieldError](err)
		if !ok || fault.Field != c.field {
			t.Errorf("ParseAction(%.60s): %v, want the field %q", c.json, err, c.field)
		}
	}
}

func TestSplitActions(t *testing.T) {
	tooMany := "[" + strings.Repeat("{},", actionItemsMax) + "{}]"
	for name, c := range map[string]struct {
		body  string
		items []string // nil: refused
	}{
		"object":                  {`{"a":1}`, []string{`{"a":1}`}},
		"byte order mark":         {"\xEF\xBB\xBF {\"a\":1}\n", []string{`{"a":1}`}},
		"array":                   {` [{"a":1}, 2 ] `, []string{`{"a":1}`, `2`}},
		"empty array":             {`[]`, []string{}},
		"lines":                   {"{\"a\":1}\r\n\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}},
		"one bad line":            {"{\"a\":1}\n{\"b\":\n{\"c\":3}", []string{`{"a":1}`, `{"b":`, `{"c":3}`}},
		"bad line first":          {"oops\n{\"c\":3}", []string{`oops`, `{"c":3}`}},
		"objects over many lines": {"{\n \"a\":1\n}\n{\n \"b\":2\n}", []string{"{\n \"a\":1\n}", "{\n \"b\":2\n}"}},
		"broken over many lines":  {"{\n \"a\":1,\n}", nil},
		"torn array":              {"[\n{\"a\":1},\n{\"a\":2}\n", nil},
		"nothing":                 {"  ", nil},
		"text":                    {"hello", nil},
		"form":                    {"event=signup&user_id=u1", nil},
		"number":                  {"17", nil},
		"null":                    {"null", nil},
		"one broken object":       {`{"a":1`, nil},
		"too many in an array":    {tooMany, nil},
		"too many lines":          {strings.Repeat("{}\n", actionItemsMax+1), nil},
		"too many and broken":     {strings.Repeat("{}\n", actionItemsMax) + "{\n", nil},
	} {
		items, err := splitActions([]byte(c.body))
		if (err != nil) != (c.items == nil) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		got := make([]string, len(items))
		for i := range items {
			got[i] = string(items[i])
		}
		if err == nil && !reflect.DeepEqual(got, c.items) {
			t.Errorf("%s: got %q, want %q", name, got, c.items)
		}
	}
}

func FuzzParseAction(f *testing.F) {
	f.Add([]byte(`{"event":"purchase","time":"2026-11-20T10:30:00Z","click_id":"abc","value":19.90,"referrer":{"id":"a","type":"b"},"properties":{"a":1}}`))
	f.Add([]byte(`{"value":"1e12","visitor_id":"0102030405060708","time":1763631000250}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		act, err := ParseAction(data)
		if err != nil {
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Fatalf("%q: %v is no FieldError", data, err)
			}
			return
		}
		// What was accepted is what the standard library reads.
		var loose struct {
			ID     string      `json:"id"`
			UserID string      `json:"user_id"`
			Value  json.Number `json:"value"`
		}
		if json.Unmarshal(data, &loose) == nil && !hasOtherCase(data) {
			if loose.ID != act.ID || loose.UserID != act.UserID {
				t.Fatalf("%q: %+v", data, act)
			}
			if loose.Value != "" {
				want, _ := new(big.Rat).SetString(string(loose.Value))
				got, ok := new(big.Rat).SetString(act.Value)
				if !ok || want.Cmp(got) != 0 {
					t.Fatalf("%q: value %q", data, act.Value)
				}
			}
		}
		for _, s := range []string{act.ID, act.UserID, act.OrderID, act.Value, act.Currency, act.Code} {
			if !utf8.ValidString(s) || len(s) > 255 || strings.ContainsRune(s, 0) {
				t.Fatalf("%q: let %q pass", data, s)
			}
		}
	})
}

// hasOtherCase reports whether the standard library, which matches names in
// any case, could see fields that are unknown here.
func hasOtherCase(data []byte) bool { return strings.ToLower(string(data)) != string(data) }

func FuzzSplitActions(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n{\"b\":\n{\"c\":3}"))
	f.Add([]byte("\xEF\xBB\xBF[{},1]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := splitActions(body)
		if err == nil && len(items) > actionItemsMax {
			t.Fatalf("%d items", len(items))
		}
		for _, item := range items {
			ParseAction(item)
		}
	})
}
