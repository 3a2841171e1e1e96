package fault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// house is a server behind a proxy that keeps the bodies it read to the end.
type house struct {
	*ClickHouse
	mu     sync.Mutex
	bodies []string
	broken int // requests that ended in mid-upload
}

func newHouse(t *testing.T, answer http.HandlerFunc) *house {
	t.Helper()
	h := &house{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		h.mu.Lock()
		if err != nil {
			h.broken++
		} else {
			h.bodies = append(h.bodies, string(body))
		}
		h.mu.Unlock()
		if err == nil && answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	var err error
	if h.ClickHouse, err = NewClickHouse("127.0.0.1:0", server.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// got is what the server has read to the end so far, and how many uploads broke.
func (h *house) got() ([]string, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.bodies), h.broken
}

const insertQuery = "/?query=INSERT+INTO+t+FORMAT+TSV"

// post sends a body, in chunks as the driver does, on a connection of its own.
func (h *house) post(t *testing.T, path, body string) (int, http.Header, string, error) {
	t.Helper()
	var upload io.Reader = http.NoBody
	if body != "" {
		upload = io.MultiReader(strings.NewReader(body)) // of unknown length
	}
	request, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+h.Addr()+path, upload)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, string(text), err
}

func TestClickHousePassesRequestsAsTheyAre(t *testing.T) {
	type seen struct {
		uri, host string
		header    http.Header
		chunked   bool
	}
	requests := make(chan seen, 1)
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		requests <- seen{r.RequestURI, r.Host, r.Header.Clone(), slices.Contains(r.TransferEncoding, "chunked")}
		w.Header().Set("Trailer", "X-ClickHouse-Late")
		w.Header().Set("X-ClickHouse-Exception-Code", "60")
		w.Header().Set("Content-Encoding", "zstd")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "Code: 60")
		w.Header().Set("X-ClickHouse-Late", "yes")
	})
	const uri = "/?query=SELECT%201;x=1&%zz&a+b="
	request, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+h.Addr()+uri, io.MultiReader(strings.NewReader("\x82\x00bytes")))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "named.example:8123"
	request.Header = http.Header{"Content-Encoding": {"lz4"}, "X-Clickhouse-User": {"u"}, "User-Agent": nil}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != "Code: 60" || answer.StatusCode != http.StatusNotFound ||
		answer.Header.Get("X-ClickHouse-Exception-Code") != "60" || answer.Header.Get("Content-Encoding") != "zstd" || answer.Trailer.Get("X-ClickHouse-Late") != "yes" {
		t.Errorf("answered %d %v, %q, %v, %v", answer.StatusCode, answer.Header, body, answer.Trailer, err)
	}
	got := <-requests
	got.header.Del("Connection") // is between neighbours
	want := http.Header{"Content-Encoding": {"lz4"}, "X-Clickhouse-User": {"u"}}
	if got.uri != uri || got.host != request.Host || !got.chunked || len(got.header) != len(want) {
		t.Errorf("arrived as %s for %s, chunked %v: %v", got.uri, got.host, got.chunked, got.header)
	}
	for name := range want {
		if got.header.Get(name) != want.Get(name) {
			t.Errorf("%s: %q arrived", name, got.header.Get(name))
		}
	}
	if bodies, _ := h.got(); bodies[0] != "\x82\x00bytes" {
		t.Errorf("%q arrived", bodies)
	}
}

// An answer arrives piece by piece, and a client that has had enough is heard.
func TestClickHouseStreamsAndCancels(t *testing.T) {
	read, cancelled := make(chan struct{}), make(chan struct{})
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		http.NewResponseController(w).Flush()
		<-read // the second piece comes only once the first was read
		io.WriteString(w, "second")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(cancelled)
	})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.Addr()+"/", strings.NewReader("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for _, want := range []string{"first", "second"} {
		piece := make([]byte, len(want))
		if _, err := io.ReadFull(answer.Body, piece); err != nil || string(piece) != want {
			t.Fatalf("%q, %v, want %q", piece, err, want)
		}
		if want == "first" {
			close(read)
		}
	}
	cancel()
	select {
	case <-cancelled:
	case <-testContext(t).Done():
		t.Error("the server was not told")
	}
}

