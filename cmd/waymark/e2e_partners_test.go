package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// partnerProgram pays the partner's own rate at once, else ten per cent, for
// leads that somebody accepted.
var partnerProgram = map[string]any{
	"party_types": []string{"agent", "lead"}, "effective_from": "2026-01-01T00:00:00Z",
	"referrals": map[string]any{"acceptance": "manual", "expires_after_days": 3650},
	"rewards":   map[string]any{"rules": []map[string]any{{"name": "commission", "on": "converted", "each": "every", "percent": "10", "partner_rate": true}}},
	"campaigns": []map[string]any{{"name": "fair", "starts_at": "2026-01-01T00:00:00Z", "spend": "100", "targets": map[string]any{"conversions": 4}}},
}

// TestPartnersEndToEnd lives the life of some referrals: by a partner with a
// rate, by one without a record, and by one who is suspended in between.
func TestPartnersEndToEnd(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	crm := newCRM(t)
	partnerProgram["webhooks"] = []map[string]any{{"url": crm.URL, "secret": crmSecret, "events": []string{"referral", "reward.paid"}}}
	s.mustCall(http.StatusOK, "PUT", s.admin, "/v1/programs/agents", partnerProgram, nil)
	var ann struct {
		Code string
		Rate string `json:"commission_rate"`
	}
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/partners", map[string]any{"program": "agents", "id": "ann", "type": "agent", "name": "Ann", "commission_rate": "12.5", "joined_at": "2026-01-01T00:00:00Z"}, &ann)
	s.mustCall(http.StatusConflict, "POST", s.admin, "/v1/partners", map[string]any{"program": "agents", "id": "bob", "code": ann.Code}, nil)
	s.partners("create", "bob", "--name=Bob")
	if ann.Rate != "12.5" || ann.Code == "" {
		t.Errorf("created %+v", ann)
	}
	for _, agent := range []string{"ann", "bob", "eve"} {
		s.createLink(map[string]any{"code": "by-" + agent, "url": "https://example.com/", "program": "agents", "campaign": "fair", "referrer": map[string]string{"id": agent, "type": "agent"}, "referee_type": "lead"})
	}
	lead := func(user, agent, judgement, value string) []map[string]any {
		events := []map[string]any{{"event": "signup", "id": user, "user_id": user, "code": "by-" + agent, "time": "2026-02-01T00:00:00Z", "properties": map[string]string{"source": "phone"}}}
		if judgement != "" {
			events = append(events, map[string]any{"event": judgement, "program": "agents", "id": user, "user_id": user, "time": "2026-02-02T00:00:00Z"})
		}
		if value != "" {
			events = append(events, map[string]any{"event": "purchase", "program": "agents", "order_id": user, "user_id": user, "time": "2026-02-03T00:00:00Z", "value": value})
		}
		return events
	}
	s.report(lead("l1", "ann", "accept", "199.99"))
	s.report(lead("l2", "ann", "reject", "50"))
	s.report(lead("l3", "bob", "accept", "100"))
	s.report(lead("l4", "eve", "", ""))
	s.waitPartners("ann 2 1 1 25; bob 1 0 1 10; eve 1 0 0 0")

	s.partners("change", "bob", "--status=suspended")
	s.report([]map[string]any{{"event": "purchase", "program": "agents", "order_id": "after", "user_id": "l3", "time": time.Now().UTC().Add(time.Second).Format(time.RFC3339), "value": "1000"}})
	s.waitSQL("SELECT count() FROM waymark.rewards WHERE party = 'ann' AND state = 'eligible'", "1") // once its referral is assessed
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/payouts", map[string]any{"program": "agents", "parties": []string{"ann"}}, nil)
	s.waitPartners("ann 2 1 1 25; bob 1 0 1 10; eve 1 0 0 0")
	if rows := s.mustSQL("SELECT referee, state, source FROM waymark.referral_states ORDER BY referee"); fmt.Sprint(rows) != "[[l1 paid phone] [l2 rejected phone] [l3 converted phone] [l4 pending phone]]" {
		t.Errorf("the states are %v", rows)
	}
	if rows := s.mustSQL("SELECT conversions, conversions_attainment, value, toDecimalString(rewards, 2), spend > 100 FROM waymark.campaigns WHERE campaign = 'fair'"); fmt.Sprint(rows[0][:3]) != "[3 0.75 1349.99]" {
		t.Errorf("the campaign is %v", rows)
	}
	s.checkAuditLog()
	crm.wait("l1", "referral.pending referral.accepted referral.converted referral.paid reward.paid")
	crm.wait("l2", "referral.pending referral.rejected referral.converted")
	s.interrupt()
	// Whoever takes over knows what was told, and tells the rest.
	before := crm.count("l1")
	s = h.up(t)
	s.report([]map[string]any{{"event": "accept", "program": "agents", "id": "l4", "user_id": "l4", "time": "2026-02-02T00:00:00Z"}})
	crm.wait("l4", "referral.pending referral.accepted")
	if after := crm.count("l1"); after != before {
		t.Errorf("after an orderly stop %d changes were told again", after-before)
	}
	s.interrupt()
}

