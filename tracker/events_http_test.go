package tracker

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker/wire"
)

// actionLog is a sink in memory that can be told to fail.
type actionLog struct {
	mu     sync.Mutex
	events []*wire.Event
	err    error
}

func (l *actionLog) Append(_ context.Context, payloads ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	for _, payload := range payloads {
		e := new(wire.Event)
		if err := e.UnmarshalVT(payload); err != nil {
			return err
		}
		l.events = append(l.events, e)
	}
	return nil
}

// take returns what was appended since the last call.
func (l *actionLog) take() []*wire.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// actionServer is an edge with the handlers of actions behind a real listener,
// which trusts proxies on the machine itself.
type actionServer struct {
	*Actions
	edge     *edgeServer
	sink     *actionLog
	registry *prometheus.Registry
	event    string // secret of a key of role event
	read     string // of role read
	wedding  string // of role event, bound to the programme
}

func newActionServer(t *testing.T) *actionServer {
	t.Helper()
	s := &actionServer{Actions: newTestActions(t), sink: &actionLog{}, registry: prometheus.NewRegistry()}
	s.Sink = s.sink
	s.event, s.read = newKey(t, s.Keys, RoleEvent, ""), newKey(t, s.Keys, RoleRead, "")
	s.wedding = newKey(t, s.Keys, RoleEvent, "wedding")
	s.registry.MustRegister(s.counted)
	var err error
	if s.Proxies, err = ParseTrustedProxies([]string{"127.0.0.0/8"}); err != nil {
		t.Fatal(err)
	}
	s.edge = newTestEdge(t, func(o *EdgeOptions) {
		o.Links, o.IsAdmin, o.Proxies = s.Links, s.Keys.IsAdmin, s.Proxies
		o.Now = func() time.Time { return testNow.Add(-time.Minute) } // clicks come first
		o.EventsHandler, o.PostbackHandler, o.PixelHandler = s.Events, s.Postback, s.Pixel
	}).listen()
	return s
}

