package clickhouse

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/webhooks"
	"waymark/tracker/wire"
)

func TestPendingChanges(t *testing.T) {
	db := openTestDB(t)
	manual := tracker.NewProgram("p")
	manual.Referrals.Acceptance = tracker.Manual
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: manual, Version: 1}}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var rows []tracker.Row
	act := func(event, stage, user, referrer string, days int) {
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: event, Stage: stage, Program: "p", Id: fmt.Sprint(len(rows)), UserId: user, ReferrerId: referrer,
			TimeMs: uint64(at.AddDate(0, 0, days).UnixMilli()), Properties: map[string]string{"source": "phone"}}})
	}
	act("signup", "signed_up", "u1", "s", 0)
	act("accept", "", "u1", "", 1)
	act("purchase", "converted", "u1", "", 1)
	act("signup", "signed_up", "u2", "s", 3)
	act("reject", "", "u2", "", 4)
	earn := &rewards.Entry{Chain: "R", Party: "s", Time: at.AddDate(0, 0, 2), Value: money("7.5"), Kind: rewards.Earn, State: rewards.Pending, Referrer: "s", Referee: "u1"}
	rows = append(rows, tracker.Row{Offset: 9, Event: earn.Event("p", "EUR")})
	insertAt(t, db, 1, 0, rows...)
	pending := func(hook string, events ...string) (names []string, changes []webhooks.Change) {
		t.Helper()
		changes, err := db.PendingChanges(testContext(t), "p", hook, events, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			names = append(names, c.Event+" "+c.Referee)
		}
		return names, changes
	}
	want := "referral.pending u1,referral.accepted u1,referral.converted u1,reward.pending u1,referral.pending u2,referral.rejected u2"
	all, changes := pending("h")
	if got := strings.Join(all, ","); got != want {
		t.Errorf("pending are %s", got)
	}
	if c := changes[3]; c.ID != "R/0" || c.Amount != "7.5" || c.Party != "s" || c.Referrer != "s" || changes[0].Source != "phone" || changes[0].Amount != "" || !changes[0].Time.Equal(at) {
		t.Errorf("changes %+v", changes)
	}
	if some, _ := pending("h", "reward", "referral.rejected"); !slices.Equal(some, []string{"reward.pending u1", "referral.rejected u2"}) {
		t.Errorf("of some events: %v", some)
	}
	insertAt(t, db, 1, 1, tracker.Row{Event: &wire.Event{Event: "audit_entry", Program: "p", Id: "h/" + changes[1].ID, Properties: map[string]string{"action": webhooks.ActionDelivered}}})
	if rest, _ := pending("h"); len(rest) != 5 || slices.Contains(rest, "referral.accepted u1") {
		t.Errorf("after one was delivered: %v", rest)
	}
	if other, _ := pending("other"); len(other) != 6 {
		t.Errorf("another hook is to be told %v", other)
	}
}

func TestAuditLogPages(t *testing.T) {
	db := openTestDB(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var rows []tracker.Row
	for i := range 7 {
		rows = append(rows, tracker.Row{Offset: int64(i), Event: &wire.Event{Event: "audit_entry", Program: []string{"p", "q"}[i%2], Id: fmt.Sprint("id", i), TimeMs: uint64(at.UnixMilli()) + uint64(i/3),
			Properties: map[string]string{"actor": fmt.Sprint("k", i%3), "action": "put-program", "subject": "/v1/programs/p", "before": "b", "after": "a"}}})
	}
	insertAt(t, db, 1, 0, rows...)
	list := func(q tracker.AuditQuery) (ids string) {
		t.Helper()
		for q.Limit = 2; ; {
			page, err := db.AuditLog(testContext(t), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page.Rows {
				ids += row[slices.Index(page.Columns, "id")].(string)
			}
			if q.Cursor = page.Extra["cursor"].(string); q.Cursor == "" {
				return strings.ReplaceAll(ids, "id", "")
			}
		}
	}
	for _, test := range []struct {
		query tracker.AuditQuery
		want  string
	}{
		{tracker.AuditQuery{}, "6543210"}, {tracker.AuditQuery{Program: "q"}, "531"}, {tracker.AuditQuery{Actor: "k0"}, "630"}, {tracker.AuditQuery{Action: "x"}, ""},
		{tracker.AuditQuery{From: at.Add(time.Millisecond), To: at.Add(2 * time.Millisecond)}, "543"},
	} {
		if got := list(test.query); got != test.want {
			t.Errorf("%+v lists %s, want %s", test.query, got, test.want)
		}
	}
}
