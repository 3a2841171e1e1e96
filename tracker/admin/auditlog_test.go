package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// auditTrail is a log in memory that can be away. It answers its rows whatever
// is asked, and keeps the question.
type auditTrail struct {
	mu   sync.Mutex
	away bool
	// refused counts the attempts while it was away.
	refused int
	events  []*wire.Event
	query   tracker.AuditQuery
}

func (a *auditTrail) Append(_ context.Context, payloads ...[]byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		a.refused++
		return tracker.ErrUnavailable
	}
	for _, payload := range payloads {
		event := &wire.Event{}
		if err := event.UnmarshalVT(payload); err != nil {
			return err
		}
		if event.Event != tracker.EventAuditEntry || event.Id == "" {
			return errors.New("no entry of the audit log")
		}
		a.events = append(a.events, event)
	}
	return nil
}

func (a *auditTrail) set(away bool) { a.mu.Lock(); a.away = away; a.mu.Unlock() }

// said is the log as text, without ids and digests but for whether there are any.
func (a *auditTrail) said() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for _, e := range a.events {
		p := e.Properties
		lines = append(lines, fmt.Sprint(p["action"], " ", p["subject"], " of ", e.Program, " before ", len(p["before"]), " after ", len(p["after"])))
	}
	return lines
}

func (a *auditTrail) AuditLog(_ context.Context, query tracker.AuditQuery) (*tracker.Report, error) {
	a.query = query
	return &tracker.Report{Columns: []string{"actor"}, Rows: [][]any{{"k"}}, Extra: map[string]any{"cursor": ""}}, nil
}

// auditExchanges are those of the document that are about the audit log.
func auditExchanges(f *fixture) []exchange {
	const log = "/v1/audit-log"
	return []exchange{
		{log, "GET", log + "?actor=k&from=2026-11-01&limit=5", f.admin, "", 200}, {log, "GET", log + "?format=csv", f.weddingAdmin, "", 200},
		{log, "GET", log, f.read, "", 403}, {log, "GET", log + "?to=x", f.admin, "", 422},
	}
}

func TestAuditLog(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a/b","url":"https://example.com/","program":"wedding"}`)
	f.want(t, 422, "POST", "/v1/links", f.admin, `{"url":"x"}`)
	f.want(t, 200, "GET", "/v1/links", f.admin, "")
	f.want(t, 200, "PATCH", "/v1/links/a/b", f.admin, `{"active":false}`)
	f.want(t, 204, "DELETE", "/v1/links/a/b", f.weddingAdmin, "")
	f.want(t, 207, "POST", "/v1/links", f.admin, `[{"url":"https://example.com/1"},{"url":"x"},{"url":"https://example.com/2"}]`)
	f.want(t, 207, "POST", "/v1/links", f.admin, `[{"url":"x"}]`)
	f.want(t, 200, "PUT", "/v1/programs/new", f.admin, `{}`)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, `{}`)
	key := f.want(t, 201, "POST", "/v1/keys", f.admin, `{"role":"read","program":"wedding"}`)["id"].(string)
	f.want(t, 204, "DELETE", "/v1/keys?id="+key, f.admin, "")
	f.want(t, 204, "DELETE", "/v1/keys?id="+key, f.admin, "") // it is revoked already
	f.want(t, 201, "POST", "/v1/partners", f.weddingAdmin, `{"id":"s-1"}`)
	f.want(t, 200, "POST", "/v1/programs/wedding/rewards/recompute?dry_run=true", f.admin, "")
	want := []string{
		"create-links /v1/links/a%2Fb of wedding before 0 after 64", "change-link /v1/links/a%2Fb of wedding before 64 after 64",
		"delete-link /v1/links/a%2Fb of wedding before 64 after 0",
		"create-links /v1/links: 2 created of  before 0 after 64",
		"put-program /v1/programs/new of new before 0 after 64", "put-program /v1/programs/wedding of wedding before 64 after 64",
		"create-key /v1/keys/" + key + " of wedding before 0 after 64", "revoke-key-by-query /v1/keys?id=" + key + " of wedding before 64 after 0",
		"create-partner /v1/partners of wedding before 0 after 64",
	}
	if got := f.trail.said(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	first := f.trail.events[0]
	if p := first.Properties; p["actor"] != tracker.BootstrapKeyID || p["role"] != "admin" || first.TimeMs != uint64(testNow.UnixMilli()) {
		t.Errorf("the first entry is %v", first)
	}
	f.want(t, 200, "GET", "/v1/audit-log?from=2026-11-01&actor=x&action=put-program", f.weddingAdmin, "")
	if q := f.trail.query; q.Program != "wedding" || q.Actor != "x" || q.Action != "put-program" || q.Limit != 100 || q.From != time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) {
		t.Errorf("asked %+v", q)
	}
}

// What cannot be logged at once is done and answered all the same, and logged
// when the log is back; beyond the queue it is counted.
func TestAuditLogAway(t *testing.T) {
	trail := &auditTrail{away: true}
	registry := prometheus.NewRegistry()
	a := NewAuditor(trail, registry, slog.New(slog.DiscardHandler))
	for i := range auditQueueMax + 3 {
		a.write(t.Context(), &auditEntry{action: fmt.Sprint(i), time: testNow})
	}
	if trail.refused != 1 {
		t.Errorf("%d requests waited for a log that was known to be away, want the first alone", trail.refused)
	}
	families, err := registry.Gather()
	if err != nil || families[0].Metric[0].Counter.GetValue() != 3 {
		t.Errorf("lost %v, %v", families, err)
	}
	trail.set(false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); len(trail.said()) < auditQueueMax; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d entries came", len(trail.said()))
		}
	}
	cancel()
	if err := <-done; err != nil || trail.events[auditQueueMax-1].Properties["action"] != fmt.Sprint(auditQueueMax-1) {
		t.Errorf("ended with %v", err)
	}
}
