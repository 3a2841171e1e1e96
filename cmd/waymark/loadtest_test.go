package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waymark/loadtest/verify"
)

// load starts `waymark loadtest` on a running installation.
func (s *server) load(t *testing.T, ledger string, args ...string) *process {
	t.Helper()
	return run(t, nil, append([]string{"loadtest", "--data", s.data, "--admin", s.admin, "--listen", s.public, "--ledger", ledger,
		"--seed=1", "--threads=2", "--links=50", "--visitors=300", "--actions=0.3", "--max-errors=0", "--timeout=60s"}, args...)...)
}

// compare runs `waymark loadtest verify` and returns its report.
func (s *server) compare(t *testing.T, ledger string, args ...string) *verify.Report {
	t.Helper()
	p := run(t, nil, append([]string{"loadtest", "verify", "--data", s.data, "--clickhouse", "http://" + s.clickhouse, "--ledger", ledger,
		"--wait=60s", "--json"}, args...)...)
	code := p.wait(patience)
	text := p.out.String()
	start, end := strings.Index(text, "{\n"), strings.LastIndex(text, "\n}")
	report := new(verify.Report)
	if start < 0 || end < 0 || json.Unmarshal([]byte(text[start:end+2]), report) != nil {
		t.Fatalf("verify printed no report: %s", text)
	}
	if (code == 0) != (report.Differences == 0) {
		t.Fatalf("exit code %d with %d differences", code, report.Differences)
	}
	return report
}

// equalEverywhere fails unless ledger and ClickHouse agree in every line.
func equalEverywhere(t *testing.T, report *verify.Report) {
	t.Helper()
	for _, line := range report.Lines {
		if line.Differences() > 0 {
			t.Errorf("%+v", *line)
		}
	}
}

// differences are the lines of a report that differ.
func lineDifferences(report *verify.Report) map[string]string {
	found := map[string]string{}
	for _, l := range report.Lines {
		if l.Differences() > 0 {
			found[l.Table+" "+l.What] = fmt.Sprintf("lost %d, doubled %d, foreign %d, altered %d", l.Lost, l.Doubled, l.Foreign, l.Altered)
		}
	}
	return found
}

var sentRequests = regexp.MustCompile(`(\d+) requests due at .* (\d+) sent, (\d+) answered`)

