package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// moneyWorld is what was reported, and what it is worth in cents, counted while
// it was made.
type moneyWorld struct {
	random *rand.Rand
	orders int
	value  map[int]int    // of each order, in euros
	back   map[int]int    // refunded
	user   map[int]string // who ordered
	by     map[string]string
	gone   map[string]bool // rejected users
}

const moneyParties, moneyUsers = 12, 60

func newMoneyWorld() *moneyWorld {
	w := &moneyWorld{random: rand.New(rand.NewPCG(4, 2)), value: map[int]int{}, back: map[int]int{}, user: map[int]string{}, by: map[string]string{}, gone: map[string]bool{}}
	for u := range moneyUsers {
		w.by[fmt.Sprint("u", u)] = fmt.Sprint("s", u%moneyParties)
	}
	return w
}

func (w *moneyWorld) when() string {
	return time.Date(2026, 3, 1, 0, w.random.IntN(100_000), 0, 0, time.UTC).Format(time.RFC3339)
}

// signups are those of all users, each brought by a party.
func (w *moneyWorld) signups() (events []map[string]any) {
	for user, party := range w.by {
		events = append(events, map[string]any{"event": "signup", "program": "money", "user_id": user, "time": "2026-02-01T00:00:00Z", "referrer": map[string]string{"id": party, "type": "supplier"}})
	}
	return events
}

// purchases are new orders, which name their user only.
func (w *moneyWorld) purchases(n int) (events []map[string]any) {
	for range n {
		order := w.orders
		w.orders++
		w.value[order], w.user[order] = 1+w.random.IntN(800), fmt.Sprint("u", w.random.IntN(moneyUsers))
		events = append(events, map[string]any{"event": "purchase", "program": "money", "order_id": fmt.Sprint(order), "user_id": w.user[order], "time": w.when(), "value": fmt.Sprint(w.value[order])})
	}
	return events
}

// reversals are refunds, of a part or all, and rejections.
func (w *moneyWorld) reversals(n int) (events []map[string]any) {
	for range n {
		if w.random.IntN(8) == 0 {
			user := fmt.Sprint("u", w.random.IntN(moneyUsers))
			w.gone[user] = true
			events = append(events, map[string]any{"event": "reject", "program": "money", "id": "reject-" + user, "user_id": user, "time": w.when()})
			continue
		}
		order := w.random.IntN(w.orders)
		if w.back[order] > 0 {
			continue
		}
		w.back[order] = 1 + w.random.IntN(w.value[order])
		events = append(events, map[string]any{"event": "refund", "program": "money", "order_id": fmt.Sprint(order), "user_id": w.user[order], "time": w.when(), "value": fmt.Sprint(w.back[order])})
	}
	return events
}

// worth is what each party has earned: some per cent of what is left of each
// order of its users, at most 50 euros.
func (w *moneyWorld) worth(percent int) map[string]int {
	cents := map[string]int{}
	for order, value := range w.value {
		if user := w.user[order]; !w.gone[user] {
			cents[w.by[user]] += min(5000, (value-w.back[order])*percent)
		}
	}
	return cents
}

func (s *server) report(events []map[string]any) {
	s.t.Helper()
	var answer struct{ Accepted int }
	s.mustCall(http.StatusAccepted, "POST", s.public, "/v1/events", events, &answer)
	if answer.Accepted != len(events) {
		s.t.Fatalf("%d of %d events were accepted", answer.Accepted, len(events))
	}
}

// waitEarned waits until the ledger has earned what the facts are worth,
// whatever of it was paid.
func (w *moneyWorld) waitEarned(s *server, percent int) {
	s.t.Helper()
	want := w.worth(percent)
	eventually(s.t, "the ledger to have what the facts are worth", func() error {
		got, err := s.cents("SELECT party, sum(value) FROM waymark.reward_entries WHERE program = 'money' AND entry != 'payout' AND party != '' GROUP BY party")
		if err != nil {
			return err
		}
		for party, cents := range want {
			if got[party] != cents {
				return fmt.Errorf("%s has earned %d cents, the ledger says %d", party, cents, got[party])
			}
		}
		return nil
	})
}

