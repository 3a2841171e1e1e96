package pipeline

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// memoryState is what the tables of a memoryStore hold.
type memoryState struct {
	inserts  atomic.Int64
	mu       sync.Mutex
	tables   map[string]*memoryTable
	links    []tracker.LinkRow
	programs []tracker.ProgramRow
	leftOut  map[tracker.Place]map[int64]bool // offsets
}

type memoryTable struct {
	tokens map[string]bool
	rows   []memoryRow
}

type memoryRow struct {
	source    uint32
	partition int32
	offset    int64
	event     *wire.Event
}

// insert adds a block to a table unless its token was there.
func (s *memoryState) insert(table string, b *tracker.Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[table]
	if t.tokens[b.Token] {
		return nil
	}
	t.tokens[b.Token] = true
	for _, row := range b.Rows {
		if b.Decisions != tracker.ReservedEvent(row.Event.Event) {
			return fmt.Errorf("event %s at offset %d is for another table", row.Event.Event, row.Offset)
		}
		// The text of the event aliases what is the caller's.
		encoded, err := row.Event.MarshalVT()
		if err != nil {
			return err
		}
		event := &wire.Event{}
		if err := event.UnmarshalVT(encoded); err != nil {
			return err
		}
		t.rows = append(t.rows, memoryRow{b.Source, b.Partition, row.Offset, event})
	}
	return nil
}

// put adds one row to events, as if it had been inserted.
func (s *memoryState) put(of topicPartition, offset int64, event *wire.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.tables["events"]
	events.rows = append(events.rows, memoryRow{of.source(), of.partition, offset, event})
}

func (s *memoryState) rows(table string) iter.Seq[memoryRow] {
	s.mu.Lock()
	rows := slices.Clone(s.tables[table].rows)
	s.mu.Unlock()
	return slices.Values(rows)
}
