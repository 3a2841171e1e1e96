package accountant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/decided/decidedtest"
	"waymark/tracker/rewards"
	"waymark/tracker/rewards/rewardstest"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func share(percent int64, since time.Time) *tracker.Program {
	p, tenth := tracker.NewProgram("p"), decimal.NewFromInt(percent)
	p.EffectiveFrom = since
	p.Rewards.Rules = []tracker.RewardRule{{Name: "share", On: tracker.StageConverted, Each: tracker.EachEvery, To: tracker.ToReferrer, Percent: &tenth}}
	return &p
}

func newTestLedger(p *tracker.Program) *rewardstest.Ledger {
	return rewardstest.New(&rewards.Terms{Program: "p", Versions: []rewards.Version{{Number: 1, Program: p}}})
}

func newTestAccountant(l *rewardstest.Ledger) *Accountant {
	return New(Options{
		Store: l, Sink: l, Now: func() time.Time { return now }, Interval: time.Millisecond, Patience: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Programs: func() []tracker.Program { return []tracker.Program{*share(10, time.Time{})} },
	})
}

func order(n int, party string, euros int64) *rewards.Fact {
	return &rewards.Fact{
		Event: "purchase", Stage: tracker.StageConverted, Key: fmt.Sprint("o:", n), Order: fmt.Sprint(n), Time: now.AddDate(0, 0, -30).Add(time.Duration(n) * time.Minute),
		Party: fmt.Sprint("u", n), User: true, Referrer: party, Value: decimal.NewFromInt(euros),
	}
}

func refund(n int, euros int64) *rewards.Fact {
	return &rewards.Fact{Event: tracker.EventRefund, Key: fmt.Sprint("i:r", n), Order: fmt.Sprint(n), Time: now.AddDate(0, 0, -20), Party: fmt.Sprint("u", n), User: true, Value: decimal.NewFromInt(euros)}
}

// sums are what parties earned and were paid, as the entries alone say.
func sums(l *rewardstest.Ledger) (earned, paid map[string]string) {
	e, p := map[string]decimal.Decimal{}, map[string]decimal.Decimal{}
	for _, entry := range l.Entries() {
		if entry.Kind == rewards.Payout {
			p[entry.Party] = p[entry.Party].Sub(entry.Value)
		} else if entry.Party != "" {
			e[entry.Party] = e[entry.Party].Add(entry.Value)
		}
	}
	earned, paid = map[string]string{}, map[string]string{}
	for party := range e {
		earned[party], paid[party] = e[party].String(), p[party].String()
	}
	return earned, paid
}

