package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	clickledger "waymark/loadtest/ledger"
	"waymark/loadtest/verify"
	"waymark/tracker"
)

// verifyLines makes TestVerifyLines compare a longer ledger, of 50,000,000
// lines for example, which takes some ten minutes and 12 GB of disk.
const verifyLines = "WAYMARK_TEST_VERIFY_LINES"

// syntheticRun is a run that never was: line i of its ledger and row i of
// ClickHouse are both made from i alone. Of 40 lines 38 are clicks, 1 is the
// sign-up of a user and 1 the user's purchase.
type syntheticRun struct {
	started time.Time
	ids     *tracker.ClickIDs
}

const (
	syntheticName    = "synthetic"
	syntheticProgram = "loadtest-synthetic"
)

// click is the one of line i, 20 to the millisecond.
func (r *syntheticRun) click(i int) tracker.Click {
	at := uint64(r.started.UnixMilli()) + uint64(i/20)
	return tracker.Click{Identity: tracker.Identity{TimeMS: at, Node: 3, Sequence: uint16(i % 20)}, Link: tracker.LinkNumber(1 + i%1009)}
}

func (r *syntheticRun) entry(i int) clickledger.Entry {
	click := r.click(i)
	if i%20 != 0 {
		return clickledger.Entry{
			Kind: clickledger.Click, TimeMS: click.TimeMS, Status: 302, Event: []byte("click"), Method: []byte("GET"),
			ClickID: r.ids.Append(nil, click), Code: fmt.Appendf(nil, "code-%d", i%1009),
		}
	}
	e := clickledger.Entry{
		Kind: clickledger.Action, TimeMS: click.TimeMS, HappenedMS: click.TimeMS, Status: 202, Way: []byte("events"), Event: []byte("signup"),
		ClickID: r.ids.Append(nil, r.click(i+1)), ID: fmt.Appendf(nil, "%s-%d", syntheticName, i), UserID: fmt.Appendf(nil, "%s-u%d", syntheticName, i/40),
	}
	if i%40 == 20 {
		e.Event, e.Value = []byte("purchase"), []byte("49.90")
	}
	return e
}

func (r *syntheticRun) write(t *testing.T, path string, lines int) {
	t.Helper()
	w, err := clickledger.Create(path, clickledger.Header{Run: syntheticName, Program: syntheticProgram, Started: r.started})
	if err != nil {
		t.Fatal(err)
	}
	b := w.Buffer()
	for i := range lines {
		e := r.entry(i)
		if err := b.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	b.Flush()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// insert puts the rows of some lines into ClickHouse, which fills the views.
func (r *syntheticRun) insert(s *server, numbers string) {
	s.t.Helper()
	s.mustSQL(fmt.Sprintf(`INSERT INTO waymark.events (event, stage, program, link, code, time, node, sequence, id, user_id, value, click_time, click_node, click_sequence)
SELECT multiIf(click, 'click', buys, 'purchase', 'signup'), multiIf(click, 'clicked', buys, 'converted', 'signed_up'), '%[3]s',
	if(click, 1 + number %% 1009, 0), if(click, concat('code-', toString(number %% 1009)), ''), at, 3, number %% 20,
	if(click, '', concat('%[2]s-', toString(number))), if(click, '', concat('%[2]s-u', toString(intDiv(number, 40)))),
	if(buys, 49.9, 0), if(click, fromUnixTimestamp64Milli(0::Int64, 'UTC'), at), if(click, 0, 3), if(click, 0, 1)
FROM (SELECT number, number %% 20 != 0 AS click, number %% 40 = 20 AS buys, fromUnixTimestamp64Milli(%[4]d + intDiv(number, 20), 'UTC') AS at FROM (%[1]s))`,
		numbers, syntheticName, syntheticProgram, r.started.UnixMilli()))
}

// TestVerifyLines compares a million lines of a ledger with as many rows, in
// less memory than half of them would take, and finds the two faults.
func TestVerifyLines(t *testing.T) {
	lines := 1_000_000
	if text := os.Getenv(verifyLines); text != "" {
		var err error
		if lines, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", verifyLines, err)
		}
	}
	s := newHome(t).up(t)
	ring, err := tracker.LoadOrCreateKeyRing(filepath.Join(s.data, "secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := &syntheticRun{started: time.Now().Add(-3 * time.Hour).Truncate(time.Second), ids: tracker.NewClickIDs(ring)}
	const chunk = 1_000_000
	for from := 0; from < lines; from += chunk {
		r.insert(s, fmt.Sprintf("SELECT number FROM numbers(%d, %d) WHERE number != 77", from, min(chunk, lines-from)))
	}
	r.insert(s, "SELECT number FROM numbers(501, 10)") // again
	path := filepath.Join(t.TempDir(), "ledger")
	r.write(t, path, lines)

	began := time.Now()
	stop, peak := make(chan struct{}), make(chan uint64)
	go watchMemory(stop, peak)
	report, err := verify.Verify(t.Context(), verify.Options{
		Ledgers: []string{path}, ClickHouse: "http://" + s.clickhouse, User: "waymark", Password: s.password, Temp: t.TempDir(),
		Decode: func(id []byte) (verify.ClickID, error) {
			click, err := r.ids.Parse(id)
			return verify.ClickID{TimeMS: click.TimeMS, Link: uint32(click.Link), Node: click.Node, Sequence: click.Sequence}, err
		},
		Progress: func(line string) { t.Logf("%6.1f s  %s", time.Since(began).Seconds(), line) },
	})
	close(stop)
	live := <-peak
	if err != nil {
		t.Fatal(err)
	}
	if clicks := uint64(lines - (lines+19)/20); report.Clicks != clicks || report.Actions != uint64(lines)-clicks {
		t.Errorf("%d clicks and %d actions of %d lines", report.Clicks, report.Actions, lines)
	}
	for line, differences := range lineDifferences(report) {
		switch {
		case line == "events clicks" && differences == "lost 1, doubled 10, foreign 0, altered 0":
		case strings.HasPrefix(line, "clicks_hourly "), strings.HasPrefix(line, "link_clicks_daily "): // follows the clicks
		default:
			t.Errorf("%s: %s", line, differences)
		}
	}
	// A million keys of 12 bytes in a map take 100 MB and more. A part is a 256th
	// of the lines, of some 200 bytes each.
	if limit := uint64(64<<20 + 4*lines); live > limit {
		t.Errorf("%d MB are live at the peak, more than %d", live>>20, limit>>20)
	}
	t.Logf("%d lines in %.1f s; %d MB live at the peak, %d MB resident at most", lines, time.Since(began).Seconds(), live>>20, residentMax(t)>>20)
}

// watchMemory measures the largest live heap after any garbage collection.
func watchMemory(stop <-chan struct{}, peak chan<- uint64) {
	sample, highest := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, uint64(0)
	for {
		metrics.Read(sample)
		highest = max(highest, sample[0].Value.Uint64())
		select {
		case <-stop:
			peak <- highest
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// residentMax is the most memory that this process ever had, in bytes.
func residentMax(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes uint64
	if _, err := fmt.Sscanf(rest, "%d kB", &kilobytes); err != nil {
		t.Fatalf("read VmHWM: %v", err)
	}
	return kilobytes << 10
}
