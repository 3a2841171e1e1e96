package engine

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// partner sees the rows of `mine` in the tables of TestRows, and those without an owner whose member it is told to be.
var partner = User{Name: "partner", Password: "of one programme", Rows: &Rows{
	Prepare: []string{"CREATE TEMPORARY TABLE members ENGINE = Memory AS SELECT person FROM rows.people WHERE home = 'mine'"},
	Filters: map[string]string{
		"rows.facts":  "owner = 'mine' OR owner = '' AND person IN (SELECT person FROM members)",
		"rows.people": "home = 'mine'",
		"rows.sums":   "owner = 'mine'",
	},
}}

var rowsSchema = []string{
	"DROP DATABASE IF EXISTS rows SYNC",
	"CREATE DATABASE rows",
	`CREATE TABLE rows.facts (owner LowCardinality(String), person String, label LowCardinality(String), n Int64, value Decimal(18, 6), time DateTime)
		ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (owner, person)`,
	"CREATE TABLE rows.people (person String, home LowCardinality(String)) ENGINE = ReplacingMergeTree ORDER BY person",
	"CREATE TABLE rows.sums (owner LowCardinality(String), n SimpleAggregateFunction(sum, Int64)) ENGINE = AggregatingMergeTree ORDER BY owner",
	"CREATE TABLE rows.unlisted (owner String) ENGINE = MergeTree ORDER BY owner",
	"CREATE MATERIALIZED VIEW rows.sums_view TO rows.sums AS SELECT owner, sum(n) AS n FROM rows.facts GROUP BY owner",
	"CREATE VIEW rows.labels AS SELECT owner, label, count() AS facts, sum(value) AS value FROM rows.facts GROUP BY owner, label",
	"CREATE VIEW rows.best AS SELECT * FROM rows.labels ORDER BY value DESC LIMIT 5",
	"CREATE VIEW rows.trusted DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT * FROM rows.facts",
	"CREATE VIEW rows.merged AS SELECT * FROM merge('rows', '^(facts|unlisted)$')",
	"CREATE TABLE rows.merging AS rows.facts ENGINE = Merge('rows', '^facts$')",
	"CREATE VIEW rows.of_label AS SELECT count() AS facts FROM rows.facts WHERE label = {label:String}",
}

var (
	myRows = []string{
		"INSERT INTO rows.people VALUES ('ada', 'mine'), ('ann', 'mine')",
		"INSERT INTO rows.facts VALUES ('mine', 'ada', 'spring', 1, 10, 1000000000), ('mine', 'ann', 'summer', 2, 20, 1000000001), ('', 'ada', 'spring', 3, 30, 1000000002)",
	}
	theirRows = []string{
		"INSERT INTO rows.people VALUES ('zoe', 'theirs')",
		"INSERT INTO rows.facts VALUES ('theirs', 'zoe', 'hidden', 1000, 5000, 1000000003), ('', 'zoe', 'hidden', 9000, 7000, 1000000004)",
		"INSERT INTO rows.unlisted VALUES ('theirs'), ('mine')",
	}
	// One part each, so that the rows of others share the dictionaries of one's own.
	mergeRows = []string{"OPTIMIZE TABLE rows.facts FINAL", "OPTIMIZE TABLE rows.people FINAL", "OPTIMIZE TABLE rows.sums FINAL"}
)