// do sends a request with headers given as name, value, name, value, and does
// not follow where it leads.
func (s *actionServer) do(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, s.edge.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

func (s *actionServer) post(t *testing.T, key, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	return s.do(t, "POST", "/v1/events", body, append([]string{"Authorization", "Bearer " + key}, headers...)...)
}

// counts are the actions counted so far, by way and result.
func (s *actionServer) counts(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "waymark_edge_actions_total" {
		t.Fatalf("gathered %v, %v", families, err)
	}
	counts := make(map[string]float64)
	for _, m := range families[0].GetMetric() {
		counts[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	return counts
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func TestEventsAccepts(t *testing.T) {
	s := newActionServer(t)
	one := `{"event":"signup","user_id":"u1"}`
	for name, c := range map[string]struct {
		body    string
		headers []string
		users   []string
	}{
		"object":          {one, nil, []string{"u1"}},
		"form type":       {one, []string{"Content-Type", "application/x-www-form-urlencoded"}, []string{"u1"}},
		"multipart type":  {one, []string{"Content-Type", "multipart/form-data"}, []string{"u1"}},
		"array":           {`[` + one + `,{"event":"churn","user_id":"u2"}]`, nil, []string{"u1", "u2"}},
		"lines":           {one + "\n" + `{"event":"churn","user_id":"u2"}` + "\n", nil, []string{"u1", "u2"}},
		"gzip":            {gzipped(one), []string{"Content-Encoding", "gzip"}, []string{"u1"}},
		"byte order mark": {"\xEF\xBB\xBF" + one, nil, []string{"u1"}},
		"empty array":     {"[]", nil, nil},
	} {
		resp, body := s.post(t, s.event, c.body, c.headers...)
		want := fmt.Sprintf(`{"accepted":%d,"rejected":[]}`, len(c.users))
		if resp.StatusCode != 202 || body != want || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want 202 %s", name, resp.StatusCode, body, want)
		}
		var users []string
		for _, e := range s.sink.take() {
			users = append(users, e.UserId)
		}
		if !reflect.DeepEqual(users, c.users) {
			t.Errorf("%s: stored %v, want %v", name, users, c.users)
		}
	}
}

func TestEventsRejectsItemsAndKeepsTheRest(t *testing.T) {
	s := newActionServer(t)
	resp, body := s.post(t, s.wedding, `{"event":"signup","user_id":"u0"}
{"event":"signup","user_id":"u1","amount":3}
{"event":"signup",
17
{"event":"signup","user_id":"u4","program":"general"}
{"event":"signup","user_id":"u5","program":"wedding"}`)
	if resp.StatusCode != 202 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	var answer struct {
		Accepted int
		Rejected []struct {
			Index         int
			Field, Detail string
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	var faults []string
	for _, r := range answer.Rejected {
		faults = append(faults, fmt.Sprint(r.Index, r.Field))
		if r.Detail == "" {
			t.Errorf("item %d has no detail", r.Index)
		}
	}
	if want := []string{"1amount", "2", "3", "4program"}; answer.Accepted != 2 || !reflect.DeepEqual(faults, want) {
		t.Errorf("accepted %d, rejected %q, want %q", answer.Accepted, faults, want)
	}
	if events := s.sink.take(); len(events) != 2 || events[0].UserId != "u0" || events[1].UserId != "u5" || events[0].Program != "wedding" {
		t.Errorf("stored %v", events)
	}
	if got, want := s.counts(t), map[string]float64{"events accepted": 2, "events rejected": 4}; !reflect.DeepEqual(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestEventsRefuses(t *testing.T) {
	s := newActionServer(t)
	one := `{"event":"signup","user_id":"u1"}`
	huge := strings.Repeat(" ", ActionBodyMax) + one
	for name, c := range map[string]struct {
		method, key, body string
		headers           []string
		status            int
	}{
		"no key":            {"POST", "", one, nil, 401},
		"unknown key":       {"POST", "wmk_x", one, nil, 401},
		"role read":         {"POST", s.read, one, nil, 403},
		"GET":               {"GET", s.event, "", nil, 405},
		"OPTIONS":           {"OPTIONS", "", "", nil, 405},
		"no JSON":           {"POST", s.event, "hello", nil, 400},
		"nothing":           {"POST", s.event, "", nil, 400},
		"too large":         {"POST", s.event, huge, nil, 413},
		"large when packed": {"POST", s.event, gzipped(huge), []string{"Content-Encoding", "gzip"}, 413},
		"no gzip":           {"POST", s.event, one, []string{"Content-Encoding", "gzip"}, 400},
		"brotli":            {"POST", s.event, one, []string{"Content-Encoding", "br"}, 415},
		"too many":          {"POST", s.event, "[" + strings.Repeat("1,", 10_000) + "1]", nil, 413},
	} {
		headers := c.headers
		if c.key != "" {
			headers = append(headers, "Authorization", "Bearer "+c.key)
		}
		resp, body := s.do(t, c.method, "/v1/events", c.body, headers...)
		var problem struct {
			Status        int
			Title, Detail string
		}
		err := json.Unmarshal([]byte(body), &problem)
		if resp.StatusCode != c.status || err != nil || problem.Status != c.status || problem.Detail == "" ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, body, c.status)
		}
		if c.status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", name)
		}
	}
	if events := s.sink.take(); events != nil {
		t.Errorf("stored %v", events)
	}
}

func TestEventsUnavailable(t *testing.T) {
	s := newActionServer(t)
	s.sink.err = errors.New("disk full")
	resp, body := s.post(t, s.event, `{"event":"signup","user_id":"u1"}`)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || strings.Contains(body, "disk full") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestJourney follows a link through the edge and reports what came of it in
// the three ways.
func TestJourney(t *testing.T) {
	s := newActionServer(t)
	resp, _ := s.do(t, "GET", "/LOVE-7G2K9Q", "", "User-Agent", "Mozilla/5.0")
	location, err := resp.Location()
	if err != nil || resp.StatusCode != 302 {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	click, cookie := location.Query().Get("wm_click"), resp.Cookies()[0]
	hit := s.edge.hits.take()[0]

	if resp, body := s.post(t, s.event, `{"event":"signup","user_id":"u1","click_id":"`+click+`"}`); body != `{"accepted":1,"rejected":[]}` {
		t.Errorf("events: %d %s", resp.StatusCode, body)
	}
	if resp, body := s.do(t, "GET", "/v1/postback?event=purchase&click_id="+click+"&key="+s.event, ""); body != "ok" {
		t.Errorf("postback: %d %s", resp.StatusCode, body)
	}
	resp, _ = s.do(t, "GET", "/v1/pixel.gif?event=activate", "", "Cookie", cookie.Name+"="+cookie.Value)
	if fault := resp.Header.Get("X-Waymark-Error"); fault != "" {
		t.Errorf("pixel: %s", fault)
	}
	events := s.sink.take()
	if len(events) != 3 {
		t.Fatalf("stored %v", events)
	}
	for _, e := range events {
		byClick := e.ClickTimeMs == hit.TimeMs && e.ClickNode == hit.Node && e.ClickSequence == hit.Sequence
		byVisitor := e.VisitorId == hit.VisitorId && e.VisitorId != 0
		if e.Link != hit.Link || e.ReferrerId != "s-17" || byClick == byVisitor || len(e.Touches) != 1 || e.Touches[0].TimeMs != hit.TimeMs {
			t.Errorf("%s: stored %v\nthe click was %v", e.Event, e, hit)
		}
	}
}