// cents reads rows of a party and an amount.
func (s *server) cents(sql string) (map[string]int, error) {
	rows, err := s.sql(sql)
	if err != nil {
		return nil, err
	}
	all := map[string]int{}
	for _, row := range rows {
		amount, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return nil, err
		}
		all[row[0]] = int(amount*100 + 0.5)
		if amount < 0 {
			all[row[0]] = -int(-amount*100 + 0.5)
		}
	}
	return all, nil
}

func moneyProgram(percent int, from string) map[string]any {
	return map[string]any{
		"party_types": []string{"supplier", "couple"}, "effective_from": from,
		"rewards": map[string]any{"rules": []map[string]any{{"name": "share", "on": "converted", "each": "every", "percent": fmt.Sprint(percent), "cap": "50"}}},
	}
}

// Rewards of a real installation: late facts, refunds, payouts by several
// admins at once of which one is killed, and rules that change the past. Nothing
// is paid twice, and the ledger is what the facts are worth.
func TestRewards(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	s.mustCall(http.StatusOK, "PUT", s.admin, "/v1/programs/money", moneyProgram(10, "2026-01-01T00:00:00Z"), nil)
	w := newMoneyWorld()
	s.report(w.purchases(40)) // before the signups that say whose they are
	s.report(w.signups())
	s.report(w.purchases(120))
	s.report(w.reversals(20))
	w.waitEarned(s, 10)

	kafka, clickhouse := "--kafka="+s.kafka, "--clickhouse=http://waymark:"+s.password+"@"+s.clickhouse
	startAdmin := func(name string) *process {
		return run(t, []string{"WAYMARK_ADMIN_KEY=" + s.key}, "admin", "--data", filepath.Join(t.TempDir(), name), "--admin=127.0.0.1:0", kafka, clickhouse)
	}
	second, victim := startAdmin("second"), startAdmin("victim")
	admins := []string{s.admin, second.match(adminReady)[1]}
	doomed := victim.match(adminReady)[1]
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			in := map[string]any{"program": "money", "key": fmt.Sprint("batch-", i/2)}
			if status, body, err := s.call("POST", admins[i%2], "/v1/payouts", in); err != nil || status != http.StatusCreated {
				t.Errorf("payout %d: %d %s %v", i, status, body, err)
			}
		})
	}
	// One more, killed wherever it is, and completed by another admin.
	group.Go(func() {
		s.call("POST", doomed, "/v1/payouts", map[string]any{"program": "money", "key": "interrupted"})
	})
	s.report(w.purchases(30))
	time.Sleep(time.Duration(w.random.IntN(600)) * time.Millisecond)
	victim.kill()
	s.report(w.reversals(30))
	group.Wait()
	var completed struct{ Closed bool }
	s.mustCall(http.StatusCreated, "POST", admins[1], "/v1/payouts", map[string]any{"program": "money", "key": "interrupted"}, &completed)
	if !completed.Closed {
		t.Error("a batch that was asked for again is not complete")
	}
	w.checkPaid(s, 10)
	second.interrupt()

	w.changeRules(s)
	w.damage(s, h, kafka, clickhouse)
}

// changeRules looks at what a rule that holds from the start on would change,
// and puts it.
func (w *moneyWorld) changeRules(s *server) {
	s.t.Helper()
	document := moneyProgram(15, "2026-01-02T00:00:00Z")
	var preview struct {
		Parties []struct{ Before, After string }
	}
	s.mustCall(http.StatusOK, "POST", s.admin, "/v1/programs/money/rewards/recompute?dry_run=true", document, &preview)
	if len(preview.Parties) == 0 {
		s.t.Error("the preview of a changed rule says that nothing changes")
	}
	w.waitEarned(s, 10) // the preview has changed nothing
	s.mustCall(http.StatusOK, "PUT", s.admin, "/v1/programs/money", document, nil)
	w.checkPaid(s, 15)
}

