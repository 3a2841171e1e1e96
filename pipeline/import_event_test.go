package pipeline

import (
	"errors"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// importer is an importEvents with one link, OLD-1 of programme wedding.
func testImportEvents(t *testing.T) *importEvents {
	t.Helper()
	links := tracker.NewLinks(tracker.LinksOptions{})
	t.Cleanup(links.Close)
	program := tracker.NewProgram("wedding")
	program.PartyTypes = []string{"supplier", "couple"}
	program.Currency = "GBP"
	if err := links.ApplyProgram(program); err != nil {
		t.Fatal(err)
	}
	link := tracker.NewLink()
	link.Number, link.Code, link.URL, link.Program, link.Campaign, link.Channel = 7, "OLD-1", "https://shop.example/", "wedding", "spring", "qr"
	link.Referrer = tracker.Party{ID: "s-17", Type: "supplier"}
	value, err := link.Wire().MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := links.Apply([]byte(link.Key()), value, 0); err != nil {
		t.Fatal(err)
	}
	enricher, err := newImportEnricher(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &importEvents{
		links: links, enricher: enricher, memory: newImportMemory(), source: "old:", zone: time.UTC,
		now: func() time.Time { return time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) },
	}
}

// rowOf is a row of names and texts.
func rowOf(t *testing.T, pairs ...string) *importRow {
	t.Helper()
	row, mapper := new(importRow), testMapper(t, ImportMapping{})
	for i := 0; i < len(pairs); i += 2 {
		columns, err := mapper.columns(pairs[i])
		if err == nil {
			err = row.set(columns[0], pairs[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return row
}

func mustEvent(t *testing.T, b *importEvents, pairs ...string) *wire.Event {
	t.Helper()
	e, err := b.event(rowOf(t, pairs...))
	if err != nil {
		t.Fatalf("%q: %v", pairs, err)
	}
	return e
}

const chromeAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

func TestImportedHit(t *testing.T) {
	b := testImportEvents(t)
	e := mustEvent(t, b, "event", "click", "time", "1735787045", "id", "77", "code", "OLD-1", "visitor_id", "00000000000000ff",
		"user_agent", chromeAgent, "referer", "https://News.example/a", "query", "?utm_source=mail", "country", "de", "value", "0.0", "campaign", "fall")
	for what, pair := range map[string][2]any{
		"id": {e.Id, "old:77"}, "event": {e.Event, "click"}, "stage": {e.Stage, "clicked"}, "time": {e.TimeMs, uint64(1735787045000)},
		"node": {e.Node, uint32(0)}, "visitor": {e.VisitorId, uint64(255)}, "program": {e.Program, "wedding"}, "link": {e.Link, uint32(7)},
		"code": {e.Code, "OLD-1"}, "campaign": {e.Campaign, "fall"}, "channel": {e.Channel, "qr"}, "referrer": {e.ReferrerId, "s-17"},
		"browser": {e.Browser, "Chrome"}, "device": {e.Device, "desktop"}, "agent": {e.UserAgent, ""}, "host": {e.ReferrerHost, "news.example"},
		"utm": {e.UtmSource, "mail"}, "country": {e.Country, "DE"}, "value": {e.Value, ""}, "reasons": {e.Reasons, uint32(0)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, expected %v", what, pair[0], pair[1])
		}
	}
	// Robots by their agent or by the row's word; repeats within 24 hours on
	// one link, from the last one that counted.
	for _, c := range []struct {
		pairs []string
		want  tracker.Reasons
	}{
		{[]string{"user_agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"}, tracker.Bot},
		{[]string{"bot", "TRUE"}, tracker.Bot},
		{[]string{"reasons", "prefetch, repeat"}, tracker.Prefetch | tracker.Repeat},
		{[]string{"device", "Bot"}, tracker.Bot},
		{[]string{"visitor_id", "00000000000000ff", "code", "OLD-1", "campaign", "fall"}, tracker.Repeat},
		{[]string{"visitor_id", "00000000000000ff", "channel", "mail"}, 0},
		{[]string{"visitor_id", "00000000000000ff", "code", "OLD-1", "campaign", "fall", "time", "1735873445"}, 0},
	} {
		pairs := append([]string{"event", "scan"}, c.pairs...)
		if !strings.Contains(strings.Join(pairs, " "), " time ") {
			pairs = append(pairs, "time", "1735787046")
		}
		if e := mustEvent(t, b, pairs...); tracker.Reasons(e.Reasons) != c.want {
			t.Errorf("%q has the reasons %q, expected %q", c.pairs, tracker.Reasons(e.Reasons), c.want)
		}
	}
}

// TestImportedAction: whose it is and who is credited.
func TestImportedAction(t *testing.T) {
	b := testImportEvents(t)
	click := mustEvent(t, b, "event", "click", "time", "2026-01-01T00:00:00Z", "id", "c1", "code", "OLD-1", "visitor_id", "cookie-1")
	type wanted struct {
		program, campaign string
		link              uint32
		clicked, late     bool
		id                string
	}
	for name, c := range map[string]struct {
		pairs []string
		want  wanted
	}{
		"by click":              {[]string{"event", "purchase", "click_id", "c1", "order_id", "o1"}, wanted{"wedding", "spring", 7, true, false, ""}},
		"by visitor":            {[]string{"event", "purchase", "visitor_id", "cookie-1", "id", "x", "program", "wedding"}, wanted{"wedding", "spring", 7, true, false, "old:x"}},
		"another programme":     {[]string{"event", "purchase", "visitor_id", "cookie-1", "id", "y", "program", "general"}, wanted{"general", "", 0, false, false, "old:y"}},
		"other visitor":         {[]string{"event", "purchase", "visitor_id", "cookie-2", "id", "z"}, wanted{"general", "", 0, false, false, "old:z"}},
		"last moment of window": {[]string{"event", "purchase", "click_id", "c1", "id", "l", "time", "2026-01-31T00:00:00Z"}, wanted{"wedding", "spring", 7, true, false, "old:l"}},
		"after the window":      {[]string{"event", "purchase", "click_id", "c1", "id", "m", "time", "2026-01-31T00:00:00.001Z"}, wanted{"wedding", "", 0, true, true, "old:m"}},
		"by user":               {[]string{"event", "purchase", "user_id", "u1", "id", "n"}, wanted{"", "", 0, false, false, "old:n"}},
		"signup of a user":      {[]string{"event", "signup", "user_id", "u1"}, wanted{"general", "", 0, false, false, "user:u1"}},
		"by code":               {[]string{"event", "purchase", "code", "OLD-1", "click_id", "c1", "id", "o", "time", "2026-10-01"}, wanted{"wedding", "spring", 7, true, false, "old:o"}},
		"unknown code":          {[]string{"event", "purchase", "code", "OLD-2", "program", "general", "id", "p"}, wanted{"general", "", 0, false, false, "old:p"}},
	} {
		pairs := c.pairs
		if !strings.Contains(strings.Join(pairs, " "), " time ") {
			pairs = append(pairs, "time", "2026-01-02T00:00:00Z")
		}
		e := mustEvent(t, b, pairs...)
		got := wanted{e.Program, e.Campaign, e.Link, e.ClickTimeMs == click.TimeMs && e.ClickSequence == click.Sequence, tracker.Reasons(e.Reasons)&tracker.Late != 0, e.Id}
		if e.OrderId != "" {
			got.id = ""
		}
		if got != c.want {
			t.Errorf("%s: %+v, expected %+v", name, got, c.want)
		}
	}
}

func TestImportedRowsRefused(t *testing.T) {
	b := testImportEvents(t)
	mustEvent(t, b, "event", "click", "time", "2026-01-01T00:00:00Z", "code", "OLD-1", "visitor_id", "v")
	for _, c := range []struct {
		field string
		pairs []string
	}{
		{"event", []string{"visitor_id", "v"}},
		{"event", []string{"event", "Click"}},
		{"time", []string{"event", "click", "time", ""}},
		{"time", []string{"event", "click", "time", "2 January"}},
		{"time", []string{"event", "click", "time", "2026-11-20T00:06:00Z"}},
		{"time", []string{"event", "click", "time", "1999-12-31 23:59:59"}},
		{"code", []string{"event", "click", "code", "OLD-2"}},
		{"program", []string{"event", "click", "program", "none"}},
		{"order_id", []string{"event", "click", "order_id", "o"}},
		{"value", []string{"event", "scan", "value", "1"}},
		{"value", []string{"event", "purchase", "visitor_id", "w", "value", "1,50"}},
		{"value", []string{"event", "refund", "visitor_id", "w", "value", "-1"}},
		{"currency", []string{"event", "purchase", "visitor_id", "w", "value", "1", "currency", "USD"}},
		{"currency", []string{"event", "purchase", "user_id", "u", "value", "1", "currency", "USD"}},
		{"referrer.type", []string{"event", "click", "program", "wedding", "referrer", "x", "referrer_type", "agent"}},
		{"country", []string{"event", "click", "country", "Germany"}},
		{"device", []string{"event", "click", "device", "toaster"}},
		{"address", []string{"event", "click", "address", "1.2.3"}},
		{"reasons", []string{"event", "click", "reasons", "bot,strange"}},
		{"reasons", []string{"event", "purchase", "visitor_id", "w", "reasons", "bot"}},
		{"bot", []string{"event", "click", "bot", "maybe"}},
		{"visitor_id", []string{"event", "purchase"}},
		{"program", []string{"event", "purchase", "visitor_id", "v", "time", "2026-01-01T00:00:01Z"}},
		{"campaign", []string{"event", "click", "campaign", "a\tb"}},
	} {
		pairs := c.pairs
		if !strings.Contains(strings.Join(pairs, " ")+" ", " time ") {
			pairs = append(pairs, "time", "2026-01-02T00:00:00Z")
		}
		e, err := b.event(rowOf(t, pairs...))
		var field *tracker.FieldError
		if !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%q gives %v and the error %v, expected one of field %s", c.pairs, e, err, c.field)
		}
	}
	if _, err := b.event(rowOf(t, "event", "purchase", "time", "1735787045", "click_id", "nowhere")); !errors.Is(err, errClickUnknown) {
		t.Errorf("an action of an unknown click gives the error %v", err)
	}
}

// TestImportedIdentity: what a row is known by.
func TestImportedIdentity(t *testing.T) {
	id := func(b *importEvents, pairs ...string) string { return mustEvent(t, b, pairs...).Id }
	row := []string{"event", "click", "time", "2026-01-01T00:00:00Z", "visitor_id", "v", "channel", "mail"}
	b := testImportEvents(t)
	first, second := id(b, row...), id(b, row...)
	if first == second || second != first+"~2" || !strings.HasPrefix(first, "old:row:") {
		t.Errorf("two equal rows have the ids %q and %q", first, second)
	}
	// As others write it, it is the same row.
	if got := id(testImportEvents(t), "channel", "mail", "visitor_id", "v", "time", "1767225600", "event", "click"); got != first {
		t.Errorf("written otherwise the row has the id %q, expected %q", got, first)
	}
	for i := 1; i < len(row); i += 2 {
		other := append([]string{}, row...)
		other[i] += map[string]string{"event": "", "time": "", "visitor_id": "w", "channel": "s"}[other[i-1]]
		switch other[i-1] {
		case "event":
			other[i] = "scan"
		case "time":
			other[i] = "2026-01-01T00:00:00.001Z"
		}
		if got := id(testImportEvents(t), other...); got == first {
			t.Errorf("%q has the same id as %q", other, row)
		}
	}
	apart := testImportEvents(t)
	apart.source = "new:"
	if got, other := mustEvent(t, apart, row...), mustEvent(t, testImportEvents(t), row...); got.VisitorId == other.VisitorId || got.Id == other.Id {
		t.Error("two sources share a visitor or an id")
	}
}

func TestTimesWithoutZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for text, want := range map[string]string{
		"2026-07-01 12:00:00":       "2026-07-01T12:00:00+02:00",
		"2026-01-01T12:00:00.25":    "2026-01-01T12:00:00.25+01:00",
		"2026-01-01 12:00":          "2026-01-01T12:00:00+01:00",
		"2026-01-01":                "2026-01-01T00:00:00+01:00",
		"2026-01-01 12:00:00 +0500": "2026-01-01T12:00:00+0500", // which is then refused
		"2026-01-01 12:00:00+05:00": "2026-01-01T12:00:00+05:00",
		"2026-01-01T12:00:00Z":      "2026-01-01T12:00:00Z",
		"1735787045":                "1735787045",
		"yesterday":                 "yesterday",
	} {
		if got := inZone(text, berlin); got != want {
			t.Errorf("%q is read as %q, expected %q", text, got, want)
		}
	}
}

// FuzzImportedRow: no text of any field makes an event that ingest refuses.
func FuzzImportedRow(f *testing.F) {
	f.Add("click", "1735787045", "value", "1")
	f.Add("purchase", "2026-01-01", "user_id", "u")
	f.Add("scan", "2026-01-01T00:00:00Z", "reasons", "bot,repeat")
	f.Add("refund", "2026-01-01 10:00", "query", "utm_source=%ff")
	b := testImportEvents(&testing.T{})
	f.Fuzz(func(t *testing.T, event, at, name, text string) {
		field, ok := importByName[name]
		if !ok {
			return
		}
		row := &importRow{}
		row.texts[fieldEvent], row.texts[fieldTime], row.texts[fieldVisitorID] = event, at, "v"
		row.texts[field] = text
		e, err := b.event(row)
		if err != nil {
			return
		}
		if err := checkRow(e); err != nil {
			t.Fatalf("%q with %s %q gives an event that ingest refuses: %v", event, name, text, err)
		}
		if _, err := e.MarshalVT(); err != nil {
			t.Fatal(err)
		}
		if _, ok := tracker.IdentityOfAction(e); !ok {
			t.Fatal("an event without an identity")
		}
	})
}
