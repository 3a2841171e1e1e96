package admin

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/rewards/accountant"
	"waymark/tracker/rewards/rewardstest"
)

// ledgerViews is the ledger of the programme wedding, which pays 10 % of each
// purchase and asks for approval, with a row for each entry as the page of
// rewards and payouts.
type ledgerViews struct{ *rewardstest.Ledger }

func newLedgerViews() ledgerViews {
	p, tenth := tracker.NewProgram("wedding"), decimal.NewFromInt(10)
	p.Rewards.Approval = tracker.Manual
	p.Rewards.Rules = []tracker.RewardRule{{Name: "share", On: tracker.StageConverted, Each: tracker.EachEvery, To: tracker.ToReferrer, Percent: &tenth}}
	return ledgerViews{rewardstest.New(&rewards.Terms{Program: "wedding", Versions: []rewards.Version{{Number: 1, Program: &p}}})}
}

func (l ledgerViews) accountant(f *fixture) *accountant.Accountant {
	return accountant.New(accountant.Options{
		Store: l, Sink: l, Programs: f.links.Programs, Now: func() time.Time { return f.now }, Patience: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
}

func (l ledgerViews) Rewards(_ context.Context, q tracker.RewardQuery) (*tracker.Report, error) {
	page := &tracker.Report{Columns: []string{"program", "party", "amount"}, Extra: map[string]any{"cursor": ""}}
	for _, e := range l.Entries() {
		if (q.Party == "" || q.Party == e.Party) && (q.Program == "" || q.Program == "wedding") {
			page.Rows = append(page.Rows, []any{"wedding", e.Party, e.Value})
		}
	}
	return page, nil
}

func (l ledgerViews) Payouts(ctx context.Context, q tracker.RewardQuery) (*tracker.Report, error) {
	return l.Rewards(ctx, q)
}

// newRewards has three calculated rewards: two of s-1, one of s-2.
func newRewards(t *testing.T, f *fixture) (ids []string) {
	t.Helper()
	for i, order := range []struct {
		by    string
		value int64
	}{{"s-1", 100}, {"s-1", 55}, {"s-2", 20}} {
		f.ledger.Arrive(&rewards.Fact{
			Event: "purchase", Stage: tracker.StageConverted, Key: fmt.Sprint("o:", i), Order: fmt.Sprint(i), Time: testNow.AddDate(0, -1, i),
			Party: fmt.Sprint("c-", i), User: true, Referrer: order.by, Value: decimal.NewFromInt(order.value),
		})
	}
	f.want(t, 200, "POST", "/v1/programs/wedding/rewards/recompute", f.admin, "")
	byFact := map[string]string{}
	for _, e := range f.ledger.Entries() {
		if e.Kind == rewards.Earn {
			byFact[e.Fact] = e.Chain
		}
	}
	return []string{byFact["purchase o:0"], byFact["purchase o:1"], byFact["purchase o:2"]}
}

// rewardExchanges are those of the document that are about rewards.
func rewardExchanges(t *testing.T, f *fixture) []exchange {
	ids := newRewards(t, f)
	one, payouts, statement, recompute := "/v1/rewards/{id}", "/v1/payouts", "/v1/statements/{party}", "/v1/programs/{name}/rewards/recompute"
	batch := rewards.BatchID("wedding", "mine")
	return []exchange{
		{"/v1/rewards", "GET", "/v1/rewards?limit=5", f.read, "", 200},
		{"/v1/rewards", "GET", "/v1/rewards?format=csv", f.read, "", 200},
		{"/v1/rewards", "GET", "/v1/rewards?state=x", f.read, "", 422},
		{one, "GET", "/v1/rewards/" + ids[0], f.read, "", 200},
		{one, "GET", "/v1/rewards/x", f.read, "", 404},
		{one + "/approve", "POST", "/v1/rewards/" + ids[0] + "/approve", f.read, "", 403},
		{one + "/approve", "POST", "/v1/rewards/" + ids[0] + "/approve", f.admin, "", 200},
		{one + "/approve", "POST", "/v1/rewards/" + ids[0] + "/approve", f.admin, "", 409},
		{one + "/approve", "POST", "/v1/rewards/x/approve", f.admin, "", 404},
		{one + "/reject", "POST", "/v1/rewards/" + ids[1] + "/reject?reason=a+friend", f.admin, "", 200},
		{one + "/claim", "POST", "/v1/rewards/" + ids[1] + "/claim", f.admin, "", 409},
		{one + "/claim", "POST", "/v1/rewards/" + ids[0] + "/claim", f.admin, "", 200},
		{payouts, "POST", payouts, f.admin, `{"program":"wedding","key":"mine","minimum":"1.50","until":"2026-11-20T00:00:00Z"}`, 201},
		{payouts, "POST", payouts, f.admin, `{"program":"x"}`, 422},
		{payouts, "POST", payouts, f.admin, `{`, 400},
		{payouts, "POST", payouts, f.read, `{"program":"wedding"}`, 403},
		{payouts, "POST", payouts, f.admin, strings.Repeat(" ", payoutBodyMax+1), 413},
		{payouts, "GET", payouts, f.read, "", 200},
		{payouts + "/{batch}", "GET", payouts + "/" + batch, f.read, "", 200},
		{payouts + "/{batch}", "GET", payouts + "/" + batch + "?format=csv", f.read, "", 200},
		{payouts + "/{batch}", "GET", payouts + "/x", f.read, "", 404},
		{statement, "GET", "/v1/statements/s-1?program=wedding&month=2026-10", f.read, "", 200},
		{statement, "GET", "/v1/statements/s-1?month=2026-10&format=csv", f.weddingRead, "", 200},
		{statement, "GET", "/v1/statements/s-1?program=wedding&month=x", f.read, "", 422},
		{statement, "GET", "/v1/statements/nobody?program=wedding", f.read, "", 404},
		{recompute, "POST", "/v1/programs/wedding/rewards/recompute", f.admin, "", 200},
		{recompute, "POST", "/v1/programs/wedding/rewards/recompute?dry_run=true", f.admin, `{"currency":"EUR","effective_from":"2026-01-01T00:00:00Z"}`, 200},
		{recompute, "POST", "/v1/programs/wedding/rewards/recompute", f.admin, `{}`, 400},
		{recompute, "POST", "/v1/programs/x/rewards/recompute", f.admin, "", 404},
	}
}

func TestRewardDecisions(t *testing.T) {
	f := newFixture(t)
	ids := newRewards(t, f)
	approved := f.want(t, 200, "POST", "/v1/rewards/"+ids[0]+"/approve", f.weddingAdmin, "")
	if approved["state"] != "eligible" || approved["balance"] != "10" || approved["party"] != "s-1" {
		t.Errorf("approved: %v", approved)
	}
	f.want(t, 200, "POST", "/v1/rewards/"+ids[1]+"/approve", f.admin, "")
	claimed := f.want(t, 200, "POST", "/v1/rewards/"+ids[0]+"/claim", f.admin, "")
	entries := claimed["entries"].([]any)
	last := entries[len(entries)-1].(map[string]any)
	if claimed["state"] != "paid" || last["actor"] != tracker.BootstrapKeyID || last["batch"] == "" {
		t.Errorf("claimed: %v", claimed)
	}
	f.wantFault(t, 409, "", "POST", "/v1/rewards/"+ids[0]+"/reject", f.admin, "")
	f.wantFault(t, 409, "", "POST", "/v1/rewards/"+ids[2]+"/claim", f.admin, "")
	rejected := f.want(t, 200, "POST", "/v1/rewards/"+ids[1]+"/reject?reason=a+friend", f.admin, "")
	if rejected["state"] != "cancelled" || rejected["balance"] != "0" {
		t.Errorf("rejected: %v", rejected)
	}
}

func TestStatement(t *testing.T) {
	f := newFixture(t)
	ids := newRewards(t, f)
	f.want(t, 200, "POST", "/v1/rewards/"+ids[0]+"/approve", f.admin, "")
	paid := f.want(t, 201, "POST", "/v1/payouts", f.weddingAdmin, `{}`)
	if paid["total"] != "10" || paid["closed"] != true || paid["program"] != "wedding" {
		t.Errorf("paid: %v", paid)
	}
	for _, test := range []struct{ month, want string }{
		{"2026-09", "0 0 0 0 0 0"}, {"2026-10", "0 15.5 0 0 0 15.5"}, {"2026-11", "15.5 0 0 0 10 5.5"}, {"2026-12", "5.5 0 0 0 0 5.5"},
	} {
		s := f.want(t, 200, "GET", "/v1/statements/s-1?program=wedding&month="+test.month, f.read, "")
		if got := fmt.Sprint(s["opening"], " ", s["earned"], " ", s["adjusted"], " ", s["expired"], " ", s["paid"], " ", s["closing"]); got != test.want {
			t.Errorf("%s: got %s, want %s", test.month, got, test.want)
		}
		if b := s["balances"].(map[string]any); b["pending"] != "5.5" || b["eligible"] != "0" || b["paid"] != "10" {
			t.Errorf("balances: %v", b)
		}
	}
	journal := f.send("GET", "/v1/payouts/"+paid["batch"].(string)+"?format=csv", f.read, "")
	want := "date,party,account,debit,credit,currency,reference,text\r\n" +
		"2026-11-20,s-1,rewards_payable,10,,EUR," + paid["batch"].(string) + ",payout\r\n2026-11-20,s-1,payouts,,10,EUR," + paid["batch"].(string) + ",payout\r\n"
	if journal != want {
		t.Errorf("the journal is\n%s, want\n%s", journal, want)
	}
}

func TestPayoutFaults(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ field, body string }{
		{"program", `{}`}, {"program", `{"program":"nope"}`}, {"minimum", `{"program":"wedding","minimum":"-1"}`}, {"minimum", `{"program":"wedding","minimum":"x"}`},
		{"until", `{"program":"wedding","until":"2030-01-01"}`}, {"until", `{"program":"wedding","until":"soon"}`}, {"amount", `{"program":"wedding","amount":"1"}`},
		{"parties", `{"program":"wedding","parties":["` + strings.Repeat(`x","`, payoutPartiesMax) + `x"]}`}, {"key", `{"program":"wedding","key":"` + strings.Repeat("x", 256) + `"}`},
	} {
		f.wantFault(t, 422, c.field, "POST", "/v1/payouts", f.admin, c.body)
	}
	f.wantFault(t, 403, "program", "POST", "/v1/payouts", f.weddingAdmin, `{"program":"general"}`)
	f.ledger.Fault = func() error { return tracker.ErrUnavailable }
	f.wantFault(t, 503, "", "POST", "/v1/payouts", f.admin, `{"program":"wedding"}`)
}

// A key of another programme neither sees nor moves a reward.
func TestRewardsOfOthers(t *testing.T) {
	f := newFixture(t)
	ids := newRewards(t, f)
	secret := f.want(t, 201, "POST", "/v1/keys", f.admin, `{"role":"admin","program":"general"}`)["secret"].(string)
	f.wantFault(t, 404, "id", "GET", "/v1/rewards/"+ids[0], secret, "")
	f.wantFault(t, 404, "id", "POST", "/v1/rewards/"+ids[0]+"/approve", secret, "")
	f.wantFault(t, 403, "program", "GET", "/v1/rewards?program=wedding", secret, "")
	f.wantFault(t, 403, "program", "GET", "/v1/statements/s-1?program=wedding", secret, "")
	f.wantFault(t, 404, "name", "POST", "/v1/programs/wedding/rewards/recompute", secret, "")
	batch := f.want(t, 201, "POST", "/v1/payouts", f.admin, `{"program":"wedding"}`)["batch"].(string)
	f.wantFault(t, 404, "", "GET", "/v1/payouts/"+batch, secret, "")
}
