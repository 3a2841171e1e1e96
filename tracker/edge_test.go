package tracker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"google.golang.org/protobuf/proto"

	"waymark/tracker/wire"
)

// edgeNow is the time of day in these tests.
var edgeNow = time.Date(2026, 11, 20, 12, 0, 0, 123_000_000, time.UTC)

const adminSecret = "wmk_admin"

// hitLog is a sink in memory; full makes it shed.
type hitLog struct {
	mu     sync.Mutex
	events []*wire.Event
	full   bool
}

func (l *hitLog) Append(payload []byte, _ uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return 0, errors.New("the spool is full")
	}
	event := new(wire.Event)
	if err := proto.Unmarshal(payload, event); err != nil {
		return 0, err
	}
	l.events = append(l.events, event)
	return uint64(len(l.events)), nil
}

// take returns the events since the last call.
func (l *hitLog) take() []*wire.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// edgeServer is an edge behind a real listener.
type edgeServer struct {
	*Edge
	t    testing.TB
	hits *hitLog
	base string // http://127.0.0.1:port
	now  time.Time
}

// newTestEdge is an edge with these links, whose numbers are their positions.
func newTestEdge(t testing.TB, change func(*EdgeOptions), links ...*wire.Link) *edgeServer {
	t.Helper()
	known := NewLinks(LinksOptions{})
	for i, l := range links {
		l.Number = uint32(i + 1)
		value, err := l.MarshalVT()
		if err == nil {
			err = known.Apply([]byte(l.Domain+"/"+l.Code), value, int64(i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ring := goldenRing(t, "3")
	s := &edgeServer{t: t, hits: &hitLog{}, now: edgeNow}
	options := EdgeOptions{
		Links: known, Hits: s.hits, ClickIDs: NewClickIDs(ring), Cookies: NewCookies(ring), Clock: NewClock(2, 0),
		IsAdmin: func(secret []byte) bool { return string(secret) == adminSecret },
		Now:     func() time.Time { return s.now },
		Logger:  slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&options)
	}
	var err error
	if s.Edge, err = NewEdge(options); err != nil {
		t.Fatal(err)
	}
	return s
}

// listen starts the server, which the end of the test stops.
func (s *edgeServer) listen() *edgeServer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			s.t.Error(err)
		}
		if err := <-served; err != nil {
			s.t.Error(err)
		}
	})
	s.base = "http://" + listener.Addr().String()
	return s
}

// do sends a request with these header lines, name and value in turn, and does
// not follow where it leads.
func (s *edgeServer) do(method, target string, lines ...string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequest(method, s.base+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(lines); i += 2 {
		if lines[i] == "Host" {
			request.Host = lines[i+1]
		}
		request.Header.Add(lines[i], lines[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	response.Body = io.NopCloser(strings.NewReader(string(body)))
	return response
}

func body(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func TestEdgeRoutes(t *testing.T) {
	echo := func(name string) fasthttp.RequestHandler {
		return func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(name + " " + string(ctx.Method())) }
	}
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.EventsHandler, o.PixelHandler = echo("events"), echo("pixel")
	}).listen()
	for _, test := range []struct {
		method, target string
		status         int
		body           string
		header, value  string
	}{
		{"GET", "/healthz", 200, "ok\n", "Cache-Control", "private, no-store"},
		{"HEAD", "/healthz", 200, "", "Content-Length", "3"},
		{"POST", "/healthz", 405, "method not allowed\n", "Allow", "GET, HEAD"},
		{"GET", "/readyz", 200, `{"ready":true,"reasons":[]}` + "\n", "Content-Type", "application/json"},
		{"GET", "/robots.txt", 200, "User-agent: *\nDisallow: /\n", "Content-Type", "text/plain; charset=utf-8"},
		{"GET", "/favicon.ico", 204, "", "Content-Type", ""},
		{"DELETE", "/robots.txt", 405, "method not allowed\n", "Allow", "GET, HEAD"},
		{"GET", "/", 404, "not found\n", "Content-Type", "text/plain; charset=utf-8"},
		{"GET", "/?a=1", 404, "not found\n", "", ""},
		{"POST", "/v1/events", 200, "events POST", "", ""},
		{"OPTIONS", "/v1/pixel.gif?event=x", 200, "pixel OPTIONS", "", ""},
		{"GET", "/v1/postback", 404, "not found\n", "", ""},
		{"GET", "/v1", 404, "not found\n", "", ""},
		{"OPTIONS", "/hello", 405, "method not allowed\n", "Allow", "GET, HEAD"},
		{"PUT", "/hello", 405, "method not allowed\n", "Allow", "GET, HEAD"},
		{"POST", "/hello", 405, "method not allowed\n", "Allow", "GET, HEAD"},
		{"TRACE", "/hello", 405, "method not allowed\n", "Allow", "GET, HEAD"},
		{"GET", "/hello", 404, "not found\n", "Cache-Control", "private, no-store"},
	} {
		r := s.do(test.method, test.target)
		if r.StatusCode != test.status || body(r) != test.body || test.header != "" && r.Header.Get(test.header) != test.value {
			t.Errorf("%s %s: %d %v", test.method, test.target, r.StatusCode, r.Header)
		}
		if server := r.Header.Get("Server"); server != "" {
			t.Errorf("%s %s tells that it is %s", test.method, test.target, server)
		}
	}
	if events := s.hits.take(); len(events) != 0 {
		t.Errorf("%d events without a link", len(events))
	}
}

func TestEdgeReadiness(t *testing.T) {
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.Ready = func() []string { return []string{"the links are \"loading\""} }
	}).listen()
	r := s.do("GET", "/readyz")
	if want := `{"ready":false,"reasons":["the links are \"loading\""]}` + "\n"; r.StatusCode != 503 || body(r) != want {
		t.Errorf("%d %s", r.StatusCode, body(r))
	}
}

