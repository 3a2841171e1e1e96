package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// linksCopy is waymark.links in a node's Links.
type linksCopy struct {
	links    *tracker.Links
	verdicts *verdicts
	lost     prometheus.Counter

	mu          sync.Mutex     // held while a record is applied
	fresh       *tracker.Links // between renew and swap
	conditional bool           // the topic has conditional records
	awaited     int64          // offset that expect was given
	arrived     bool           // whether it was applied since

	numbers    sync.Mutex
	lastNumber tracker.LinkNumber // the last that this process gave out
}

func (c *linksCopy) apply(r *kgo.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	links := c.links
	if c.fresh != nil {
		links = c.fresh
	}
	c.arrived = c.arrived || r.Offset == c.awaited
	condition, conditional := writeConditionOf(r)
	if conditional {
		c.conditional = true
		if !condition.holds(links, r) {
			c.lost.Inc()
			c.verdicts.settle(condition, false)
			return nil
		}
	}
	err := links.Apply(r.Key, r.Value, r.Offset)
	var unusable *tracker.RecordError
	if errors.As(err, &unusable) {
		err = skippedRecord{err}
	} else if err != nil {
		return err
	}
	if conditional {
		c.verdicts.settle(condition, err == nil)
	}
	return err
}

// expect says which record this process waits for, before it can have come.
func (c *linksCopy) expect(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited, c.arrived = offset, false
}

// hasArrived reports whether the expected record was applied. One that was
// undone with its transaction never is.
func (c *linksCopy) hasArrived() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived
}

func (c *linksCopy) renew() error {
	fresh, err := c.links.Fresh()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh, c.conditional = fresh, false
	return nil
}

func (c *linksCopy) swap() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.links.Swap(c.fresh); err != nil {
		return err
	}
	c.fresh = nil
	return nil
}

// save writes the links to a file. Records that come meanwhile may or may not
// be in it, which does no harm where every record replaces what was before.
// Whether a conditional record counts depends on exactly what was before it,
// so with those in the topic nothing is applied while the file is written.
func (c *linksCopy) save(path string, id [16]byte) error {
	c.mu.Lock()
	if c.conditional {
		defer c.mu.Unlock()
	} else {
		c.mu.Unlock()
	}
	return c.links.WriteSnapshot(path, id)
}

// table is where the records of a small topic go.
type table interface {
	// put takes a record; an error means that it was no good.
	put(key, value []byte) error
	// drop removes a key that the topic has no more.
	drop(key string)
}

// tableCopy is a topic of a few records in a table. It keeps the records too,
// to save them and to compare when the topic is read anew.
type tableCopy struct {
	table table

	mu      sync.Mutex // for records; fresh is the follower's
	records map[string][]byte
	fresh   map[string][]byte // between renew and swap
}

func newTableCopy(t table) *tableCopy {
	return &tableCopy{table: t, records: make(map[string][]byte)}
}

func (c *tableCopy) apply(r *kgo.Record) error {
	if c.fresh != nil {
		setRecord(c.fresh, string(r.Key), r.Value)
		return nil
	}
	c.mu.Lock()
	setRecord(c.records, string(r.Key), r.Value)
	c.mu.Unlock()
	return c.put(string(r.Key), r.Value)
}

// setRecord keeps the last record of a key, and none for a tombstone.
func setRecord(records map[string][]byte, key string, value []byte) {
	if value == nil {
		delete(records, key)
		return
	}
	records[key] = bytes.Clone(value)
}

func (c *tableCopy) put(key string, value []byte) error {
	if value == nil {
		c.table.drop(key)
		return nil
	}
	if err := c.table.put([]byte(key), value); err != nil {
		return skippedRecord{err}
	}
	return nil
}

func (c *tableCopy) renew() error {
	c.fresh = make(map[string][]byte)
	return nil
}

func (c *tableCopy) swap() error {
	c.mu.Lock()
	old := c.records
	c.records, c.fresh = c.fresh, nil
	records := maps.Clone(c.records)
	c.mu.Unlock()
	for key := range old {
		if _, ok := records[key]; !ok {
			c.table.drop(key)
		}
	}
	for key, value := range records {
		if !bytes.Equal(old[key], value) {
			// One that is no good was no good in the log, too.
			_ = c.put(key, value)
		}
	}
	return nil
}

// restore takes the records of a snapshot.
func (c *tableCopy) restore(records map[string][]byte) {
	for key, value := range records {
		if c.put(key, value) == nil {
			c.records[key] = value
		}
	}
}

// all returns the records, for a snapshot.
func (c *tableCopy) all() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.records)
}

// programTable puts waymark.programs in Links.
type programTable struct{ links *tracker.Links }

func (t programTable) put(key, value []byte) error {
	p := tracker.NewProgram(string(key))
	if err := json.Unmarshal(value, &p); err != nil {
		return fmt.Errorf("decode programme %q: %w", key, err)
	}
	if p.Name != string(key) || p.Name == "" {
		return fmt.Errorf("decode programme %q: it has the name %q", key, p.Name)
	}
	return t.links.ApplyProgram(p)
}

// drop gives the programme its defaults: links may still refer to it.
func (t programTable) drop(key string) {
	if _, ok := t.links.Program(key); ok {
		_ = t.links.ApplyProgram(tracker.NewProgram(key))
	}
}

// keyTable puts waymark.keys in Keys.
type keyTable struct{ keys *tracker.Keys }

func (t keyTable) put(key, value []byte) error { return t.keys.Apply(key, value) }
func (t keyTable) drop(key string)             { _ = t.keys.Apply([]byte(key), nil) }
