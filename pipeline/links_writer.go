package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// linkChange is a version of a link that is to be written.
type linkChange struct {
	link    *tracker.Link
	base    uint64 // see writeCondition
	deleted bool

	won bool // set by write: the change counts, and this node's copy has it
}

// record returns the change as a record without conditions.
func (c *linkChange) record() *kgo.Record {
	w := c.link.Wire()
	w.Deleted = c.deleted
	value, err := w.MarshalVT()
	if err != nil {
		panic("BUG: encode a link: " + err.Error())
	}
	return &kgo.Record{Topic: TopicLinks, Key: []byte(c.link.Key()), Value: value}
}

// linkWriter writes changes of links so that of two that race one counts.
type linkWriter interface {
	// write calls decide when this process's copy is as good a base as the
	// writer needs, and writes the changes that it returns, in that order.
	// decide may be called more than once; what it returned last was written.
	// With an error, none of the changes is known to count, but they may.
	write(ctx context.Context, decide func() []*linkChange) error
	close()
}

// linkWriters picks the writer that suits the cluster, at the first write.
type linkWriters struct {
	mu     sync.Mutex
	writer linkWriter
}

func (w *linkWriters) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writer != nil {
		w.writer.close()
	}
}

// linkWriter returns the writer for this cluster.
func (c *Catalog) linkWriter(ctx context.Context) (linkWriter, error) {
	c.writing.mu.Lock()
	defer c.writing.mu.Unlock()
	if c.writing.writer != nil {
		return c.writing.writer, nil
	}
	embedded, err := isEmbedded(ctx, kadm.NewClient(c.producer))
	if err != nil {
		return nil, err
	}
	if embedded {
		c.writing.writer = &conditionalWriter{producer: c.producer, verdicts: c.links.verdicts}
	} else {
		c.writing.writer = &transactionalWriter{newClient: c.newClient, follower: c.followLinks, copy: c.links, log: c.log}
	}
	return c.writing.writer, nil
}

// conditionalWriter writes records with a writeCondition. Several writes of a
// process, and of several processes, may be under way at once.
type conditionalWriter struct {
	producer *kgo.Client
	verdicts *verdicts
	mu       sync.Mutex // decisions and their records come in the same order
}

func (w *conditionalWriter) close() {}

func (w *conditionalWriter) write(ctx context.Context, decide func() []*linkChange) error {
	type outcome struct {
		change *linkChange
		won    bool
		err    error
	}
	w.mu.Lock()
	changes := decide()
	// Room for a verdict and a produce error of each, so nobody blocks.
	outcomes := make(chan outcome, 2*len(changes))
	expected := make([]writeCondition, len(changes))
	for i, change := range changes {
		change.won = false
		expected[i] = w.verdicts.expect(change.base, func(won bool) { outcomes <- outcome{change: change, won: won} })
		r := change.record()
		r.Headers = []kgo.RecordHeader{expected[i].header()}
		w.producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				outcomes <- outcome{change: change, err: err}
			}
		})
	}
	w.mu.Unlock()
	defer func() {
		for _, c := range expected {
			w.verdicts.forget(c)
		}
	}()
	settled := make(map[*linkChange]bool, len(changes))
	for len(settled) < len(changes) {
		select {
		case o := <-outcomes:
			if o.err != nil {
				return fmt.Errorf("write to %s: %w", TopicLinks, o.err)
			}
			o.change.won, settled[o.change] = o.won, true
		case <-ctx.Done():
			return fmt.Errorf("wait for links to come back from %s: %w", TopicLinks, ctx.Err())
		}
	}
	return nil
}

func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}
