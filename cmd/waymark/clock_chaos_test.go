//go:build chaos

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestClockJumpsBack: an hour back while the node runs, and again across a kill,
// gives no identity twice and none before another.
func TestClockJumpsBack(t *testing.T) {
	h, file := newHome(t), filepath.Join(t.TempDir(), "clock")
	set := func(offsetMS int64) {
		next := file + ".next"
		if err := os.WriteFile(next, []byte(strconv.FormatInt(offsetMS, 10)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *server {
		p := run(t, []string{"WAYMARK_CHAOS_CLOCK_FILE=" + file}, "up", "--data", h.data, "--spool-ring", h.ring, ringBytes,
			"--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--clickhouse-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0")
		found := p.match(readyBlock)
		return &server{
			t: t, process: p, home: h, public: found[1], admin: found[2], clickhouse: found[3], kafka: found[4],
			key: h.secret(t, "admin.key"), password: h.secret(t, "clickhouse.password"),
		}
	}
	const hour = 3_600_000
	set(hour)
	s := start()
	s.createLink(map[string]any{"code": "clock", "url": "https://shop.example/landing"})
	clicks := 0
	click := func() {
		for range 50 {
			if _, err := follow(s.public, "/clock"); err != nil {
				t.Fatal(err)
			}
			clicks++
		}
	}
	click()
	set(0)
	// The clock stands still now: nothing else puts a hundred clicks, one after
	// the other, into one millisecond.
	eventually(t, "the clock to be put back", func() error {
		click()
		s.waitRows("code = 'clock'", clicks)
		last := s.mustSQL("SELECT count() FROM waymark.events WHERE code = 'clock' AND time = (SELECT max(time) FROM waymark.events WHERE code = 'clock')")
		if n, err := strconv.Atoi(last[0][0]); err != nil || n < 100 {
			return errors.New("the last millisecond has " + last[0][0] + " clicks")
		}
		return nil
	})
	s.kill()
	s = start()
	click()
	s.waitRows("code = 'clock'", clicks)

	rows := s.mustSQL("SELECT node, toUnixTimestamp64Milli(time), sequence FROM waymark.events WHERE code = 'clock' ORDER BY ordinal")
	var last [2]int64
	for i, row := range rows {
		var now [2]int64
		for j := range now {
			var err error
			if now[j], err = strconv.ParseInt(row[j+1], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if row[0] != rows[0][0] || now[0] < last[0] || now[0] == last[0] && now[1] <= last[1] {
			t.Fatalf("click %d is %s (node, ms, sequence) after %v", i, strings.Join(row, " "), last)
		}
		last = now
	}
	s.interrupt()
}
