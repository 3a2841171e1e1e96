package clickhouse

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"waymark/clickhouse/engine"
)

// testReaders are users of the tests' engine that see one programme each of those that a world has.
func testReaders() []engine.User {
	var users []engine.User
	for i, program := range worldPrograms {
		prepare, filters := RowFilters(program)
		users = append(users, engine.User{
			Name: fmt.Sprint("reader", i), Password: testPassword, Rows: &engine.Rows{Prepare: prepare, Filters: filters},
		})
	}
	return users
}

// notOwn are views that say of a programme alone something else than of it among all. To its reader the home of a user is what
// the reader can know of it (whose actions without a programme stay hidden where it is another one), and nothing is final
// before the last hit that it sees; attribution, which takes long, and predictions, which are of this moment, are asked with
// parameters.
var notOwn = []string{"homes", "unsettled", "unsettled_paths", "unsettled_conversions", "arrivals", "attribution", "predictions"}

// ownCalls are views with parameters, asked of a reader and of the administrator alike.
var ownCalls = []string{
	"SELECT * FROM waymark.viral_between(from = '2026-01-01 00:00:00', to = '2027-01-01 00:00:00', by = 'campaign') WHERE program = %s",
	"SELECT * EXCEPT final_until FROM waymark.attribution_between(program = %s, from = '2026-01-01 00:00:00', to = '2027-01-01 00:00:00', by = 'channel', model = 'linear', half_life_days = 7, first_share = 0.4, last_share = 0.4, hits = 'valid')",
	"SELECT * FROM waymark.cohorts_between(program = %s, from = '2026-01-01 00:00:00', to = '2027-01-01 00:00:00', by = 'channel', granularity = 'week', tz = 'Europe/Berlin')",
	"SELECT * FROM waymark.leaderboard_between(program = %s, before = '2026-01-01 00:00:00', from = '2026-03-01 00:00:00', to = '2027-01-01 00:00:00')",
	"SELECT * EXCEPT final_until FROM waymark.paths_between(program = %s, from = '2026-01-01 00:00:00', to = '2027-01-01 00:00:00', by = '', hits = 'valid')",
	"SELECT * FROM waymark.ancestors(program = %s, party = 'u7', depth_max = 64)",
	"SELECT * FROM waymark.descendants(program = %s, party = 'u7', depth_max = 64)",
	"SELECT * FROM waymark.predict_partners(program = %s, until = '2026-04-04 00:00:00')",
	"SELECT * FROM waymark.predict_campaigns(program = %s, until = '2026-04-04 00:00:00')",
}

// A table with a column program has a filter by it, or is hidden on purpose.
func TestRowFiltersCoverTheSchema(t *testing.T) {
	db := openTestDB(t)
	_, filters := RowFilters("wedding")
	hidden := []string{"action_ids", "settled", "settled_journeys", "settled_paths"}
	for _, table := range programTables(t, db) {
		if _, ok := filters["waymark."+table]; !ok && !slices.Contains(hidden, table) {
			t.Errorf("a reader of one programme sees nothing of waymark.%s: give it a filter in RowFilters", table)
		}
	}
	for table := range filters {
		if n := number(t, db, "SELECT count() FROM system.tables WHERE concat(database, '.', name) = "+quoteText(table)); n != 1 {
			t.Errorf("there is no table %s", table)
		}
	}
}

// Every view says of a programme to its reader what it says of it to who sees everything.
func TestReadersOfOneProgram(t *testing.T) {
	db := openTestDB(t)
	blocks := newWorld(8, 400).blocks(4)
	insertAll(t, db, blocks[:3])
	asked := map[string][2]string{} // query of the reader, query of the administrator
	for _, view := range ask(t, db, "SELECT name FROM system.tables WHERE database = 'waymark' AND engine = 'View' AND NOT match(as_select, '\\{\\w+:')") {
		if !slices.Contains(notOwn, view) {
			asked[view] = [2]string{"SELECT * FROM waymark." + view, "SELECT * FROM waymark." + view + " WHERE program = %s"}
		}
	}
	for _, call := range ownCalls {
		asked[call] = [2]string{call, call}
	}
	compareReader(t, db, 0, asked)
	maps.DeleteFunc(asked, func(name string, _ [2]string) bool {
		return !slices.Contains([]string{"actions", "resolved", "resolved_journeys", "funnel"}, name)
	})
	compareReader(t, db, 2, asked) // its name has every sign that needs an escape
	settle(t, db)
	settle(t, db)
	insertAll(t, db, blocks[3:])
	if n := number(t, db, "SELECT count() FROM waymark.settled_journeys"); n == 0 {
		t.Fatal("nothing is settled")
	}
	compareReader(t, db, 0, asked)
}

// compareReader asks as the reader of one of worldPrograms, and as the administrator.
func compareReader(t *testing.T, db *DB, i int, asked map[string][2]string) {
	t.Helper()
	reader, err := Open("http://"+testAddress, fmt.Sprint("reader", i), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	program := worldPrograms[i]
	for name, queries := range asked {
		seen := answer(t, reader, queries[0], program)
		if want := answer(t, db, queries[1], program); !slices.Equal(seen, want) {
			t.Errorf("%s of %q: its reader gets %d rows, the administrator %d; the first that differ:\n%s", name, program, len(seen), len(want), firstDifference(seen, want))
		}
	}
	for _, table := range programTables(t, db) {
		if others := answer(t, reader, "SELECT DISTINCT program FROM waymark."+table+" WHERE program NOT IN ('', %s)", program); len(others) > 0 {
			t.Errorf("%s shows rows of %v to the reader of %q", table, others, program)
		}
	}
}

// programTables are the tables of the schema that have a column program.
func programTables(t *testing.T, db *DB) []string {
	t.Helper()
	return ask(t, db, "SELECT table FROM system.columns WHERE database = 'waymark' AND name = 'program' "+
		"AND table IN (SELECT name FROM system.tables WHERE database = 'waymark' AND engine LIKE '%MergeTree')")
}

// answer gives the rows of a query about a programme, as text and in order. Rates are sums of fractions, whose order
// decides their last digits.
func answer(t *testing.T, db *DB, query, program string) []string {
	t.Helper()
	if strings.Contains(query, "%s") {
		query = fmt.Sprintf(query, quoteText(program))
	}
	table, err := db.table(testContext(t), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	rows := make([]string, len(table.Rows))
	for i, row := range table.Rows {
		for j, cell := range row {
			if f, ok := cell.(float64); ok {
				row[j] = strconv.FormatFloat(f, 'g', 10, 64)
			}
		}
		rows[i] = fmt.Sprint(row...)
	}
	slices.Sort(rows)
	return rows
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("%.300q\n%.300q", a[min(i, len(a)):min(i+1, len(a))], b[min(i, len(b)):min(i+1, len(b))])
		}
	}
	return ""
}
