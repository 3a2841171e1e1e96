package rewards

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"waymark/tracker"
)

// ledger is the log as Kafka and ingest keep it: of entries with one identity
// the first counts.
type ledger struct {
	program string
	entries []*Entry
	ids     map[string]bool
}

func (l *ledger) write(t interface{ Fatal(...any) }, e *Entry) {
	if e == nil {
		return
	}
	event := e.Event(l.program, "EUR")
	if l.ids == nil {
		l.ids = map[string]bool{}
	}
	if l.ids[event.Id] {
		return
	}
	l.ids[event.Id] = true
	read, err := EntryOf(event) // as it comes back from ClickHouse
	if err != nil {
		t.Fatal(err)
	}
	l.entries = append(l.entries, &read)
}

// read sums up what a reader sees, who may lag behind: of a chain all but the
// last so many entries. Chains lie in different partitions, so one may be seen
// to its end where another is not.
func (l *ledger) read(hidden func(chain string) int) *Ledger {
	visible := map[string]int{}
	for _, e := range l.entries {
		visible[e.Chain] = e.N + 1
	}
	for _, chain := range slices.Sorted(maps.Keys(visible)) {
		visible[chain] -= hidden(chain)
	}
	read := NewLedger()
	for _, e := range l.entries {
		if e.N < visible[e.Chain] {
			read.Add(e)
		}
	}
	return read
}

// reconcile is a round of an accountant who may lag behind. Each entry that it
// has for the ledger may be lost: it may be killed.
func (l *ledger) reconcile(t interface{ Fatal(...any) }, terms *Terms, known []*Fact, hidden func(string) int, now time.Time, killed func() bool) (wrote int) {
	wants := map[string]*Reward{}
	book := l.read(hidden)
	for _, r := range Calculate(terms, slices.Clone(known)) {
		wants[r.ID] = &r
		book.Chain(r.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(book.Chains)) {
		if e := Next(wants[id], book.Chains[id], now); e != nil && !killed() {
			l.write(t, e)
			wrote++
		}
	}
	return wrote
}

func alive() bool        { return false }
func current(string) int { return 0 }

func (l *ledger) settle(t interface{ Fatal(...any) }, terms *Terms, known []*Fact, now time.Time) {
	for rounds := 0; l.reconcile(t, terms, known, current, now, alive) > 0; rounds++ {
		if rounds > 20 {
			t.Fatal("the accountant comes to no end")
		}
	}
}

// Whatever arrives in whatever order, whoever is killed, lags behind or pays at
// the same time: nothing is paid twice, no balance is negative, and in the end
// the ledger is what the facts are worth.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		manual := rapid.Bool().Draw(t, "manual")
		terms := termsOf(t, manual)
		all, worth := drawFacts(t)
		arriving := rapid.Permutation(all).Draw(t, "arriving")
		l := &ledger{program: "p"}
		now := day("2026-01-01")
		var known []*Fact
		batches := 0
		lag := func(string) int { return max(0, rapid.IntRange(-4, 2).Draw(t, "lag")) }
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				n := min(len(arriving), rapid.IntRange(1, 4).Draw(t, "arrivals"))
				known, arriving = append(known, arriving[:n]...), arriving[n:]
			case 1, 2:
				l.reconcile(t, terms, known, lag, now, func() bool { return rapid.IntRange(0, 3).Draw(t, "kill") == 0 })
			case 3:
				now = now.AddDate(0, 0, rapid.IntRange(1, 40).Draw(t, "days"))
			case 4: // two payouts from what each sees
				for range 2 {
					batches++
					for _, a := range l.read(lag).Accounts {
						if lines := a.Lines(PayoutLimits{}); lines != nil && rapid.IntRange(0, 3).Draw(t, "kill") != 0 {
							l.write(t, a.Pay("p", fmt.Sprint(batches), "k", lines, now))
						}
					}
				}
			case 5: // somebody approves or rejects something
				for _, a := range l.read(lag).Accounts {
					for _, c := range a.Chains {
						decision := rapid.IntRange(0, 9).Draw(t, "decision")
						if e, err := c.Approve("k", "", now); err == nil && decision < 5 {
							l.write(t, e)
						} else if e, err := c.Reject("k", "because", now); err == nil && decision == 9 {
							l.write(t, e)
						}
					}
				}
			}
			checkAccounts(t, l)
		}
		known = append(known, arriving...)
		now = now.AddDate(0, 0, 10)
		l.settle(t, terms, known, now)
		checkAccounts(t, l)
		checkWorth(t, l, worth)
		again := len(l.entries)
		l.settle(t, terms, known, now)
		if len(l.entries) != again {
			t.Fatalf("%d entries for nothing", len(l.entries)-again)
		}
	})
}