// TestLoadtestVerify runs a load, finds nothing wrong, then damages ClickHouse
// and the ledger in every way and finds exactly the damage.
func TestLoadtestVerify(t *testing.T) {
	s := newHome(t).up(t, "--trusted-proxies=127.0.0.0/8")
	path := filepath.Join(t.TempDir(), "ledger")
	load := s.load(t, path, "--rate=2000", "--requests=6000")
	if code := load.wait(patience); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if counts := sentRequests.FindStringSubmatch(load.out.String()); counts == nil || counts[3] != "6000" {
		t.Fatalf("the result is %q", counts)
	}
	report := s.compare(t, path)
	equalEverywhere(t, report)
	if report.Clicks < 3000 || report.Actions < 500 || report.Repeats < 5 || report.OpenClicks != 0 {
		t.Errorf("the load was too small: %d clicks, %d actions, %d repeats", report.Clicks, report.Actions, report.Repeats)
	}
	for _, kind := range []string{"conversions purchases", "referrals users", "action_ids actions"} {
		if got := expectedOf(report, kind); got < 20 {
			t.Errorf("%s: %d, too few to prove anything", kind, got)
		}
	}
	recount(t, s, path, report)
	otherLedgers(t, s, path)

	program := report.Runs[0]
	mine := fmt.Sprintf("program = 'loadtest-%s' AND stage = 'clicked'", program)
	get := " AND bitAnd(reasons, 1823) = 0 AND event = 'click'"
	// One hit twice, which the views count twice too; another one's twin under an
	// identity that nobody was given.
	s.mustSQL("INSERT INTO waymark.events SELECT * FROM waymark.events WHERE " + mine + get + " ORDER BY offset LIMIT 1")
	s.mustSQL("INSERT INTO waymark.events SELECT * REPLACE (16000 AS sequence) FROM waymark.events WHERE " + mine + get + " ORDER BY offset LIMIT 1 OFFSET 20")
	// Three hits gone from events, but not from the views.
	s.mustSQL("ALTER TABLE waymark.events DELETE WHERE " + mine + " AND (time, node, sequence) IN (SELECT time, node, sequence FROM waymark.events WHERE " +
		mine + get + " ORDER BY offset LIMIT 3 OFFSET 40) SETTINGS mutations_sync = 1")
	// An order altered, one lost in its view, an identity lost, a user lost.
	orders := "(SELECT id FROM waymark.conversions WHERE startsWith(id, '" + program + "-') ORDER BY id LIMIT 1"
	s.mustSQL("ALTER TABLE waymark.events UPDATE value = value + 1 WHERE id IN " + orders + ") SETTINGS mutations_sync = 1")
	s.mustSQL("ALTER TABLE waymark.conversions DELETE WHERE id IN " + orders + " OFFSET 1) SETTINGS mutations_sync = 1")
	s.mustSQL("ALTER TABLE waymark.action_ids DELETE WHERE hash IN (SELECT hash FROM waymark.action_ids WHERE key LIKE 'i:" + program + "-%' ORDER BY key LIMIT 2) SETTINGS mutations_sync = 1")
	s.mustSQL("ALTER TABLE waymark.referrals DELETE WHERE party IN (SELECT max(party) FROM waymark.referrals WHERE startsWith(party, '" + program + "-')) SETTINGS mutations_sync = 1")
	report = s.compare(t, path, "--wait=0s")
	want := map[string]string{
		"events clicks":                     "lost 3, doubled 1, foreign 1, altered 0",
		"link_clicks_daily by link and day": "lost 0, doubled 2, foreign 0, altered 0",
		"events actions":                    "lost 0, doubled 0, foreign 0, altered 1",
		"conversions purchases":             "lost 1, doubled 0, foreign 0, altered 0",
		"action_ids actions":                "lost 2, doubled 0, foreign 0, altered 0",
		"referrals users":                   "lost 1, doubled 0, foreign 0, altered 0",
	}
	for _, dimension := range []string{"total", "channel", "campaign", "referrer_type", "country", "device", "browser", "referrer_host", "reasons"} {
		want["clicks_hourly sums by "+dimension] = "lost 0, doubled 2, foreign 0, altered 0"
	}
	found := lineDifferences(report)
	for line, text := range want {
		if found[line] != text {
			t.Errorf("%s: %q, expected %q", line, found[line], text)
		}
		delete(found, line)
	}
	if len(found) > 0 {
		t.Errorf("differences that nobody made: %v", found)
	}
}