func TestEdgeRootAndNotFoundURL(t *testing.T) {
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.RootURL, o.NotFoundURL = "https://home.example/a?b=1#c", "https://home.example/lost"
	}, &wire.Link{Code: "off", Url: "https://x.example/", Inactive: true}).listen()
	for target, want := range map[string]string{
		"/": "https://home.example/a?b=1#c", "/?x=1": "https://home.example/a?b=1#c",
		"/nothing?x=1": "https://home.example/lost", "/v1/postback": "https://home.example/lost",
	} {
		if r := s.do("GET", target); r.StatusCode != 302 || r.Header.Get("Location") != want {
			t.Errorf("%s: %d %v", target, r.StatusCode, r.Header)
		}
	}
	if r := s.do("GET", "/off"); r.StatusCode != 404 || r.Header.Get("Location") != "" {
		t.Errorf("an inactive link: %d %v", r.StatusCode, r.Header)
	}
	for _, bad := range []string{"home.example", "//home.example", "/lost", "https:", "https://a b"} {
		options := s.EdgeOptions
		options.RootURL = bad
		if _, err := NewEdge(options); err == nil {
			t.Errorf("%q is taken for a URL", bad)
		}
	}
}

func TestEdgeSurvivesAPanic(t *testing.T) {
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.EventsHandler = func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("X-Half", "done")
			panic("oops")
		}
	}).listen()
	for range 2 {
		if r := s.do("POST", "/v1/events"); r.StatusCode != 500 || body(r) != "internal error\n" || r.Header.Get("X-Half") != "" {
			t.Errorf("%d %v", r.StatusCode, r.Header)
		}
	}
}

func TestEdgeMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := newTestEdge(t, func(o *EdgeOptions) { o.Registerer = registry },
		&wire.Link{Code: "a", Url: "https://x.example/"}, &wire.Link{Code: "off", Url: "https://x.example/", Inactive: true}).listen()
	for _, target := range []string{"/a", "/a", "/off", "/b", "/%zz", "/healthz"} {
		if target == "/%zz" {
			s.raw("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n")
			continue
		}
		s.do("GET", target)
	}
	s.do("PUT", "/a")
	s.hits.full = true
	s.do("GET", "/a")
	want := map[string]float64{
		"redirect": 3, "inactive": 1, "not_found": 1, "malformed": 1, "other": 1, "method": 1, "early": 0, "expired": 0, "outdated": 0, "panic": 0, "shed": 1,
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			switch family.GetName() {
			case "waymark_edge_requests_total":
				got[metric.Label[0].GetValue()] = metric.Counter.GetValue()
			case "waymark_edge_hits_shed_total":
				got["shed"] = metric.Counter.GetValue()
			}
		}
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %v, want %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("metrics %v", got)
	}
}

// TestEdgeClosesSlowRequests sends requests that never end.
func TestEdgeClosesSlowRequests(t *testing.T) {
	s := newTestEdge(t, nil, &wire.Link{Code: "a", Url: "https://x.example/"})
	s.patience.request = 20 * time.Millisecond
	s.listen()
	for _, request := range []string{
		"GET /a HT", "GET /a HTTP/1.1\r\nHost: x\r\nX: ", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc",
	} {
		if head := s.raw(request); !strings.HasPrefix(head, "HTTP/1.1 408 ") || !strings.Contains(head, "\r\nConnection: close\r\n") {
			t.Errorf("%q: %q", request, head)
		}
	}
	if events := s.hits.take(); len(events) != 0 {
		t.Errorf("%d events of unfinished requests", len(events))
	}
}

func TestEdgeShutdownFinishesWhatIsAtWork(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.EventsHandler = func(ctx *fasthttp.RequestCtx) {
			close(entered)
			<-leave
			ctx.SetBodyString("done")
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	s.base = "http://" + listener.Addr().String()
	answered := make(chan string, 1)
	go func() { answered <- body(s.do("POST", "/v1/events")) }()
	<-entered

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no time at all
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown with a request at work and no time: %v", err)
	}
	if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("a connection was accepted after the shutdown")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	close(leave)
	if got := <-answered; got != "done" {
		t.Errorf("the request at work was answered %q", got)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("second shutdown: %v", err)
	}
	var late fasthttp.RequestCtx
	late.Request.SetRequestURI("/healthz")
	if s.serve(&late); late.Response.StatusCode() != 503 || !late.Response.ConnectionClose() {
		t.Errorf("after the shutdown: %v", &late.Response)
	}
}

// headerNames are the names of a response's headers, sorted.
func headerNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
