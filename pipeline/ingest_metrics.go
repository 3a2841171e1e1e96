package pipeline

import "github.com/prometheus/client_golang/prometheus"

type ingestMetrics struct {
	rows, repeats, missing, refused *prometheus.CounterVec // by topic
	lost, replays, mismatches       *prometheus.CounterVec // by topic
	insertErrors                    prometheus.Counter
	lags                            *lags
	batchRows, insertSeconds        prometheus.Histogram
	arrivalSeconds                  prometheus.Histogram
}

func newIngestMetrics(r prometheus.Registerer) *ingestMetrics {
	counter := func(name, help string) *prometheus.CounterVec {
		counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waymark_ingest_" + name, Help: help}, []string{"topic"})
		for _, topic := range eventTopics {
			counter.WithLabelValues(topic) // 0 from the start: an increase is seen only from something
		}
		return counter
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "waymark_ingest_" + name, Help: help, Buckets: buckets})
	}
	m := &ingestMetrics{
		rows:       counter("rows_total", "Rows inserted into ClickHouse."),
		repeats:    counter("deduplicated_records_total", "Records dropped as repeats of others: clicks by their node's ordinal, actions and decisions by identity."),
		missing:    counter("missing_ordinals_total", "Ordinals that a node skipped: clicks that never reached Kafka."),
		refused:    counter("refused_records_total", "Records that cannot become a row, see the log."),
		lost:       counter("lost_records_total", "Records that Kafka removed before they were inserted, at most."),
		replays:    counter("replayed_plans_total", "Planned ranges inserted again after a crash or rebalance."),
		mismatches: counter("replay_mismatches_total", "Replayed ranges whose row count in ClickHouse is not that of the plan."),
		insertErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_ingest_insert_errors_total", Help: "Failed inserts; each is made again."}),
		lags:           newLags(),
		batchRows:      histogram("batch_rows", "Rows of an insert.", prometheus.ExponentialBuckets(1, 4, 10)),
		insertSeconds:  histogram("insert_seconds", "Time of a successful insert.", prometheus.ExponentialBuckets(0.005, 2, 14)),
		arrivalSeconds: histogram("click_to_clickhouse_seconds", "Time from a hit, unless simulated, to its row in ClickHouse.", prometheus.ExponentialBuckets(0.05, 2, 16)),
	}
	if r != nil {
		r.MustRegister(m.rows, m.repeats, m.missing, m.refused, m.lost, m.replays, m.mismatches, m.insertErrors,
			m.lags, m.batchRows, m.insertSeconds, m.arrivalSeconds)
	}
	return m
}
