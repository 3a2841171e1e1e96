package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary run an engine on the directory it names, as `waymark engine` would: the engine can run
// once in a process, so whatever restarts or kills one does it to a child.
const (
	childEnv       = "WAYMARK_TEST_ENGINE_DIR"
	childListenEnv = "WAYMARK_TEST_ENGINE_LISTEN"
)

var (
	admin  = User{Name: "waymark", Password: "s3cret'pass"}
	reader = User{Name: "reader", Password: "read-only", ReadOnly: true}
)

// address is where the engine of this process listens; "" when there is no library.
var address string

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		runChild(dir)
	}
	if pidFile := os.Getenv(parentEnv); pidFile != "" {
		runParent(pidFile)
	}
	if _, err := FindLibrary(); err != nil {
		fmt.Fprintln(os.Stderr, "tests that need the engine are skipped:", err)
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "waymark-engine-test-")
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, served := make(chan string, 1), make(chan error, 1)
	options := testOptions(dir, "127.0.0.1:0")
	options.Ready = func(a string) { ready <- a }
	go func() { served <- Serve(ctx, options) }()
	select {
	case address = <-ready:
	case err := <-served:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	if err := <-served; err != nil {
		fmt.Fprintln(os.Stderr, "the engine did not stop in order:", err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func testOptions(dir, listen string) Options {
	return Options{
		Path: dir, Listen: listen, Users: []User{admin, reader, partner}, StopGrace: time.Second, QueriesMax: 8,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func runChild(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Serve(ctx, testOptions(dir, os.Getenv(childListenEnv))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func needEngine(t testing.TB) {
	t.Helper()
	if address == "" {
		t.Skip("no engine library: run `make build`, or set CHDB_LIB_PATH")
	}
}

// answer is what came back for a raw request.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// ask sends a statement in the body of a POST, as curl would.
func ask(t testing.TB, user User, query, body string) answer {
	t.Helper()
	return send(t, http.MethodPost, "/?"+query, strings.NewReader(body), func(r *http.Request) { r.SetBasicAuth(user.Name, user.Password) })
}

func send(t testing.TB, method, path string, body io.Reader, with func(*http.Request)) answer {
	t.Helper()
	needEngine(t)
	r, err := http.NewRequest(method, "http://"+address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if with != nil {
		with(r)
	}
	response, err := rawClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var buf bytes.Buffer
	_, err = io.Copy(&buf, response.Body)
	return answer{response.StatusCode, response.Header, buf.String(), err}
}

var rawClient = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// must sends a statement as the administrator and fails the test unless it succeeds.
func must(t testing.TB, sql string) string {
	t.Helper()
	a := ask(t, admin, "", sql)
	if a.status != http.StatusOK || a.err != nil {
		t.Fatalf("%s: %d %s %v", sql, a.status, a.body, a.err)
	}
	return strings.TrimSuffix(a.body, "\n")
}
