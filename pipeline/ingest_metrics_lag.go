package pipeline

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lags tells how far ClickHouse is behind Kafka, by partition. It is a
// prometheus.Collector that counts at the moment of the scrape: gauges that the
// workers set would stand still while an insert hangs, which is when they are
// looked at. It is safe for concurrent use.
type lags struct {
	mu                       sync.Mutex
	of                       map[partitionName]*lag
	recordsDesc, secondsDesc *prometheus.Desc
}

// partitionName is a topicPartition whatever the topic's identity.
type partitionName struct {
	topic     string
	partition int32
}

func (t topicPartition) name() partitionName { return partitionName{t.topic, t.partition} }

// lag is that of one partition. Offsets below settled are in ClickHouse, end is
// that of the log when it was last heard of.
type lag struct {
	topicID      [16]byte
	settled, end int64
	oldest       time.Time // when the record at settled was written, or noticed if it was not read yet
}

func newLags() *lags {
	labels := []string{"topic", "partition"}
	return &lags{
		of:          make(map[partitionName]*lag),
		recordsDesc: prometheus.NewDesc("waymark_ingest_lag_records", "Records in Kafka that are not in ClickHouse yet.", labels, nil),
		secondsDesc: prometheus.NewDesc("waymark_ingest_lag_seconds", "Age of the oldest record that is not in ClickHouse yet.", labels, nil),
	}
}

// begin starts with a partition, or goes on with it after a failure.
func (l *lags) begin(of topicPartition, settled, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.of[of.name()]; p == nil || p.topicID != of.topicID {
		p = &lag{topicID: of.topicID, settled: settled, end: end}
		p.notice()
		l.of[of.name()] = p
	}
}

// forget ends with a partition that another process works on now.
func (l *lags) forget(of topicPartition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, of.name())
}

// settle notes that a partition is in ClickHouse up to an offset.
func (l *lags) settle(of topicPartition, settled int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.of[of.name()]; p != nil && p.settled != settled {
		p.settled, p.oldest = settled, time.Time{}
		p.notice()
	}
}

// read notes what a reader holds and knows.
func (l *lags) read(r *reader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.of[r.of.name()]
	if p == nil {
		return
	}
	p.end = max(p.end, r.end)
	if len(r.pending) > 0 {
		p.oldest = r.pending[0].Timestamp
	}
	p.notice()
}

// ends notes where a log ends.
func (l *lags) ends(of partitionName, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.of[of]; p != nil {
		p.end = max(p.end, end)
		p.notice()
	}
}

func (p *lag) notice() {
	if p.end > p.settled && p.oldest.IsZero() {
		p.oldest = time.Now()
	}
}

// Describe implements prometheus.Collector.
func (l *lags) Describe(out chan<- *prometheus.Desc) {
	out <- l.recordsDesc
	out <- l.secondsDesc
}

// Collect implements prometheus.Collector.
func (l *lags) Collect(out chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for of, p := range l.of {
		records, seconds := max(p.end-p.settled, 0), 0.0
		if records > 0 {
			seconds = max(time.Since(p.oldest).Seconds(), 0)
		}
		partition := strconv.Itoa(int(of.partition))
		out <- prometheus.MustNewConstMetric(l.recordsDesc, prometheus.GaugeValue, float64(records), of.topic, partition)
		out <- prometheus.MustNewConstMetric(l.secondsDesc, prometheus.GaugeValue, seconds, of.topic, partition)
	}
}
