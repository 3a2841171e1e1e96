package fault

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// engineProcess is the embedded ClickHouse, seen from outside: the program with
// the command `engine`.
type engineProcess struct {
	program, data, addr string
	cmd                 *exec.Cmd
	exited              chan struct{}
	said                strings.Builder
}

func startEngine(t *testing.T) *engineProcess {
	t.Helper()
	e := &engineProcess{program: filepath.Join(t.TempDir(), "waymark"), data: t.TempDir()}
	// As `make build` does it, whose compiled packages serve again.
	build := exec.CommandContext(testContext(t), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", e.program, "waymark/cmd/waymark")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, output)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = listener.Addr().String()
	listener.Close()
	e.start(t)
	t.Cleanup(e.kill)
	return e
}

func (e *engineProcess) start(t *testing.T) {
	t.Helper()
	e.cmd, e.exited = exec.Command(e.program, "engine", "--data", e.data, "--clickhouse-listen", e.addr), make(chan struct{})
	e.cmd.Stderr = &e.said
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(e.exited)
		e.cmd.Wait()
	}()
	eventually(t, "the engine", func() bool {
		select {
		case <-e.exited:
			if strings.Contains(e.said.String(), "find the engine library") {
				t.Skip("needs libchdb: run make test, or set CHDB_LIB_PATH")
			}
			t.Fatal("the engine ended: ", e.said.String())
		default:
		}
		answer, err := http.Get("http://" + e.addr + "/ping")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

func (e *engineProcess) kill() {
	e.cmd.Process.Signal(syscall.SIGKILL)
	<-e.exited
}

// database is the engine as the driver sees it at an address.
func (e *engineProcess) database(t *testing.T, addr string) clickhouse.Conn {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(e.data, "clickhouse.password"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := clickhouse.Open(&clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{addr}, DialTimeout: 30 * time.Second,
		Auth:        clickhouse.Auth{Username: "waymark", Password: strings.TrimSpace(string(password))},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// insert adds a block of numbers from first on.
func insertNumbers(ctx context.Context, db clickhouse.Conn, first, count uint64) error {
	batch, err := db.PrepareBatch(ctx, "INSERT INTO t (n)")
	if err != nil {
		return err
	}
	defer batch.Close()
	for n := first; n < first+count; n++ {
		if err := batch.Append(n); err != nil {
			return err
		}
	}
	return batch.Send()
}

func TestClickHouseInFrontOfTheEngine(t *testing.T) {
	e := startEngine(t)
	house, err := NewClickHouse("127.0.0.1:0", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer house.Close()
	ctx := testContext(t)
	db, direct := e.database(t, house.Addr()), e.database(t, e.addr)
	if err := db.Exec(ctx, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	const block = 100_000
	rows := uint64(0)
	expect := func(what string, want uint64) {
		t.Helper()
		rows = want
		for name, db := range map[string]clickhouse.Conn{"directly": direct, "through the proxy": db} {
			var got, sum uint64
			if err := db.QueryRow(ctx, "SELECT count(), sum(n) FROM t").Scan(&got, &sum); err != nil {
				t.Fatalf("%s, %s: %v", what, name, err)
			}
			if got != want || sum != want*(want-1)/2 { // the numbers below want, each once
				t.Fatalf("%s, %s: %d rows with the sum %d, want those below %d", what, name, got, sum, want)
			}
		}
	}
	if err := insertNumbers(ctx, db, rows, block); err != nil {
		t.Fatal(err)
	}
	expect("passed", rows+block)

	lift := house.LoseAnswers(1, 1)
	if err := insertNumbers(ctx, db, rows, block); err == nil {
		t.Error("an insert was acknowledged whose answer is lost")
	}
	lift()
	expect("answer lost", rows+block)

	lift = house.CutUploads(1, 1)
	for range 5 {
		if err := insertNumbers(ctx, db, rows, block); err == nil {
			t.Error("an insert was acknowledged that was cut")
		}
	}
	lift()
	expect("cut", rows)

	lift = house.Refuse(252, "Too many parts (3000). (TOO_MANY_PARTS)")
	var exception *clickhouse.Exception
	if err := insertNumbers(ctx, db, rows, block); err == nil || errors.As(err, &exception) && exception.Code != 252 || !strings.Contains(err.Error(), "TOO_MANY_PARTS") {
		t.Errorf("%v, want exception 252", err)
	}
	lift()
	expect("refused", rows)

	lift = house.Slow(time.Millisecond)
	for range 2 {
		if err := insertNumbers(ctx, db, rows, block); err != nil {
			t.Fatal(err)
		}
		expect("slow", rows+block)
	}
	lift()

	house.Watch("INTO t ")
	for _, made := range []bool{false, true} {
		var calls atomic.Int64
		lift = house.AtInsert("INTO t ", made, func() { calls.Add(1) })
		if err := insertNumbers(ctx, db, rows, block); (err == nil) != made || calls.Load() != 1 {
			t.Errorf("made %v: %v after %d calls, want one", made, err, calls.Load())
		}
		lift()
		if made {
			rows += block
		}
		expect("struck", rows)
	}
	if seen := house.Nameless(); seen != 2 {
		t.Errorf("%d inserts without a token were seen, want 2", seen)
	}
	named := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": "a"}))
	if err := insertNumbers(named, db, rows, block); err != nil || house.Nameless() != 2 {
		t.Errorf("%v, %d inserts without a token were seen, want 2", err, house.Nameless())
	}
	expect("named", rows+block)

	killed := make(chan struct{})
	house.OnInsert(func() {
		defer close(killed)
		e.kill()
	})
	acknowledged := insertNumbers(ctx, db, rows, block) == nil
	<-killed
	e.start(t)
	var got uint64
	if err := direct.QueryRow(ctx, "SELECT count() FROM t").Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != rows+block && (acknowledged || got != rows) {
		t.Errorf("%d rows after the engine was killed, acknowledged %v; want all of the block, or none and no acknowledgement", got, acknowledged)
	}
	expect("killed", got)
	if want := int64(1 + 5 + 1 + 2 + 2 + 1); house.Struck() != want {
		t.Errorf("%d inserts were hit, want %d", house.Struck(), want)
	}
}
