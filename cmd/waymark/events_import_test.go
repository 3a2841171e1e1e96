package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// oldEvent is a row that another system exports, under names of its own.
type oldEvent map[string]string

// oldColumns are its columns; mapFlags translates them.
var (
	oldColumns = []string{"ref", "kind", "at", "cookie", "click", "customer", "order", "amount", "medium", "land", "is_bot"}
	mapFlags   = []string{
		"--map", "id=ref,event=kind,time=at,visitor_id=cookie,click_id=click,user_id=customer,order_id=order,value=amount,channel=medium,country=land,bot=is_bot",
		"--event-map", "impression=click,lead=signup,sale=purchase,ping=-", "--set", "program=general", "--source", "old", "--tz", "Europe/Berlin",
	}
)

// oldWorld makes a history of two winter months and counts what it should
// come to, sharing nothing with the program.
type oldWorld struct {
	events  []oldEvent
	clicks  map[string]int // valid ones by channel
	days    map[string]int // valid ones by UTC day
	gross   int
	visits  map[string]bool // valid visitors
	signups map[string]bool // users
	buyers  map[string]bool
	orders  int
	cents   int
}

func newOldWorld(clicks int) *oldWorld {
	w := &oldWorld{clicks: map[string]int{}, days: map[string]int{}, visits: map[string]bool{}, signups: map[string]bool{}, buyers: map[string]bool{}}
	random := rand.New(rand.NewPCG(11, 5))
	start := time.Date(2024, 12, 15, 0, 0, 0, 0, time.UTC)
	channels := []string{"mail", "search", "social"}
	for i := range clicks {
		at := start.Add(time.Duration(i) * (45 * 24 * time.Hour / time.Duration(clicks))).Truncate(time.Second)
		local := func(t time.Time) string { return t.Add(time.Hour).Format("2006-01-02 15:04:05") } // Berlin in winter
		cookie, medium, bot := fmt.Sprint("cookie ", random.IntN(clicks/3)), channels[random.IntN(3)], random.IntN(10) == 0
		click := oldEvent{"kind": "impression", "at": local(at), "cookie": cookie, "medium": medium, "land": "DE", "amount": "0.0", "is_bot": fmt.Sprint(bot)}
		if i%2 == 0 { // the other half has no ids
			click["ref"] = fmt.Sprint("c-", i)
		}
		times := 1
		if i%97 == 1 {
			times = 2 // the same twice: two clicks, unless an id says that they are one
		}
		for k := range times {
			w.events = append(w.events, click)
			if k > 0 && click["ref"] != "" {
				continue
			}
			w.gross++
			if !bot {
				w.clicks[medium]++
				w.days[at.Format("2006-01-02")]++
				w.visits[cookie] = true
			}
		}
		user := fmt.Sprint("user ", i)
		if i%20 == 10 {
			w.events = append(w.events, oldEvent{"kind": "lead", "at": local(at.Add(time.Minute)), "click": fmt.Sprint("c-", i), "customer": user})
			w.signups[user] = true
		}
		if i%40 == 30 {
			cents := 100 + random.IntN(10000)
			w.events = append(w.events,
				oldEvent{"kind": "sale", "at": local(at.Add(time.Hour)), "customer": user, "order": fmt.Sprint("A", i), "amount": fmt.Sprintf("%d.%02d", cents/100, cents%100)},
				oldEvent{"kind": "ping", "at": "whatever"})
			w.buyers[user] = true
			w.orders++
			w.cents += cents
		}
	}
	return w
}

