package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// partitionIngest brings one partition of clicks, actions or decisions to
// ClickHouse, within one membership of the group.
type partitionIngest struct {
	*Ingest
	of       topicPartition
	member   *membership
	sifter   sifter
	stopping <-chan struct{}
	rowsMax  int
	reader   *reader
	notYet   time.Time // when the next insert may begin
}

// workOnEvents works on one partition until its context ends or it is told to
// stop. After any surprise it starts over from what events and the committed
// offset say.
func (in *Ingest) workOnEvents(ctx context.Context, stopping <-chan struct{}, m *membership, topic string, partition int32) {
	p := &partitionIngest{Ingest: in, member: m, stopping: stopping, rowsMax: in.opts.PlanRowsMax}
	p.sifter = &ordinalSifter{store: in.opts.Store}
	if topic != TopicClicks {
		p.sifter = &identitySifter{store: in.opts.Store}
		p.rowsMax = min(p.rowsMax, planActionsMax)
	}
	defer func() {
		in.metrics.lags.forget(p.of)
		in.note(p.of, nil)
	}()
	// Until something is planned there is nothing to finish.
	ready, cancel := untilStopped(ctx, stopping)
	defer cancel()
	for ready.Err() == nil {
		var err error
		if p.of, err = in.begin(ready, m, topic, partition); err == nil {
			err = p.session(ctx, ready)
		}
		if ready.Err() != nil {
			return
		}
		in.note(p.of, err)
		if errors.Is(err, errFenced) {
			<-ready.Done() // the group is about to say so
			return
		}
		sleep(ready, time.Second)
	}
}

// untilStopped returns a context that also ends when stopping closes.
func untilStopped(ctx context.Context, stopping <-chan struct{}) (context.Context, context.CancelFunc) {
	ready, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stopping:
			cancel()
		case <-ready.Done():
		}
	}()
	return ready, cancel
}

// session resumes the partition and goes through its plans. ctx bounds what is
// planned, ready everything before.
func (p *partitionIngest) session(ctx, ready context.Context) error {
	var from resumption
	err := p.retry(ready, p.of, func() (err error) {
		from, err = p.resume(ready)
		return err
	})
	if err != nil {
		return err
	}
	if p.reader, err = openReader(p.opts.Clients, p.of, from.at); err != nil {
		return err
	}
	defer p.reader.close()
	p.metrics.lags.settle(p.of, from.at)
	if from.replayTo != 0 {
		if err := p.replay(ctx, ready, plan{source: p.of.source(), from: from.at, to: from.replayTo}); err != nil {
			return err
		}
	}
	for ready.Err() == nil {
		if err := p.step(ctx, ready); err != nil {
			return err
		}
	}
	return nil
}

// resume asks Kafka and ClickHouse where to go on.
func (p *partitionIngest) resume(ctx context.Context) (resumption, error) {
	committed, known, err := p.member.committed(ctx, p.of)
	if err != nil && !known {
		return resumption{}, err
	}
	if err != nil {
		p.opts.Logger.Error("ingest goes by the rows in ClickHouse", "partition", p.of.String(), "error", err)
	}
	log, err := lookUpLog(ctx, p.member.client, p.of)
	if err != nil {
		return resumption{}, err
	}
	p.metrics.lags.begin(p.of, max(log.start, committed.offset), log.end) // also while ClickHouse does not answer
	next, held, err := p.opts.Store.NextOffset(ctx, p.of.source(), p.of.partition)
	if err != nil {
		return resumption{}, fmt.Errorf("ask ClickHouse for the last offset of %s: %w", p.of, err)
	}
	from, err := resume(p.of.source(), committed, known, next, held, log)
	if err != nil {
		return resumption{}, fmt.Errorf("%s: %w", p.of, err)
	}
	if err := p.sifter.start(ctx, p.of, from.at); err != nil {
		return resumption{}, err
	}
	if from.lost > 0 {
		p.metrics.lost.WithLabelValues(p.of.topic).Add(float64(from.lost))
		p.opts.Logger.Error("Kafka removed records before they were in ClickHouse: raise the retention of the topic",
			"partition", p.of.String(), "records_max", from.lost, "resumed_at", from.at)
	}
	return from, nil
}

// replayPatience is how long a replay waits for the next records of its range
// before it lets other partitions insert.
const replayPatience = 5 * time.Second

