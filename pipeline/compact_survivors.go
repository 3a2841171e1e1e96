package pipeline

import (
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// survivors are the records of a log that a compacted one keeps.
type survivors struct {
	counts  map[int64]bool // by offset: the record is the last that counts of its kind
	last    int64          // offset of the last record
	records int64          // of the log
	count   int64          // of those kept
}

// findSurvivors reads a log and finds what it says in the end: of a table the
// last record of each key; of waymark.links the last version of each link
// number that counts by the rule of writeCondition. Numbers rather than codes,
// because click ids refer to a link by number also after its code was deleted
// and given away.
func findSurvivors(topic string, segments []string) (*survivors, error) {
	found := &survivors{counts: make(map[int64]bool)}
	kind := func(r *kgo.Record) (string, bool, error) { return string(r.Key), true, nil }
	if topic == TopicLinks {
		links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 16})
		defer links.Close()
		kind = func(r *kgo.Record) (string, bool, error) { return linkVersion(links, r) }
	}
	latest := make(map[string]int64)
	err := eachRecord(segments, func(r *kgo.Record) error {
		found.records++
		found.last = r.Offset
		key, counts, err := kind(r)
		if counts {
			latest[key] = r.Offset
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, offset := range latest {
		found.counts[offset] = true
	}
	found.count = int64(len(found.counts))
	if found.records > 0 && !found.counts[found.last] {
		found.count++
	}
	return found, nil
}

// linkVersion applies a record and returns its link number, or false for a
// record that does not count.
func linkVersion(links *tracker.Links, r *kgo.Record) (number string, counts bool, err error) {
	if condition, ok := writeConditionOf(r); ok && !condition.holds(links, r) {
		return "", false, nil
	}
	var unusable *tracker.RecordError
	if err := links.Apply(r.Key, r.Value, r.Offset); errors.As(err, &unusable) {
		return "", false, nil
	} else if err != nil {
		return "", false, err
	}
	var w wire.Link
	if err := w.UnmarshalVTUnsafe(r.Value); err != nil {
		panic("BUG: decode a link that was applied: " + err.Error())
	}
	return strconv.FormatUint(uint64(w.Number), 10), true, nil
}

// keep returns the record as the compacted log has it, nil for none.
//
// One that counts loses its condition, since the version it was made from is
// gone. The last record stays even if it does not count, so that the log ends
// where it did: everything that decided against it is still there.
func (s *survivors) keep(r *kgo.Record) *kgo.Record {
	if s.counts[r.Offset] {
		r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == conditionHeader })
		return r
	}
	if r.Offset == s.last {
		return r
	}
	return nil
}

// writeSurvivors writes the compacted log to a directory and returns its size.
// step is called after every batch.
func writeSurvivors(dir string, segments []string, found *survivors, step func() error) (int64, error) {
	compressor, err := kgo.DefaultCompressor(kgo.SnappyCompression())
	if err != nil {
		panic("BUG: make a compressor: " + err.Error())
	}
	w := &logWriter{dir: dir, compressor: compressor}
	var batch []*kgo.Record
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := w.append(batch)
		batch, size = nil, 0
		if err != nil {
			return err
		}
		return step()
	}
	err = eachRecord(segments, func(r *kgo.Record) error {
		if r = found.keep(r); r == nil {
			return nil
		}
		if len(batch) > 0 && r.Offset-batch[0].Offset > math.MaxInt32 {
			if err := flush(); err != nil {
				return err
			}
		}
		batch = append(batch, r)
		size += len(r.Key) + len(r.Value)
		if len(batch) >= batchRecordsMax || size >= batchValueBytesMax {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return w.written, errors.Join(err, w.finish())
}
