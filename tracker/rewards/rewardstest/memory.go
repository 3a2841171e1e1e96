// Package rewardstest has a ledger in memory for tests: what Kafka, ingest and
// ClickHouse are together, with their faults.
package rewardstest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"waymark/tracker"
	"waymark/tracker/decided/decidedtest"
	"waymark/tracker/rewards"
	"waymark/tracker/wire"
)

// Ledger keeps the first entry of each identity, for ever. It is a
// tracker.ActionSink and what an accountant reads. It is safe for concurrent
// use.
type Ledger struct {
	decidedtest.Sink

	mu       sync.Mutex
	terms    *rewards.Terms
	facts    []*rewards.Fact
	entries  []rewards.Entry
	ids      map[string]bool
	appended int
}

// New returns a ledger of one programme.
func New(terms *rewards.Terms) *Ledger {
	l := &Ledger{terms: terms, ids: map[string]bool{}}
	l.Keep = l.keep
	return l
}

// Arrive adds facts.
func (l *Ledger) Arrive(facts ...*rewards.Fact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, facts...)
}

func (l *Ledger) keep(event *wire.Event) error {
	identity, ok := tracker.IdentityOfAction(event)
	if !ok || event.Event != tracker.EventRewardEntry || event.Program != l.terms.Program {
		return fmt.Errorf("no entry of the ledger: %v", event)
	}
	entry, err := rewards.EntryOf(event)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appended++; !l.ids[identity.RecordKey()] {
		l.ids[identity.RecordKey()], l.entries = true, append(l.entries, entry)
	}
	return nil
}

// Entries are all, in the order of the ledger.
func (l *Ledger) Entries() []rewards.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(slices.Values(l.entries), func(a, b rewards.Entry) int {
		return cmp.Or(cmp.Compare(a.Party, b.Party), cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.N, b.N))
	})
}

func (l *Ledger) RewardsMark(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(len(l.facts), " ", len(l.entries)), nil
}

func (l *Ledger) RewardTerms(_ context.Context, program string) (*rewards.Terms, error) {
	if program != l.terms.Program {
		return &rewards.Terms{Program: program}, nil
	}
	terms := *l.terms
	terms.Versions = slices.Clone(terms.Versions)
	return &terms, nil
}

func (l *Ledger) RewardFacts(_ context.Context, program string, _ bool) ([]*rewards.Fact, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.facts), nil
}

func (l *Ledger) RewardEntries(_ context.Context, program string, parties []string, yield func(*rewards.Entry) error) error {
	for _, e := range l.Entries() {
		if program != l.terms.Program || len(parties) > 0 && !slices.Contains(parties, e.Party) {
			continue
		}
		if err := yield(&e); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) FindRewardEntries(_ context.Context, program string, places []*rewards.Entry) (map[string]*rewards.Entry, error) {
	asked, found := map[string]bool{}, map[string]*rewards.Entry{}
	for _, e := range places {
		asked[e.ID()] = true
	}
	for _, e := range l.Entries() {
		if asked[e.ID()] && program == l.terms.Program {
			found[e.ID()] = &e
		}
	}
	return found, nil
}

func (l *Ledger) RewardChain(_ context.Context, chain string) (program string, entries []rewards.Entry, err error) {
	for _, e := range l.Entries() {
		if e.Chain == chain {
			program, entries = l.terms.Program, append(entries, e)
		}
	}
	return program, entries, nil
}

func (l *Ledger) RewardBatch(_ context.Context, batch string) (entries []rewards.Entry, err error) {
	for _, e := range l.Entries() {
		if e.Batch == batch && e.Kind == rewards.Payout {
			entries = append(entries, e)
		}
	}
	return entries, nil
}
