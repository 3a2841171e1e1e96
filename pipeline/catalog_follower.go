package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pollWait is how long a fetch waits for a record; one that comes is returned
// at once, so it costs no latency.
const pollWait = 500 * time.Millisecond

// topicCopy is what a follower keeps up to date. Its methods are called by one
// goroutine.
type topicCopy interface {
	// apply takes one record. A *skippedRecord is counted and passed over; any
	// other error makes the follower try the same record again later.
	apply(r *kgo.Record) error
	// renew begins a copy from the topic's start, aside; apply goes there
	// until swap puts it in place of the old one. A second renew begins again.
	renew() error
	swap() error
}

// skippedRecord is a record that can't be used.
type skippedRecord struct{ error }

func (e skippedRecord) Unwrap() error { return e.error }

// followerState says how good a copy is.
type followerState struct {
	id       [16]byte  // the topic that next belongs to
	next     int64     // every record before it is in the copy
	complete bool      // the copy has been at the topic's end, in this process or when its snapshot was made
	asOf     time.Time // when that was last so
	current  bool      // the end was reached in this process
	behind   int64     // offsets to the end, at the last look
	away     time.Time // since when Kafka does not answer; zero: it does
	err      error     // why
}

// follower keeps the copy of one topic up to date, for as long as it runs,
// however often and long Kafka is away.
type follower struct {
	topic   string
	copy    topicCopy
	tail    tail
	log     *slog.Logger
	metrics *catalogMetrics
	expiry  time.Duration // half of the topic's delete.retention.ms; 0: nothing expires
	renewed bool          // between renew and swap

	mu       sync.Mutex
	state    followerState
	advanced chan struct{} // closed, and replaced, when state changes
}

func newFollower(topic string, copy topicCopy, client *kgo.Client, log *slog.Logger, metrics *catalogMetrics) *follower {
	return &follower{
		topic: topic, copy: copy, tail: tail{client: client, topic: topic}, log: log.With("topic", topic), metrics: metrics,
		advanced: make(chan struct{}),
	}
}

// resume sets where a loaded snapshot ends. It comes before run.
func (f *follower) resume(id [16]byte, next int64, asOf time.Time) {
	f.tail.id, f.tail.next = id, next
	f.state = followerState{id: id, next: next, complete: true, asOf: asOf}
}

// run follows the topic until ctx ends.
func (f *follower) run(ctx context.Context) {
	for fails := 1; ; fails++ {
		polls, err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if polls > 0 {
			fails = 1
		}
		f.failed(err)
		if !sleep(ctx, retryBackoff(fails)) {
			return
		}
	}
}

// follow reads on until something fails, and returns how often it did not.
func (f *follower) follow(ctx context.Context) (polls int, err error) {
	if err := f.connect(ctx); err != nil {
		return 0, err
	}
	wait := time.Duration(0) // until the end was seen, also of an empty topic
	for {
		records, end, err := f.tail.poll(ctx, wait)
		if errors.Is(err, errTopicRecreated) || errors.Is(err, errPositionGone) {
			if err := f.startOver(ctx, err.Error()); err != nil {
				return polls, err
			}
			wait = 0
			continue
		}
		if err != nil {
			return polls, err
		}
		polls++
		if err := f.applyAll(records); err != nil {
			return polls, err
		}
		if err := f.reached(end); err != nil {
			return polls, err
		}
		wait = pollWait
	}
}

// connect finds the topic and decides whether the copy is good to go on from.
func (f *follower) connect(ctx context.Context) error {
	if f.tail.id == [16]byte{} {
		if f.snapshot().complete && !f.renewed {
			return f.startOver(ctx, "the snapshot has no position")
		}
		// Nothing to keep meanwhile, or starting over was interrupted.
		return f.tail.restart(ctx)
	}
	err := f.tail.link(ctx)
	if errors.Is(err, errTopicRecreated) {
		return f.startOver(ctx, "the topic was deleted and created again")
	}
	if err != nil {
		return err
	}
	if f.expiry, err = tombstoneExpiry(ctx, f.tail.client, f.topic); err != nil {
		return err
	}
	if asOf := f.snapshot().asOf; f.expiry > 0 && time.Since(asOf) > f.expiry && !f.renewed {
		return f.startOver(ctx, fmt.Sprintf("the copy is of %s, and deletions may have been forgotten since", asOf.Format(time.RFC3339)))
	}
	return nil
}