// partners runs `waymark partners`, which must name the partner.
func (s *server) partners(command, partner string, flags ...string) {
	s.t.Helper()
	p := run(s.t, []string{"WAYMARK_ADMIN_KEY=" + s.key}, append([]string{"partners", command, partner, "--program=agents", "--admin", s.admin}, flags...)...)
	if code := p.wait(patience); code != 0 || !regexp.MustCompile("(?m)^"+partner+" +agents ").MatchString(p.out.String()) {
		s.t.Errorf("partners %s ended with %d: %s", command, code, p.out.String())
	}
}

const crmSecret = "only the sender knows it"

// crm is another system that is told of referrals; it is down for its first
// requests.
type crm struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	calls int
	told  map[string][]string // referee → events
}

func newCRM(t *testing.T) *crm {
	c := &crm{t: t, told: map[string][]string{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	seconds, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Waymark-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(crmSecret))
	mac.Write([]byte(seconds + "." + string(body)))
	var change struct{ Event, Referee string }
	if err := json.Unmarshal(body, &change); err != nil || hex.EncodeToString(mac.Sum(nil)) != sum {
		c.t.Errorf("told %s with signature %s, %v", body, sum, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls++; c.calls <= 4 {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	c.told[change.Referee] = append(c.told[change.Referee], change.Event)
}

func (c *crm) count(referee string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.told[referee])
}

// wait waits until all of some events were told of a referee, and sees that the
// states came in their order.
func (c *crm) wait(referee, want string) {
	c.t.Helper()
	eventually(c.t, "to be told "+want+" of "+referee, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		at := -1
		for _, event := range strings.Fields(want) {
			i := slices.Index(c.told[referee], event)
			if i < 0 || strings.HasPrefix(event, "referral") && i < at {
				return fmt.Errorf("was told %v", c.told[referee])
			}
			at = i
		}
		return nil
	})
}

// waitPartners waits for referrals, rejected ones, customers and commission of
// each partner.
func (s *server) waitPartners(want string) {
	s.t.Helper()
	eventually(s.t, "the partners to be "+want, func() error {
		rows, err := s.sql("SELECT arrayStringConcat(groupArray(concat(partner, ' ', toString(referrals), ' ', toString(rejected), ' ', toString(customers), ' ', toString(commission))), '; ') FROM (SELECT * FROM waymark.partners WHERE program = 'agents' ORDER BY partner)")
		if err == nil && rows[0][0] != want {
			err = fmt.Errorf("they are %s", rows[0][0])
		}
		return err
	})
}

// checkAuditLog looks for what was done, and by whom.
func (s *server) checkAuditLog() {
	s.t.Helper()
	want := "[pay change-partner create-links create-links create-links create-partner create-partner put-program]"
	eventually(s.t, "the audit log to be "+want, func() error {
		var page struct {
			Rows []struct{ Action, Actor, Program string }
		}
		s.mustCall(http.StatusOK, "GET", s.admin, "/v1/audit-log?program=agents", nil, &page)
		var actions []string
		for _, row := range page.Rows {
			if row.Action != "webhook-delivered" {
				actions = append(actions, row.Action)
			}
		}
		if fmt.Sprint(actions) != want {
			return fmt.Errorf("it is %v", actions)
		}
		return nil
	})
}
