package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// offsetRange is a range of offsets, to excluded.
type offsetRange struct{ from, to int64 }

// judge reads records that have no row in events, and says why they have none.
// Ranges must come in order. It is not safe for concurrent use.
type judge struct {
	*Audit
	of       topicPartition
	actions  bool
	ordinals *ordinalAudit
	// insert, if set, is what becomes of records that should be in events.
	insert func(ctx context.Context, rows []tracker.Row) error

	reader  *reader
	batch   []*kgo.Record // to be judged together
	bytes   int
	keptIDs map[string][]tracker.ActionIdentity // of missing actions, by record key: what repeats them is a repeat

	leftOut []tracker.OffsetRun // by ingest; tells of what Kafka has no more

	lost                                     []offsetRange // at most auditRangesMax
	repeats, refused, absent, unread, beyond int64         // beyond: missing, but not in lost
	trimmed                                  int64         // offsets without a row, of which nothing else is known
	dropped                                  int64         // offsets without a row, trimmed, of which ingest says that it left them out
}

const (
	judgeRecords = 5000 // one question to ClickHouse
	judgeBytes   = 16 << 20
	// judgeSkip is how many records it is cheaper to read and drop than to
	// have a new client seek past.
	judgeSkip = 50_000
	// judgePatience is how long Kafka may send nothing of what it has.
	judgePatience = 15 * time.Second
)

func (j *judge) close() {
	if j.reader != nil {
		j.reader.close()
	}
}

// read judges the records of a range.
func (j *judge) read(ctx context.Context, from, to int64) error {
	if err := j.seek(from); err != nil {
		return err
	}
	records, trimmed := int64(0), int64(0)
	for {
		r := j.reader
		for len(r.pending) > 0 && r.pending[0].Offset < to {
			record := r.take(1)[0]
			if record.Offset < from {
				continue
			}
			records++
			j.batch = append(j.batch, record)
			if j.bytes += len(record.Key) + len(record.Value); len(j.batch) >= judgeRecords || j.bytes >= judgeBytes {
				if err := j.flush(ctx); err != nil {
					return err
				}
			}
		}
		if len(r.pending) > 0 || r.next >= to {
			j.absent += to - from - records - trimmed
			return nil
		}
		got, err := r.poll(ctx, judgePatience, judgeRecords)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			gone, err := j.skipTrimmed(ctx, max(from, r.next), to)
			if err != nil {
				return err
			}
			trimmed += gone
			continue
		}
		if err != nil {
			return err
		}
		if !got {
			// The log may end with records that are not for consumers; or
			// Kafka is in trouble. Nothing is proven either way.
			unread := to - max(from, r.next)
			j.unread, j.absent = j.unread+unread, j.absent+to-from-records-trimmed-unread
			return nil
		}
	}
}

// skipTrimmed goes on where the log begins now, after the broker has trimmed what
// it had when the audit looked it up. It returns how many offsets from from on are
// gone.
func (j *judge) skipTrimmed(ctx context.Context, from, to int64) (gone int64, err error) {
	log, err := lookUpLog(ctx, j.client, j.of)
	if err != nil {
		return 0, err
	}
	if log.start <= j.reader.next {
		return 0, fmt.Errorf("read %s: Kafka does not give offset %d, but says that its log begins at %d", j.of, j.reader.next, log.start)
	}
	j.reader.close()
	if j.reader, err = openReader(j.opts.Clients, j.of, log.start); err != nil {
		return 0, err
	}
	gone = max(min(log.start, to)-from, 0)
	j.trim(from, from+gone)
	return gone, nil
}

// trim judges a range that Kafka has no more by what ingest wrote down. Ranges
// must come in order.
func (j *judge) trim(from, to int64) {
	for len(j.leftOut) > 0 && from < to {
		out := j.leftOut[0]
		if out.From >= to {
			break
		}
		start, end := max(out.From, from), min(out.To, to)
		if start < end {
			j.trimmed += start - from
			j.dropped += end - start
			from = end
		}
		if out.To > to {
			break
		}
		j.leftOut = j.leftOut[1:]
	}
	j.trimmed += to - from
}

