package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
	"waymark/tracker/partners"
	"waymark/tracker/partners/partnerstest"
)

// catalog is a log of links, programmes and keys in memory, which applies each
// record as the topics' follower does.
type catalog struct {
	mu     sync.Mutex
	links  *tracker.Links
	keys   *tracker.Keys
	offset int64
	err    error // what every write is answered with
}

func (c *catalog) write(link *tracker.Link, deleted bool) error {
	w := link.Wire()
	w.Deleted = deleted
	value, err := w.MarshalVT()
	if err != nil {
		return err
	}
	c.offset++
	return c.links.Apply([]byte(link.Key()), value, c.offset-1)
}

func (c *catalog) CreateLinks(_ context.Context, links []tracker.Link) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	faults := make([]error, len(links))
	for i := range links {
		link := &links[i]
		if c.err != nil {
			faults[i] = c.err
			continue
		}
		if link.Code == "" {
			program, _ := c.links.Program(link.Program)
			link.Code = tracker.NewCode(program.CodePrefix)
		}
		if _, taken := c.links.Occupant(link); taken {
			faults[i] = fmt.Errorf("create link %q: %w", link.Key(), tracker.ErrExists)
			continue
		}
		link.Number = c.links.MaxNumber() + 1
		link.CreatedAt, link.UpdatedAt = testNow, testNow
		faults[i] = c.write(link, false)
	}
	return faults
}

func (c *catalog) UpdateLink(_ context.Context, domain, code string, change func(*tracker.Link) error) (tracker.Link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	link, ok := c.links.Get(domain, code)
	if !ok {
		return link, tracker.ErrNotFound
	}
	if err := change(&link); err != nil {
		return link, err
	}
	if c.err != nil {
		return link, c.err
	}
	return link, c.write(&link, false)
}

func (c *catalog) DeleteLink(_ context.Context, domain, code string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	link, ok := c.links.Get(domain, code)
	if !ok {
		return tracker.ErrNotFound
	}
	if c.err != nil {
		return c.err
	}
	return c.write(&link, true)
}

func (c *catalog) PutProgram(_ context.Context, program tracker.Program) error {
	if c.err != nil {
		return c.err
	}
	return c.links.ApplyProgram(program)
}

func (c *catalog) PutKey(_ context.Context, key tracker.APIKey) error {
	if c.err != nil {
		return c.err
	}
	value, err := json.Marshal(key)
	if err != nil {
		return err
	}
	return c.keys.Apply([]byte(key.ID), value)
}

// answers is what ClickHouse would say, and what it was asked.
type answers struct {
	infos    []tracker.ReportInfo // nil for two of them
	report   tracker.Report
	query    tracker.ReportQuery
	history  tracker.ClickHistory
	valued   string               // the programme that has values
	versions []tracker.ProgramRow // of wedding
	err      error
}

func (a *answers) Reports() []tracker.ReportInfo {
	if a.infos != nil {
		return a.infos
	}
	return []tracker.ReportInfo{
		{Name: "funnel", Doc: "The funnel.", Columns: []string{"stage", "count"}},
		{Name: "channels", Doc: "By channel.", By: []string{"channel", "campaign"}, Columns: []string{"key", "clicks"}},
	}
}

func (a *answers) Report(_ context.Context, query tracker.ReportQuery) (*tracker.Report, error) {
	a.query = query
	return &a.report, a.err
}

func (a *answers) ClickHistory(context.Context, tracker.Click) (*tracker.ClickHistory, error) {
	return &a.history, a.err
}

func (a *answers) HasValue(_ context.Context, program string) (bool, error) {
	return program == a.valued, a.err
}

func (a *answers) ProgramVersions(_ context.Context, name string) ([]tracker.ProgramRow, error) {
	if name != "wedding" {
		return nil, a.err
	}
	return a.versions, a.err
}

