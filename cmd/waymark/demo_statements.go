package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// statementParties are looked at, the ones who earned in the most months: a
// statement is a request, and a party has one for each month.
const statementParties = 8

// demoStatement is a statement as the API gives it.
type demoStatement struct {
	Opening, Earned, Adjusted, Expired, Paid, Closing string
	Entries                                           []struct{ Reward, Rule, Entry, Value, Time string }
}

// account is what a party's statements say, in cents.
type account struct {
	worth  map[string]int64 // by month of what is rewarded, "" for milestones
	paid   int64
	months int
}

// lookStatements compares the statements of some parties, month by month, with
// what they must have earned and were paid. Each must follow from the one
// before, and sum up.
//
// When an entry was written depends on the order in which facts arrive: a refund
// that comes before its purchase was calculated leaves no entry of its own. So
// entries count for the month of the first of their reward.
func (s *story) lookStatements(ctx context.Context, client *apiClient, want book, truth, found ledger) error {
	accounts := s.accounts(want)
	unlike := 0
	for _, party := range longest(accounts) {
		have, broken, err := s.readStatements(ctx, client, party)
		if err != nil {
			return err
		}
		truth["statements, months"] += float64(have.months)
		found["statements, months"] += float64(have.months - broken)
		if have.paid != accounts[party].paid {
			unlike++
		}
		for month, cents := range accounts[party].worth {
			truth["statements, earned and kept"] += float64(cents) / 100
			found["statements, earned and kept"] += float64(have.worth[month]) / 100
		}
		for month := range have.worth {
			accounts[party].worth[month] += 0
		}
		for month, cents := range accounts[party].worth {
			if have.worth[month] != cents {
				unlike++
			}
		}
	}
	truth["statements, months unlike the truth"], found["statements, months unlike the truth"] = 0, float64(unlike)
	return nil
}

// accounts are what the statements of all parties must say.
func (s *story) accounts(want book) map[string]*account {
	accounts := map[string]*account{}
	for _, e := range want {
		a := accounts[e.party]
		if a == nil {
			a = &account{worth: map[string]int64{}}
			accounts[e.party] = a
		}
		a.paid += e.settled
		if e.state != "expired" && e.cents != 0 {
			a.worth[e.month()] += e.cents
		}
	}
	return accounts
}

// month is the one that a reward counts for, "" for a milestone: which of the
// facts reached it is known when all have arrived.
func (e *earning) month() string {
	if e.fact == "" {
		return ""
	}
	return month(e.at)
}

// longest are the parties who earned in the most months.
func longest(accounts map[string]*account) []string {
	var parties []string
	for party := range accounts {
		parties = append(parties, party)
	}
	slices.SortFunc(parties, func(a, b string) int {
		return cmp.Or(len(accounts[b].worth)-len(accounts[a].worth), cmp.Compare(a, b))
	})
	return parties[:min(len(parties), statementParties)]
}

// readStatements reads the statements of a party for all months of a story,
// and counts those that do not sum up or do not follow from the one before.
func (s *story) readStatements(ctx context.Context, client *apiClient, party string) (have account, broken int, err error) {
	have.worth = map[string]int64{}
	first := map[string]string{} // months of the rewards
	closing := int64(0)
	now := time.Now().UTC()
	from := time.UnixMilli(s.start).UTC()
	for at := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC); !at.After(now); at = at.AddDate(0, 1, 0) {
		var st demoStatement
		query := url.Values{"program": {s.program}, "month": {at.Format("2006-01")}}
		if err := client.call(ctx, "GET", "/v1/statements/"+url.PathEscape(party)+"?"+query.Encode(), nil, &st); err != nil {
			return have, broken, fmt.Errorf("read the statement of %s for %s: %w", party, at.Format("2006-01"), err)
		}
		have.months++
		sum, paid := int64(0), int64(0)
		for _, e := range st.Entries {
			value := decimalCents(e.Value)
			sum += value
			if e.Entry == "payout" {
				paid -= value
				continue
			}
			if first[e.Reward] == "" {
				first[e.Reward] = at.Format("2006-01")
			}
			month := first[e.Reward]
			if slices.Contains(s.milestones, e.Rule) {
				month = ""
			}
			have.worth[month] += value
		}
		have.paid += paid
		balance := decimalCents(st.Opening) + decimalCents(st.Earned) + decimalCents(st.Adjusted) + decimalCents(st.Expired) - decimalCents(st.Paid)
		if decimalCents(st.Opening) != closing || decimalCents(st.Closing) != closing+sum || balance != closing+sum || decimalCents(st.Paid) != paid {
			broken++
		}
		closing = decimalCents(st.Closing)
	}
	return have, broken, nil
}
