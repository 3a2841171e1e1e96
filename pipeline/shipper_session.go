package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/pipeline/spool"
	"waymark/tracker/wire"
)

const (
	// A request carries one batch of each partition, together at most this
	// much. It is well below the megabyte that Kafka takes by default, and
	// the bound of what a shipper keeps in memory.
	shipBytesMax  = 512 << 10
	shipEventsMax = 4096
	// shipBytesMin is worth a request, which costs some 50 µs of the core
	// however small it is. With 16 KiB in its place p99 was no better: a
	// request is encoded, compressed and handed over a little at a time.
	shipBytesMin = 64 << 10
	shipEvery    = 5 * time.Millisecond
	// frameBytesMin is the least space of a frame in a spool.
	frameBytesMin = 32
	// shipSlice is after how many events, some 25 µs, the shipper makes way.
	shipSlice = 64
	// shipPause is how long it then sleeps where it shares the only processor
	// with the redirects.
	shipPause = 20 * time.Microsecond
)

// makeWay lets redirects run. To yield is not enough where there is but one
// processor: the scheduler takes up whoever has yielded before it asks the
// network what has come, so that a shipper which only yields holds requests up
// until its batch is done (p99 1.5 ms instead of 0.6). While everybody sleeps the
// network is asked. With more processors another one does that.
func makeWay() {
	if runtime.GOMAXPROCS(0) > 1 {
		runtime.Gosched()
		return
	}
	time.Sleep(shipPause)
}

// shipSession is the life of one Kafka client. It ends at the first failure:
// a client that has given a batch up goes on with the next, and when the first
// is sent again, its ordinals are below those that arrived. Ingest would take
// them for repeats.
//
// For the same reason a session's first batch has one event: the client, which
// has not seen the topic yet, might cut a longer one in two.
type shipSession struct {
	*Shipper
	client   *kgo.Client
	routes   router
	bytesMax int
	done     func() bool
	shipped  bool      // at least one batch
	sent     time.Time // when the last request was

	buf     []byte // for Next
	event   wire.Event
	records []kgo.Record
	values  []byte // of the records, one after the other
}

func (s *shipSession) run(ctx context.Context) (err error) {
	s.client, err = NewClient(s.opts.Clients, append(s.router.producerOpts(),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.MaxProduceRequestsInflightPerBroker(1),
		// Nothing is sent before Flush, so that what is flushed is one batch
		// of each partition: it arrives as a whole or not at all.
		kgo.ManualFlushing(), kgo.MaxBufferedRecords(2*shipEventsMax),
		kgo.WithCompressor(slicedSnappy{}),
	)...)
	if err != nil {
		return err
	}
	defer s.client.Close()
	if s.routes, err = s.router.begin(ctx, s.client); err != nil {
		return err
	}
	s.buf = make([]byte, spool.FrameBytesMax)
	s.records = make([]kgo.Record, 0, shipEventsMax)
	s.values = make([]byte, 0, s.bytesMax+spool.FrameBytesMax)
	for position := s.source.Acked(); !s.done(); {
		if position, err = s.fill(ctx, position); err != nil {
			return err
		}
		s.sent = time.Now()
		if err := s.produce(ctx); err != nil {
			return err
		}
		s.source.Ack(position)
		s.shipped = true
		s.failure.Store(nil)
	}
	return nil
}

// fill gathers a batch that is worth a request: shipBytesMin, or whatever there
// is once Linger has passed since the last. Events are encoded as they come, a
// few every shipEvery; all at once would be a burst that redirects wait for.
func (s *shipSession) fill(ctx context.Context, position spool.Position) (_ spool.Position, err error) {
	s.records, s.values = s.records[:0], s.values[:0]
	if position, err = s.gather(ctx, ctx, position); err != nil {
		return position, err
	}
	for s.shipped && len(s.values) < min(shipBytesMin, s.bytesMax) && time.Since(s.sent) < s.opts.Linger && !s.done() {
		if !sleep(ctx, shipEvery) {
			return position, ctx.Err()
		}
		if position, err = s.gather(ctx, alreadyOver, position); err != nil {
			return position, err
		}
	}
	return position, nil
}