// seek makes the reader go on at an offset, or not far below it.
func (j *judge) seek(at int64) (err error) {
	if r := j.reader; r != nil {
		position := r.next
		if len(r.pending) > 0 {
			position = r.pending[0].Offset
		}
		if at-position < judgeSkip {
			return nil
		}
		r.close()
	}
	j.reader, err = openReader(j.opts.Clients, j.of, at)
	return err
}

// flush judges what has been read so far.
func (j *judge) flush(ctx context.Context) error {
	rows := decodeRows(j.of.topic, j.batch, func(*kgo.Record, error) { j.refused++ })
	j.batch, j.bytes = j.batch[:0], 0
	if len(rows) == 0 {
		return nil
	}
	sift := j.siftHits
	if j.actions {
		sift = j.siftActions
	}
	lost, err := sift(ctx, rows)
	if err != nil || len(lost) == 0 {
		return err
	}
	for _, row := range lost {
		j.lose(row.Offset)
	}
	if j.insert != nil {
		return j.insert(ctx, lost)
	}
	return nil
}

// siftHits keeps the hits that are nowhere in events, the first of each.
func (j *judge) siftHits(ctx context.Context, rows []tracker.Row) ([]tracker.Row, error) {
	hits := make([]tracker.NodeOrdinal, len(rows))
	for i, row := range rows {
		hits[i] = tracker.NodeOrdinal{Node: uint16(row.Event.Node), Ordinal: row.Event.Ordinal}
	}
	has, err := j.opts.Store.HasHits(ctx, hits)
	if err != nil {
		return nil, err
	}
	var lost []tracker.Row
	for i, row := range rows {
		if has[hits[i]] || !j.ordinals.lose(hits[i]) {
			j.repeats++
			continue
		}
		lost = append(lost, row)
	}
	return lost, nil
}

// siftActions keeps the actions that are not in events under any identity that
// is theirs, the first of each.
func (j *judge) siftActions(ctx context.Context, rows []tracker.Row) ([]tracker.Row, error) {
	if j.keptIDs == nil {
		j.keptIDs = map[string][]tracker.ActionIdentity{}
	}
	var ask []tracker.ActionIdentity
	for _, row := range rows {
		if identity, ok := tracker.IdentityOfAction(row.Event); ok {
			ask = append(ask, identity)
		}
	}
	has, err := j.opts.Store.HasActions(ctx, ask)
	if err != nil {
		return nil, err
	}
	held := map[string][]tracker.ActionIdentity{}
	for _, identity := range has {
		held[identity.RecordKey()] = append(held[identity.RecordKey()], identity)
	}
	var lost []tracker.Row
	for _, row := range rows {
		if identity, ok := tracker.IdentityOfAction(row.Event); ok {
			key := identity.RecordKey()
			if matchesAny(identity, held[key]) || matchesAny(identity, j.keptIDs[key]) {
				j.repeats++
				continue
			}
			// The text aliases a record, which must not live on.
			identity.Event, identity.Key, identity.Program = strings.Clone(identity.Event), strings.Clone(identity.Key), strings.Clone(identity.Program)
			j.keptIDs[strings.Clone(key)] = append(j.keptIDs[key], identity)
		}
		lost = append(lost, row)
	}
	return lost, nil
}

// lose notes an offset that should be in events.
func (j *judge) lose(offset int64) {
	if last := len(j.lost) - 1; last >= 0 && j.lost[last].to == offset {
		j.lost[last].to++
		return
	}
	if len(j.lost) == auditRangesMax {
		j.beyond++
		return
	}
	j.lost = append(j.lost, offsetRange{offset, offset + 1})
}

// explained counts the offsets that rightly have no row.
func (j *judge) explained() int64 { return j.repeats + j.refused + j.absent + j.dropped }

// summary says in words what became of offsets without a row.
func (j *judge) summary(waiting int64) string {
	var parts []string
	for _, part := range []struct {
		count int64
		text  string
	}{
		{j.repeats, "repeats dropped"},
		{j.refused, "refused, being no event"},
		{j.absent, "offsets without a record"},
		{j.dropped, "left out by ingest and trimmed from Kafka"},
		{j.trimmed, "without a row and trimmed from Kafka"},
		{j.unread, "without a row, and Kafka does not send them"},
		{j.beyond, "missing beyond those that follow"},
		{waiting, "yet to be ingested"},
	} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprint(part.count, " ", part.text))
		}
	}
	return strings.Join(parts, ", ")
}