// replay makes the insert of a plan again, exactly, and checks its rows.
func (p *partitionIngest) replay(ctx, ready context.Context, planned plan) error {
	if err := p.inserts.Acquire(ready, 1); err != nil {
		return err
	}
	defer p.inserts.Release(1)
	whole, err := p.reader.until(ready, planned.to, planRowsLimit, planBytesLimit, replayPatience)
	if err != nil {
		return err
	}
	count := 0
	for count < len(p.reader.pending) && p.reader.pending[count].Offset < planned.to {
		count++
	}
	if !whole || count == 0 || p.reader.pending[count-1].Offset != planned.to-1 {
		return fmt.Errorf("replay offsets %d to %d of %s: Kafka sent only %d records of them", planned.from, planned.to, p.of, count)
	}
	p.metrics.replays.WithLabelValues(p.of.topic).Inc()
	kept, err := p.insert(ctx, planned, p.reader.take(count))
	if err != nil {
		return err
	}
	p.checkReplay(ctx, planned, kept)
	return nil
}

// checkReplay compares the rows that ClickHouse has of a replayed range with
// what it should have. A difference is an error of ClickHouse's deduplication
// and cannot be mended by yet another insert: whatever token it had, some
// tables would have the rows twice. It is reported, for audit to repair.
func (p *partitionIngest) checkReplay(ctx context.Context, planned plan, want int) {
	var got int64
	for range 5 { // another replica may be a moment behind
		var err error
		if got, err = p.opts.Store.CountRange(ctx, p.of.source(), p.of.partition, planned.from, planned.to); err == nil && got == int64(want) {
			return
		}
		if !sleep(ctx, 500*time.Millisecond) {
			return
		}
	}
	p.metrics.mismatches.WithLabelValues(p.of.topic).Inc()
	p.opts.Logger.Error("a replayed range has a wrong number of rows in ClickHouse",
		"partition", p.of.String(), "from", planned.from, "to", planned.to, "rows", got, "want", want)
}

// step waits for records, plans a range and inserts it.
func (p *partitionIngest) step(ctx, ready context.Context) error {
	if len(p.reader.pending) == 0 {
		if _, err := p.reader.poll(ready, time.Second, p.rowsMax); err != nil {
			return err
		}
	}
	p.metrics.lags.read(p.reader)
	if len(p.reader.pending) == 0 {
		return nil
	}
	if err := p.linger(ready); err != nil {
		return err
	}
	if err := p.inserts.Acquire(ready, 1); err != nil {
		return err
	}
	defer p.inserts.Release(1)
	// What has come to the topic by now goes with it; a backlog makes the
	// plan as large as it may be.
	if _, err := p.reader.until(ready, p.reader.end, p.rowsMax, p.opts.PlanBytesMax, time.Second); err != nil {
		return err
	}
	records := p.reader.take(p.cut())
	planned := plan{source: p.of.source(), from: records[0].Offset, to: records[len(records)-1].Offset + 1}
	inserting := time.Now()
	_, err := p.insert(ctx, planned, records)
	// ClickHouse merges what is inserted in small parts, in the background. A
	// pause of some inserts' length leaves it, and the redirects, their time.
	p.notYet = time.Now().Add(min(4*time.Since(inserting), paceMax))
	return err
}

// paceMax bounds the pause between inserts, so that a click shows in a second.
const paceMax = 500 * time.Millisecond

// linger collects records for a while, so that an insert has more than one.
func (p *partitionIngest) linger(ctx context.Context) error {
	until := time.Now().Add(p.opts.Linger)
	if until.Before(p.notYet) {
		until = p.notYet
	}
	for len(p.reader.pending) < p.rowsMax && p.reader.bytes < readerFetchBytes {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if _, err := p.reader.poll(ctx, left, p.rowsMax-len(p.reader.pending)); err != nil {
			return err
		}
	}
	return nil
}

// cut is how many of the pending records make a plan, at least one.
func (p *partitionIngest) cut() int {
	bytes := 0
	for i, record := range p.reader.pending {
		bytes += len(record.Key) + len(record.Value)
		if i > 0 && (i == p.rowsMax || bytes > p.opts.PlanBytesMax) {
			return i
		}
	}
	return len(p.reader.pending)
}

