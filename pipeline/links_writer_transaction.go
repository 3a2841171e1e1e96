package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// linksTransactionalID is shared by all writers of links of a cluster. Who
// takes it shuts out whoever had it before.
const linksTransactionalID = "waymark-links-writer"

// transactionTimeout is how long a writer that died in the middle holds up
// readers, should no other writer come.
const transactionTimeout = 15 * time.Second

// transactionalWriter writes links to a real Kafka, where a compacted topic
// keeps the last record of a key: a writer that lost a race must never have
// written. So it takes the shared transactional id first, which fences every
// other writer and ends what they had begun, then reads the topic to its end,
// and only then decides; the changes of one decision are one transaction. Had
// another writer taken the id in between, the transaction fails as a whole,
// and after a random pause everything begins again.
//
// As long as nobody else takes the id, nobody else writes, so the next
// decision needs no new reading.
//
// Whether a commit counts, the copy says and not the answer: it has the records
// or will never have them. Answers get lost, and say what is not so
// (see awaitTopic).
type transactionalWriter struct {
	newClient func(...kgo.Opt) (*kgo.Client, error)
	follower  *follower
	copy      *linksCopy // the follower's
	log       *slog.Logger

	mu     sync.Mutex
	client *kgo.Client // holds the transactional id; nil: not taken
	topic  [16]byte    // that the copy was of when it was taken
	behind int64       // the copy must have reached this before the next decision
}

func (w *transactionalWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.release()
}

func (w *transactionalWriter) release() {
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

func (w *transactionalWriter) write(ctx context.Context, decide func() []*linkChange) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var changes []*linkChange
	w.copy.expect(-1)
	for {
		err := w.prepare(ctx)
		// What the last attempt could not tell is certain by now.
		if err == nil && !w.copy.hasArrived() {
			changes = decide()
			err = w.commit(ctx, changes)
		}
		if err == nil {
			for _, change := range changes {
				change.won = true
			}
			return nil
		}
		w.release()
		if !fenced(err) {
			return err
		}
		w.log.Debug("another writer of links was faster; trying again", "error", err)
		// Without the pause two busy writers would fence each other for ever.
		if !sleep(ctx, 50*time.Millisecond+rand.N(450*time.Millisecond)) {
			return fmt.Errorf("write links while others do: %w: %w", ctx.Err(), err)
		}
	}
}

// prepare makes the copy good to decide by. After an error the transactional
// id must be taken anew.
func (w *transactionalWriter) prepare(ctx context.Context) error {
	if w.client != nil && w.topic != w.follower.snapshot().id {
		w.release() // behind is an offset of the topic that was there before
	}
	if w.client == nil {
		if err := w.take(ctx); err != nil {
			return err
		}
	}
	return w.follower.await(ctx, w.behind)
}

// commit writes the changes in one transaction and waits for the copy to have
// them. After an error the transactional id must be taken anew.
func (w *transactionalWriter) commit(ctx context.Context, changes []*linkChange) error {
	if len(changes) == 0 {
		return nil
	}
	records := w.records(changes)
	if err := w.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction on %s: %w", TopicLinks, err)
	}
	if err := w.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write to %s: %w", TopicLinks, err)
	}
	if err := w.awaitTopic(ctx); err != nil {
		return err
	}
	last := records[len(records)-1].Offset
	w.copy.expect(last) // a transaction counts as a whole
	if err := w.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("commit a transaction on %s: %w", TopicLinks, err)
	}
	w.behind = last + 1
	if err := w.follower.await(ctx, w.behind); err != nil {
		return err
	}
	if !w.copy.hasArrived() {
		return errUndone
	}
	return nil
}

// awaitTopic waits until the client has put away what it learned about the
// topic with its first record, some microseconds after that was acknowledged.
// In between, EndTransaction of franz-go 1.22.2 takes the transaction for an
// empty one and aborts it, without an error, where Kafka has transactions of
// the second version (KIP-890).
func (w *transactionalWriter) awaitTopic(ctx context.Context) error {
	for {
		leader, _, err := w.client.PartitionLeader(TopicLinks, 0)
		if leader >= 0 || err != nil {
			return nil // EndTransaction knows the error, too
		}
		if !sleep(ctx, time.Millisecond) {
			return fmt.Errorf("wait for the leader of %s: %w", TopicLinks, ctx.Err())
		}
	}
}

var errUndone = errors.New("commit a transaction on " + TopicLinks + ": Kafka undid it")

// records are the changes as they are written, and before a link that takes
// the code of a deleted one the latter's record under a key of its own.
func (w *transactionalWriter) records(changes []*linkChange) []*kgo.Record {
	records := make([]*kgo.Record, 0, len(changes))
	for _, change := range changes {
		if change.base == newLinkBase {
			if retired := w.copy.links.Retired(change.link.Domain, change.link.Code); retired != nil {
				records = append(records, retiredRecord(retired))
			}
		}
		records = append(records, change.record())
	}
	return records
}

func retiredRecord(retired *wire.Link) *kgo.Record {
	value, err := retired.MarshalVT()
	if err != nil {
		panic("BUG: encode a link: " + err.Error())
	}
	return &kgo.Record{Topic: TopicLinks, Key: []byte(tracker.RetiredKey(tracker.LinkNumber(retired.Number))), Value: value}
}

// take takes the transactional id and finds the topic's end. No other writer
// can have a record after it, unless it takes the id in its turn.
func (w *transactionalWriter) take(ctx context.Context) error {
	client, err := w.newClient(
		kgo.TransactionalID(linksTransactionalID), kgo.TransactionTimeout(transactionTimeout),
		kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	w.client, w.topic = client, w.follower.snapshot().id
	if _, _, err := client.ProducerID(ctx); err != nil {
		return fmt.Errorf("take the transactional id %s: %w", linksTransactionalID, err)
	}
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, TopicLinks)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", TopicLinks, err)
	}
	end, ok := ends.Lookup(TopicLinks, 0)
	if !ok {
		return fmt.Errorf("find the end of %s: the answer lacks partition 0", TopicLinks)
	}
	w.behind = end.Offset
	return nil
}

// fenced reports whether another writer took the transactional id in between.
// Kafka says so in several ways, depending on which broker noticed.
func fenced(err error) bool {
	for _, sign := range []error{
		errUndone,
		kerr.ProducerFenced,           // the coordinator, of an older epoch
		kerr.InvalidProducerEpoch,     // a partition's leader, of an older epoch
		kerr.InvalidProducerIDMapping, // the id belongs to another producer now
		kerr.InvalidTxnState,          // the other one ended our transaction
		kerr.TransactionAbortable,     // the same since KIP-890
		kerr.ConcurrentTransactions,   // the other one's transaction is ending
		// The coordinator of Kafka 4 stumbles (IllegalStateException) over a
		// commit while it ends the same transaction for another writer.
		kerr.UnknownServerError,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}
