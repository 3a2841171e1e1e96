package loadtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testOptions() Options {
	return Options{Rate: 2000, Requests: 1000, Connections: 10, Threads: 2, Timeout: 30 * time.Second, Seed: 1}
}

func do(t *testing.T, o Options, targets Targets) *Result {
	t.Helper()
	run, err := NewTargets(o, targets)
	if err != nil {
		t.Fatal(err)
	}
	result, err := run.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestSchedule: whatever the rate and the threads, as many requests are due at
// any moment as the rate says, to the request.
func TestSchedule(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 997, 30_000, 100_000} {
		for _, threads := range []int{1, 2, 7} {
			whole := newSchedule(rate, 10*time.Second, 0)
			if want := uint64(math.Ceil(rate * 10)); whole.total != want {
				t.Fatalf("%v a second: %d requests in 10 s, expected %d", rate, whole.total, want)
			}
			var dues []time.Duration
			for thread := range threads {
				share := whole.of(thread, threads)
				for k := range share.count() {
					dues = append(dues, share.due(k))
				}
			}
			slices.Sort(dues)
			if uint64(len(dues)) != whole.total {
				t.Fatalf("%v a second, %d threads: %d requests of %d", rate, threads, len(dues), whole.total)
			}
			for i, due := range dues {
				if exact := float64(i) / rate * 1e9; math.Abs(float64(due)-exact) > 0.5001 {
					t.Fatalf("%v a second, %d threads: request %d is due at %v, expected %.1f ns", rate, threads, i, due, exact)
				}
			}
			if last := dues[len(dues)-1]; last >= 10*time.Second {
				t.Fatalf("%v a second: a request is due at %v", rate, last)
			}
		}
	}
}

// TestScheduleDoesNotDrift: after a day at 30,000 a second the spacing is still
// exact.
func TestScheduleDoesNotDrift(t *testing.T) {
	const day = 86_400
	if due := newSchedule(30_000, 2*day*time.Second, 0).due(30_000 * day); due != day*time.Second {
		t.Errorf("the first request of the second day is due at %v", due)
	}
}

// TestEveryRequestIsSentOnce counts at the server.
func TestEveryRequestIsSentOnce(t *testing.T) {
	var paths sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := paths.LoadOrStore(r.URL.Path+" "+r.Header.Get("X-Test"), new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		if r.URL.Path == "/missing" {
			w.WriteHeader(404)
		}
		fmt.Fprint(w, strings.Repeat("x", 10_000))
	}))
	defer server.Close()
	result := do(t, testOptions(), Targets{URLs: []string{server.URL + "/a", server.URL + "/missing"}, Headers: []string{"X-Test: yes"},
		Kind: func(i int) string { return [...]string{"here", "missing"}[i] }})
	count := func(path string) uint64 {
		n, ok := paths.Load(path + " yes")
		if !ok {
			t.Fatalf("%s was never asked", path)
		}
		return uint64(n.(*atomic.Int64).Load())
	}
	if a, missing := count("/a"), count("/missing"); a+missing != 1000 || result.Status[200] != a || result.Status[404] != missing || result.Failures["unexpected"] != missing {
		t.Errorf("the server counted %d and %d, the result is %+v", a, missing, result)
	}
	if here, missing := result.Kinds["here"].Answered, result.Kinds["missing"].Answered; here != count("/a") || missing != count("/missing") {
		t.Errorf("the result has %d and %d by kind, the server counted %d and %d", here, missing, count("/a"), count("/missing"))
	}
	if result.Sent != 1000 || result.Answered != 1000 || result.latency.TotalCount() != 1000 {
		t.Errorf("sent %d, answered %d, recorded %d", result.Sent, result.Answered, result.latency.TotalCount())
	}
}

