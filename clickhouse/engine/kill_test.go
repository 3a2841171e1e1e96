package engine

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is an engine in a child process.
type process struct {
	cmd    *exec.Cmd
	listen string
	stderr *strings.Builder
}

// freePort finds a port that nothing listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startProcess starts an engine on dir and waits until it answers.
func startProcess(t testing.TB, dir, listen string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), listen: listen, stderr: new(strings.Builder)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+dir, childListenEnv+"="+listen)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	await(t, "the engine answers", func() bool {
		response, err := http.Get("http://" + listen + "/ping")
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	})
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// query sends a statement and gives the answer, or an error whatever went wrong.
func (p *process) query(params, sql string) (string, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+p.listen+"/?"+params, strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	r.SetBasicAuth(admin.Name, admin.Password)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	return strings.TrimSpace(string(body)), err
}

func (p *process) must(t testing.TB, sql string) string {
	t.Helper()
	got, err := p.query("", sql)
	if err != nil {
		t.Fatalf("%s: %v\n%s", sql, err, p.stderr)
	}
	return got
}

func TestDataSurvivesRestart(t *testing.T) {
	needEngine(t)
	dir, listen := t.TempDir(), freePort(t)
	p := startProcess(t, dir, listen)
	p.must(t, "CREATE DATABASE waymark")
	p.must(t, "CREATE TABLE waymark.t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
	p.must(t, "CREATE VIEW waymark.v AS SELECT sum(n) AS total FROM waymark.t WHERE s = {s:String}")
	p.must(t, "INSERT INTO waymark.t SELECT number, 'x' FROM numbers(1000)")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("an orderly stop failed: %v\n%s", err, p.stderr)
	}
	p = startProcess(t, dir, listen)
	if got := p.must(t, "SELECT * FROM waymark.v(s = 'x')"); got != "499500" {
		t.Errorf("after the restart the sum is %s, want 499500", got)
	}
	p.must(t, "DROP TABLE waymark.t SYNC")
}

func TestStopCancelsWhatRuns(t *testing.T) {
	needEngine(t)
	p := startProcess(t, t.TempDir(), freePort(t))
	ended := make(chan error, 1)
	go func() {
		_, err := p.query("", "SELECT max(sipHash64(number)) FROM numbers(1000000000000)")
		ended <- err
	}()
	await(t, "the query runs", func() bool {
		return p.must(t, "SELECT count() FROM system.processes WHERE query LIKE '%sipHash%' AND query NOT LIKE '%processes%'") == "1"
	})
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("stopping with a statement at work: %v\n%s", err, p.stderr)
	}
	if err := <-ended; err == nil {
		t.Error("a statement that never ends was answered")
	}
}

