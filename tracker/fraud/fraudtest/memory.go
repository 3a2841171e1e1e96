// Package fraudtest has a log of fraud in memory for tests: what Kafka, ingest
// and ClickHouse are together, with their faults.
package fraudtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"waymark/tracker"
	"waymark/tracker/decided/decidedtest"
	"waymark/tracker/fraud"
	"waymark/tracker/wire"
)

// Log keeps the first entry of each place, for ever. It is a tracker.ActionSink
// and a fraud.Store. It is safe for concurrent use.
type Log struct {
	decidedtest.Sink

	mu       sync.Mutex
	wants    map[string]fraud.Entry // assessments as they should be, by referral
	entries  map[string]fraud.Entry // by kind and EventID
	appended int
}

// New returns an empty log.
func New() *Log {
	l := &Log{wants: map[string]fraud.Entry{}, entries: map[string]fraud.Entry{}}
	l.Keep = l.keep
	return l
}

// Want makes an assessment the one that should be the last of its referral.
func (l *Log) Want(e fraud.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wants[e.ID] = e
}

// Entries are all that were kept, and how many were written in all.
func (l *Log) Entries() (kept []fraud.Entry, appended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.entries)), l.appended
}

func (l *Log) keep(event *wire.Event) error {
	e, err := entryOf(event)
	if err != nil {
		return fmt.Errorf("no entry of the log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	place := string(e.Kind) + e.EventID()
	if _, taken := l.entries[place]; !taken {
		l.entries[place] = e
	}
	l.appended++
	return nil
}

// entryOf reads an entry back from the event that carries it.
func entryOf(event *wire.Event) (e fraud.Entry, err error) {
	p := event.Properties
	e = fraud.Entry{
		Referral: fraud.Referral{ID: p["referral"], Program: event.Program, Referrer: p["referrer"], ReferrerType: p["referrer_type"], Referee: event.UserId},
		Kind:     fraud.Assessment, Time: time.UnixMilli(int64(event.TimeMs)).UTC(), Actor: p["actor"],
		Risk: p["risk"], Action: p["action"], Decision: p["decision"], Reason: p["reason"],
	}
	if e.N, err = strconv.Atoi(p["n"]); err != nil {
		return e, err
	}
	if e.ReferredAt, err = time.Parse(time.RFC3339Nano, p["referred_at"]); err != nil {
		return e, err
	}
	if event.Event == tracker.EventFraudDecision {
		e.Kind = fraud.Decision
		return e, nil
	}
	if e.Version, err = strconv.ParseUint(p["version"], 10, 64); err != nil {
		return e, err
	}
	if e.Score, err = strconv.ParseFloat(p["score"], 64); err != nil {
		return e, err
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if name, ok := strings.CutPrefix(name, "signal."); ok {
			signal := fraud.Signal{Name: name}
			if err := json.Unmarshal([]byte(p["signal."+name]), &signal); err != nil {
				return e, err
			}
			e.Signals = append(e.Signals, signal)
		}
	}
	return e, nil
}

// FraudMark implements fraud.Store.
func (l *Log) FraudMark(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(len(l.wants), " ", l.appended), nil
}

// FraudChanges implements fraud.Store.
func (l *Log) FraudChanges(_ context.Context, limit int) (changes []*fraud.Entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(l.wants)) {
		want := l.wants[id]
		n := 0
		var last fraud.Entry
		for ; ; n++ {
			next, ok := l.entries[string(fraud.Assessment)+id+"/"+strconv.Itoa(n)]
			if !ok {
				break
			}
			last = next
		}
		if want.N = n; (n == 0 || last.Score != want.Score || last.Risk != want.Risk || last.Action != want.Action) && len(changes) < limit {
			changes = append(changes, &want)
		}
	}
	return changes, nil
}

// FraudChain implements fraud.Store.
func (l *Log) FraudChain(_ context.Context, id string) (chain []*fraud.Entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.ID == id {
			chain = append(chain, &e)
		}
	}
	slices.SortFunc(chain, func(a, b *fraud.Entry) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.N, b.N)) })
	return chain, nil
}

// FindFraudEntries implements fraud.Store.
func (l *Log) FindFraudEntries(_ context.Context, kind fraud.Kind, places []*fraud.Entry) (map[string]*fraud.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]*fraud.Entry{}
	for _, place := range places {
		if e, ok := l.entries[string(kind)+place.EventID()]; ok {
			found[place.EventID()] = &e
		}
	}
	return found, nil
}
