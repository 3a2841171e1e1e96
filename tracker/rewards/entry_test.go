package rewards

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker/wire"
)

func fullEntry() *Entry {
	at := time.Date(2026, 3, 1, 12, 30, 0, 250e6, time.UTC)
	return &Entry{
		Chain: "R", N: 3, Party: "s-17", Time: at, Value: decimal.RequireFromString("-9.98"), Kind: Reverse, State: Cancelled, Rule: "couple", Fact: "purchase o:17",
		Referee: "c-1", Referrer: "s-17", ReferrerType: "supplier", Campaign: "spring", Base: "9.975", Multipliers: "annual 2 × first three 1.5", Cap: "budget",
		Version: 7, Actor: "k1", Reason: "refunded", Batch: "B", Lines: []Line{{"A", decimal.New(1, 0)}, {"B", decimal.New(-5, -1)}}, RecordedAt: at.Add(time.Second),
	}
}

// What an entry is as an event is what the views in ClickHouse read.
func TestEntryEvent(t *testing.T) {
	e := fullEntry()
	event := e.Event("wedding", "EUR")
	want := map[string]string{
		"reward": "R", "n": "3", "entry": "reverse", "state": "cancelled", "actor": "k1", "recorded_at": "2026-03-01T12:30:01.25Z", "rule": "couple",
		"fact": "purchase o:17", "referee": "c-1", "referrer": "s-17", "referrer_type": "supplier", "campaign": "spring", "base": "9.975",
		"multipliers": "annual 2 × first three 1.5", "cap": "budget", "version": "7", "reason": "refunded", "batch": "B", "lines_00": "A:1 B:-0.5",
	}
	if !maps.Equal(event.Properties, want) {
		t.Errorf("the properties are %v, want %v", event.Properties, want)
	}
	if event.Event != "reward_entry" || event.Stage != "" || event.Program != "wedding" || event.UserId != "s-17" || event.Id != "R/3" || event.OrderId != "" ||
		event.Value != "-9.98" || event.Currency != "EUR" || event.TimeMs != 1772368200250 {
		t.Errorf("the event is %v", event)
	}
	back, err := EntryOf(event)
	if err != nil || !reflect.DeepEqual(back.Lines[1].Amount.String(), "-0.5") || !back.Value.Equal(e.Value) {
		t.Fatalf("read back %+v, %v", back, err)
	}
	back.Value, back.Lines, e.Value, e.Lines = decimal.Decimal{}, nil, decimal.Decimal{}, nil
	if !reflect.DeepEqual(&back, e) {
		t.Errorf("read back\n%+v, want\n%+v", back, e)
	}
}

// Whatever an entry holds, its event keeps the bounds of all events.
func TestEntryBounds(t *testing.T) {
	e := fullEntry()
	e.Reason, e.Fact = strings.Repeat("ü", 900), "purchase o:"+strings.Repeat("x", 255)
	e.Lines = nil
	for range LinesMax {
		e.Lines = append(e.Lines, Line{strings.Repeat("R", 26), decimal.RequireFromString("-999999999999.999999")})
	}
	event := e.Event("wedding", "EUR")
	if len(event.Properties) > 32 {
		t.Errorf("%d properties", len(event.Properties))
	}
	for name, text := range event.Properties {
		if len(text) > 1024 || !strings.HasPrefix(strings.ToValidUTF8(text, "?"), text) {
			t.Errorf("%s has %d bytes, %q", name, len(text), text)
		}
	}
	if back, err := EntryOf(event); err != nil || len(back.Lines) != LinesMax {
		t.Errorf("%d lines, %v", len(back.Lines), err)
	}
}

func FuzzEntryOf(f *testing.F) {
	event := fullEntry().Event("wedding", "EUR")
	f.Add(event.Value, event.Properties["n"], event.Properties["recorded_at"], event.Properties["version"], event.Properties["lines_00"])
	f.Add("", "", "", "", ":")
	f.Fuzz(func(t *testing.T, value, n, recorded, version, lines string) {
		e, err := EntryOf(&wire.Event{Event: "reward_entry", Id: "R/0", Value: value, Properties: map[string]string{
			"reward": "R", "n": n, "recorded_at": recorded, "version": version, "lines_00": lines, "entry": "payout", "state": "paid",
		}})
		if err != nil || len(e.Lines) > linesInProperty || len(value) > 40 || len(lines) > 1000 {
			return // no entry that this program writes
		}
		again, err := EntryOf(e.Event("p", "EUR"))
		if err != nil || again.N != e.N || !again.Value.Equal(e.Value) || len(again.Lines) != len(e.Lines) {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}
