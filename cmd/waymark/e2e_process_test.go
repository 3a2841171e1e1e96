package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"waymark/clickhouse/engine"
)

// The end-to-end tests see Waymark from outside: this test binary runs itself
// as `waymark`, and the tests know nothing but its flags, its files, HTTP and
// SQL.

// asWaymark makes the test binary behave as the program. The engine, which
// `up` starts from its own executable, inherits it.
const asWaymark = "WAYMARK_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asWaymark) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const (
	// patience is how long anything may take that is waited for. It is long
	// because it decides nothing but when to give up.
	patience = 2 * time.Minute
	// exitPatience is the bound of ten seconds for a stop, and what a busy
	// machine adds to it.
	exitPatience = 15 * time.Second
)

// process is a running `waymark`.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  output // what it printed and logged
	errs output // what it logged
	done chan struct{}
	err  error // of its end, once done is closed
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	also *output
}

func (o *output) Write(p []byte) (int, error) {
	if o.also != nil {
		o.also.Write(p)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run starts `waymark` with arguments. It is killed when the test ends.
func run(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Env = append(append(cleanEnvironment(), asWaymark+"=1"), env...)
	p.errs.also = &p.out
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	// It dies with the tests, also when they time out. The kernel takes the
	// thread that started it for its parent, so that thread stays.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("waymark %s said:\n%s", strings.Join(args, " "), tail(p.out.String(), 6000))
		}
	})
	return p
}

// cleanEnvironment is the environment without settings of Waymark.
func cleanEnvironment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "WAYMARK_") || strings.HasPrefix(entry, "WAYMARK_CACHE=") {
			env = append(env, entry)
		}
	}
	return env
}

func tail(s string, bytesMax int) string {
	if len(s) > bytesMax {
		return "…" + s[len(s)-bytesMax:]
	}
	return s
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// wait waits for the process to end by itself and returns its exit code.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("waymark has not ended within %v", limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// interrupt stops the process as Ctrl-C does, and expects it to end in order.
func (p *process) interrupt() {
	p.t.Helper()
	p.signal(syscall.SIGINT)
	if code := p.wait(exitPatience); code != 0 {
		p.t.Fatalf("exit code %d after an interrupt, expected 0", code)
	}
}

// match waits until the output matches and returns the submatches.
func (p *process) match(pattern *regexp.Regexp) []string {
	p.t.Helper()
	var found []string
	eventually(p.t, fmt.Sprintf("output that matches %q", pattern), func() error {
		if found = pattern.FindStringSubmatch(p.out.String()); found != nil {
			return nil
		}
		select {
		case <-p.done:
			p.t.Fatalf("waymark has ended (%v) before it printed %q", p.err, pattern)
		default:
		}
		return errors.New("there is none yet")
	})
	return found
}

// children are the processes that this one started and that still run.
func (p *process) children() []int {
	p.t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var pids []int
	for _, list := range lists {
		content, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(content)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				p.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually polls until try succeeds.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// home is where the state of an installation is kept between starts.
type home struct{ data, ring string }

// newHome makes directories that are removed when the test ends. Tests that
// need it are skipped where the engine's library is missing.
func newHome(t *testing.T) home {
	t.Helper()
	if _, err := engine.FindLibrary(); err != nil {
		t.Skip("needs libchdb: run make test, or set CHDB_LIB_PATH")
	}
	h := home{data: filepath.Join(t.TempDir(), "data")}
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = "" // somewhere on disk: slower, no worse
	}
	var err error
	if h.ring, err = os.MkdirTemp(parent, "waymark-e2e-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(h.ring) })
	return h
}

// ringBytes is small, so that the tests do not fill a container's /dev/shm.
const ringBytes = "--spool-ring-bytes=8388608"

// server is a running `waymark up` and the ways into it.
type server struct {
	t *testing.T
	*process
	home
	public, admin, clickhouse, kafka string // addresses
	key, password                    string
}

var readyBlock = regexp.MustCompile(`(?s)Waymark is ready\..*links +http://(\S+)/\{code\}.*admin +http://(\S+) .*ClickHouse +http://(\S+) .*Kafka +(\S+)\n.*Try:`)

// up starts everything on free ports and waits until it is ready.
func (h home) up(t *testing.T, args ...string) *server {
	t.Helper()
	p := run(t, nil, append([]string{"up", "--data", h.data, "--spool-ring", h.ring, ringBytes,
		"--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--clickhouse-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0"}, args...)...)
	found := p.match(readyBlock)
	return &server{
		t: t, process: p, home: h, public: found[1], admin: found[2], clickhouse: found[3], kafka: found[4],
		key: h.secret(t, "admin.key"), password: h.secret(t, "clickhouse.password"),
	}
}

func (h home) secret(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(h.data, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// engine is the process of the embedded ClickHouse.
func (s *server) engine() int {
	s.t.Helper()
	children := s.children()
	if len(children) != 1 {
		s.t.Fatalf("`up` has the children %v, expected one engine", children)
	}
	return children[0]
}

var httpClient = &http.Client{
	Timeout:       patience,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// sql runs a query and returns its rows, the cells as TSV has them.
func (s *server) sql(query string) ([][]string, error) {
	request, err := http.NewRequest("POST", "http://"+s.clickhouse+"/", strings.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth("waymark", s.password)
	answer, err := httpClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %s", query, answer.StatusCode, body)
	}
	var rows [][]string
	for line := range strings.Lines(string(body)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}

// mustSQL is sql for a server that answers.
func (s *server) mustSQL(query string) [][]string {
	s.t.Helper()
	rows, err := s.sql(query)
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// waitRows waits until events holds as many rows as are expected, never more.
func (s *server) waitRows(where string, want int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d events in ClickHouse where %s", want, where), func() error {
		rows, err := s.sql("SELECT count() FROM waymark.events WHERE (" + where + ")")
		if err != nil {
			return err
		}
		got, err := strconv.Atoi(rows[0][0])
		if err == nil && got > want {
			s.t.Fatalf("%d events in ClickHouse where %s, but only %d were made", got, where, want)
		}
		if err == nil && got < want {
			err = fmt.Errorf("there are %d", got)
		}
		return err
	})
}

// call sends a JSON request with the admin key to any address and returns the
// status and the body.
func (s *server) call(method, address, path string, in any) (int, []byte, error) {
	return callAs(s.key, method, address, path, in)
}

func callAs(key, method, address, path string, in any) (int, []byte, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(encoded)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, body)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := httpClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer.StatusCode, content, err
}

// mustCall expects a status and decodes the answer into out, unless it is nil.
func (s *server) mustCall(status int, method, address, path string, in, out any) {
	s.t.Helper()
	got, body, err := s.call(method, address, path, in)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if got != status {
		s.t.Fatalf("%s %s: status %d %s, expected %d", method, path, got, body, status)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(body, out); err != nil {
		s.t.Fatalf("%s %s: %v in %s", method, path, err, body)
	}
}

// createLink makes a link and returns it as the API shows it.
func (s *server) createLink(link map[string]any) map[string]any {
	s.t.Helper()
	var made map[string]any
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/links", link, &made)
	return made
}

// follow requests a path as a browser without a cookie and returns the click
// id of the answer.
func follow(address, path string) (clickID string, err error) {
	request, err := http.NewRequest("GET", "http://"+address+path, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("User-Agent", browserAgent)
	answer, err := httpClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusFound {
		return "", fmt.Errorf("GET %s: status %d", path, answer.StatusCode)
	}
	location, err := url.Parse(answer.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	return location.Query().Get("wm_click"), nil
}

const browserAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
