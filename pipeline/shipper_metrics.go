package pipeline

import "github.com/prometheus/client_golang/prometheus"

type shipperMetrics struct {
	events, corrupt, failures prometheus.Counter
	inFlight                  prometheus.Gauge
	batchEvents, ackSeconds   prometheus.Histogram
}

func newShipperMetrics(r prometheus.Registerer, topic string) *shipperMetrics {
	labels := prometheus.Labels{"topic": topic}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "waymark_shipper_" + name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "waymark_shipper_" + name, Help: help, ConstLabels: labels, Buckets: buckets})
	}
	m := &shipperMetrics{
		events:   counter("events_total", "Events that Kafka has acknowledged."),
		corrupt:  counter("corrupt_frames_total", "Frames of the spool that are no event, left out."),
		failures: counter("failures_total", "Failures after which unacknowledged events are sent again."),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "waymark_shipper_in_flight_events", Help: "Events sent to Kafka and not acknowledged yet.", ConstLabels: labels}),
		batchEvents: histogram("batch_events", "Events of a request.", prometheus.ExponentialBuckets(1, 4, 7)),
		ackSeconds:  histogram("ack_seconds", "Time from a request to its acknowledgement.", prometheus.ExponentialBuckets(0.001, 2, 14)),
	}
	if r != nil {
		r.MustRegister(m.events, m.corrupt, m.failures, m.inFlight, m.batchEvents, m.ackSeconds)
	}
	return m
}
