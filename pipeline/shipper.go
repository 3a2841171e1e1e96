package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline/spool"
	"waymark/tracker/wire"
)

// ShipperOptions configure a Shipper. The zero value of a field after
// Enricher means its default.
type ShipperOptions struct {
	Clients  ClientOptions
	Enricher *Enricher // of this shipper alone

	Linger     time.Duration         // least time from one request to the next, unless there is much to send; default 25 ms
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: metrics are not exported
}

// frames is where a shipper reads: a spool.Spool or a spool.Journal.
type frames interface {
	Next(ctx context.Context, from spool.Position, buf []byte) (spool.Batch, error)
	Ack(spool.Position)
	Acked() spool.Position
	Stats() spool.Stats
}

// Shipper sends what a spool holds to Kafka, in order, and acknowledges to the
// spool what Kafka has. What is sent twice after a crash, ingest drops; what
// Kafka does not take stays in the spool and is sent again, for ever.
type Shipper struct {
	opts    ShipperOptions
	topic   string
	source  frames
	router  router
	metrics *shipperMetrics

	waiting atomic.Int64 // since when for Kafka, Unix nanoseconds; 0: not waiting
	failure atomic.Pointer[error]
}

// router decides where events go.
type router interface {
	// producerOpts are the settings of a client that honours what route sets.
	producerOpts() []kgo.Opt
	// begin prepares for the batches of a new client.
	begin(ctx context.Context, client *kgo.Client) (router, error)
	// route sets the key or partition of an event's record, and the fields of
	// the event that its place in the spool determines.
	route(ctx context.Context, batch *spool.Batch, frame *spool.Frame, event *wire.Event, record *kgo.Record) error
}

func newShipper(o ShipperOptions, topic string, source frames, r router) *Shipper {
	if o.Enricher == nil {
		panic("BUG: shipper without an enricher")
	}
	o.Linger = orDefault(o.Linger, 25*time.Millisecond)
	o.Logger = loggerOr(o.Logger)
	return &Shipper{opts: o, topic: topic, source: source, router: r, metrics: newShipperMetrics(o.Registerer, topic)}
}

// Run ships until ctx ends.
func (s *Shipper) Run(ctx context.Context) error {
	s.ship(ctx, func() bool { return false })
	return nil
}

// Drain ships what the spool holds now and returns nil once Kafka has it, or
// ctx's error. It must not run beside Run.
func (s *Shipper) Drain(ctx context.Context) error {
	empty := func() bool { return s.source.Stats().UnackedBytes == 0 }
	if s.ship(ctx, empty); empty() {
		return nil
	}
	return fmt.Errorf("ship what is left for %s (%d bytes): %w", s.topic, s.source.Stats().UnackedBytes, context.Cause(ctx))
}

// Trouble says why nothing is shipped, or nil.
func (s *Shipper) Trouble() error {
	if failure := s.failure.Load(); failure != nil {
		return *failure
	}
	if since := s.waiting.Load(); since != 0 {
		if waited := time.Since(time.Unix(0, since)); waited > 5*time.Second {
			return fmt.Errorf("ship to %s: Kafka has not answered for %s", s.topic, waited.Round(time.Second))
		}
	}
	return nil
}

// ship makes sessions until ctx ends or done reports true.
func (s *Shipper) ship(ctx context.Context, done func() bool) {
	bytesMax := shipBytesMax
	for failures := 0; ctx.Err() == nil && !done(); {
		session := shipSession{Shipper: s, bytesMax: bytesMax, done: done}
		err := session.run(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, spool.ErrClosed) {
			return
		}
		s.report(err)
		if failures++; session.shipped {
			failures = 1
		}
		bytesMax = bytesAfter(err, bytesMax)
		sleep(ctx, retryBackoff(failures))
	}
}

// report notes a failure. Until something was shipped again the same one is
// logged once: Kafka may be away for days, and is tried every two seconds.
func (s *Shipper) report(err error) {
	s.metrics.failures.Inc()
	if before := s.failure.Swap(&err); before == nil || (*before).Error() != err.Error() {
		s.opts.Logger.Warn("shipping failed; the events are kept and sent again", "topic", s.topic, "error", err)
	}
}

// bytesAfter decides what follows a failure: it returns the size of the next
// batches. They begin at the first event that is not acknowledged, with a new
// client. The old one has tried again by itself whatever passes by itself, for
// ever; what it reports is of one of three kinds.
//
// The topic was created anew or the broker forgot the producer
// (UNKNOWN_TOPIC_ID, OUT_OF_ORDER_SEQUENCE_NUMBER, …): a new client mends it.
//
// The batch is too large for the topic: smaller ones may pass. A single event
// has 64 KiB at most; where even that does not pass, an operator must raise
// max.message.bytes.
//
// Anything else (missing rights, a missing topic, an invalid record, …) can be
// mended on the other side. Nothing is ever given up, since the events are
// safe in the spool and a click that was answered must not be lost.
func bytesAfter(err error, bytes int) int {
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
		return max(bytes/2, 1)
	}
	return bytes
}