// damage takes rows out of the view target: the audit finds that, and its
// repair brings back the same ledger.
func (w *moneyWorld) damage(s *server, h home, kafka, clickhouse string) {
	s.t.Helper()
	audit := func(more ...string) (code int, said string) {
		p := run(s.t, nil, append([]string{"audit", "--data", h.data, kafka, clickhouse}, more...)...)
		return p.wait(3 * patience), p.out.String()
	}
	if code, said := audit(); code != 0 || !strings.Contains(said, "rewards/money") {
		s.t.Fatalf("the audit of a sound ledger: exit code %d\n%s", code, said)
	}
	const ledger = "SELECT count(), sum(cityHash64(* EXCEPT lines)) FROM waymark.reward_entries"
	before := s.mustSQL(ledger)
	s.mustSQL("ALTER TABLE waymark.reward_entries DELETE WHERE cityHash64(reward) % 3 = 0 SETTINGS mutations_sync = 1")
	if code, said := audit("--repair"); code != 0 || !strings.Contains(said, "repaired") {
		s.t.Fatalf("the repair of a damaged ledger: exit code %d\n%s", code, said)
	}
	if after := s.mustSQL(ledger); fmt.Sprint(after) != fmt.Sprint(before) {
		s.t.Errorf("after the repair the ledger is %v, it was %v", after, before)
	}
	w.checkPaid(s, 15)
}

// checkPaid pays the rest, and compares what was paid in all.
func (w *moneyWorld) checkPaid(s *server, percent int) {
	s.t.Helper()
	w.waitEarned(s, percent)
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/payouts", map[string]any{"program": "money"}, nil)
	paid, err := s.cents("SELECT user_id, -sum(value) FROM waymark.decisions WHERE event = 'reward_entry' AND properties['entry'] = 'payout' GROUP BY user_id")
	if err != nil {
		s.t.Fatal(err)
	}
	owed, err := s.cents("SELECT party, owed FROM waymark.reward_balances WHERE program = 'money'")
	if err != nil {
		s.t.Fatal(err)
	}
	for party, cents := range w.worth(percent) {
		if paid[party]-owed[party] != cents || owed[party] < 0 {
			s.t.Errorf("%s: %d cents were paid, of which %d are owed; it has earned %d", party, paid[party], owed[party], cents)
		}
	}
	for _, row := range s.mustSQL("SELECT reward, n, count() FROM waymark.reward_entries GROUP BY reward, n HAVING count() > 1") {
		s.t.Errorf("the place %s is taken twice", strings.Join(row, "/"))
	}
	// What was decided is in no count of what was sent.
	names := "('reward_entry', 'fraud_assessment', 'fraud_decision', 'partner_change', 'audit_entry')"
	split := s.mustSQL("SELECT (SELECT count() FROM waymark.events WHERE event IN " + names + "), (SELECT count() FROM waymark.decisions WHERE event NOT IN " + names +
		"), (SELECT count() FROM waymark.decisions WHERE event = 'reward_entry' AND program = 'money') = (SELECT count() FROM waymark.reward_entries WHERE program = 'money')")
	if fmt.Sprint(split[0]) != "[0 0 1]" && fmt.Sprint(split[0]) != "[0 0 true]" {
		s.t.Errorf("decisions in events, events in decisions, and whether the ledger has each decision: %v", split[0])
	}
	negative := s.mustSQL("SELECT count() FROM waymark.reward_balances WHERE least(pending, eligible, owed, payable, paid, expired) < 0")
	if negative[0][0] != "0" {
		s.t.Errorf("%s parties have a negative balance", negative[0][0])
	}
}
