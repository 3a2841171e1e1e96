package clickhouse

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is as much of a Grafana dashboard as the tests look at.
type dashboard struct {
	Title      string
	Templating struct{ List []dashboardVariable }
	Panels     []dashboardPanel
}

type dashboardVariable struct {
	Name, Type string
	Query      json.RawMessage // a text, or an object for Prometheus
}

type dashboardPanel struct {
	Title       string
	Targets     []struct{ RawSQL, QueryType string }
	Options     struct{ XField string }
	FieldConfig struct {
		Overrides []struct {
			Matcher struct{ ID, Options string }
		}
	}
}

// dashboardPeriod is the time range of Grafana in which the queries run: that of the worlds of the tests.
const dashboardFrom, dashboardTo = 1771977600, 1775520000 // 2026-02-25 and 2026-04-07

// expandMacros does with a query what Grafana and its ClickHouse data source do, as the latter's documentation says.
func expandMacros(t *testing.T, sql string, variables map[string]string) string {
	t.Helper()
	for _, macro := range []struct{ pattern, text string }{
		{`\$__timeFilter\((\w+)\)`, fmt.Sprintf("$1 >= toDateTime(%d) AND $1 <= toDateTime(%d)", dashboardFrom, dashboardTo)},
		{`\$__timeInterval\((\w+)\)`, "toStartOfInterval(toDateTime($1), INTERVAL 20 second)"},
		{`\$__fromTime\b`, fmt.Sprintf("toDateTime(%d)", dashboardFrom)},
		{`\$__toTime\b`, fmt.Sprintf("toDateTime(%d)", dashboardTo)},
		{`\$__interval_s\b`, "20"},
	} {
		sql = regexp.MustCompile(macro.pattern).ReplaceAllString(sql, macro.text)
	}
	for name, value := range variables {
		sql = strings.ReplaceAll(sql, "${"+name+":singlequote}", quoteText(value))
	}
	if strings.Contains(sql, "$") {
		t.Errorf("a macro or variable is left in %s", sql)
	}
	return sql
}

// Every query of every dashboard runs, for who sees everything and for a key of one programme, and gives the columns that
// its panel is set up for.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	db := openTestDB(t)
	insertAll(t, db, newWorld(5, 500).blocks(1))
	reader, err := Open("http://"+testAddress, "reader0", testPassword)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	empty := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board dashboard
		if err := json.Unmarshal(content, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		variables := map[string]string{"program": worldPrograms[0], "dimension": "channel", "model": "linear", "granularity": "week", "party": "u7"}
		for _, variable := range board.Templating.List {
			var sql string
			if variable.Type == "query" && json.Unmarshal(variable.Query, &sql) == nil {
				ask(t, db, sql)
			} else if _, known := variables[variable.Name]; !known && variable.Type != "query" {
				t.Errorf("%s: the test has no value for the variable %s", file, variable.Name)
			}
		}
		for _, panel := range board.Panels {
			for _, target := range panel.Targets {
				if target.RawSQL == "" {
					continue
				}
				sql := expandMacros(t, target.RawSQL, variables)
				answer, err := db.table(testContext(t), sql)
				if err != nil {
					t.Errorf("%s, %s: %v", board.Title, panel.Title, err)
					continue
				}
				if len(answer.Rows) == 0 {
					empty++
				}
				checkPanel(t, panel, target.QueryType, answer.Columns)
				if _, err := reader.table(testContext(t), sql); err != nil {
					t.Errorf("%s, %s, with a key of one programme: %v", board.Title, panel.Title, err)
				}
			}
		}
	}
	if empty > 0 {
		t.Errorf("%d queries find nothing in a world that has everything", empty)
	}
}

// checkPanel compares what a panel says of its columns with those that there are.
func checkPanel(t *testing.T, panel dashboardPanel, queryType string, columns []string) {
	t.Helper()
	named := []string{panel.Options.XField}
	for _, override := range panel.FieldConfig.Overrides {
		if override.Matcher.ID == "byName" {
			named = append(named, override.Matcher.Options)
		}
	}
	for _, name := range named {
		if name != "" && !slices.Contains(columns, name) {
			t.Errorf("%s is set up for a column %s, and has %v", panel.Title, name, columns)
		}
	}
	if queryType == "timeseries" && columns[0] != "time" {
		t.Errorf("%s is a time series and begins with %s", panel.Title, columns[0])
	}
}
