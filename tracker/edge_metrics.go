package tracker

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// result is how a request was answered, for the metrics.
type result int

const (
	resultRedirect result = iota
	resultNotFound
	resultInactive
	resultEarly
	resultExpired
	resultOutdated
	resultMalformed
	resultMethod
	resultPanic
	resultOther // whatever is no code: actions, health, robots.txt, …
	results
)

var resultNames = [results]string{
	"redirect", "not_found", "inactive", "early", "expired", "outdated", "malformed", "method", "panic", "other",
}

// edgeMetrics counts without looking anything up by label on the way of a
// request. It is a prometheus.Collector.
type edgeMetrics struct {
	requests [results]paddedCounter
	shed     atomic.Uint64

	requestsDesc, shedDesc *prometheus.Desc
}

// paddedCounter has a cache line of its own.
type paddedCounter struct {
	atomic.Uint64
	_ [56]byte
}

func newEdgeMetrics(registerer prometheus.Registerer) *edgeMetrics {
	m := &edgeMetrics{
		requestsDesc: prometheus.NewDesc("waymark_edge_requests_total",
			"Requests to the public listener by how they were answered.", []string{"result"}, nil),
		shedDesc: prometheus.NewDesc("waymark_edge_hits_shed_total",
			"Hits that were answered but not kept because the spool was full.", nil, nil),
	}
	if registerer != nil {
		registerer.MustRegister(m)
	}
	return m
}

func (m *edgeMetrics) count(r result) { m.requests[r].Add(1) }

// Describe implements prometheus.Collector.
func (m *edgeMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.requestsDesc
	ch <- m.shedDesc
}

// Collect implements prometheus.Collector.
func (m *edgeMetrics) Collect(ch chan<- prometheus.Metric) {
	for r := range m.requests {
		ch <- prometheus.MustNewConstMetric(m.requestsDesc, prometheus.CounterValue, float64(m.requests[r].Load()), resultNames[r])
	}
	ch <- prometheus.MustNewConstMetric(m.shedDesc, prometheus.CounterValue, float64(m.shed.Load()))
}