// rowQueries are asked before and after the rows of others come, and must be answered alike, errors and all: whatever differs
// tells of those rows.
var rowQueries = []string{
	"SELECT * FROM rows.facts ORDER BY n",
	"SELECT count(), min(n), max(n), uniqExact(owner), sum(value) FROM rows.facts",
	"SELECT count() FROM rows.facts",
	"SELECT max(time) FROM rows.facts",
	"SELECT max(person) FROM rows.facts",
	"SELECT * FROM rows.people FINAL ORDER BY person",
	"SELECT * FROM rows.sums", "SELECT * FROM rows.sums FINAL", "SELECT sum(n) FROM rows.sums_view",
	"SELECT * FROM rows.labels ORDER BY ALL", "SELECT * FROM rows.best ORDER BY ALL",
	"SELECT * FROM rows.of_label(label = 'hidden')", "SELECT count() FROM rows.trusted",
	"SELECT count() FROM rows.merged", "SELECT sum(n) FROM rows.merged", "SELECT owner FROM rows.merged ORDER BY owner", "SELECT count() FROM rows.merging",
	"SELECT count() FROM rows.unlisted", "SELECT * FROM rows.missing",
	"USE rows", "SELECT 1; SELECT 2",
	// subqueries of every kind
	"WITH x AS (SELECT * FROM rows.facts) SELECT count() FROM x",
	"WITH x AS MATERIALIZED (SELECT * FROM rows.facts) SELECT count() FROM x",
	"WITH members AS (SELECT 'zoe' AS person) SELECT count() FROM rows.facts WHERE owner = ''",
	"WITH 'mine' AS owner SELECT count() FROM rows.facts",
	"WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r, rows.facts WHERE owner = 'theirs' AND i < 3) SELECT count() FROM r",
	"SELECT (SELECT sum(n) FROM rows.facts)", "SELECT 1 IN (SELECT n FROM rows.facts), 1000 IN (SELECT n FROM rows.facts)",
	"SELECT 'theirs' IN rows.unlisted, 'mine' IN rows.unlisted", "SELECT count() FROM rows.facts WHERE owner IN rows.unlisted",
	"SELECT ('zoe', 'theirs') IN rows.people, ('ada', 'mine') IN rows.people", "SELECT count() FROM rows.facts WHERE (person, owner) IN rows.people",
	"SELECT EXISTS (SELECT 1 FROM rows.facts WHERE owner = 'theirs')",
	"SELECT sum(n) FROM (SELECT 'mine' AS owner, * EXCEPT owner FROM rows.facts)",
	"SELECT sum(n) FROM (SELECT * REPLACE ('mine' AS owner) FROM rows.facts)",
	"SELECT n FROM (SELECT n FROM rows.facts UNION ALL SELECT n FROM rows.sums) ORDER BY n",
	"SELECT n FROM (SELECT n FROM rows.facts EXCEPT SELECT 1) ORDER BY n", "(SELECT count() FROM rows.facts) INTERSECT (SELECT 5)",
	"SELECT count() FROM rows.facts AS a JOIN rows.facts AS b ON a.n != b.n", "SELECT count() FROM rows.facts AS a CROSS JOIN rows.people AS b",
	"SELECT count() FROM rows.people AS p LEFT ANTI JOIN rows.facts AS f ON f.person = p.person",
	"FROM rows.facts SELECT count()", "SELECT count() FROM `rows`.`facts`", `SELECT count() FROM "rows"."facts"`, "SELECT count() FROM rows.facts AS members",
	"/* x */ SELECT /* FROM rows.sums */ count() -- y\nFROM rows . facts",
	"SELECT n, sum(n) OVER (ORDER BY n) FROM rows.facts ORDER BY n", "SELECT n FROM rows.facts QUALIFY row_number() OVER (ORDER BY n DESC) = 1",
	"SELECT owner, sum(n) FROM rows.facts GROUP BY owner WITH TOTALS ORDER BY owner", "SELECT owner, sum(n) FROM rows.facts GROUP BY ROLLUP (owner) ORDER BY ALL",
	// what fails on the rows of others, before the filter or on what a dictionary keeps of them
	"SELECT count() FROM rows.facts WHERE throwIf(owner = 'theirs') = 0", "SELECT count() FROM rows.facts WHERE throwIf(person = 'zoe') = 0",
	"SELECT count() FROM rows.facts WHERE 10 != intDiv(100, n - 1000)", "SELECT count() FROM rows.facts WHERE toUInt8(person = 'zoe' ? 'x' : '1') = 1",
	"SELECT count() FROM rows.facts WHERE label > '' AND toUInt64(replaceAll(person, 'a', '1')) > 0",
	"SELECT max(intDiv(1, n - 1000)) FROM rows.facts", "SELECT count() FROM rows.facts GROUP BY intDiv(1, n - 1000) ORDER BY 1",
	"SELECT n FROM rows.facts ORDER BY intDiv(1, n - 1000), n", "SELECT count() FROM rows.facts ARRAY JOIN [intDiv(1, n - 1000)] AS x",
	"SELECT count() FROM rows.facts AS a INNER JOIN (SELECT 1 AS one) AS b ON b.one = intDiv(1, a.n - 1000) + 1",
	"SELECT count() FROM rows.facts AS a INNER JOIN rows.facts AS b ON a.person = b.person AND intDiv(1, b.n - 1000) = 0",
	"SELECT count() FROM rows.facts AS a LEFT JOIN rows.facts AS b ON a.person = b.person WHERE intDiv(1, b.n - 1000) = 0",
	"SELECT count() FROM rows.people AS a SEMI LEFT JOIN rows.facts AS b ON a.person = b.person AND intDiv(1, b.n - 1000) = 0",
	"SELECT count() FROM (SELECT *, intDiv(1, n - 1000) AS t FROM rows.facts) WHERE t = 0",
	"SELECT count() FROM rows.labels WHERE intDiv(1, facts - 2) < 9", "SELECT count() FROM rows.best WHERE throwIf(label = 'hidden') = 0",
	"SELECT sum(throwIf(label = 'hidden')) FROM rows.facts", "SELECT leftPad('x', (label = 'hidden') * 2000000000) FROM rows.facts",
	"SELECT base64Decode(label) FROM rows.facts", "SELECT tryBase64Decode(label) FROM rows.facts", "SELECT repeat('x', 2000000000 * (label = 'hidden')) FROM rows.facts",
	"SELECT toUInt64(label) FROM rows.facts", "SELECT intDiv(1, label != 'hidden') FROM rows.facts", "SELECT CAST(label, 'Enum8(\\'spring\\' = 1, \\'summer\\' = 2, \\'\\' = 3)') FROM rows.facts",
	"SELECT arrayMap(base64Decode, [label]) FROM rows.facts", "SELECT label FROM rows.facts ORDER BY ALL", "SELECT * APPLY(base64Decode) FROM (SELECT label FROM rows.facts)",
	"SELECT toDate(label) FROM rows.facts", "SELECT label::UInt8 FROM rows.facts", "SELECT toFixedString(label, 6) FROM rows.facts",
	// around the filter
	"SELECT * FROM rows.unlisted AS `rows.sums`", "SELECT * FROM rows.unlisted `rows.facts`", "SELECT count() FROM system.processes AS \"system.one\"", "SELECT * FROM rows.unlisted AS facts",
	"SELECT count() FROM rows.facts PREWHERE throwIf(person = 'zoe') = 0", "SELECT count() FROM rows.facts PREWHERE n > 0",
	"SELECT count() FROM rows.facts SETTINGS additional_table_filters = {}", "SELECT count() FROM (SELECT * FROM rows.facts SETTINGS additional_table_filters = {})",
	"SELECT count() FROM rows.facts FORMAT TSV SETTINGS additional_table_filters = {}", "SELECT count() FROM rows.facts settings/**/enable_analyzer = 0",
	"SET additional_table_filters = {}", "SELECT count() FROM {t:Identifier}", "SELECT count() FROM rows.{u:Identifier}",
	"SELECT count() FROM merge('rows', '.*')", "SELECT count() FROM merge(rows, 'facts')", "SELECT count() FROM view(SELECT * FROM rows.facts)",
	"SELECT * FROM loop(rows.facts) LIMIT 9", "SELECT count() FROM mergeTreeIndex('rows', 'facts')", "SELECT count() FROM `merge`('rows', '.*')",
	"SELECT count() FROM remote('127.0.0.1', rows.facts)", "SELECT count() FROM cluster('default', rows.facts)", "SELECT file('/etc/hostname')",
	"SELECT count() FROM file('/etc/passwd', LineAsString)", "SELECT count() FROM url('http://127.0.0.1:1/', LineAsString)", "SELECT count() FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
	"SELECT dictGet('rows.d', 'n', 'x')", "SELECT joinGet('rows.j', 'n', 'x')", "SELECT hasColumnInTable('rows', 'facts', 'n')",
	"SELECT getSetting('additional_table_filters')", "SELECT 1 INTO OUTFILE '/tmp/never'", "INSERT INTO rows.facts (n) VALUES (1)", "DROP TABLE rows.facts",
	"CREATE VIEW rows.v AS SELECT 1", "KILL QUERY WHERE 1", "EXPLAIN ESTIMATE SELECT * FROM rows.facts", "EXPLAIN indexes = 1 SELECT * FROM rows.facts", "SELECT * FROM rows.facts SAMPLE 0.1",
	// what the engine tells of its tables
	"SELECT count() FROM system.parts", "SELECT total_rows FROM system.tables WHERE name = 'facts'", "SELECT count() FROM system.processes", "SELECT count() FROM system.columns",
	"SELECT data_compressed_bytes FROM system.columns WHERE table = 'facts'", "SELECT count() FROM information_schema.tables", "SELECT count() FROM information_schema.columns",
	"SHOW TABLES FROM rows", "SHOW PROCESSLIST", "DESCRIBE TABLE rows.labels", "EXISTS TABLE rows.facts", "SHOW CREATE VIEW rows.labels",
}