// alreadyOver is a context for looking without waiting.
var alreadyOver = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// gather waits for frames from position on, until looking ends, and adds what is
// there to records, up to one batch. It returns the position after them.
func (s *shipSession) gather(ctx, looking context.Context, position spool.Position) (spool.Position, error) {
	for len(s.values) < s.bytesMax && len(s.records)+len(s.buf)/frameBytesMin <= shipEventsMax {
		batch, err := s.source.Next(looking, position, s.buf)
		if err != nil {
			if looking != ctx && errors.Is(err, context.Canceled) {
				break // no more for now
			}
			return position, fmt.Errorf("read the spool at %d: %w", position, err)
		}
		for i := range batch.Frames {
			if i > 0 && (!s.shipped || len(s.values) >= s.bytesMax) {
				return batch.Frames[i].Position, nil
			}
			if err := s.add(ctx, &batch, &batch.Frames[i]); err != nil {
				return position, err
			}
			if i%shipSlice == shipSlice-1 {
				makeWay()
			}
		}
		if position = batch.End; !s.shipped {
			break
		}
		looking = alreadyOver
	}
	return position, nil
}

// add encodes the event of a frame into a record. A frame that is no event is
// counted and left out: its ordinal is then missing, and ingest says so too.
func (s *shipSession) add(ctx context.Context, batch *spool.Batch, frame *spool.Frame) error {
	s.event.Reset()
	if err := s.event.UnmarshalVTUnsafe(frame.Payload); err != nil {
		s.metrics.corrupt.Inc()
		s.opts.Logger.Error("a frame of the spool is no event and is left out",
			"topic", s.topic, "position", frame.Position, "ordinal", frame.Ordinal, "error", err)
		return nil
	}
	s.records = append(s.records, kgo.Record{Topic: s.topic})
	record := &s.records[len(s.records)-1]
	if err := s.routes.route(ctx, batch, frame, &s.event, record); err != nil {
		return err
	}
	s.opts.Enricher.Enrich(&s.event)
	size := s.event.SizeVT()
	from := len(s.values)
	s.values = slices.Grow(s.values, size)[:from+size]
	record.Value = s.values[from : from+size : from+size]
	if _, err := s.event.MarshalToSizedBufferVT(record.Value); err != nil {
		panic("BUG: encode an event: " + err.Error())
	}
	return nil
}

// produce sends the records and returns once Kafka has all of them. It waits
// as long as Kafka is away.
func (s *shipSession) produce(ctx context.Context) error {
	if len(s.records) == 0 {
		return nil
	}
	began := time.Now()
	s.waiting.Store(began.UnixNano())
	defer s.waiting.Store(0)
	s.metrics.inFlight.Set(float64(len(s.records)))
	defer s.metrics.inFlight.Set(0)
	var failed error // promises are called one at a time
	for i := range s.records {
		s.records[i].Timestamp = began // or the client would ask the time for each
		s.client.Produce(context.Background(), &s.records[i], func(_ *kgo.Record, err error) {
			if err != nil && failed == nil {
				failed = err
			}
		})
		if i%shipSlice == shipSlice-1 {
			makeWay()
		}
	}
	if err := s.client.Flush(ctx); err != nil {
		return fmt.Errorf("send %d events to %s: %w", len(s.records), s.topic, err)
	}
	if failed != nil {
		return fmt.Errorf("send %d events to %s: %w", len(s.records), s.topic, failed)
	}
	s.metrics.events.Add(float64(len(s.records)))
	s.metrics.batchEvents.Observe(float64(len(s.records)))
	s.metrics.ackSeconds.Observe(time.Since(began).Seconds())
	return nil
}
