package pipeline

import (
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// writeCondition is the header that makes a record of waymark.links count only
// where it fits what is before it in the log. All readers see the same log, so
// all agree on which of two racing writers won, and the loser learns it from
// its own copy. It needs neither a lock nor transactions, which the embedded
// broker does not keep across a kill.
//
// It needs every record to stay: a compacted topic keeps the last record of a
// key, which may be the loser's. That is why a real Kafka has another writer
// (links_writer_transaction.go), and why offline compaction of the embedded
// log applies the same rule (compact.go).
//
//	0                 8        16         24
//	┌─────────────────┬────────┬──────────┐
//	│ base, Unix ms   │ writer │ sequence │  big endian
//	└─────────────────┴────────┴──────────┘
type writeCondition struct {
	// base is the updated_at of the version that this one was made from, or
	// newLinkBase. updated_at of a link rises with each version.
	base uint64
	// writer and sequence tell a writer that the record is its own.
	writer, sequence uint64
}

const (
	conditionHeader = "waymark-if"
	// newLinkBase: there must be no link with the code, and no link with a
	// number as high.
	newLinkBase = ^uint64(0)
)

// header returns the condition as a record carries it.
func (c writeCondition) header() kgo.RecordHeader {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 24), c.base)
	value = binary.BigEndian.AppendUint64(value, c.writer)
	return kgo.RecordHeader{Key: conditionHeader, Value: binary.BigEndian.AppendUint64(value, c.sequence)}
}

// writeConditionOf returns the condition of a record, false if it has none
// and always counts. A header of another length never holds.
func writeConditionOf(r *kgo.Record) (writeCondition, bool) {
	for _, h := range r.Headers {
		if h.Key != conditionHeader {
			continue
		}
		if len(h.Value) != 24 {
			return writeCondition{}, true
		}
		return writeCondition{
			base:     binary.BigEndian.Uint64(h.Value),
			writer:   binary.BigEndian.Uint64(h.Value[8:]),
			sequence: binary.BigEndian.Uint64(h.Value[16:]),
		}, true
	}
	return writeCondition{}, false
}

// holds reports whether the record counts after all that links has seen. It
// looks at nothing but the links' own topic: programmes come from another one,
// which every node reads at a pace of its own. So two codes of a
// case-insensitive programme that differ in case are kept apart by the writers
// alone, before they write.
func (c writeCondition) holds(links *tracker.Links, r *kgo.Record) bool {
	var next wire.Link
	if err := next.UnmarshalVTUnsafe(r.Value); err != nil {
		return false
	}
	current, exists := links.Get(next.Domain, next.Code)
	if c.base == newLinkBase {
		return !exists && tracker.LinkNumber(next.Number) > links.MaxNumber()
	}
	return exists && uint32(current.Number) == next.Number &&
		uint64(current.UpdatedAt.UnixMilli()) == c.base && next.UpdatedAtMs > c.base
}

// verdicts tells the writers of this process which of their records counted.
type verdicts struct {
	writer uint64 // of this process

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]func(won bool) // by sequence
}

func newVerdicts() *verdicts {
	return &verdicts{writer: randomUint64(), waiting: make(map[uint64]func(bool))}
}

// expect returns the condition for a record; once the record has come back,
// then is called, unless forget was. then must not block.
func (v *verdicts) expect(base uint64, then func(won bool)) writeCondition {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last++
	v.waiting[v.last] = then
	return writeCondition{base: base, writer: v.writer, sequence: v.last}
}

// settle tells the writer of a record. A record that the broker stored twice,
// because its acknowledgement was lost, has its verdict from the first copy.
func (v *verdicts) settle(c writeCondition, won bool) {
	if c.writer != v.writer {
		return
	}
	v.mu.Lock()
	then := v.waiting[c.sequence]
	delete(v.waiting, c.sequence)
	v.mu.Unlock()
	if then != nil {
		then(won)
	}
}

func (v *verdicts) forget(c writeCondition) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, c.sequence)
}
