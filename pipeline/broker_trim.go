package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// capInterval is how often the size is looked at, which costs nothing:
	// the cap may be exceeded by what arrives in that time.
	capInterval = time.Second
	// trimInterval is how often committed records are deleted.
	trimInterval = 5 * time.Second
	// resumeShare of the cap is where producing is allowed again.
	resumeShare = 0.9
)

// errLogFull refuses a record. Clients retry it, and nothing was stored.
var errLogFull = &kerr.Error{
	Message:   "the embedded broker holds as much as it may until ingest has caught up",
	Code:      kerr.NotEnoughReplicas.Code,
	Retriable: true,
}

type brokerMetrics struct {
	bytes    *prometheus.GaugeVec
	refusing prometheus.Gauge
	trimmed  prometheus.Counter
}

func newBrokerMetrics(r prometheus.Registerer) *brokerMetrics {
	m := &brokerMetrics{
		bytes:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waymark_broker_log_bytes", Help: "Bytes of a topic that are not trimmed yet."}, []string{"topic"}),
		refusing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "waymark_broker_refusing", Help: "1 while events are refused because ingest is too far behind."}),
		trimmed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "waymark_broker_trimmed_records_total", Help: "Records deleted after ingest committed them."}),
	}
	if r != nil {
		r.MustRegister(m.bytes, m.refusing, m.trimmed)
	}
	return m
}

// startTrimmer starts the loop that deletes what ingest has committed and
// refuses records while there is too much of the rest.
func (b *Broker) startTrimmer(listening string) error {
	client, err := NewClient(ClientOptions{Brokers: []string{listening}, ID: "waymark-broker", Logger: b.log},
		// The advertised address may be reachable from outside alone.
		kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, listening)
		}))
	if err != nil {
		return err
	}
	b.client, b.admin = client, kadm.NewClient(client)
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() {
		defer close(b.stopped)
		var lastTrim time.Time
		for {
			if b.enforceCap(); b.refusal != nil || time.Since(lastTrim) >= trimInterval {
				if err := b.TrimBelowCommitted(ctx); err != nil && ctx.Err() == nil {
					b.log.Warn("broker: could not trim", "error", err)
				}
				lastTrim = time.Now()
			}
			if !sleep(ctx, capInterval) {
				return
			}
		}
	}()
	return nil
}

// TrimBelowCommitted deletes the events below the offsets that ingest has
// committed, and nothing else. The last batch of a partition stays
// whatever was committed: without it, a killed broker would start the
// partition over at offset 0.
func (b *Broker) TrimBelowCommitted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	committed, err := b.admin.FetchOffsets(ctx, IngestGroup)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil // ingest has never committed
	}
	if err != nil {
		return fmt.Errorf("read the committed offsets of group %s: %w", IngestGroup, err)
	}
	for _, name := range eventTopics {
		for _, p := range b.cluster.PartitionInfos(name) {
			offset, ok := committed.Lookup(name, p.Partition)
			if !ok || offset.Err != nil {
				continue
			}
			to := min(offset.At, p.HighWatermark-1)
			if to <= p.LogStartOffset {
				continue
			}
			if err := b.cluster.DeleteRecords(name, p.Partition, to); err != nil {
				return fmt.Errorf("trim %s/%d to offset %d: %w", name, p.Partition, to, err)
			}
			b.metrics.trimmed.Add(float64(to - p.LogStartOffset))
		}
	}
	return nil
}

// enforceCap measures the topics and starts or ends refusing records.
func (b *Broker) enforceCap() {
	var total int64
	for _, name := range eventTopics {
		var size int64
		for _, p := range b.cluster.PartitionInfos(name) {
			size += p.NumBytes
		}
		b.metrics.bytes.WithLabelValues(name).Set(float64(size))
		total += size
	}
	switch {
	case b.refusal == nil && total > b.cap:
		faults := make([]kfake.Fault, len(eventTopics))
		for i, name := range eventTopics {
			faults[i] = kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: name, Count: -1, Err: errLogFull}
		}
		b.refusal = b.cluster.Fault(faults...)
		b.metrics.refusing.Set(1)
		b.log.Warn("broker: refusing events until ingest has caught up", "bytes", total, "bytes_max", b.cap)
	case b.refusal != nil && float64(total) < resumeShare*float64(b.cap):
		b.refusal.Remove()
		b.refusal = nil
		b.metrics.refusing.Set(0)
		b.log.Info("broker: taking events again", "bytes", total)
	}
}