func TestClickHouseRefuses(t *testing.T) {
	h := newHouse(t, nil)
	const text = "Too many parts (3000). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)"
	lift := h.Refuse(252, text)
	large := strings.Repeat("1\n", 2<<20) // more than a server that refuses would read by itself
	status, header, body, err := h.post(t, insertQuery, large)
	if err != nil || status != 500 || header.Get("X-ClickHouse-Exception-Code") != "252" || body != "Code: 252. DB::Exception: "+text+"\n" {
		t.Errorf("%d %v %q, %v", status, header, body, err)
	}
	if status, _, _, err := h.post(t, "/", "SELECT 1"); err != nil || status != 200 {
		t.Errorf("a SELECT: %d, %v", status, err)
	}
	lift()
	lift() // once more does no harm
	if status, _, _, err := h.post(t, insertQuery, "2\n"); err != nil || status != 200 {
		t.Errorf("afterwards: %d, %v", status, err)
	}
	if bodies, _ := h.got(); !slices.Equal(bodies, []string{"SELECT 1", "2\n"}) {
		t.Errorf("the server got %q", bodies)
	}
	if h.Struck() != 1 {
		t.Errorf("%d inserts were hit, want 1", h.Struck())
	}
}

func TestClickHouseLosesAnswers(t *testing.T) {
	h := newHouse(t, nil)
	lift := h.LoseAnswers(0.5, 3)
	lost := 0
	values := numbers(40)
	for _, value := range values {
		if _, _, _, err := h.post(t, insertQuery, value); err != nil {
			lost++
		}
	}
	if lost < 10 || lost > 30 || h.Struck() != int64(lost) {
		t.Errorf("%d of 40 answers were lost and %d inserts hit, want half", lost, h.Struck())
	}
	lift()
	lose := h.LoseAnswers(1, 0)
	h.Refuse(252, "lifted at once")()
	if _, _, _, err := h.post(t, insertQuery, "40"); err == nil {
		t.Error("lifting one fault lifted another")
	}
	lose()
	values = numbers(41)
	if bodies, broken := h.got(); !slices.Equal(bodies, values) || broken != 0 {
		t.Errorf("the server got %q, and %d in part", bodies, broken)
	}
}

func TestClickHouseCutsUploads(t *testing.T) {
	h := newHouse(t, nil)
	lift := h.CutUploads(1, 5)
	for _, size := range []int{1, 2, 1000, 3 << 20} {
		if _, _, _, err := h.post(t, insertQuery, strings.Repeat("x", size)); err == nil {
			t.Errorf("an upload of %d bytes was answered", size)
		}
	}
	// One without a body can't be cut.
	if status, _, _, err := h.post(t, "/?query=INSERT+INTO+t+VALUES+(1)", ""); err != nil || status != 200 {
		t.Errorf("%d, %v", status, err)
	}
	lift()
	if _, _, _, err := h.post(t, insertQuery, "whole"); err != nil {
		t.Error(err)
	}
	eventually(t, "the server to hear of four cuts", func() bool {
		_, broken := h.got()
		return broken == 4
	})
	if bodies, _ := h.got(); !slices.Equal(bodies, []string{"", "whole"}) {
		t.Errorf("the server got %q", bodies)
	}
}

func TestClickHouseIsSlow(t *testing.T) {
	h := newHouse(t, nil)
	lift := h.Slow(time.Hour)
	answered := make(chan error, 2)
	send := func(body string) {
		_, _, _, err := h.post(t, insertQuery, body)
		answered <- err
	}
	go send("held before")
	eventually(t, "the insert to be held", func() bool { return h.Struck() == 1 })
	go send("held after")
	eventually(t, "the insert to be held", func() bool { return h.Struck() == 2 })
	if bodies, _ := h.got(); !slices.Equal(bodies, []string{"held after"}) {
		t.Errorf("the server got %q", bodies)
	}
	if len(answered) != 0 {
		t.Error("an insert was answered")
	}
	lift()
	for range 2 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if bodies, _ := h.got(); !slices.Equal(bodies, []string{"held after", "held before"}) {
		t.Errorf("the server got %q", bodies)
	}
}