// otherLedgers compares ClickHouse, which is right, with ledgers that are not.
func otherLedgers(t *testing.T, s *server, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(content), "\n")
	click := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "click\t") && strings.Contains(line, "\tGET\t") })
	order := slices.IndexFunc(lines, func(line string) bool { // that was not sent again
		return strings.Contains(line, "\tpurchase\t") && strings.Count(string(content), "\t"+strings.Split(line, "\t")[6]+"\t") == 1
	})
	fields := strings.Split(lines[click], "\t")
	cut := strings.Join(slices.Concat([]string{"open-click", fields[1], "0", fields[3], ""}, fields[5:]), "\t")
	for _, tc := range []struct {
		name    string
		change  func([]string) []string
		arrived uint64
		want    map[string]string
	}{
		{"a click was cut off", func(l []string) []string { l[click] = cut; return l }, 1, map[string]string{}},
		{"a click that was cut off never came", func(l []string) []string {
			return slices.Insert(l, click, cut)
		}, 0, map[string]string{}},
		{"an action was cut off", func(l []string) []string {
			open := strings.Split(l[order], "\t")
			open[0], open[2] = "open-action", "0"
			l[order] = strings.Join(open, "\t")
			return l
		}, 0, map[string]string{}},
		{"the generator died before it wrote a click", func(l []string) []string { return slices.Delete(l, click, click+1) }, 0, map[string]string{
			"events clicks": "lost 0, doubled 0, foreign 1, altered 0",
		}},
		{"another value", func(l []string) []string {
			action := strings.Split(l[order], "\t")
			action[9] += "1"
			l[order] = strings.Join(action, "\t")
			return l
		}, 0, map[string]string{
			"events actions": "lost 0, doubled 0, foreign 0, altered 1", "conversions purchases": "lost 0, doubled 0, foreign 0, altered 1",
			"referrals users": "lost 0, doubled 0, foreign 0, altered 1",
		}},
	} {
		changed := tc.change(slices.Clone(lines[:len(lines)-2])) // without its end
		file := filepath.Join(t.TempDir(), "ledger")
		if err := os.WriteFile(file, []byte(strings.Join(changed, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		report := s.compare(t, file, "--wait=0s")
		found := lineDifferences(report)
		for line := range found {
			if (strings.HasPrefix(line, "clicks_hourly ") || strings.HasPrefix(line, "link_clicks_daily ")) && tc.want["events clicks"] != "" {
				delete(found, line) // they follow the clicks
			}
		}
		if !maps.Equal(found, tc.want) || report.OpenClicksArrived != tc.arrived || len(report.Unfinished) != 1 {
			t.Errorf("%s: %v, %d arrived, unfinished %v; expected %v", tc.name, found, report.OpenClicksArrived, report.Unfinished, tc.want)
		}
	}
}

func expectedOf(report *verify.Report, line string) uint64 {
	for _, l := range report.Lines {
		if l.Table+" "+l.What == line {
			return l.Expected
		}
	}
	return 0
}

// recount counts the lines of the ledger with nothing but strings, and the
// events with nothing but count().
func recount(t *testing.T, s *server, path string, report *verify.Report) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clicks, ids := uint64(0), map[string]bool{}
	for line := range strings.Lines(string(content)) {
		switch fields := strings.Split(line, "\t"); fields[0] {
		case "click":
			clicks++
		case "action":
			ids[fields[6]] = true
		}
	}
	if clicks != report.Clicks || uint64(len(ids)) != report.Actions {
		t.Errorf("the ledger has %d clicks and %d actions, the report says %d and %d", clicks, len(ids), report.Clicks, report.Actions)
	}
	rows := s.mustSQL("SELECT countIf(stage = 'clicked'), countIf(stage != 'clicked') FROM waymark.events")
	if rows[0][0] != fmt.Sprint(clicks) || rows[0][1] != fmt.Sprint(len(ids)) {
		t.Errorf("events has %v, the ledger %d and %d", rows[0], clicks, len(ids))
	}
}

// TestLoadtestThroughAKill kills everything in the middle of a load, which goes
// on when it is back: what was answered is there, and what was cut off is told
// apart.
func TestLoadtestThroughAKill(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	path := filepath.Join(t.TempDir(), "ledger")
	load := s.load(t, path, "--rate=1000", "--requests=6000")
	eventually(t, "clicks in ClickHouse", func() error {
		rows, err := s.sql("SELECT count() FROM waymark.events")
		if err == nil && rows[0][0] == "0" {
			err = errors.New("there are none yet")
		}
		return err
	})
	s.kill()
	s = h.up(t, "--listen="+s.public, "--admin="+s.admin)
	if code := load.wait(patience); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	report := s.compare(t, path)
	equalEverywhere(t, report)
	// Each of the 64 connections broke when everything died, and once more when the
	// node was ready and took over from what answered 503 in the meantime.
	if report.OpenClicks > 2*64 {
		t.Errorf("%d clicks are open, more than there were connections", report.OpenClicks)
	}
	if counts := sentRequests.FindStringSubmatch(load.out.String()); counts == nil || counts[1] != "6000" || counts[2] != "6000" {
		t.Errorf("the result is %q", counts)
	}
}
