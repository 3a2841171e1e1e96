package engine

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

func TestHealthChecks(t *testing.T) {
	for path, status := range map[string]int{"/ping": 200, "/replicas_status": 200, "/": 200, "/nothing": 404} {
		a := send(t, http.MethodGet, path, nil, nil)
		if a.status != status || status == 200 && a.body != "Ok.\n" {
			t.Errorf("%s: %d %q, want %d", path, a.status, a.body, status)
		}
	}
	if a := send(t, http.MethodPut, "/", nil, nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", a.status)
	}
}

func TestWhoMayAsk(t *testing.T) {
	query := "/?query=" + url.QueryEscape("SELECT 1")
	basic := func(name, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	headers := func(name, password string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header["X-ClickHouse-User"], r.Header["X-ClickHouse-Key"] = []string{name}, []string{password}
		}
	}
	cases := []struct {
		name   string
		path   string
		with   func(*http.Request)
		status int
	}{
		{"basic", query, basic(admin.Name, admin.Password), 200},
		{"headers", query, headers(admin.Name, admin.Password), 200},
		{"parameters", query + "&user=waymark&password=" + url.QueryEscape(admin.Password), nil, 200},
		{"nobody", query, nil, 403},
		{"no password", query, basic(admin.Name, ""), 403},
		{"wrong password", query, basic(admin.Name, "x"), 403},
		{"another's password", query, basic(admin.Name, reader.Password), 403},
		{"unknown user", query, basic("x", admin.Password), 403},
		{"wrong header beside right parameters", query + "&user=waymark&password=" + url.QueryEscape(admin.Password), headers("waymark", "x"), 403},
	}
	for _, c := range cases {
		a := send(t, http.MethodGet, c.path, nil, func(r *http.Request) {
			if c.with != nil {
				c.with(r)
			}
		})
		if a.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.status)
		}
		if c.status == 403 && a.header.Get("X-ClickHouse-Exception-Code") != "516" {
			t.Errorf("%s: exception code %s, want 516", c.name, a.header.Get("X-ClickHouse-Exception-Code"))
		}
	}
}

