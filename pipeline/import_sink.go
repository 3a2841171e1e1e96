package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

const (
	// importAheadMax is how far ingest may be behind for an import to go on,
	// in records of clicks and actions together. What customers report
	// meanwhile waits behind no more than that, some seconds, in the same
	// partitions; and an embedded broker holds no more of a history.
	importAheadMax = 400_000
	// importBufferedMax bounds the records that are on the way to Kafka. When
	// there are as many, the import waits.
	importBufferedMax = 20_000
	importSlabBytes   = 64 << 10
	// ingestPatience is how long ingest may make no step before an import that
	// is over stops waiting for it.
	ingestPatience = 30 * time.Second
)

// importSink sends events to waymark.actions. It is not safe for concurrent
// use.
type importSink struct {
	client *kgo.Client
	log    *slog.Logger
	credit int    // records that may be sent before ingest is looked at again
	slab   []byte // for the values of records

	mu     sync.Mutex
	failed error // the first record that Kafka refused for good
}

func newImportSink(clients ClientOptions, log *slog.Logger) (*importSink, error) {
	clients.ID = "waymark-import"
	client, err := newIdentityProducer(clients, kgo.MaxBufferedRecords(importBufferedMax), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &importSink{client: client, log: log}, nil
}

func (s *importSink) close() { s.client.Close() }

// send hands an event over to be sent. It waits while too much is on the way
// or ingest is too far behind.
func (s *importSink) send(ctx context.Context, e *wire.Event) error {
	if s.credit == 0 {
		if err := s.awaitCredit(ctx); err != nil {
			return err
		}
	}
	s.credit--
	identity, ok := tracker.IdentityOfAction(e)
	if !ok {
		panic("BUG: an imported event without an identity")
	}
	size := e.SizeVT()
	if cap(s.slab)-len(s.slab) < size {
		s.slab = make([]byte, 0, max(importSlabBytes, size))
	}
	from := len(s.slab)
	s.slab = s.slab[:from+size]
	value := s.slab[from : from+size : from+size]
	if _, err := e.MarshalToSizedBufferVT(value); err != nil {
		panic("BUG: encode an event: " + err.Error())
	}
	s.client.Produce(ctx, &kgo.Record{Topic: TopicActions, Key: []byte(identity.RecordKey()), Value: value}, s.sent)
	return s.failure()
}

func (s *importSink) sent(_ *kgo.Record, err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

func (s *importSink) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return fmt.Errorf("send events to %s: %w", TopicActions, s.failed)
	}
	return nil
}

// flush returns once Kafka has everything that was sent.
func (s *importSink) flush(ctx context.Context) error {
	if err := s.client.Flush(ctx); err != nil {
		return fmt.Errorf("send events to %s: %w", TopicActions, err)
	}
	return s.failure()
}

// awaitCredit waits until ingest is not too far behind.
func (s *importSink) awaitCredit(ctx context.Context) error {
	least, moved := int64(math.MaxInt64), time.Now()
	for {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		behind, err := IngestLag(asking, s.client)
		cancel()
		switch {
		case err == nil && behind < importAheadMax:
			s.credit = int(importAheadMax - behind)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && behind < least:
			least, moved = behind, time.Now()
		case time.Since(moved) > ingestPatience:
			moved = time.Now()
			s.log.Warn("the import waits for ingest, which makes no step; is `waymark ingest` running?", "records_behind", behind, "error", err)
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// ErrNotIngested says that all is in Kafka, and that ingest makes no step.
var ErrNotIngested = errors.New("everything is in Kafka, but ingest stands still; the history shows once `waymark ingest` runs")

// awaitIngest returns once everything that is in waymark.actions now is in
// ClickHouse.
func (s *importSink) awaitIngest(ctx context.Context) error {
	adm := kadm.NewClient(s.client)
	ends, err := adm.ListEndOffsets(ctx, TopicActions)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("ask for the end of %s: %w", TopicActions, err)
	}
	least := int64(-1)
	for moved := time.Now(); ; {
		committed, err := ingestCommitted(ctx, adm)
		if err != nil {
			return err
		}
		behind := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			at, _ := committed.Lookup(end.Topic, end.Partition)
			behind += max(0, end.Offset-max(at.At, 0))
		})
		switch {
		case behind == 0:
			return nil
		case least < 0 || behind < least:
			least, moved = behind, time.Now()
		case time.Since(moved) > ingestPatience:
			return ErrNotIngested
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
}