func TestPay(t *testing.T) {
	l := newTestLedger(share(10, time.Time{}))
	a := newTestAccountant(l)
	l.Arrive(order(1, "a", 100), order(2, "a", 50), order(3, "b", 20))
	ask := func(r PayoutRequest) *Batch {
		t.Helper()
		r.Program, r.Actor = "p", "key"
		batch, err := a.Pay(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if !batch.Closed || batch.Actor != "key" || batch.Currency != "EUR" {
			t.Errorf("the batch is %+v", batch)
		}
		return batch
	}
	total := func(what string, batch *Batch, want string) {
		t.Helper()
		if batch.Total.String() != want {
			t.Errorf("%s: %s was paid, want %s", what, batch.Total, want)
		}
	}
	total("below the minimum", ask(PayoutRequest{Minimum: decimal.NewFromInt(16)}), "0")
	total("one party", ask(PayoutRequest{Parties: []string{"b"}, Key: "mine"}), "2")
	total("the same key", ask(PayoutRequest{Key: "mine"}), "2")
	total("before anything was eligible", ask(PayoutRequest{Until: now.AddDate(0, 0, -40)}), "0")
	total("the rest", ask(PayoutRequest{}), "15")
	total("nothing is left", ask(PayoutRequest{}), "0")

	// What was paid and is taken back is deducted from the next payouts.
	l.Arrive(refund(1, 100), order(4, "a", 30))
	total("less than is owed", ask(PayoutRequest{}), "0")
	l.Arrive(order(5, "a", 90))
	total("what is over", ask(PayoutRequest{}), "2")
	if earned, paid := sums(l); earned["a"] != "17" || paid["a"] != "17" || paid["b"] != "2" {
		t.Errorf("earned %v, paid %v", earned, paid)
	}
}

// Payouts from all sides, each killed now and then, while facts arrive.
func TestPayConcurrently(t *testing.T) {
	l := newTestLedger(share(10, time.Time{}))
	fault, calm := decidedtest.Kills(7, 40)
	l.Fault = fault
	want := map[string]int64{}
	var group sync.WaitGroup
	group.Go(func() {
		for n := range 300 {
			party := fmt.Sprint("s", n%5)
			l.Arrive(order(n, party, int64(n)))
			if n%7 == 0 {
				l.Arrive(refund(n, int64(n)))
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	for n := range int64(300) {
		if n%7 != 0 {
			want[fmt.Sprint("s", n%5)] += n
		}
	}
	for range 4 {
		a := newTestAccountant(l)
		group.Go(func() {
			for range 15 {
				if _, err := a.Pay(context.Background(), PayoutRequest{Program: "p", Actor: "k"}); err != nil && !errors.Is(err, decidedtest.ErrKilled) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	calm()
	if _, err := newTestAccountant(l).Pay(t.Context(), PayoutRequest{Program: "p", Actor: "k"}); err != nil {
		t.Fatal(err)
	}
	ledger := rewards.NewLedger()
	for _, e := range l.Entries() {
		ledger.Add(&e)
	}
	for party, tens := range want {
		b := ledger.Account(party).Balances()
		if got := b.Paid.Sub(b.Owed); !got.Equal(decimal.New(tens, -1)) || !b.Eligible.IsZero() {
			t.Errorf("%s was paid %s, of which it owes %s, and can be paid %s; it has earned %s", party, b.Paid, b.Owed, b.Eligible, decimal.New(tens, -1))
		}
	}
	for id, c := range ledger.Chains {
		if c.Settlement != nil && c.State != rewards.Paid {
			t.Errorf("%s was paid and is %s", id, c.State)
		}
	}
}

func TestDecide(t *testing.T) {
	p := share(10, time.Time{})
	p.Rewards.Approval = tracker.Manual
	l := newTestLedger(p)
	a := newTestAccountant(l)
	l.Arrive(order(1, "a", 100), order(2, "a", 50))
	if _, err := a.Reconcile(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range l.Entries() {
		if e.Kind == rewards.Earn {
			ids = append(ids, e.Chain)
		}
	}
	if err := a.Approve(t.Context(), ids[0], "k", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.Approve(t.Context(), ids[0], "k", ""); !errors.Is(err, rewards.ErrState) {
		t.Errorf("approved twice: %v", err)
	}
	if err := a.Reject(t.Context(), ids[1], "k", "a friend"); err != nil {
		t.Fatal(err)
	}
	if err := a.Approve(t.Context(), "none", "k", ""); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("approved what there is not: %v", err)
	}
	batch, err := a.Pay(t.Context(), PayoutRequest{Program: "p", Actor: "k"})
	if err != nil || len(batch.Payments) != 1 || len(batch.Payments[0].Lines) != 1 || batch.Payments[0].Lines[0].Reward != ids[0] {
		t.Errorf("paid %+v, %v", batch, err)
	}
	if err := a.Reject(t.Context(), ids[0], "k", ""); !errors.Is(err, rewards.ErrState) {
		t.Errorf("rejected what was paid: %v", err)
	}
}

// Who comes second to a place is told so.
func TestDecideLost(t *testing.T) {
	p := share(10, time.Time{})
	p.Rewards.Approval = tracker.Manual
	l := newTestLedger(p)
	a := newTestAccountant(l)
	l.Arrive(order(1, "a", 100))
	if _, err := a.Reconcile(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	id := l.Entries()[0].Chain
	l.Fault = func() error {
		l.Fault = nil
		return newTestAccountant(l).Reject(context.Background(), id, "faster", "")
	}
	if err := a.Approve(t.Context(), id, "slower", ""); !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
}

func TestPreview(t *testing.T) {
	l := newTestLedger(share(10, time.Time{}))
	a := newTestAccountant(l)
	l.Arrive(order(1, "a", 100), order(2000, "a", 50), order(3, "b", 20))
	if _, err := a.Reconcile(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	entries := len(l.Entries())
	for _, test := range []struct {
		name  string
		draft *tracker.Program
		from  time.Time
		want  string
	}{
		{"as it is", nil, time.Time{}, "17 17 []"},
		{"from the start", share(20, now.AddDate(-1, 0, 0)), time.Time{}, "17 34 [{a 2 15 30} {b 1 2 4}]"},
		{"from in between", share(20, now.AddDate(0, 0, -30).Add(time.Hour)), time.Time{}, "17 22 [{a 1 5 10}]"},
		{"of some facts", share(20, now.AddDate(-1, 0, 0)), now.AddDate(0, 0, -29), "5 10 [{a 1 5 10}]"},
	} {
		p, err := a.Preview(t.Context(), "p", test.draft, test.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %v", p.Before, p.After, p.Parties); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	if len(l.Entries()) != entries {
		t.Error("a preview wrote into the ledger")
	}
}

func TestRun(t *testing.T) {
	l := newTestLedger(share(10, time.Time{}))
	a := newTestAccountant(l)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	for n := range 3 {
		l.Arrive(order(n+1, "a", 100))
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if earned, _ := sums(l); earned["a"] == fmt.Sprint(10*(n+1)) {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("after %d orders %v was earned", n+1, earned)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// behind is a store that counts a fact before it shows it, and fails when it is
// asked again.
type behind struct {
	*rewardstest.Ledger
	looks int
}

func (b *behind) RewardFacts(ctx context.Context, program string, countries bool) ([]*rewards.Fact, error) {
	switch b.looks++; b.looks {
	case 1:
		return nil, nil
	case 2:
		return nil, errors.New("away")
	}
	return b.Ledger.RewardFacts(ctx, program, countries)
}

// News that is not in every table yet is looked at again, though nothing else
// comes.
func TestRunLooksAgain(t *testing.T) {
	l := newTestLedger(share(10, time.Time{}))
	l.Arrive(order(1, "a", 100))
	a := newTestAccountant(l)
	a.Store = &behind{Ledger: l}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); len(l.Entries()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was earned")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A sink that takes entries of which nothing is seen again.
func TestNotIngested(t *testing.T) {
	l := newTestLedger(share(10, time.Time{}))
	l.Arrive(order(1, "a", 100))
	a := newTestAccountant(l)
	a.Sink = drain{}
	if _, err := a.Reconcile(t.Context(), "p"); !errors.Is(err, tracker.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

type drain struct{}

func (drain) Append(context.Context, ...[]byte) error { return nil }