func TestRows(t *testing.T) {
	for _, sql := range slices.Concat(rowsSchema, myRows, mergeRows) {
		must(t, sql)
	}
	t.Cleanup(func() { must(t, "DROP DATABASE rows SYNC") })
	answers := func() map[string]answer {
		all := make(map[string]answer)
		for _, sql := range rowQueries {
			for _, params := range []string{"param_t=rows.facts&param_u=facts", "param_t=facts&param_u=facts&database=rows&readonly=0"} {
				all[sql+" with "+params] = ask(t, partner, params, sql)
			}
		}
		return all
	}
	before := answers()
	if got := before[rowQueries[0]+" with param_t=rows.facts&param_u=facts"].body; strings.Count(got, "\n") != 3 {
		t.Fatalf("the reader of its own rows sees %q", got)
	}
	for _, sql := range slices.Concat(theirRows, mergeRows) {
		must(t, sql)
	}
	for sql, after := range answers() {
		if after.status != before[sql].status || steady(after.body) != steady(before[sql].body) {
			t.Errorf("the rows of others show in\n%s\nbefore: %d %.300s\nafter:  %d %.300s", sql, before[sql].status, before[sql].body, after.status, after.body)
		}
		if strings.Contains(after.body, "zoe") && !strings.Contains(sql, "zoe") || strings.Contains(after.body, "hidden") && !strings.Contains(sql, "hidden") {
			t.Errorf("%s tells %.300s", sql, after.body)
		}
	}
	if got := must(t, "SELECT count(), sum(n) FROM rows.facts"); got != "5\t10006" {
		t.Errorf("the administrator sees %s", got)
	}
}