var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// fixture is an admin listener with the programme "wedding" and a key of each
// kind.
type fixture struct {
	*catalog
	*answers
	ledger                    ledgerViews
	records                   *partnerstest.Records
	trail                     *auditTrail
	handler                   http.Handler
	clickIDs                  *tracker.ClickIDs
	reasons                   []string // for not being ready
	admin, read, event        string
	weddingAdmin, weddingRead string
	now                       time.Time
	lastStatus                int
	lastHeader                http.Header
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20})
	t.Cleanup(links.Close)
	f := &fixture{admin: "admin", now: testNow, answers: &answers{}, catalog: &catalog{links: links, keys: tracker.NewKeys("admin")}}
	wedding := tracker.NewProgram("wedding")
	wedding.PartyTypes, wedding.CodePrefix = []string{"supplier", "couple"}, "LOVE"
	if err := links.ApplyProgram(wedding); err != nil {
		t.Fatal(err)
	}
	key := func(role tracker.Role, program string) string {
		secret, key, err := tracker.NewAPIKey(role, program)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.PutKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		return secret
	}
	f.read, f.event = key(tracker.RoleRead, ""), key(tracker.RoleEvent, "")
	f.weddingAdmin, f.weddingRead = key(tracker.RoleAdmin, "wedding"), key(tracker.RoleRead, "wedding")
	ring, err := tracker.LoadOrCreateKeyRing(t.TempDir() + "/ring.json")
	if err != nil {
		t.Fatal(err)
	}
	f.clickIDs = tracker.NewClickIDs(ring)
	f.ledger, f.records, f.trail = newLedgerViews(), partnerstest.New(), &auditTrail{}
	logged, assessor := newFraudViews(t, f)
	f.handler = New(Options{
		Links: links, Keys: f.keys, ClickIDs: f.clickIDs,
		LinkWriter: f.catalog, ProgramWriter: f.catalog, ProgramHistory: f.answers, KeyWriter: f.catalog, Reporter: f.answers, ClickFinder: f.answers, ValueFinder: f.answers,
		RewardKeeper: f.ledger.accountant(f), RewardReader: f.ledger, FraudKeeper: assessor, FraudReader: logged,
		PartnerKeeper: &partners.Keeper{Store: f.records, Sink: f.records, Now: func() time.Time { return f.now }}, PartnerReader: f.records,
		Auditor: NewAuditor(f.trail, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)), AuditReader: f.trail,
		PublicURL: "https://go.example", Ready: func() []string { return f.reasons },
		Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return f.now },
	})
	return f
}

// send makes a request and returns the body of the answer.
func (f *fixture) send(method, target, key, body string) string {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	// As curl -d sends it.
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	f.lastStatus, f.lastHeader = w.Code, w.Header()
	return w.Body.String()
}

// want sends a request and fails unless the answer has the status.
func (f *fixture) want(t testing.TB, status int, method, target, key, body string) map[string]any {
	t.Helper()
	answer := f.send(method, target, key, body)
	if f.lastStatus != status {
		t.Errorf("%s %s %.200s: %d %s, want %d", method, target, body, f.lastStatus, answer, status)
	}
	var object map[string]any
	if answer != "" && json.Unmarshal([]byte(answer), &object) != nil && strings.Contains(f.lastHeader.Get("Content-Type"), "json") {
		t.Errorf("%s %s: %s is no JSON object", method, target, answer)
	}
	return object
}

// wantFault is want for a problem that names a field.
func (f *fixture) wantFault(t testing.TB, status int, field, method, target, key, body string) {
	t.Helper()
	problem := f.want(t, status, method, target, key, body)
	got, _ := problem["field"].(string)
	if got != field || problem["detail"] == "" || problem["status"] != float64(status) ||
		f.lastHeader.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s %.200s: %v, want the field %q", method, target, body, problem, field)
	}
	if field != "" {
		faults, _ := problem["errors"].([]any)
		if len(faults) == 0 || !strings.HasSuffix(faults[0].(map[string]any)["location"].(string), "."+field) {
			t.Errorf("%s %s: errors %v do not say where %q is", method, target, faults, field)
		}
	}
}

