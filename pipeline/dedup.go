package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// sifter drops the records of a plan that are repeats of others. Given the
// same plan and what events holds below it, it decides alike, whoever asks and
// whenever. It is not safe for concurrent use.
type sifter interface {
	// start forgets everything and prepares for a plan that begins at from.
	start(ctx context.Context, of topicPartition, from int64) error
	// sift returns the rows to keep, in order and in the array of rows, which
	// it leaves as it was when it fails. Plans must come in order.
	sift(ctx context.Context, of topicPartition, p plan, rows []tracker.Row) ([]tracker.Row, sifted, error)
}

// sifted says what a sifter found.
type sifted struct {
	repeats int64  // dropped
	missing int64  // ordinals that a node skipped
	after   string // where the first ones are missing, for the log
}

// ordinalSifter drops clicks that a node sent again after a crash: those whose
// ordinal is not above the node's last one in the partition.
type ordinalSifter struct {
	store Store
	last  map[uint16]uint64
}

func (s *ordinalSifter) start(ctx context.Context, of topicPartition, from int64) error {
	last, err := s.store.Ordinals(ctx, of.source(), of.partition, from)
	if err != nil {
		return fmt.Errorf("ask ClickHouse for the last ordinals in %s below offset %d: %w", of, from, err)
	}
	s.last = make(map[uint16]uint64, len(last))
	for node, ordinal := range last {
		s.last[node] = ordinal
	}
	return nil
}

func (s *ordinalSifter) sift(_ context.Context, of topicPartition, _ plan, rows []tracker.Row) ([]tracker.Row, sifted, error) {
	var found sifted
	kept := rows[:0]
	for _, row := range rows {
		node, ordinal := uint16(row.Event.Node), row.Event.Ordinal
		last, known := s.last[node]
		if known && ordinal <= last {
			found.repeats++
			continue
		}
		if known && ordinal > last+1 {
			if found.missing == 0 {
				found.after = fmt.Sprintf("node %d, ordinal %d, before offset %d of %s", node, last, row.Offset, of)
			}
			found.missing += int64(ordinal - last - 1)
		}
		s.last[node] = ordinal
		kept = append(kept, row)
	}
	return kept, found, nil
}

// identitySifter drops actions that were reported before.
type identitySifter struct{ store Store }

func (s *identitySifter) start(context.Context, topicPartition, int64) error { return nil }

func (s *identitySifter) sift(ctx context.Context, of topicPartition, p plan, rows []tracker.Row) ([]tracker.Row, sifted, error) {
	seen := make(map[string][]tracker.ActionIdentity) // by record key; those that were kept
	var ask []tracker.ActionIdentity
	for _, row := range rows {
		identity, ok := tracker.IdentityOfAction(row.Event)
		if !ok {
			continue
		}
		if _, asked := seen[identity.RecordKey()]; !asked {
			seen[identity.RecordKey()] = nil
			ask = append(ask, identity)
		}
	}
	if len(ask) > 0 {
		answer, err := s.store.SeenActions(ctx, of.source(), of.partition, p.from, ask)
		if err != nil {
			return nil, sifted{}, fmt.Errorf("ask ClickHouse which of %d actions it has: %w", len(ask), err)
		}
		for _, identity := range answer {
			seen[identity.RecordKey()] = append(seen[identity.RecordKey()], identity)
		}
	}
	var found sifted
	kept := rows[:0]
	for _, row := range rows {
		if identity, ok := tracker.IdentityOfAction(row.Event); ok {
			if matchesAny(identity, seen[identity.RecordKey()]) {
				found.repeats++
				continue
			}
			seen[identity.RecordKey()] = append(seen[identity.RecordKey()], identity)
		}
		kept = append(kept, row)
	}
	return kept, found, nil
}

func matchesAny(identity tracker.ActionIdentity, others []tracker.ActionIdentity) bool {
	for _, other := range others {
		if identity.Matches(other) {
			return true
		}
	}
	return false
}

// decodeRows decodes records of a topic into events, whose text aliases the
// records. A record that cannot become a row is handed to refuse; whether it
// can depends on nothing but itself and the topic.
func decodeRows(topic string, records []*kgo.Record, refuse func(*kgo.Record, error)) []tracker.Row {
	return decodeRowsInto(make([]wire.Event, len(records)), topic, records, refuse)
}

// decodeRowsInto takes the events, empty ones, that rows will point to.
func decodeRowsInto(events []wire.Event, topic string, records []*kgo.Record, refuse func(*kgo.Record, error)) []tracker.Row {
	rows := make([]tracker.Row, 0, len(records))
	for i, record := range records {
		event := &events[i]
		err := event.UnmarshalVTUnsafe(record.Value)
		if err == nil {
			err = checkRow(event)
		}
		if err == nil && topic == TopicDecisions {
			err = checkDecision(event)
		}
		if err != nil {
			refuse(record, err)
			continue
		}
		rows = append(rows, tracker.Row{Offset: record.Offset, Event: event})
	}
	return rows
}

// timeMSMax is the last millisecond of 2299, where a DateTime64 of ClickHouse
// ends.
const timeMSMax = 10_413_791_999_999

// checkRow refuses an event that has no place in the columns of ClickHouse.
// The edge writes none such; but the topics are open to others, and a row that
// fails the insert of its block would fail it for ever.
func checkRow(e *wire.Event) error {
	switch {
	case e.Event == "":
		return errors.New("it has no event name")
	case e.TimeMs > timeMSMax || e.ClickTimeMs > timeMSMax:
		return fmt.Errorf("time %d ms or click time %d ms is after the year 2299", e.TimeMs, e.ClickTimeMs)
	case e.Node > 0xffff || e.ClickNode > 0xffff:
		return fmt.Errorf("node %d or click node %d exceeds 16 bits", e.Node, e.ClickNode)
	case e.Sequence > 0xffff || e.ClickSequence > 0xffff:
		return fmt.Errorf("sequence %d or click sequence %d exceeds 16 bits", e.Sequence, e.ClickSequence)
	case !isDecimal(e.Value):
		return fmt.Errorf("value %q is no decimal of up to 12 digits before and 6 after the point", e.Value)
	}
	for _, touch := range e.Touches {
		if touch == nil || touch.TimeMs > timeMSMax {
			return errors.New("a touch has a time after the year 2299")
		}
	}
	return nil
}

// checkDecision refuses what is no decision: its table has the fields of one
// alone, and its identity is its id.
func checkDecision(e *wire.Event) error {
	switch {
	case !tracker.ReservedEvent(e.Event):
		return fmt.Errorf("event %q is none that this installation decides; actions belong to %s", e.Event, TopicActions)
	case e.Id == "" || e.OrderId != "" || tracker.Reasons(e.Reasons)&tracker.Unverified != 0:
		return fmt.Errorf("a decision (%s) needs an id, no order, and is verified", e.Event)
	}
	return nil
}

// isDecimal reports whether a text is empty or fits Decimal(18, 6).
func isDecimal(s string) bool {
	if s == "" {
		return true
	}
	if s[0] == '-' {
		s = s[1:]
	}
	whole, fraction := 0, -1 // digits; -1 before the point
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.' && fraction < 0:
			fraction = 0
		case c < '0' || c > '9':
			return false
		case fraction < 0:
			whole++
		default:
			fraction++
		}
	}
	return whole > 0 && whole <= 12 && fraction != 0 && fraction <= 6
}
