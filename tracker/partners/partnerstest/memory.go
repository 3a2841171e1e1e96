// Package partnerstest has records of partners in memory for tests: what Kafka,
// ingest and ClickHouse are together, with their faults.
package partnerstest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"waymark/tracker"
	"waymark/tracker/decided/decidedtest"
	"waymark/tracker/partners"
	"waymark/tracker/wire"
)

// Records keeps the first change of each identity, for ever. It is a
// tracker.ActionSink and a partners.Store, and safe for concurrent use.
type Records struct {
	decidedtest.Sink

	mu      sync.Mutex
	changes []partners.Change
	codes   map[[2]string]string // programme and code → id
	ids     map[string]bool
}

// New returns no records.
func New() *Records {
	r := &Records{codes: map[[2]string]string{}, ids: map[string]bool{}}
	r.Keep = r.keep
	return r
}

func (r *Records) keep(e *wire.Event) error {
	if e.Event != tracker.EventPartnerChange || e.Id == "" || e.OrderId != "" {
		return fmt.Errorf("no change of a partner: %v", e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[e.Program+"\x00"+e.Id] {
		return nil
	}
	r.ids[e.Program+"\x00"+e.Id] = true
	p := e.Properties
	if p["kind"] == "code" {
		r.codes[[2]string{e.Program, p["code"]}] = e.UserId
		return nil
	}
	rate, err := partners.ParseRate(p["commission_rate"])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(p["n"])
	if err != nil {
		return err
	}
	joined, err := time.Parse(time.RFC3339Nano, p["joined_at"])
	if err != nil {
		return err
	}
	recorded, err := time.Parse(time.RFC3339Nano, p["recorded_at"])
	r.changes = append(r.changes, partners.Change{
		Partner: partners.Partner{Program: e.Program, ID: e.UserId, Code: p["code"], Type: p["type"], Name: p["name"], Email: p["email"], Status: partners.Status(p["status"]), CommissionRate: rate, JoinedAt: joined},
		N:       n, Time: time.UnixMilli(int64(e.TimeMs)).UTC(), Actor: p["actor"], RecordedAt: recorded,
	})
	return err
}

// PartnerChanges implements partners.Store.
func (r *Records) PartnerChanges(_ context.Context, program, id string) ([]partners.Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var of []partners.Change
	for _, c := range r.changes {
		if c.Partner.Program == program && c.Partner.ID == id {
			of = append(of, c)
		}
	}
	slices.SortFunc(of, func(a, b partners.Change) int { return cmp.Compare(a.N, b.N) })
	return of, nil
}

// PartnerOfCode implements partners.Store.
func (r *Records) PartnerOfCode(_ context.Context, program, code string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codes[[2]string{program, code}], nil
}

// Partners implements partners.Store.
func (r *Records) Partners(_ context.Context, q partners.Query) ([]partners.Partner, error) {
	r.mu.Lock()
	latest := map[[2]string]partners.Change{}
	for _, c := range r.changes {
		key := [2]string{c.Partner.Program, c.Partner.ID}
		if latest[key].Partner.ID == "" || c.N > latest[key].N {
			latest[key] = c
		}
	}
	r.mu.Unlock()
	var page []partners.Partner
	for key, c := range latest {
		if slices.Compare(key[:], q.After[:]) > 0 && (q.Program == "" || q.Program == key[0]) && (q.ID == "" || q.ID == key[1]) && (q.Status == "" || q.Status == string(c.Partner.Status)) {
			page = append(page, c.Partner)
		}
	}
	slices.SortFunc(page, func(a, b partners.Partner) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), cmp.Compare(a.ID, b.ID))
	})
	return page[:min(len(page), q.Limit)], nil
}