func TestStartErrors(t *testing.T) {
	needEngine(t)
	dir := t.TempDir()
	p := startProcess(t, dir, freePort(t))
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, says string
		change     func(*Options)
	}{
		{"second on the same data", "another waymark is running on it", func(o *Options) { o.Path = dir }},
		{"port taken", "the port is taken", func(o *Options) { o.Listen = p.listen }},
		{"not a directory", "data directory", func(o *Options) { o.Path = file }},
		{"library missing", "no-such-library.so", func(o *Options) { o.Library = "no-such-library.so" }},
		{"nobody may use it", "has no users", func(o *Options) { o.Users = nil }},
	}
	for _, c := range cases {
		options := testOptions(t.TempDir(), "127.0.0.1:0")
		c.change(&options)
		err := Serve(t.Context(), options)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestKillDuringInserts kills the engine at random moments while a writer inserts numbered batches, each with a token, into a
// table with two materialised views. After each restart the writer sends again what had no answer, and sometimes what
// had one. In the end every batch must be in the table and in the views exactly once.
func TestKillDuringInserts(t *testing.T) {
	needEngine(t)
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("WAYMARK_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, listen := t.TempDir(), freePort(t)
	p := startProcess(t, dir, listen)
	window := " SETTINGS non_replicated_deduplication_window = 100000"
	p.must(t, "CREATE DATABASE w")
	p.must(t, "CREATE TABLE w.events (batch UInt64, n UInt64) ENGINE = MergeTree PARTITION BY batch % 2 ORDER BY n"+window)
	p.must(t, "CREATE TABLE w.by_batch (batch UInt64, rows UInt64) ENGINE = SummingMergeTree ORDER BY batch"+window)
	p.must(t, "CREATE TABLE w.total (k UInt8, users AggregateFunction(uniqExact, UInt64), rows SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY k"+window)
	p.must(t, "CREATE MATERIALIZED VIEW w.by_batch_mv TO w.by_batch AS SELECT batch, count() AS rows FROM w.events GROUP BY batch")
	p.must(t, "CREATE MATERIALIZED VIEW w.total_mv TO w.total AS SELECT 1 AS k, uniqExactState(n) AS users, count() AS rows FROM w.events")

	const rowsEach = 400
	next, replays := 0, 0
	for range rounds {
		dies := make(chan struct{})
		go func() {
			defer close(dies)
			time.Sleep(time.Duration(20+random.IntN(400)) * time.Millisecond)
			p.kill()
		}()
		for {
			if _, err := p.query(batchParams(next), batchSQL(next, rowsEach)); err != nil {
				break
			}
			next++
		}
		<-dies
		p = startProcess(t, dir, listen)
		// The unanswered batch, and a few answered ones, come again.
		for b := max(0, next-3); b <= next; b++ {
			if _, err := p.query(batchParams(b), batchSQL(b, rowsEach)); err != nil {
				t.Fatalf("replay of batch %d: %v", b, err)
			}
			replays++
		}
		next++
		want := fmt.Sprintf("%d\t%d", next*rowsEach, next*rowsEach)
		for _, sql := range []string{
			"SELECT count(), uniqExact(n) FROM w.events",
			"SELECT sum(rows), " + fmt.Sprint(rowsEach) + " * uniqExact(batch) FROM w.by_batch",
			"SELECT sum(rows), uniqExactMerge(users) FROM w.total",
		} {
			if got := p.must(t, sql); got != want {
				t.Fatalf("after %d batches and %d replays %s gives %s, want %s\n%s", next, replays, sql, got, want, p.stderr)
			}
		}
	}
	t.Logf("%d kills, %d batches, %d replays", rounds, next, replays)
}

// TestStartRepairs leaves what a kill leaves between the line of the deduplication log and the part that it names, and half a line
// behind it. The start must mend both, or the block that comes again is skipped, or its table does not load. Random kills
// meet that moment once in some twenty.
func TestStartRepairs(t *testing.T) {
	needEngine(t)
	dir, listen := t.TempDir(), freePort(t)
	p := startProcess(t, dir, listen)
	p.must(t, "CREATE DATABASE w")
	p.must(t, "CREATE TABLE w.events (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100")
	insert := func() {
		t.Helper()
		if _, err := p.query(batchParams(0), batchSQL(0, 400)); err != nil {
			t.Fatal(err)
		}
	}
	insert()
	insert()
	if got := p.must(t, "SELECT count() FROM w.events"); got != "400" {
		t.Fatalf("a block that came twice has %s rows, want 400", got)
	}
	p.kill()
	parts, err := filepath.Glob(filepath.Join(dir, "store", "*", "*", "all_1_1_0"))
	if err != nil || len(parts) != 1 {
		t.Fatalf("the part of the block: %v, %v", parts, err)
	}
	if err := os.RemoveAll(parts[0]); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(filepath.Dir(parts[0]), logDirName, "*"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("the deduplication log: %v, %v", logs, err)
	}
	line, err := os.ReadFile(logs[0])
	if err != nil || !strings.HasPrefix(string(line), "1\tall_1_1_0\t") {
		t.Fatalf("the deduplication log holds %q, %v", line, err)
	}
	if err := os.WriteFile(logs[0], append(line, "1\tall_2_2"...), 0o640); err != nil {
		t.Fatal(err)
	}
	p = startProcess(t, dir, listen)
	for range 2 {
		insert()
		if got := p.must(t, "SELECT count() FROM w.events"); got != "400" {
			t.Errorf("after the block came again there are %s rows, want 400", got)
		}
	}
}

func batchParams(b int) string {
	return url.Values{
		"insert_deduplication_token":                         {fmt.Sprint("batch-", b)},
		"deduplicate_blocks_in_dependent_materialized_views": {"1"},
		"async_insert": {"0"}, "max_insert_threads": {"1"}, "max_insert_block_size": {"1000000"},
	}.Encode()
}

func batchSQL(b, rows int) string {
	var sql strings.Builder
	sql.WriteString("INSERT INTO w.events FORMAT TSV\n")
	for n := range rows {
		fmt.Fprintf(&sql, "%d\t%d\n", b, b*rows+n)
	}
	return sql.String()
}
