package rewards

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
)

// story follows one reward: its entries as "time kind state value" lines.
type story struct {
	t     *testing.T
	want  Reward
	have  Chain
	lines []string
}

func newStory(t *testing.T) *story {
	return &story{t: t, want: Reward{ID: "R", Party: "s", Rule: "r", Amount: decimal.NewFromInt(10), Time: day("2026-01-01"), Due: day("2026-01-15")}}
}

// until lets the accountant look at the reward at a time.
func (s *story) until(at string) *story {
	for range 10 {
		e := Next(&s.want, &s.have, day(at))
		if e == nil {
			return s
		}
		s.add(e)
	}
	s.t.Fatal("it comes to no end")
	return nil
}

func (s *story) add(e *Entry) {
	if e.N != s.have.Length || e.Time.Before(s.have.Since) {
		s.t.Errorf("entry %d at %s follows %d at %s", e.N, e.Time, s.have.Length-1, s.have.Since)
	}
	s.have.Add(e)
	s.lines = append(s.lines, fmt.Sprintf("%s %s %s %s", e.Time.Format(time.DateOnly), e.Kind, e.State, e.Value))
}

func (s *story) check(name string, want ...string) {
	s.t.Helper()
	if got := strings.Join(s.lines, "\n"); got != strings.Join(want, "\n") {
		s.t.Errorf("%s:\n%s\nwant\n%s", name, got, strings.Join(want, "\n"))
	}
}

func TestStates(t *testing.T) {
	s := newStory(t)
	s.want.ExpiresIn = 365
	s.until("2026-01-02").until("2026-01-14").until("2026-01-20").until("2027-01-14").until("2027-02-01")
	s.check("automatic approval, nobody claims", "2026-01-01 earn pending 10", "2026-01-15 move eligible 0", "2027-01-15 expire expired -10")

	s = newStory(t)
	s.want.Manual = true
	s.until("2026-01-20")
	e, err := s.have.Approve("k", "", day("2026-01-25"))
	if err != nil {
		t.Fatal(err)
	}
	s.add(e)
	s.until("2026-02-01")
	s.check("manual approval", "2026-01-01 earn pending 10", "2026-01-15 move calculated 0", "2026-01-25 move eligible 0")

	s = newStory(t)
	s.until("2026-01-20")
	s.want.Waiting = "fraud"
	s.until("2026-01-21")
	s.want.Waiting = ""
	s.until("2026-01-30")
	s.check("held, and released", "2026-01-01 earn pending 10", "2026-01-15 move eligible 0", "2026-01-21 move pending 0", "2026-01-21 move eligible 0")

	s = newStory(t)
	s.until("2026-01-10")
	s.want.Amount, s.want.Changed = decimal.NewFromInt(4), day("2026-01-09")
	s.until("2026-01-11")
	s.want.Amount, s.want.Reason, s.want.Changed = decimal.Zero, "refunded", day("2026-01-12")
	s.until("2026-01-13")
	s.want.Amount, s.want.Reason = decimal.NewFromInt(10), ""
	s.until("2026-01-14")
	s.check("refunded in two parts, and then not", "2026-01-01 earn pending 10", "2026-01-09 adjust pending -6", "2026-01-12 reverse cancelled -4", "2026-01-14 earn pending 10")

	s = newStory(t)
	s.until("2026-01-20")
	e, err = s.have.Reject("k", "a friend", day("2026-01-22"))
	if err != nil {
		t.Fatal(err)
	}
	s.add(e)
	s.want.Amount = decimal.NewFromInt(12)
	s.until("2026-02-01")
	s.check("rejected for good", "2026-01-01 earn pending 10", "2026-01-15 move eligible 0", "2026-01-22 reverse cancelled -10")
}

// Where the amount stays and what it is made of changes, the ledger says so, once;
// but not of what was cancelled, and not for another version alone.
func TestDerivation(t *testing.T) {
	s := newStory(t)
	s.want.Base, s.want.Multipliers = decimal.NewFromInt(5), strings.Repeat("a 2 × ", 400) // longer than an entry can say
	s.until("2026-01-20").until("2026-01-21")
	s.want.Version++
	s.until("2026-01-22")
	s.want.Base, s.want.Multipliers, s.want.Cap = decimal.NewFromInt(20), "", "cap"
	s.until("2026-01-23").until("2026-01-24")
	if got := (Derivation{"20", "", "cap"}); s.have.Derived != got {
		t.Errorf("the ledger says %+v", s.have.Derived)
	}
	s.have.Settle(Line{"R", decimal.NewFromInt(10)}, Settlement{Time: day("2026-01-25"), Actor: "k", Batch: "B"})
	s.want.Cap = "budget"
	s.until("2026-01-26")
	s.want.Amount, s.want.Base, s.want.Reason = decimal.Zero, decimal.Zero, "refunded"
	s.until("2026-01-27")
	s.want.Reason = "the referral was rejected"
	s.until("2026-01-28")
	s.check("made of something else", "2026-01-01 earn pending 10", "2026-01-15 move eligible 0", "2026-01-23 adjust eligible 0",
		"2026-01-26 adjust eligible 0", "2026-01-26 move paid 0", "2026-01-27 reverse paid -10")
}