// file writes events as CSV or NDJSON.
func (w *oldWorld) file(t *testing.T, name string, events []oldEvent) string {
	t.Helper()
	var text bytes.Buffer
	table := csv.NewWriter(&text)
	if strings.HasSuffix(name, ".csv") {
		table.Write(oldColumns)
	}
	for _, event := range events {
		if strings.HasSuffix(name, ".ndjson") {
			if err := json.NewEncoder(&text).Encode(event); err != nil {
				t.Fatal(err)
			}
			continue
		}
		cells := make([]string, len(oldColumns))
		for i, column := range oldColumns {
			cells[i] = event[column]
		}
		table.Write(cells)
	}
	table.Flush()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *server) importEvents(file string, args ...string) *process {
	return run(s.t, nil, slices.Concat([]string{"events", "import", file, "--data", s.data, "--kafka", s.kafka, "--clickhouse", "http://" + s.clickhouse}, args)...)
}

// mustImport imports a file and expects an exit code.
func (s *server) mustImport(code int, file string, args ...string) *process {
	s.t.Helper()
	p := s.importEvents(file, args...)
	if got := p.wait(patience); got != code {
		s.t.Fatalf("the import of %s ends with %d, expected %d: %s", file, got, code, p.errs.String())
	}
	return p
}

// check compares ClickHouse with the recount.
func (w *oldWorld) check(s *server, when string) {
	s.t.Helper()
	expect := func(query, want string) {
		s.t.Helper()
		got := ""
		for _, row := range s.mustSQL(query) {
			got += strings.Join(row, " ") + "\n"
		}
		if got != want {
			s.t.Errorf("%s: %s gives\n%s, expected\n%s", when, query, got, want)
		}
	}
	expect("SELECT stage, count() FROM waymark.events GROUP BY stage ORDER BY stage",
		fmt.Sprintf("clicked %d\nconverted %d\nsigned_up %d\n", w.gross, w.orders, len(w.signups)))
	expect("SELECT stage, count FROM waymark.funnel WHERE program = 'general' AND stage IN ('clicked', 'signed_up', 'converted') ORDER BY position",
		fmt.Sprintf("clicked %d\nsigned_up %d\nconverted %d\n", len(w.visits), len(w.signups), len(w.buyers)))
	channels, days, all := "", "", 0
	for _, channel := range []string{"mail", "search", "social"} {
		channels += fmt.Sprintf("%s %d\n", channel, w.clicks[channel])
		all += w.clicks[channel]
	}
	expect("SELECT key, sum(clicks) FROM waymark.clicks WHERE program = 'general' AND dimension = 'channel' AND key != '' GROUP BY key ORDER BY key", channels)
	for day := time.Date(2024, 12, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2026; day = day.AddDate(0, 0, 1) {
		if n := w.days[day.Format("2006-01-02")]; n > 0 {
			days += fmt.Sprintf("%s %d\n", day.Format("2006-01-02"), n)
		}
	}
	expect("SELECT toDate(hour, 'UTC') AS day, sum(clicks) FROM waymark.clicks WHERE program = 'general' AND dimension = 'total' GROUP BY day ORDER BY day", days)
	expect("SELECT clicks, visitors, signups, conversions, toString(toFloat64(value)) FROM waymark.conversion_rates WHERE program = 'general' AND dimension = 'total'",
		fmt.Sprintf("%d %d %d %d %s\n", all, len(w.visits), len(w.signups), len(w.buyers), strconv.FormatFloat(float64(w.cents)/100, 'f', -1, 64)))
	// A signup is tied to its click, whose node is 0.
	expect("SELECT count(), countIf(click IN (SELECT click FROM waymark.events WHERE stage = 'clicked')) FROM waymark.events WHERE stage = 'signed_up'",
		fmt.Sprintf("%d %d\n", len(w.signups), len(w.signups)))
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// TestEventsImport: the history of another system counts as a recount of it
// says, and once, however often and in whatever pieces it is imported.
func TestEventsImport(t *testing.T) {
	s := newHome(t).up(t)
	w := newOldWorld(4000)
	whole := w.file(t, "history.csv", w.events)

	// Killed at three moments, then run again.
	for _, records := range []int{0, 1, 2000} {
		p := s.importEvents(whole, mapFlags...)
		eventually(t, "the import to send some rows, or end", func() error {
			select {
			case <-p.done:
				return nil
			default:
			}
			rows, err := s.sql("SELECT count() FROM waymark.events")
			if err != nil {
				return err
			}
			if n, _ := strconv.Atoi(rows[0][0]); n < records {
				return fmt.Errorf("%d rows", n)
			}
			return nil
		})
		p.kill()
	}
	p := s.mustImport(0, whole, mapFlags...)
	if want := fmt.Sprintf("%d rows: %d events sent, %d rows skipped, 0 refused", len(w.events), len(w.events)-w.orders, w.orders); !strings.Contains(p.errs.String(), want) {
		t.Errorf("the import says %q, expected %q", p.errs.String(), want)
	}
	w.check(s, "imported after three kills")
	if left, err := filepath.Glob(filepath.Join(s.data, "imports", "*")); err != nil || len(left) > 0 {
		t.Errorf("the import left %v behind (%v)", left, err)
	}

	s.mustImport(0, whole, mapFlags...)
	w.check(s, "imported twice")
	s.mustImport(0, w.file(t, "other-name.ndjson", w.events), mapFlags...)
	w.check(s, "imported as NDJSON under another name")
	reversed := slices.Clone(w.events)
	slices.Reverse(reversed)
	s.mustImport(0, w.file(t, "reversed.csv", reversed), mapFlags...)
	w.check(s, "imported in reverse")
	half := len(w.events) / 2
	for half > 0 && fmt.Sprint(w.events[half]) == fmt.Sprint(w.events[half-1]) {
		half-- // equal rows count together within a file
	}
	s.mustImport(0, w.file(t, "second.csv", w.events[half:]), mapFlags...)
	s.mustImport(0, w.file(t, "first.ndjson", w.events[:half]), mapFlags...)
	w.check(s, "imported in halves")

	// Repeats that the broker has trimmed are "not proven", whoever sent them.
	audit := run(t, nil, "audit", "--data", s.data, "--kafka", s.kafka, "--clickhouse", "http://"+s.clickhouse)
	if audit.wait(patience); !strings.Contains(audit.out.String(), "\n0 differences") {
		t.Errorf("the audit says %s", audit.out.String())
	}
	s.interrupt()
}

// TestEventsImportFindsEarlierClicks: actions in a file of their own belong to
// the clicks of another; those without one, and other bad rows, are listed.
func TestEventsImportFindsEarlierClicks(t *testing.T) {
	s := newHome(t).up(t)
	w := newOldWorld(400)
	var clicks, actions []oldEvent
	for _, event := range w.events {
		if event["kind"] == "impression" {
			clicks = append(clicks, event)
		} else {
			actions = append(actions, event)
		}
	}
	file, rejects := w.file(t, "actions.csv", append(actions, oldEvent{"kind": "sale", "at": "soon", "customer": "u"})), filepath.Join(t.TempDir(), "rejects.ndjson")
	p := s.mustImport(1, file, append(mapFlags, "--rejects", rejects)...)
	for _, part := range []string{
		"line 2: click_id: there is no click \"c-10\"", fmt.Sprintf("line %d: time: must be RFC 3339", len(actions)+2),
		fmt.Sprintf("%d refused", len(w.signups)+1), "see " + rejects,
	} {
		if !strings.Contains(p.errs.String(), part) {
			t.Errorf("the import says %q, which does not mention %q", p.errs.String(), part)
		}
	}
	content, err := os.ReadFile(rejects)
	if err != nil || bytes.Count(content, []byte("\n")) != len(w.signups)+1 || !bytes.Contains(content, []byte(`"field":"click_id"`)) {
		t.Errorf("the file of refused rows has %q (%v)", content, err)
	}
	s.mustImport(0, w.file(t, "clicks.ndjson", clicks), mapFlags...)
	s.mustImport(0, w.file(t, "actions.ndjson", actions), mapFlags...)
	w.check(s, "imported in two files")
	s.interrupt()
}
