package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reader reads one partition from a known offset on. Each partition has its
// own client: their records need not be sorted out, none waits for another,
// and after anything unexpected a reader is closed and a new one opened where
// events says. It is not safe for concurrent use.
type reader struct {
	client  *kgo.Client
	of      topicPartition
	next    int64 // offset to read next
	end     int64 // end of the log when it was last heard of
	pending []*kgo.Record
	bytes   int // of the keys and values pending
}

// readerFetchBytes bounds what the client holds beside pending: one fetch
// being read and one ahead.
const readerFetchBytes = 4 << 20

func openReader(o ClientOptions, of topicPartition, at int64) (*reader, error) {
	client, err := NewClient(o,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{of.topic: {of.partition: kgo.NoResetOffset().At(at)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(readerFetchBytes), kgo.FetchMaxPartitionBytes(readerFetchBytes),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return nil, err
	}
	return &reader{client: client, of: of, next: at}, nil
}

func (r *reader) close() { r.client.Close() }

// poll waits for at most wait and adds up to rows records to pending. It
// reports whether there were any.
func (r *reader) poll(ctx context.Context, wait time.Duration, rows int) (bool, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := r.client.PollRecords(waiting, rows)
	if err := fetches.Err0(); err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		return false, fmt.Errorf("read %s at offset %d: %w", r.of, r.next, err)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	before := len(r.pending)
	var failed error
	fetches.EachTopic(func(t kgo.FetchTopic) {
		for _, p := range t.Partitions {
			if err := r.add(t.TopicID, p); err != nil && failed == nil {
				failed = fmt.Errorf("read %s at offset %d: %w", r.of, r.next, err)
			}
		}
	})
	return len(r.pending) > before, failed
}

// add puts what was fetched behind pending.
func (r *reader) add(topicID [16]byte, p kgo.FetchPartition) error {
	if errors.Is(p.Err, context.DeadlineExceeded) {
		return nil
	}
	if p.Err != nil {
		return p.Err
	}
	if topicID != [16]byte{} && topicID != r.of.topicID {
		return errTopicGone
	}
	r.end = max(r.end, p.HighWatermark)
	for _, record := range p.Records {
		if record.Offset < r.next {
			return fmt.Errorf("the broker sent offset %d again", record.Offset)
		}
		r.next = record.Offset + 1
		r.bytes += len(record.Key) + len(record.Value)
		r.pending = append(r.pending, record)
	}
	return nil
}

// until reads on until the records up to offset to (excluded) are pending, or
// what is pending reaches a bound, or nothing came for patience. It reports
// whether they are.
func (r *reader) until(ctx context.Context, to int64, rowsMax, bytesMax int, patience time.Duration) (bool, error) {
	for r.next < to && len(r.pending) < rowsMax && r.bytes < bytesMax {
		got, err := r.poll(ctx, patience, rowsMax-len(r.pending))
		if err != nil {
			return false, err
		}
		if !got {
			break
		}
	}
	return r.next >= to, nil
}

// take removes the first n records from pending.
func (r *reader) take(n int) []*kgo.Record {
	taken := r.pending[:n:n]
	r.pending = r.pending[n:]
	for _, record := range taken {
		r.bytes -= len(record.Key) + len(record.Value)
	}
	return taken
}