// TestCoordinatedOmission: a server that stalls for a second, once, while 1,000
// requests a second are due. The requests that were sent into the stall are a
// handful; those that should have been are a quarter of all.
func TestCoordinatedOmission(t *testing.T) {
	const stall = time.Second
	var answered, until atomic.Int64 // until is when the stall ends
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if answered.Add(1) == 1000 {
			until.Store(time.Now().Add(stall).UnixNano())
		}
		time.Sleep(time.Until(time.Unix(0, until.Load())))
	}))
	defer server.Close()
	o := testOptions()
	o.Rate, o.Requests, o.Connections = 1000, 4000, 4
	result := do(t, o, Targets{URLs: []string{server.URL}})
	// The stall makes 1,000 of 4,000 requests late, evenly by up to a second: the
	// longest 1 % of all waited at least 0.96 s, a tenth 0.6 s.
	if result.LatencyMS.P99 < 900 || result.LatencyMS.P90 < 500 {
		t.Errorf("the stall is not seen: p90 %.0f ms, p99 %.0f ms", result.LatencyMS.P90, result.LatencyMS.P99)
	}
	late := 0
	for _, bar := range result.latency.Distribution() {
		if bar.From > int64(100*time.Millisecond) {
			late += int(bar.Count)
		}
	}
	if late < 800 {
		t.Errorf("%d requests were late by more than 100 ms, expected about 900", late)
	}
	if result.Answered != 4000 {
		t.Errorf("%d of 4000 answered", result.Answered)
	}
}

// TestBrokenConnections: a server that closes in every way there is.
func TestBrokenConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var requests, cuts atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewReader(conn); ; {
					if _, err := http.ReadRequest(lines); err != nil {
						return
					}
					switch requests.Add(1) % 5 {
					case 0: // no answer
						cuts.Add(1)
						return
					case 1: // half an answer
						cuts.Add(1)
						fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Le")
						return
					case 2: // an answer, then closed
						fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
						return
					case 3: // closed without saying so
						fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
						time.Sleep(time.Millisecond)
						return
					default:
						fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				}
			}()
		}
	}()
	o := testOptions()
	o.Requests = 500
	result := do(t, o, Targets{URLs: []string{"http://" + listener.Addr().String()}})
	if result.Answered+result.Failures["cut"] != 500 || result.Failures["connect"] != 0 {
		t.Errorf("%d answered, failures %v", result.Answered, result.Failures)
	}
	if lower := uint64(cuts.Load()); result.Failures["cut"] < lower {
		t.Errorf("%d cut, the server cut at least %d", result.Failures["cut"], lower)
	}
}