func termsOf(t *rapid.T, manual bool) *Terms {
	p := tracker.NewProgram("p")
	tenth := decimal.NewFromInt(10)
	p.Rewards.HoldDays, p.Rewards.ExpiresAfterDays = 7, 60
	p.Rewards.Rules = []tracker.RewardRule{{Name: "r", On: tracker.StageConverted, Each: tracker.EachEvery, To: tracker.ToReferrer, Percent: &tenth}}
	if manual {
		p.Rewards.Approval = tracker.Manual
	}
	return &Terms{Program: "p", Versions: []Version{{Number: 1, Program: &p}}}
}

// drawFacts makes orders, refunds of some and rejections of a referee, and
// what each order earns in the end, in cents, counted while they are made.
func drawFacts(t *rapid.T) (all []*Fact, worth map[string]int64) {
	worth = map[string]int64{}
	rejected := rapid.IntRange(-1, 3).Draw(t, "rejected")
	for i := range rapid.IntRange(1, 8).Draw(t, "orders") {
		user, order := rapid.IntRange(0, 3).Draw(t, "user"), fmt.Sprintf("o:%d", i)
		value := rapid.IntRange(1, 50).Draw(t, "tens") * 10
		back := min(value, rapid.SampledFrom([]int{0, 0, 10, 20, 500}).Draw(t, "refund"))
		all = append(all, fact(fmt.Sprintf("purchase %s 2026-01-0%d u%d by s%d value %d", order, 1+i, user, user%2, value)))
		if back > 0 {
			all = append(all, fact(fmt.Sprintf("refund %s 2026-02-0%d u%d value %d", order, 1+i, user, back)))
		}
		if user != rejected {
			worth["purchase "+order] = int64(value-back) * 10
		}
	}
	if rejected >= 0 {
		all = append(all, fact(fmt.Sprintf("reject i:r 2026-02-10 u%d", rejected)))
	}
	return all, worth
}

// checkAccounts holds at every moment.
func checkAccounts(t *rapid.T, l *ledger) {
	best, balance := map[string]decimal.Decimal{}, map[string]decimal.Decimal{} // of each reward, as the entries alone say
	account, paid, settled := map[string]decimal.Decimal{}, map[string]decimal.Decimal{}, map[string]decimal.Decimal{}
	for _, e := range l.entries {
		account[e.Party] = account[e.Party].Add(e.Value)
		if e.Kind != Payout {
			balance[e.Chain] = balance[e.Chain].Add(e.Value)
			best[e.Chain] = decimal.Max(best[e.Chain], balance[e.Chain])
			if balance[e.Chain].IsNegative() {
				t.Fatalf("%s: a balance of %s", e.ID(), balance[e.Chain])
			}
			continue
		}
		if e.Value.IsPositive() {
			t.Fatalf("%s: the payout takes %s from the party", e.ID(), e.Value)
		}
		sum := e.Value
		for _, line := range e.Lines {
			sum = sum.Add(line.Amount)
			settled[line.Reward] = settled[line.Reward].Add(line.Amount)
			if s := settled[line.Reward]; s.IsNegative() || s.GreaterThan(best[line.Reward]) {
				t.Fatalf("%s: %s was paid for reward %s, which was never worth more than %s", e.ID(), s, line.Reward, best[line.Reward])
			}
		}
		if !sum.IsZero() {
			t.Fatalf("%s: the lines sum to %s more than was paid", e.ID(), sum)
		}
		paid[e.Party] = paid[e.Party].Sub(e.Value)
	}
	for party, a := range l.read(current).Accounts {
		b := a.Balances()
		for _, sum := range []decimal.Decimal{b.Pending, b.Eligible, b.Owed, b.Payable, b.Paid} {
			if sum.IsNegative() {
				t.Fatalf("%s: a negative balance: %+v", party, b)
			}
		}
		if got := b.Pending.Add(b.Eligible).Sub(b.Owed); !got.Equal(account[party]) {
			t.Fatalf("%s: the balances sum to %s, the entries to %s", party, got, account[party])
		}
		if !b.Paid.Equal(paid[party]) {
			t.Fatalf("%s: %s was paid, the balance says %s", party, paid[party], b.Paid)
		}
	}
}

// checkWorth compares each reward with what its order is worth.
func checkWorth(t *rapid.T, l *ledger, worth map[string]int64) {
	facts := map[string]string{}
	for _, e := range l.entries {
		if e.Fact != "" {
			facts[e.Chain] = e.Fact
		}
	}
	seen := map[string]bool{}
	for _, a := range l.read(current).Accounts {
		for _, c := range a.Chains {
			seen[facts[c.ID]] = true
			want := decimal.New(worth[facts[c.ID]], -2)
			if c.Dismissed || c.State == Expired {
				want = decimal.Zero
			}
			if !c.Balance.Equal(want) {
				t.Fatalf("%s: the ledger has %s, the facts are worth %s", facts[c.ID], c.Balance, want)
			}
			if c.Settlement != nil && c.State != Paid {
				t.Fatalf("%s was paid and is %s", facts[c.ID], c.State)
			}
		}
	}
	for fact, cents := range worth {
		if cents > 0 && !seen[fact] {
			t.Fatalf("%s has no reward", fact)
		}
	}
}