func TestPaidAndTakenBack(t *testing.T) {
	s := newStory(t)
	s.want.ExpiresIn = 30
	s.until("2026-01-20")
	s.have.Settle(Line{"R", decimal.NewFromInt(10)}, Settlement{Time: day("2026-01-21"), Actor: "k", Batch: "B"})
	s.until("2026-01-22").until("2027-01-01")
	s.want.Amount = decimal.NewFromInt(7)
	s.until("2027-01-02")
	account := &Account{Party: "s", Chains: []*Chain{&s.have}}
	if b := account.Balances(); b.Owed.String() != "3" || !b.Payable.IsZero() || b.Paid.String() != "10" {
		t.Errorf("after it shrank: %+v", b)
	}
	s.want.Amount = decimal.NewFromInt(11)
	s.until("2027-01-03")
	if b := account.Balances(); !b.Owed.IsZero() || b.Payable.String() != "1" {
		t.Errorf("after it grew: %+v", b)
	}
	s.check("paid", "2026-01-01 earn pending 10", "2026-01-15 move eligible 0", "2026-01-21 move paid 0", "2027-01-02 adjust paid -3", "2027-01-03 adjust paid 4")
}

// A payout took what expired at the same moment: it was paid.
func TestPaidWhileItExpired(t *testing.T) {
	s := newStory(t)
	s.want.ExpiresIn = 30
	s.until("2026-03-01")
	s.have.Settle(Line{"R", decimal.NewFromInt(10)}, Settlement{Time: day("2026-02-14"), Actor: "k", Batch: "B"})
	s.until("2026-03-02")
	s.check("paid", "2026-01-01 earn pending 10", "2026-01-15 move eligible 0", "2026-02-14 expire expired -10", "2026-03-02 adjust expired 10", "2026-03-02 move paid 0")
	if b := (&Account{Chains: []*Chain{&s.have}}).Balances(); !b.Owed.IsZero() || !b.Eligible.IsZero() || b.Paid.String() != "10" {
		t.Errorf("balances %+v", b)
	}
}

func TestWakes(t *testing.T) {
	s := newStory(t)
	s.want.ExpiresIn = 30
	s.until("2026-01-02")
	if at := Wakes(&s.want, &s.have, day("2026-01-02")); !at.Equal(day("2026-01-15")) {
		t.Errorf("a pending one wakes at %s", at)
	}
	s.until("2026-01-16")
	if at := Wakes(&s.want, &s.have, day("2026-01-16")); !at.Equal(day("2026-02-14")) {
		t.Errorf("an eligible one wakes at %s", at)
	}
	s.until("2026-03-01")
	if at := Wakes(&s.want, &s.have, day("2026-03-01")); !at.IsZero() {
		t.Errorf("an expired one wakes at %s", at)
	}
}

// What a party is paid, and that what it owes is deducted as far as it goes.
func TestLines(t *testing.T) {
	chain := func(id string, balance, settled int64, state State, since string) *Chain {
		c := &Chain{ID: id, Party: "s", Length: 1, Balance: decimal.NewFromInt(balance), State: state, Eligible: day(since)}
		if settled > 0 {
			c.Settle(Line{id, decimal.NewFromInt(settled)}, Settlement{})
		}
		return c
	}
	account := func(chains ...*Chain) *Account { return &Account{Party: "s", Chains: chains} }
	for _, test := range []struct {
		name   string
		a      *Account
		limits PayoutLimits
		want   string
	}{
		{"nothing", account(), PayoutLimits{}, ""},
		{"only what is eligible", account(chain("A", 5, 0, Eligible, "2026-01-02"), chain("B", 5, 0, Pending, "2026-01-01"), chain("C", 5, 0, Calculated, "2026-01-01"), chain("D", 0, 0, Expired, "2026-01-01")), PayoutLimits{}, "A:5"},
		{"the oldest first", account(chain("A", 5, 0, Eligible, "2026-01-02"), chain("B", 7, 0, Eligible, "2026-01-01")), PayoutLimits{}, "B:7 A:5"},
		{"until", account(chain("A", 5, 0, Eligible, "2026-01-02"), chain("B", 7, 0, Eligible, "2026-01-01")), PayoutLimits{Until: day("2026-01-01")}, "B:7"},
		{"some of what is owed", account(chain("A", 5, 0, Eligible, "2026-01-02"), chain("B", 0, 7, Paid, "2026-01-01"), chain("C", 1, 2, Paid, "2026-01-03")), PayoutLimits{}, "A:5 B:-5"},
		{"all of what is owed", account(chain("A", 9, 0, Eligible, "2026-01-02"), chain("B", 0, 7, Paid, "2026-01-01"), chain("C", 1, 2, Paid, "2026-01-03")), PayoutLimits{}, "A:9 B:-7 C:-1"},
		{"owed alone", account(chain("B", 0, 7, Paid, "2026-01-01")), PayoutLimits{}, ""},
		{"at the minimum", account(chain("A", 5, 0, Eligible, "2026-01-02")), PayoutLimits{Minimum: decimal.NewFromInt(5)}, "A:5"},
		{"below the minimum", account(chain("A", 9, 0, Eligible, "2026-01-02"), chain("B", 0, 7, Paid, "2026-01-01")), PayoutLimits{Minimum: decimal.NewFromInt(5)}, ""},
		{"one reward", account(chain("A", 5, 0, Eligible, "2026-01-02"), chain("B", 7, 0, Eligible, "2026-01-01")), PayoutLimits{Rewards: []string{"A"}}, "A:5"},
	} {
		var got []string
		for _, line := range test.a.Lines(test.limits) {
			got = append(got, line.Reward+":"+line.Amount.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