// TestSilentServer: requests that get no answer time out, and enter the
// latencies with the time for which they have waited.
func TestSilentServer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	o := testOptions()
	o.Rate, o.Requests, o.Connections, o.Threads, o.Timeout = 100, 20, 5, 1, 300*time.Millisecond
	result := do(t, o, Targets{URLs: []string{server.URL}})
	if result.Answered != 0 || result.Failures["timeout"] != result.Sent || result.Sent+result.Unsent != 20 {
		t.Errorf("answered %d, sent %d, unsent %d, failures %v", result.Answered, result.Sent, result.Unsent, result.Failures)
	}
	if result.latency.TotalCount() != 20 || result.LatencyMS.P50 < 290 {
		t.Errorf("%d latencies, p50 %.0f ms", result.latency.TotalCount(), result.LatencyMS.P50)
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	run, err := NewTargets(testOptions(), Targets{URLs: []string{"http://" + listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Do(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the error is %v", err)
	}
}

func TestTooManyFailures(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	o := testOptions()
	o.Requests, o.Rate, o.MaxFailures = 1_000_000, 1000, 100
	run, err := NewTargets(o, Targets{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := run.Do(t.Context())
	if !errors.Is(err, ErrTooManyFailures) || result.Failed < 100 || result.Sent == o.Requests {
		t.Errorf("%v, %d failed of %d", err, result.Failed, result.Sent)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { once.Do(cancel) }))
	defer server.Close()
	o := testOptions()
	o.Requests, o.Duration = 0, time.Hour
	run, err := NewTargets(o, Targets{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := run.Do(ctx)
	if !errors.Is(err, context.Canceled) || result.Answered == 0 || result.Answered+result.Failed < result.Sent {
		t.Errorf("%v, %d answered of %d", err, result.Answered, result.Sent)
	}
}

// TestHold: while it is held a run sends nothing, and what was due meanwhile is
// sent after it and charged with the wait.
func TestHold(t *testing.T) {
	var early, requests atomic.Int64
	var released atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		if !released.Load() {
			early.Add(1)
		}
	}))
	defer server.Close()
	o, seconds := testOptions(), 0
	var run *Run
	o.Progress = func(Second) {
		if seconds++; seconds == 1 {
			released.Store(true)
			run.Hold(false)
		}
	}
	run, err := NewTargets(o, Targets{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	run.Hold(true)
	result, err := run.Do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if early.Load() != 0 || requests.Load() != 1000 || result.Answered != 1000 {
		t.Errorf("%d of %d requests came while the run was held, %d were answered", early.Load(), requests.Load(), result.Answered)
	}
	// The last one was due in the middle of the held second.
	if result.LatencyMS.P50 < 500 {
		t.Errorf("half of the latencies are below %v ms", result.LatencyMS.P50)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 100_000)) // many records, more than a buffer
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that fail below
	server.StartTLS()
	defer server.Close()
	o := testOptions()
	o.Requests = 200
	result := do(t, o, Targets{URLs: []string{server.URL}, Insecure: true})
	if result.Status[200] != 200 || result.Failed != 0 {
		t.Errorf("answers %v, failures %v", result.Status, result.Failures)
	}
	run, err := NewTargets(o, Targets{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Do(t.Context()); err == nil {
		t.Error("a certificate of nobody was accepted")
	}
}

func TestWrongSettings(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Rate = 0 }, func(o *Options) { o.Rate = math.NaN() }, func(o *Options) { o.Requests = 0 },
		func(o *Options) { o.Connections = 1 }, func(o *Options) { o.Threads = 0 }, func(o *Options) { o.Timeout = 0 },
	} {
		o := testOptions()
		change(&o)
		if err := o.Check(); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	for _, targets := range []Targets{
		{}, {URLs: []string{"ftp://a/"}}, {URLs: []string{"http://"}}, {URLs: []string{"http://a/"}, Headers: []string{"no header"}},
		{URLs: []string{"http://a/"}, Headers: []string{"X: a\r\nY: b"}}, {URLs: []string{"http://a/"}, Method: "GET /"},
	} {
		if _, err := NewTargets(testOptions(), targets); err == nil {
			t.Errorf("%+v was accepted", targets)
		}
	}
}

// TestOutput reads what is written with readers of other people's.
func TestOutput(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	result := do(t, testOptions(), Targets{URLs: []string{server.URL}})
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := result.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	var decoded Result
	content, err := os.ReadFile(filepath.Join(dir, jsonFile))
	if err == nil {
		err = json.Unmarshal(content, &decoded)
	}
	if err != nil || decoded.Answered != 1000 || decoded.LatencyMS != result.LatencyMS || len(decoded.EachSec) != len(result.EachSec) {
		t.Errorf("%v in %s", err, content)
	}
	file, err := os.Open(filepath.Join(dir, secondsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	sum := 0
	for _, row := range rows[1:] {
		n, _ := strconv.Atoi(row[1])
		sum += n
	}
	if err != nil || sum != 1000 {
		t.Errorf("the seconds sum up to %d: %v", sum, err)
	}
	checkHistogram(t, filepath.Join(dir, hgrmFile), result)
	var table bytes.Buffer
	if err := result.WriteTable(&table); err != nil || !strings.Contains(table.String(), "1000 × 200") {
		t.Errorf("%v in\n%s", err, table.String())
	}
}

// checkHistogram reads a .hgrm as the plotters do: a line of titles, then lines of
// value, quantile, count and 1/(1-quantile), all rising, and notes after #.
func checkHistogram(t *testing.T, path string, result *Result) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if got := strings.Fields(lines[0]); !slices.Equal(got, []string{"Value", "Percentile", "TotalCount", "1/(1-Percentile)"}) {
		t.Fatalf("titles %q", got)
	}
	var last [3]float64
	total, maximum := 0.0, 0.0
	for _, line := range lines[1:] {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if strings.HasPrefix(line, "#") {
			if strings.HasPrefix(line, "#[Max") {
				if _, err := fmt.Sscanf(strings.Map(func(r rune) rune {
					if strings.ContainsRune("=,]", r) {
						return ' '
					}
					return r
				}, line), "#[Max %f Total count %f", &maximum, &total); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
			continue
		}
		fields := strings.Fields(line)
		for i, text := range fields[:3] {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || n < last[i] {
				t.Fatalf("line %q after %v: %v", line, last, err)
			}
			last[i] = n
		}
	}
	if last[1] != 1 || last[2] != 1000 || total != 1000 || math.Abs(maximum-result.LatencyMS.Max) > 0.001 {
		t.Errorf("the histogram ends at %v, max %v, total %v; expected 1000 values up to %v", last, maximum, total, result.LatencyMS.Max)
	}
}