func TestAccess(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"hello","url":"https://example.com/"}`)
	for _, c := range []struct {
		method, target string
		anybody, read  int // statuses for no key and a key of role read
	}{
		{"GET", "/healthz", 200, 200}, {"GET", "/readyz", 200, 200}, {"GET", "/openapi.json", 200, 200}, {"GET", "/metrics", 401, 200},
		{"GET", "/v1/links", 401, 200}, {"GET", "/v1/links/hello", 401, 200}, {"GET", "/v1/links/hello/qr.svg", 401, 200},
		{"POST", "/v1/links", 401, 403}, {"PATCH", "/v1/links/hello", 401, 403}, {"DELETE", "/v1/links/hello", 401, 403},
		{"GET", "/v1/programs", 401, 200}, {"GET", "/v1/programs/general", 401, 200}, {"PUT", "/v1/programs/general", 401, 403}, {"GET", "/v1/programs/general/versions", 401, 200},
		{"GET", "/v1/keys", 401, 403}, {"POST", "/v1/keys", 401, 403}, {"DELETE", "/v1/keys/x", 401, 403}, {"DELETE", "/v1/keys?id=x", 401, 403},
		{"GET", "/v1/clicks/x", 401, 200}, {"GET", "/v1/reports", 401, 200}, {"GET", "/v1/reports/funnel", 401, 200},
	} {
		f.want(t, c.anybody, c.method, c.target, "", "")
		if c.anybody == 401 && f.lastHeader.Get("WWW-Authenticate") != `Bearer realm="waymark"` {
			t.Errorf("%s %s: 401 with %q", c.method, c.target, f.lastHeader)
		}
		f.want(t, c.anybody, c.method, c.target, "wmk_unknown", "")
		f.want(t, c.read, c.method, c.target, f.read, "")
		if c.anybody == 401 {
			f.want(t, 403, c.method, c.target, f.event, "")
		}
	}
}

func TestNoRoute(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/", "/nope", "/v1", "/v1/links/", "/v1/reports/funnel/x", "/docs", "/schemas/Link.json"} {
		f.wantFault(t, 404, "", "GET", target, f.admin, "")
	}
	f.wantFault(t, 405, "", "PUT", "/v1/links", f.admin, "")
	if got := f.lastHeader.Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow: %s", got)
	}
	f.wantFault(t, 422, "colour", "GET", "/v1/links?colour=red", f.admin, "")
	f.wantFault(t, 422, "by", "GET", "/v1/reports/channels?hits=gross&by=channel&by=campaign", f.admin, "")
	f.wantFault(t, 422, "limit", "GET", "/v1/links?limit=1&limit=1", f.admin, "")
}

func TestReadiness(t *testing.T) {
	f := newFixture(t)
	f.reasons = []string{"the broker does not answer"}
	if answer := f.want(t, 503, "GET", "/readyz", "", ""); fmt.Sprint(answer["reasons"]) != "[the broker does not answer]" {
		t.Errorf("got %v", answer)
	}
	f.want(t, 200, "GET", "/healthz", "", "")
}

func TestFailuresKeepTheirSecrets(t *testing.T) {
	f := newFixture(t)
	f.answers.err = fmt.Errorf("dial 10.0.0.1: password=hunter2")
	if problem := f.want(t, 500, "GET", "/v1/reports/funnel", f.admin, ""); strings.Contains(fmt.Sprint(problem), "hunter2") {
		t.Errorf("told %v", problem)
	}
	refused := &url.Error{Op: "Post", URL: "http://10.0.0.1:8123", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	for _, err := range []error{tracker.ErrUnavailable, context.DeadlineExceeded, refused, io.ErrUnexpectedEOF} {
		f.answers.err, f.catalog.err = fmt.Errorf("insert: %w", err), fmt.Errorf("produce: %w", err)
		f.want(t, 503, "GET", "/v1/reports/funnel", f.admin, "")
		if f.lastHeader.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		f.want(t, 503, "PUT", "/v1/programs/x", f.admin, "{}")
		f.want(t, 503, "POST", "/v1/keys", f.admin, `{"role":"read"}`)
		f.want(t, 503, "POST", "/v1/links", f.admin, `{"url":"https://example.com/"}`)
	}
	f.catalog.err = tracker.ErrUnavailable
	f.want(t, 503, "POST", "/v1/links", f.admin, `[{"url":"https://example.com/"},{"url":"x"}]`)
}
