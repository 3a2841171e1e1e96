package pipeline

import "fmt"

// logRange is what a partition of the topic holds: start <= offset < end.
type logRange struct{ start, end int64 }

// resumption is where ingest goes on with a partition.
type resumption struct {
	at       int64
	replayTo int64 // not 0: [at, replayTo) was planned and is inserted again
	lost     int64 // records that were trimmed before they could be inserted, at most
}

// resume decides where to go on. Three witnesses are heard: the committed
// progress (committed is false where there is none), the rows in events (next
// is the offset after the last one, held is false where there is none), and
// the log. events wins over a committed offset that lags behind it: such a
// commit was lost or set by hand, and going by it would insert rows twice. The
// exception is a plan, whose rows in events may be only part of it.
//
// It returns an error where the log ends before what it is known to have held:
// somebody took records from its end, and new ones will get the offsets, and
// so the deduplication tokens, of old ones. No position is safe then.
func resume(source uint32, c progress, committed bool, next int64, held bool, log logRange) (resumption, error) {
	if committed && c.Source != 0 && c.Source != source {
		committed = false // of a topic that was deleted
	}
	planned := committed && c.To != 0
	if planned && (!held || next <= c.To) && c.offset >= log.start {
		if c.To > log.end {
			return resumption{}, fmt.Errorf("resume the planned range %d to %d: the log ends at %d; "+
				"bring its records back, or reset the offset of the group if they are gone for good", c.offset, c.To, log.end)
		}
		return resumption{at: c.offset, replayTo: c.To}, nil
	}
	at := log.start
	switch {
	case held && committed && c.offset <= log.end:
		at = max(next, c.offset)
	case held:
		at = next
	case committed:
		at = c.offset
	}
	if at > log.end {
		return resumption{}, fmt.Errorf("resume at offset %d: the log ends at %d; "+
			"bring its records back, or delete the topic so that it is created anew", at, log.end)
	}
	if at < log.start {
		return resumption{at: log.start, lost: log.start - at}, nil
	}
	return resumption{at: at}, nil
}
