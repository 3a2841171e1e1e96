package engine

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the HTTP front; every method works on a nil receiver, which keeps none.
type metrics struct {
	seconds *prometheus.HistogramVec
	upload  prometheus.Counter
}

func newMetrics(to prometheus.Registerer) *metrics {
	if to == nil {
		return nil
	}
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "waymark_engine_query_seconds", Help: "Time of a request to the embedded engine, by exception code (0: none).",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"code"}),
		upload: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_engine_upload_bytes_total", Help: "Data of INSERT statements received, unpacked.",
		}),
	}
	to.MustRegister(m.seconds, m.upload)
	return m
}

func (m *metrics) query(took time.Duration, err error) {
	if m == nil {
		return
	}
	code := 0
	if err != nil {
		code = asException(err).Code
	}
	m.seconds.WithLabelValues(fmt.Sprint(code)).Observe(took.Seconds())
}

func (m *metrics) uploaded(bytes int64) {
	if m != nil {
		m.upload.Add(float64(bytes))
	}
}
