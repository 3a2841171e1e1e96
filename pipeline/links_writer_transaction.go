package pipeline

import (
	"bytes"
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
// Where Kafka does not say whether a commit counts, the copy does once the id
// is taken anew, which ends whatever was under way.
type transactionalWriter struct {
	newClient func(...kgo.Opt) (*kgo.Client, error)
	follower  *follower
	links     *tracker.Links // the follower's copy
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
	var unsure []*linkChange // committed, and not known to count or not
	for {
		err := w.prepare(ctx)
		if err == nil && w.hold(unsure) {
			won(unsure)
			return nil
		}
		if err == nil {
			unsure = decide()
			err = w.commit(ctx, unsure)
		}
		if err == nil {
			won(unsure)
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

func won(changes []*linkChange) {
	for _, change := range changes {
		change.won = true
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

// hold reports whether the copy has changes exactly as they were to be
// written. A transaction counts as a whole, so the first one tells.
func (w *transactionalWriter) hold(changes []*linkChange) bool {
	if len(changes) == 0 {
		return false
	}
	found := w.links.ByNumber(changes[0].link.Number)
	if found == nil {
		return false
	}
	value, err := found.Link.MarshalVT()
	if err != nil {
		panic("BUG: encode a link: " + err.Error())
	}
	return bytes.Equal(value, changes[0].record().Value)
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
	if err := w.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("commit a transaction on %s: %w", TopicLinks, err)
	}
	w.behind = records[len(records)-1].Offset + 1
	return w.follower.await(ctx, w.behind)
}

// records are the changes as they are written, and before a link that takes
// the code of a deleted one the latter's record under a key of its own.
func (w *transactionalWriter) records(changes []*linkChange) []*kgo.Record {
	records := make([]*kgo.Record, 0, len(changes))
	for _, change := range changes {
		if change.base == newLinkBase {
			if retired := w.links.Retired(change.link.Domain, change.link.Code); retired != nil {
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

// fenced reports whether another writer took the transactional id, so that
// nothing of this one's transaction counts. Kafka says so in several ways,
// depending on which broker noticed.
func fenced(err error) bool {
	for _, sign := range []error{
		kerr.ProducerFenced,           // the coordinator, of an older epoch
		kerr.InvalidProducerEpoch,     // a partition's leader, of an older epoch
		kerr.InvalidProducerIDMapping, // the id belongs to another producer now
		kerr.InvalidTxnState,          // the other one ended our transaction
		kerr.TransactionAbortable,     // the same since KIP-890
		kerr.ConcurrentTransactions,   // the other one's transaction is ending
		// The coordinator of Kafka 4 stumbles (IllegalStateException) over a
		// commit while it ends the same transaction for another writer. As
		// nothing is certain after it, write looks for the changes in the copy.
		kerr.UnknownServerError,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}