// The filter comes first whatever functions there are: throwIf, which a user of some rows may not call, is never run on a row
// that it drops.
func TestFiltersFirst(t *testing.T) {
	for _, sql := range slices.Concat(rowsSchema, myRows, theirRows, mergeRows) {
		must(t, sql)
	}
	params := url.Values{"additional_table_filters": {"{'rows.facts': 'owner = \\'mine\\'', 'rows.people': 'home = \\'mine\\''}"}}
	for _, pair := range strings.Split(filtersFirst, ", ") {
		name, value, _ := strings.Cut(pair, " = ")
		params.Set(name, value)
	}
	for _, sql := range []string{
		"SELECT count() FROM rows.facts WHERE throwIf(person = 'zoe') = 0",
		"SELECT count() FROM rows.facts WHERE throwIf(n > 999) = 0 AND owner > ''",
		"SELECT count() FROM rows.facts WHERE owner IN ('mine', 'theirs') AND NOT throwIf(person = 'zoe') AND n > 0",
		"SELECT count() FROM (SELECT *, throwIf(person = 'zoe') AS t FROM rows.facts) WHERE t = 0",
		"SELECT person, count() FROM rows.facts GROUP BY person HAVING throwIf(person = 'zoe') = 0",
		"SELECT max(throwIf(person = 'zoe')) FROM rows.facts",
		"SELECT count() FROM rows.people FINAL WHERE throwIf(person = 'zoe') = 0",
		"SELECT count() FROM rows.facts AS a INNER JOIN (SELECT 1 AS one) AS b ON b.one = throwIf(a.person = 'zoe') + 1",
		"SELECT count() FROM rows.facts AS a INNER JOIN rows.facts AS b ON a.person = b.person AND throwIf(b.person = 'zoe') = 0",
		"SELECT count() FROM rows.facts AS a LEFT JOIN rows.people AS b ON a.person = b.person WHERE throwIf(b.person = 'zoe') = 0",
		"SELECT count() FROM rows.facts AS a ARRAY JOIN [throwIf(person = 'zoe')] AS x",
		"SELECT person FROM rows.facts ORDER BY throwIf(person = 'zoe') LIMIT 1",
	} {
		if a := ask(t, admin, params.Encode(), sql); a.status != http.StatusOK || a.err != nil {
			t.Errorf("%s: %s", sql, a.body)
		}
	}
}