// insert announces a plan, inserts its rows and settles it. It returns how
// many rows there were. The order is the whole promise: nothing is inserted
// that is not announced, and nothing announced over before it is inserted.
func (p *partitionIngest) insert(ctx context.Context, planned plan, records []*kgo.Record) (int, error) {
	buffer := rowBuffers.Get().(*rowBuffer)
	defer buffer.free()
	decoded := decodeRowsInto(buffer.take(len(records)), p.of.topic, records, p.refuse)
	var rows []tracker.Row
	var found sifted
	err := p.retry(ctx, p.of, func() (err error) {
		rows, found, err = p.sifter.sift(ctx, p.of, planned, decoded)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := p.retry(ctx, p.of, func() error { return p.member.commit(ctx, p.of, planned.planned()) }); err != nil {
		return 0, err
	}
	if len(rows) > 0 {
		block := &tracker.Block{
			Token: planned.token(p.of.partition), Source: planned.source, Partition: p.of.partition,
			From: planned.from, To: planned.to, Decisions: p.of.topic == TopicDecisions, Rows: rows,
		}
		if err := p.retry(ctx, p.of, func() error { return p.insertBlock(ctx, block) }); err != nil {
			return 0, err
		}
	}
	if left := leftOut(planned, rows); len(left) > 0 {
		place := tracker.Place{Source: planned.source, Partition: p.of.partition}
		if err := p.retry(ctx, p.of, func() error { return p.opts.Store.LeaveOut(ctx, place, left) }); err != nil {
			return 0, err
		}
	}
	p.count(rows, found)
	err = p.retry(ctx, p.of, func() error { return p.member.commit(ctx, p.of, planned.settled()) })
	if err == nil {
		p.metrics.lags.settle(p.of, planned.to)
		p.metrics.lags.read(p.reader)
	}
	return len(rows), err
}

// leftOut lists the offsets of a plan that have no row: repeats, what is no
// event, and numbers that Kafka gave to no record. Rows are in order.
func leftOut(planned plan, rows []tracker.Row) []tracker.OffsetRun {
	var runs []tracker.OffsetRun
	next := planned.from
	for _, row := range rows {
		if row.Offset > next {
			runs = append(runs, tracker.OffsetRun{From: next, To: row.Offset})
		}
		next = row.Offset + 1
	}
	if next < planned.to {
		runs = append(runs, tracker.OffsetRun{From: next, To: planned.to})
	}
	return runs
}

// insertBlock tries once.
func (p *partitionIngest) insertBlock(ctx context.Context, block *tracker.Block) error {
	began := time.Now()
	inserting, cancel := context.WithTimeout(ctx, p.opts.InsertTime)
	defer cancel()
	if err := p.opts.Store.InsertBlock(inserting, block); err != nil {
		p.metrics.insertErrors.Inc()
		return fmt.Errorf("insert %d rows of %s as %s: %w", len(block.Rows), p.of, block.Token, err)
	}
	p.metrics.insertSeconds.Observe(time.Since(began).Seconds())
	return nil
}

// refuse reports a record that cannot become a row. It stays in Kafka until
// the retention time is over.
func (p *partitionIngest) refuse(record *kgo.Record, err error) {
	p.metrics.refused.WithLabelValues(p.of.topic).Inc()
	p.opts.Logger.Error("a record is no event and is left out", "partition", p.of.String(), "offset", record.Offset, "error", err)
}

// count takes note of what an insert held.
func (p *partitionIngest) count(rows []tracker.Row, found sifted) {
	p.metrics.batchRows.Observe(float64(len(rows)))
	p.metrics.rows.WithLabelValues(p.of.topic).Add(float64(len(rows)))
	p.metrics.repeats.WithLabelValues(p.of.topic).Add(float64(found.repeats))
	if found.missing > 0 {
		p.metrics.missing.WithLabelValues(p.of.topic).Add(float64(found.missing))
		p.opts.Logger.Warn("a node skipped ordinals: clicks that it shed or that were damaged in its spool, else clicks lost",
			"missing", found.missing, "first_after", found.after)
	}
	if p.of.topic != TopicClicks {
		return // an action's time is when it happened, not when it was sent
	}
	now := time.Now()
	for _, row := range rows {
		if tracker.Reasons(row.Event.Reasons)&tracker.Simulated == 0 {
			p.metrics.arrivalSeconds.Observe(now.Sub(time.UnixMilli(int64(row.Event.TimeMs))).Seconds())
		}
	}
}
