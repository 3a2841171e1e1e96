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
type transactionalWriter struct {
	newClient func(...kgo.Opt) (*kgo.Client, error)
	follower  *follower
	log       *slog.Logger

	mu     sync.Mutex
	client *kgo.Client // holds the transactional id; nil: not taken
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
	for {
		err := w.attempt(ctx, decide)
		if err == nil {
			return nil
		}
		w.release()
		if !fenced(err) {
			return err
		}
		w.log.Debug("another writer of links was faster; trying again", "error", err)
		// Without the pause two busy writers would fence each other for ever.
		if !sleep(ctx, 50*time.Millisecond+rand.N(450*time.Millisecond)) {
			return fmt.Errorf("write links while others do: %w", ctx.Err())
		}
	}
}

// attempt makes one decision and writes it. After an error the transactional
// id must be taken anew.
func (w *transactionalWriter) attempt(ctx context.Context, decide func() []*linkChange) error {
	if w.client == nil {
		if err := w.take(ctx); err != nil {
			return err
		}
	}
	if err := w.follower.await(ctx, w.behind); err != nil {
		return err
	}
	changes := decide()
	if len(changes) == 0 {
		return nil
	}
	records := make([]*kgo.Record, len(changes))
	for i, change := range changes {
		records[i] = change.record()
	}
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
	if err := w.follower.await(ctx, w.behind); err != nil {
		return err
	}
	for _, change := range changes {
		change.won = true
	}
	return nil
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
	w.client = client
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
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}