// steady drops the tag of an exception that comes behind rows, which is another each time.
func steady(body string) string {
	_, frame, found := strings.Cut(body, "__exception__\r\n")
	if !found {
		return body
	}
	tag, _, _ := strings.Cut(frame, "\r\n")
	return strings.ReplaceAll(body, tag, "")
}

// What is refused is refused for what it is, and not because it happens to fail.
func TestRowsRefuse(t *testing.T) {
	for _, sql := range rowsSchema {
		must(t, sql)
	}
	for _, sql := range []string{
		"SELECT 1 SETTINGS max_threads = 1", "SELECT throwIf(1)", "SELECT arrayMap(base64Decode, ['x'])", "EXPLAIN SELECT 1", "SELECT * FROM merge('rows', '.*')",
		"SELECT {t:Identifier}", "SELECT getSetting('max_threads')", "SELECT number FROM numbers(1) PREWHERE 1", "SELECT * FROM `.inner.x`", "SELECT * FROM numbers(1) AS `a.b`", "SELECT hostName()",
	} {
		if a := ask(t, partner, "param_t=x", sql); a.header.Get("X-ClickHouse-Exception-Code") != "497" || a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", sql, a.status, a.body)
		}
	}
	for _, setting := range []string{
		"additional_table_filters={}", "enable_analyzer=0", "allow_experimental_analyzer=0", "query_plan_enable_optimizations=1", "optimize_move_to_prewhere=1", "max_rows_to_read=1",
		"enable_join_runtime_filters=1", "use_query_condition_cache=1", "allow_introspection_functions=1", "profile=default", "limit=1",
	} {
		if a := ask(t, partner, setting, "SELECT 1"); a.header.Get("X-ClickHouse-Exception-Code") != "497" {
			t.Errorf("%s: %d %s", setting, a.status, a.body)
		}
	}
	for _, sql := range []string{
		"SELECT 'SETTINGS', 1 -- merge(", "SELECT number FROM numbers(2)", "SELECT sumIf(number, number > 1), quantileExact(0.5)(number) FROM numbers(4)", "SELECT toStartOfHour(now()), date_trunc('month', now())",
		"SELECT CASE WHEN 1 THEN 'a' ELSE 'b' END, EXTRACT(DAY FROM today()), INTERVAL 1 DAY, CAST(1 AS String), 1::UInt8, DATE '2026-01-01'", "SELECT 1 FORMAT JSON",
		"SELECT [1, 2][1], (1, 2).2, map('a', 1)['a'], 'a' || 'b', 5 % 3, NOT 1, 1 BETWEEN 0 AND 2, 'ab' LIKE 'a%', arrayMap(x -> x + 1, [1])",
	} {
		if a := ask(t, partner, "max_execution_time=9&output_format_json_quote_64bit_integers=0", sql); a.status != http.StatusOK {
			t.Errorf("%s: %s", sql, a.body)
		}
	}
	a := send(t, http.MethodPost, "/?query=SELECT+1&t_structure=n+UInt8", strings.NewReader("1"), func(r *http.Request) { r.SetBasicAuth(partner.Name, partner.Password) })
	if a.header.Get("X-ClickHouse-Exception-Code") != "497" {
		t.Errorf("an external table: %d %s", a.status, a.body)
	}
}

// Who is no user of the engine's own is asked for; who cannot be told now gets 503, and never in.
func TestOthers(t *testing.T) {
	others := func(_ context.Context, name, password string) (User, bool, error) {
		switch password {
		case "down":
			return User{}, false, errors.New("nobody answers")
		case "known":
			return partner, name == "reader", nil
		}
		return User{}, false, nil
	}
	for _, c := range []struct {
		name, password string
		code           int
	}{
		{admin.Name, admin.Password, 0}, {"reader", "known", 0}, {"other", "known", codeAuthenticationFailed},
		{"reader", "wrong", codeAuthenticationFailed}, {"reader", "", codeAuthenticationFailed}, {"reader", "down", codeCannotSchedule},
	} {
		r, err := http.NewRequest(http.MethodGet, "http://engine/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(c.name, c.password)
		user, err := authenticate(t.Context(), []User{admin}, others, r)
		switch {
		case c.code == 0 && err != nil, c.code != 0 && (err == nil || asException(err).Code != c.code):
			t.Errorf("%s with %s: %v, want code %d", c.name, c.password, err, c.code)
		case user.Rows != nil && !user.ReadOnly:
			t.Errorf("%s sees some rows only and may write", c.name)
		}
	}
}