func TestClickHouseCallsWhileItInserts(t *testing.T) {
	called, release := make(chan struct{}), make(chan struct{})
	h := newHouse(t, func(http.ResponseWriter, *http.Request) { <-release })
	calls := 0
	h.OnInsert(func() {
		calls++
		close(called)
	})
	if err := func() error {
		answered := make(chan error, 1)
		go func() {
			_, _, _, err := h.post(t, insertQuery, "1")
			answered <- err
		}()
		<-called // while the server has it: it is not released yet
		close(release)
		return <-answered
	}(); err != nil {
		t.Error(err)
	}
	if _, _, _, err := h.post(t, insertQuery, "2"); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// An insert that the next fault refuses is never sent, so nothing is called for it and its answer has nothing to wait for.
func TestClickHouseCallsForNoInsertThatIsRefused(t *testing.T) {
	h := newHouse(t, nil)
	calls := 0
	h.OnInsert(func() { calls++ })
	lift := h.Refuse(252, "Too many parts (3000). (TOO_MANY_PARTS)")
	if status, _, _, err := h.post(t, insertQuery, "1"); err != nil || status != 500 || calls != 0 {
		t.Errorf("refused: %d, %d calls, %v", status, calls, err)
	}
	lift()
	if status, _, _, err := h.post(t, insertQuery, "2"); err != nil || status != 200 || calls != 1 {
		t.Errorf("inserted: %d, %d calls, %v", status, calls, err)
	}
	h.Refuse(252, "Too many parts (3000). (TOO_MANY_PARTS)")
	if status, _, _, err := h.post(t, insertQuery, "3"); err != nil || status != 500 || calls != 1 {
		t.Errorf("refused after the call: %d, %d calls, %v", status, calls, err)
	}
}

func TestClickHouseIsAway(t *testing.T) {
	asked := make(chan struct{})
	h := newHouse(t, func(_ http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "long") {
			close(asked)
			<-r.Context().Done()
		}
	})
	broken := make(chan error, 1)
	go func() {
		_, _, _, err := h.post(t, "/?long", "SELECT 1")
		broken <- err
	}()
	<-asked
	h.Away(true)
	if err := <-broken; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a query that ran: %v, want it broken", err)
	}
	if _, _, _, err := h.post(t, "/", "SELECT 1"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a new query: %v, want it turned away", err)
	}
	h.Away(false)
	if _, _, _, err := h.post(t, "/", "SELECT 1"); err != nil {
		t.Error(err)
	}
	h.SetUpstream("127.0.0.1:1") // where nobody listens
	if _, _, _, err := h.post(t, "/", "SELECT 1"); err == nil {
		t.Error("an answer came from nowhere")
	}
}

func TestIsInsert(t *testing.T) {
	for _, test := range []struct {
		path, body string
		want       bool
	}{
		{insertQuery, "1\n", true},
		{"/?query=%20%0Ainsert%09into+t+values", "(1)", true},
		{"/?query=/*+a+*/--+b%0AINSERT+INTO+t+SELECT+1", "", true},
		{"/?query=INSERT/**/INTO+t+VALUES", "(1)", true},
		{"/", "INSERT INTO t VALUES (1)", true},
		{"/?query=", "  INSERT INTO t VALUES (1)", true},
		{"/", strings.Repeat("-- padding\n", 100) + "INSERT INTO t VALUES (1)", true},
		{"/?query=SELECT+1", "INSERT INTO t VALUES (1)", false},
		{"/", "SELECT 'INSERT INTO t'", false},
		{"/?query=INSERTED", "", false},
		{"/?query=--+INSERT", "INTO", false},
		{"/?query=/*+INSERT+INTO", "", false},
		{"/", "", false},
	} {
		r := httptest.NewRequest(http.MethodPost, test.path, strings.NewReader(test.body))
		if got := isInsert(r); got != test.want {
			t.Errorf("%s %.40q: %v, want %v", test.path, test.body, got, test.want)
		}
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != test.body {
			t.Errorf("%s: the body is now %q, %v", test.path, body, err)
		}
	}
}

func FuzzInsertsFirst(f *testing.F) {
	for _, query := range []string{"INSERT INTO t", "/* */ -- \n insert into t", "# \n/*", "--", "SELECT 1"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		// White space and comments before a query change nothing.
		if insertsFirst(query) != insertsFirst(" \n/* INSERT */-- INSERT \n"+query) {
			t.Errorf("%q", query)
		}
	})
}