// tombstoneExpiry is half of the time after which a compacted topic may forget
// that a key was deleted; 0 for a topic that is not compacted.
func tombstoneExpiry(ctx context.Context, client *kgo.Client, topic string) (time.Duration, error) {
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("read the settings of topic %s: %w", topic, err)
	}
	config, err := configs.On(topic, nil)
	if err == nil {
		err = config.Err
	}
	if err != nil {
		return 0, fmt.Errorf("read the settings of topic %s: %w", topic, err)
	}
	ms, err := strconv.ParseInt(settingOf(config, "delete.retention.ms"), 10, 64)
	if err != nil || !strings.Contains(settingOf(config, "cleanup.policy"), "compact") {
		return 0, nil
	}
	return time.Duration(ms) * time.Millisecond / 2, nil
}

// startOver reads the topic from its start into a new copy; the old one serves
// until the new one has reached the end.
func (f *follower) startOver(ctx context.Context, why string) error {
	f.log.Info("reading the topic from its start", "reason", why)
	if err := f.copy.renew(); err != nil {
		return fmt.Errorf("begin a new copy of topic %s: %w", f.topic, err)
	}
	f.renewed = true
	return f.tail.restart(ctx)
}

// applyAll applies what a poll brought. On an error the tail is where the
// record that failed begins.
func (f *follower) applyAll(records []*kgo.Record) error {
	for _, r := range records {
		err := f.copy.apply(r)
		var skipped skippedRecord
		switch {
		case errors.As(err, &skipped):
			f.metrics.skipped.WithLabelValues(f.topic).Inc()
			f.log.Error("skipped a record", "offset", r.Offset, "error", err)
		case err != nil:
			f.tail.next = r.Offset
			return fmt.Errorf("apply the record of topic %s at offset %d: %w", f.topic, r.Offset, err)
		}
	}
	f.metrics.records.WithLabelValues(f.topic).Add(float64(len(records)))
	return nil
}

// reached publishes the position after a poll that saw the topic's end there.
func (f *follower) reached(end int64) error {
	atEnd := f.tail.next >= end
	if f.renewed {
		if !atEnd {
			return nil
		}
		if err := f.copy.swap(); err != nil {
			return fmt.Errorf("put the new copy of topic %s in place: %w", f.topic, err)
		}
		f.renewed = false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.state
	if !s.away.IsZero() {
		f.log.Info("following the topic again", "away_seconds", int(time.Since(s.away).Seconds()))
	}
	s.id, s.next, s.away, s.err = f.tail.id, f.tail.next, time.Time{}, nil
	s.behind = max(end-f.tail.next, 0)
	if atEnd {
		s.complete, s.current, s.asOf = true, true, time.Now()
	}
	f.metrics.behind.WithLabelValues(f.topic).Set(float64(s.behind))
	f.changedLocked()
	return nil
}

// failed notes that Kafka does not answer.
func (f *follower) failed(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.away.IsZero() {
		f.state.away = time.Now()
		f.log.Warn("can't follow the topic; serving what is known", "error", err)
	}
	f.state.err = err
	f.changedLocked()
}

func (f *follower) changedLocked() {
	close(f.advanced)
	f.advanced = make(chan struct{})
}

func (f *follower) snapshot() followerState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// await waits until the copy has everything before an offset.
func (f *follower) await(ctx context.Context, next int64) error {
	for {
		f.mu.Lock()
		done, advanced := f.state.next >= next, f.advanced
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return fmt.Errorf("wait for this node to follow topic %s to offset %d: %w", f.topic, next, ctx.Err())
		}
	}
}

// ready says what keeps the copy from being served: it has never been
// complete, or it comes from a snapshot while Kafka could tell what is new.
// With Kafka away a snapshot is the best there is, and is served.
func (f *follower) ready() error {
	s := f.snapshot()
	switch {
	case s.current, s.complete && !s.away.IsZero():
		return nil
	case !s.away.IsZero():
		return fmt.Errorf("%s was never read, and can't be since %s: %w", f.topic, s.away.UTC().Format(time.RFC3339), s.err)
	default:
		return fmt.Errorf("reading %s, %d records to go", f.topic, s.behind)
	}
}

// status is what an operator should know of the copy, "" while all is well.
func (f *follower) status() string {
	s := f.snapshot()
	if s.away.IsZero() || !s.complete {
		return ""
	}
	return fmt.Sprintf("serving %s as of %s; it can't be read since %s: %v",
		f.topic, s.asOf.UTC().Format(time.RFC3339), s.away.UTC().Format(time.RFC3339), s.err)
}