func TestFormatsAndHeaders(t *testing.T) {
	cases := []struct{ params, sql, kind, body string }{
		{"", "SELECT number FROM numbers(2)", "text/tab-separated-values; charset=UTF-8", "0\n1\n"},
		{"default_format=CSV", "SELECT number, 'a' FROM numbers(2)", "text/csv; charset=UTF-8; header=absent", "0,\"a\"\n1,\"a\"\n"},
		{"default_format=CSV", "SELECT 1 AS n FORMAT JSONEachRow", "application/x-ndjson; charset=UTF-8", "{\"n\":1}\n"},
		{"", "SELECT 1 AS n FORMAT TSVWithNames SETTINGS max_threads = 1;", "text/tab-separated-values; charset=UTF-8", "n\n1\n"},
		{"", "SELECT 7 AS n FORMAT Values", "text/plain; charset=UTF-8", "(7)"},
		{"", "SELECT number % 2 AS k, count() FROM numbers(3) GROUP BY k WITH TOTALS ORDER BY k", "text/tab-separated-values; charset=UTF-8", "0\t2\n1\t1\n\n0\t3\n"},
		{"param_n=4", "SELECT {n:UInt8} + 1", "text/tab-separated-values; charset=UTF-8", "5\n"},
		{"max_threads=3", "SELECT getSetting('max_threads')", "text/tab-separated-values; charset=UTF-8", "3\n"},
		{"database=system", "SELECT currentDatabase()", "text/tab-separated-values; charset=UTF-8", "system\n"},
		{"query=SELECT", "41 + 1", "text/tab-separated-values; charset=UTF-8", "42\n"},
		{"wait_end_of_query=1", "SELECT 1 -- comment", "text/tab-separated-values; charset=UTF-8", "1\n"},
		{"", "SELECT number FROM numbers(200000) WHERE number % 100000 = 0 ORDER BY number FORMAT TSVWithNames SETTINGS max_block_size = 1000", "text/tab-separated-values; charset=UTF-8", "number\n0\n100000\n"},
	}
	for _, c := range cases {
		a := ask(t, admin, c.params, c.sql)
		if a.status != 200 || a.body != c.body || a.header.Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %d %q as %q, want %q as %q", c.params, c.sql, a.status, a.body, a.header.Get("Content-Type"), c.body, c.kind)
		}
	}
	a := ask(t, admin, "query_id=mine", "SELECT 1 FORMAT JSONCompact")
	for name, want := range map[string]string{"X-ClickHouse-Query-Id": "mine", "X-ClickHouse-Format": "JSONCompact"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X-ClickHouse-Timezone", "X-ClickHouse-Server-Display-Name", "X-ClickHouse-Summary"} {
		if a.header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestGetIsReadOnly(t *testing.T) {
	auth := func(r *http.Request) { r.SetBasicAuth(admin.Name, admin.Password) }
	a := send(t, http.MethodGet, "/?query="+url.QueryEscape("CREATE TABLE by_get (n UInt8) ENGINE = Memory"), nil, auth)
	if a.header.Get("X-ClickHouse-Exception-Code") != "164" {
		t.Errorf("GET created a table: %d %s", a.status, a.body)
	}
	a = send(t, http.MethodGet, "/?max_threads=2&query="+url.QueryEscape("SELECT getSetting('max_threads')"), nil, auth)
	if a.body != "2\n" {
		t.Errorf("GET with a setting: %d %s", a.status, a.body)
	}
}

func TestReadOnlyGuard(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("top,secret\n1,2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "CREATE TABLE "+table(t)+" (file String, url String) ENGINE = Memory")
	for _, sql := range []string{
		"SELECT file('" + secret + "')",
		"SELECT FILE('" + secret + "')",
		"SELECT /* x */ `file` -- y\n('" + secret + "')",
		"SELECT `\\x66ile`('" + secret + "')",
		"SELECT * APPLY(file) FROM (SELECT '" + secret + "')",
		"SELECT * APPLY file FROM (SELECT '" + secret + "')",
		"SELECT arrayMap(file, ['" + secret + "'])",
		"SELECT * FROM view(SELECT file('" + secret + "'))",
		"EXPLAIN SELECT file('" + secret + "')",
		"SELECT * FROM file('" + secret + "')",
		"SELECT * FROM `" + secret + "`",
		"DESCRIBE file('" + secret + "')",
		"DESC TABLE url('http://127.0.0.1:1/x.csv')",
		"DESCRIBE `" + secret + "`",
		"SELECT * FROM loop(file('" + secret + "'))",
		"SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString')",
		"SELECT * FROM remote('127.0.0.1:1', system.one)",
		"SELECT 1 INTO OUTFILE '/tmp/never'",
		"SELECT 1 SETTINGS readonly = 0",
		"INSERT INTO " + table(t) + " VALUES ('x', 'y')",
		"DROP TABLE " + table(t),
		"KILL QUERY WHERE 1",
		"SYSTEM FLUSH LOGS",
		"SET readonly = 0",
		"SELECT 1; DROP TABLE " + table(t),
	} {
		for _, params := range []string{"", "readonly=0", "implicit_select=1&allow_ddl=1"} {
			if a := ask(t, reader, params, sql); a.status == 200 || strings.Contains(a.body, "top") {
				t.Errorf("a read-only user was let through with %s: %d %s", sql, a.status, a.body)
			}
		}
	}
	for _, sql := range []string{
		"SELECT url FROM " + table(t), "SHOW TABLES", "DESCRIBE TABLE " + table(t), "EXPLAIN SELECT 1", "WITH 1 AS x SELECT x",
		"(SELECT 1)", "EXISTS TABLE " + table(t), "SELECT * FROM numbers(1)", "DESCRIBE (SELECT 1)",
	} {
		if a := ask(t, reader, "", sql); a.status != 200 {
			t.Errorf("a read-only user was refused %s: %s", sql, a.body)
		}
	}
}

func TestRefusedForEverybody(t *testing.T) {
	outfile := filepath.Join(t.TempDir(), "out")
	must(t, "CREATE TABLE "+table(t)+" (n UInt8) ENGINE = MergeTree ORDER BY n")
	for sql, code := range map[string]string{
		"SELECT 1 INTO OUTFILE '" + outfile + "'":                                    "358",
		"SELECT 1 INTO/**/OUTFILE '" + outfile + "' FORMAT CSV":                      "358",
		"INSERT INTO " + table(t) + " FROM INFILE '/etc/passwd' FORMAT LineAsString": "344",
		"SYSTEM SHUTDOWN":              "344",
		"system /**/ kill":             "344",
		"COPY t FROM 'x'":              "344",
		"exit":                         "62",
		"quit;":                        "62",
		"!ls":                          "62",
		"":                             "62",
		";":                            "62",
		"-- nothing":                   "62",
		"SELECT 1; SELECT 2":           "62",
		"SELECT 'unclosed":             "62",
		"SELECT /* unclosed":           "62",
		"SELECT 1 \x00 ":               "62",
		"INSERT INTO x":                "62",
		"INSERT INTO t FORMAT":         "62",
		"INSERT INTO t FORMAT TSV;\n1": "62",
	} {
		if a := ask(t, admin, "", sql); a.header.Get("X-ClickHouse-Exception-Code") != code {
			t.Errorf("%q: %d %s, want code %s", sql, a.status, a.body, code)
		}
	}
	if _, err := os.Stat(outfile); err == nil {
		t.Error("a file was written")
	}
}

func TestInserts(t *testing.T) {
	create := func(t *testing.T) string {
		name := table(t)
		must(t, "CREATE TABLE "+name+" (n UInt64, s String DEFAULT 'none') ENGINE = MergeTree ORDER BY n")
		return name
	}
	cases := []struct{ name, query, body, rows string }{
		{"values", "", "INSERT INTO % VALUES (1, 'a;\n--'), (1 + 1, concat('b', 'c'));", "1\ta;\\n--\n2\tbc"},
		{"values with parameter", "param_s=x", "INSERT INTO % VALUES (1, {s:String})", "1\tx"},
		{"columns", "", "INSERT INTO TABLE % (n) FORMAT CSV\n1\n2\n", "1\tnone\n2\tnone"},
		{"query in the URL", "query=" + url.QueryEscape("INSERT INTO % FORMAT TabSeparated"), "1\tx\n", "1\tx"},
		{"data looks like SQL", "", "INSERT INTO % FORMAT TSV\n1\tSELECT 1; DROP TABLE % FORMAT Null\n", "1\tSELECT 1; DROP TABLE % FORMAT Null"},
		{"settings clause", "", "INSERT INTO % SETTINGS max_insert_threads = 1 FORMAT JSONEachRow {\"n\": 5}", "5\tnone"},
		{"select", "", "INSERT INTO % SELECT number, 'FORMAT CSV' FROM numbers(2)", "0\tFORMAT CSV\n1\tFORMAT CSV"},
		{"input()", "", "INSERT INTO % SELECT a * 10, b FROM input('a UInt8, b String') FORMAT CSV\n1,x\n2,y\n", "10\tx\n20\ty"},
		{"carriage return", "", "INSERT INTO % FORMAT CSV\r\n7,q\r\n", "7\tq"},
		{"empty", "", "INSERT INTO % FORMAT TSV\n", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			name := create(t)
			fill := func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "%25", name), "%", name) }
			query := c.query
			if strings.HasPrefix(query, "query=") {
				query = strings.ReplaceAll(query, "%25", name)
			}
			if a := ask(t, admin, query, fill(c.body)); a.status != 200 {
				t.Fatal(a.status, a.body)
			}
			if got := must(t, "SELECT * FROM "+name+" ORDER BY n"); got != fill(c.rows) {
				t.Errorf("the table holds %q, want %q", got, fill(c.rows))
			}
		})
	}
}

