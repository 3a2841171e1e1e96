package admin

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/fraud"
	"waymark/tracker/fraud/fraudtest"
)

// fraudViews is a log with a referral of the programme wedding that is held,
// and one of general.
type fraudViews struct{ *fraudtest.Log }

func newFraudViews(t testing.TB, f *fixture) (fraudViews, *fraud.Assessor) {
	t.Helper()
	v := fraudViews{fraudtest.New()}
	for _, program := range []string{"wedding", "general"} {
		v.Want(fraud.Entry{
			Referral: fraud.Referral{ID: "of-" + program, Program: program, Referrer: "s-1", ReferrerType: "supplier", Referee: "c-1", ReferredAt: testNow.AddDate(0, -1, 0)},
			Score:    0.8, Risk: "high", Action: "hold", Version: 2,
			Signals: []fraud.Signal{{Name: "speed", Value: 9, Threshold: 5, Weight: 0.1}, {Name: "velocity", Value: 12, Threshold: 10, Weight: 0.8, Triggered: true}},
		})
	}
	a := fraud.NewAssessor(fraud.Options{Store: v, Sink: v, Patience: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return f.now }})
	if _, err := a.Assess(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v, a
}

func (v fraudViews) FraudReferrals(_ context.Context, q tracker.FraudQuery) (*tracker.Report, error) {
	page := &tracker.Report{Columns: []string{"program", "referee", "score"}, Extra: map[string]any{"cursor": ""}}
	for _, program := range []string{"general", "wedding"} {
		if q.Program == "" || q.Program == program {
			page.Rows = append(page.Rows, []any{program, "c-1", 0.8})
		}
	}
	return page, nil
}

func (v fraudViews) FraudEvidence(_ context.Context, r fraud.Referral, signals []string, limit int) ([]fraud.Evidence, error) {
	var evidence []fraud.Evidence
	for _, signal := range signals {
		evidence = append(evidence, fraud.Evidence{Signal: signal, Time: r.ReferredAt, Party: r.Referee, Event: "signup", Action: "i:7"})
	}
	return evidence, nil
}

// fraudExchanges are those of the document that are about fraud.
func fraudExchanges(f *fixture) []exchange {
	one, decision := "/v1/fraud/{id}", "/v1/fraud/{id}/decision"
	return []exchange{
		{"/v1/fraud", "GET", "/v1/fraud?limit=5&risk=high", f.read, "", 200},
		{"/v1/fraud", "GET", "/v1/fraud?format=csv", f.read, "", 200},
		{"/v1/fraud", "GET", "/v1/fraud?risk=x", f.read, "", 422},
		{one, "GET", "/v1/fraud/of-wedding", f.read, "", 200},
		{one, "GET", "/v1/fraud/x", f.read, "", 404},
		{one, "GET", "/v1/fraud/of-general", f.weddingRead, "", 404},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.read, `{"decision":"approve"}`, 403},
		{decision, "POST", "/v1/fraud/of-general/decision", f.weddingAdmin, `{"decision":"approve"}`, 404},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"withdraw"}`, 409},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"approve","reason":"a friend"}`, 200},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"hold"}`, 422},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"reject","why":""}`, 422},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.admin, `x`, 400},
		{decision, "POST", "/v1/fraud/of-wedding/decision", f.admin, strings.Repeat(" ", fraudBodyMax+1), 413},
	}
}

func TestFraudDecision(t *testing.T) {
	f := newFixture(t)
	held := f.want(t, 200, "GET", "/v1/fraud/of-wedding", f.weddingRead, "")
	evidence := held["evidence"].([]any)
	if held["action"] != "hold" || held["decision"] != "" || len(held["signals"].([]any)) != 2 || len(evidence) != 1 || evidence[0].(map[string]any)["signal"] != "velocity" {
		t.Errorf("held: %v", held)
	}
	f.now = f.now.Add(time.Minute)
	approved := f.want(t, 200, "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"approve","reason":"we met them"}`)
	log := approved["log"].([]any)
	last := log[len(log)-1].(map[string]any)
	if approved["action"] != "approve" || approved["score"] != 0.8 || len(log) != 2 || last["actor"] != tracker.BootstrapKeyID || last["reason"] != "we met them" {
		t.Errorf("approved: %v", approved)
	}
	f.now = f.now.Add(time.Minute)
	if back := f.want(t, 200, "POST", "/v1/fraud/of-wedding/decision", f.weddingAdmin, `{"decision":"withdraw"}`); back["action"] != "hold" || back["decision"] != "" {
		t.Errorf("withdrawn: %v", back)
	}
	f.wantFault(t, 422, "decision", "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"hold"}`)
	f.wantFault(t, 422, "reason", "POST", "/v1/fraud/of-wedding/decision", f.admin, `{"decision":"approve","reason":"`+strings.Repeat("x", fraudReasonMax+1)+`"}`)
	f.wantFault(t, 404, "id", "GET", "/v1/fraud/x", f.admin, "")
	if list := f.want(t, 200, "GET", "/v1/fraud", f.weddingRead, ""); len(list["rows"].([]any)) != 1 {
		t.Errorf("a key of one programme sees %v", list)
	}
}
