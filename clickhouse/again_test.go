package clickhouse

import (
	"slices"
	"testing"
)

// What analysts read is the same after every block has been sent once more, as
// ingest does after a crash, after actions and paths are settled, and after all
// parts are merged. That it is right to begin with, the recounts say.
func TestViewsStayTheSame(t *testing.T) {
	questions := map[string]string{
		"attribution":    "SELECT program, model, dimension, key, round(conversions, 6), value FROM waymark.attribution",
		"paths":          "SELECT program, party, conversions, arraySort(visitors), times, channels FROM waymark.paths",
		"referral_edges": "SELECT * FROM waymark.referral_edges",
		"generations":    "SELECT * FROM waymark.generations",
		"descendants":    "SELECT * FROM waymark.descendants(program = 'wedding', party = 'u7', depth_max = 9)",
		"leaderboard":    "SELECT * FROM waymark.leaderboard",
		"cohorts":        "SELECT * FROM waymark.cohorts",
		"new_york":       "SELECT * FROM waymark.cohorts_between(program = '', from = '2026-02-27 23:30:00', to = '2026-04-01 00:30:00', by = 'channel', granularity = 'month', tz = 'America/New_York')",
	}
	world := tangled(31)
	db := openTestDB(t)
	blocks := world.blocks(6)
	insertAll(t, db, blocks)
	answers := func() map[string][]string {
		all := map[string][]string{}
		for name, sql := range questions {
			all[name] = ask(t, db, sql)
			slices.Sort(all[name])
		}
		return all
	}
	first := answers()
	for name, rows := range first {
		if len(rows) == 0 {
			t.Errorf("%s is empty, which proves nothing", name)
		}
	}
	for _, again := range []struct {
		what string
		do   func()
	}{
		{"a replay of every block", func() { insertAll(t, db, blocks) }},
		{"settling", func() { settle(t, db); settle(t, db) }},
		{"a replay after settling", func() { insertAll(t, db, blocks) }},
		{"merging", func() {
			for table := range viewTargets {
				exec(t, db, "OPTIMIZE TABLE waymark."+table+" FINAL")
			}
		}},
	} {
		again.do()
		for name, rows := range answers() {
			if !slices.Equal(rows, first[name]) {
				t.Errorf("%s differs after %s: %d rows, first %d", name, again.what, len(rows), len(first[name]))
			}
		}
	}
}