func TestInsertSummary(t *testing.T) {
	must(t, "CREATE TABLE "+table(t)+" (n UInt64) ENGINE = MergeTree ORDER BY n")
	a := ask(t, admin, "", "INSERT INTO "+table(t)+" VALUES (1), (2), (3)")
	if got := a.header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"written_rows":"3","written_bytes":"24"`) {
		t.Error(got)
	}
}

// The settings that make an insert idempotent arrive as parameters of the URL.
func TestInsertDeduplication(t *testing.T) {
	events, hourly := table(t)+"_events", table(t)+"_hourly"
	window := " SETTINGS non_replicated_deduplication_window = 100"
	must(t, "CREATE TABLE "+events+" (n UInt64) ENGINE = MergeTree ORDER BY n"+window)
	must(t, "CREATE TABLE "+hourly+" (k UInt8, c UInt64) ENGINE = SummingMergeTree ORDER BY k"+window)
	must(t, "CREATE MATERIALIZED VIEW "+hourly+"_mv TO "+hourly+" AS SELECT 1 AS k, count() AS c FROM "+events)
	for _, token := range []string{"a", "a", "b", "a", "b"} {
		a := ask(t, admin, "insert_deduplication_token="+token+"&deduplicate_blocks_in_dependent_materialized_views=1&max_insert_threads=1",
			"INSERT INTO "+events+" VALUES (1), (2)")
		if a.status != 200 {
			t.Fatal(a.body)
		}
	}
	if got := must(t, "SELECT (SELECT count() FROM "+events+"), (SELECT sum(c) FROM "+hourly+")"); got != "4\t4" {
		t.Errorf("two tokens of two rows each made %q rows in the table and its view, want 4 and 4", got)
	}
}

func TestCompressedRequests(t *testing.T) {
	must(t, "CREATE TABLE "+table(t)+" (n UInt64) ENGINE = MergeTree ORDER BY n")
	insert := "INSERT INTO " + table(t) + " FORMAT TSV\n"
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	io.WriteString(w, insert+"1\n")
	w.Close()
	auth := func(encoding string) func(*http.Request) {
		return func(r *http.Request) {
			r.SetBasicAuth(admin.Name, admin.Password)
			r.Header.Set("Content-Encoding", encoding)
		}
	}
	if a := send(t, http.MethodPost, "/", bytes.NewReader(zipped.Bytes()), auth("gzip")); a.status != 200 {
		t.Error("gzip:", a.body)
	}
	frames := append(packed(t, compress.LZ4, []byte(insert+"2\n")), packed(t, compress.ZSTD, []byte("3\n"))...)
	if a := send(t, http.MethodPost, "/?decompress=1", bytes.NewReader(frames), auth("")); a.status != 200 {
		t.Error("frames:", a.body)
	}
	// What breaks off inserts nothing, although whole rows had arrived.
	if a := send(t, http.MethodPost, "/", bytes.NewReader(zipped.Bytes()[:zipped.Len()-4]), auth("gzip")); a.header.Get("X-ClickHouse-Exception-Code") != "33" {
		t.Error("half of a gzip stream:", a.status, a.body)
	}
	if got := must(t, "SELECT groupArray(n) FROM (SELECT n FROM "+table(t)+" ORDER BY n)"); got != "[1,2,3]" {
		t.Errorf("the table holds %s, want [1,2,3]", got)
	}

	a := send(t, http.MethodPost, "/?compress=1", strings.NewReader("SELECT 'waymark'"), auth(""))
	if got, err := io.ReadAll(&frameReader{src: strings.NewReader(a.body)}); err != nil || string(got) != "waymark\n" {
		t.Errorf("compress=1: %q, %v", got, err)
	}
}

// rawPost writes a request with a body that is shorter than promised and hangs up.
func rawPost(t *testing.T, query, body string, promised int) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: %s\r\nX-ClickHouse-Key: %s\r\nContent-Length: %d\r\n\r\n%s",
		query, admin.Name, admin.Password, promised, body)
}

func TestAbortedUploadInsertsNothing(t *testing.T) {
	needEngine(t)
	must(t, "CREATE TABLE "+table(t)+" (n UInt64) ENGINE = MergeTree ORDER BY n")
	body := "INSERT INTO " + table(t) + " FORMAT TSV\n" + strings.Repeat("1\n", 50_000)
	for range 5 {
		rawPost(t, "", body, len(body)+2)
	}
	// Requests that come later find the aborted ones over: their places are free again.
	for range 20 {
		if got := must(t, "SELECT count() FROM "+table(t)); got != "0" {
			t.Fatalf("an aborted upload left %s rows", got)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLargeUploadGoesToDisk(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 9, 10, 11, 5000} {
		text := strings.Repeat("x", size)
		u, err := receive(strings.NewReader(text), dir, 10)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(u.path())
		if err != nil || string(got) != text || u.bytes != int64(size) {
			t.Errorf("%d bytes: %d came back of %d counted, %v", size, len(got), u.bytes, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%d bytes: left %v", size, left)
		}
		u.close()
	}
}

func TestLongStatement(t *testing.T) {
	list := strings.Repeat("1,", 100_000) + "1"
	if a := ask(t, admin, "max_query_size=1000000&max_ast_elements=1000000", "SELECT length(["+list+"])"); a.body != "100001\n" {
		t.Errorf("%.300s", a.body)
	}
	if a := ask(t, admin, "", "SELECT '"+strings.Repeat("x", statementBytesMax)+"'"); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %.300s", a.status, a.body)
	}
}

func TestExceptionFrame(t *testing.T) {
	a := ask(t, admin, "", "SELECT throwIf(number = 300000) FROM numbers(1000000) SETTINGS max_threads = 1")
	tag := a.header.Get("X-ClickHouse-Exception-Tag")
	_, frame, found := strings.Cut(a.body, "\r\n__exception__\r\n"+tag+"\r\n")
	message, found2 := strings.CutSuffix(frame, " "+tag+"\r\n__exception__\r\n")
	at := strings.LastIndexByte(message, '\n') + 1
	if !found || !found2 || len(tag) != 16 || !strings.HasPrefix(message, "Code: 395. DB::Exception: ") || message[at:] != fmt.Sprint(at) {
		t.Errorf("tag %q, frame %q", tag, frame)
	}
	if a.err == nil {
		t.Error("the answer looks complete")
	}
	if a := ask(t, admin, "wait_end_of_query=1", "SELECT throwIf(number = 300000) FROM numbers(1000000)"); a.status != 500 {
		t.Errorf("wait_end_of_query: status %d, want 500", a.status)
	}
}

// A full server refuses at once what it cannot even queue, and answers again when there is room.
func TestTooManyRequests(t *testing.T) {
	needEngine(t)
	options := Options{QueriesMax: 1, QueueMax: 1, QueueWait: time.Millisecond, Users: []User{admin}}.withDefaults()
	s := newServer(options, &storage{}, "")
	s.running <- struct{}{}
	if err := s.wait(t.Context()); asException(err).Code != codeTooManyQueries {
		t.Errorf("waited beyond the time: %v", err)
	}
	s.admitted <- struct{}{}
	s.admitted <- struct{}{}
	err := s.query(nil, nil)
	if e := asException(err); e.Code != codeTooManyQueries || httpStatus(e.Code) != http.StatusServiceUnavailable {
		t.Errorf("admitted beyond the limit: %v", err)
	}
}

// The library's signal handlers would turn the first nil dereference of Go code into the end of the process.
func TestNilDereferenceIsStillAPanic(t *testing.T) {
	needEngine(t)
	must(t, "SELECT 1")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var nothing *Options
	t.Log(nothing.Path)
}
