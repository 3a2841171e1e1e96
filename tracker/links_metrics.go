package tracker

import "github.com/prometheus/client_golang/prometheus"

// linksMetrics has its counters looked up once: a label lookup costs as much
// as a whole Resolve.
type linksMetrics struct {
	resolves  [4]prometheus.Counter // by resolution
	corrupt   prometheus.Counter
	refilters prometheus.Counter
}

func newLinksMetrics(registerer prometheus.Registerer, l *Links) *linksMetrics {
	resolves := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "waymark_resolve_total",
		Help: "Codes resolved: by the cache, by the store, missed by both, or unknown to the bloom filter.",
	}, []string{"result"})
	m := &linksMetrics{
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_links_corrupt_records_total", Help: "Records of waymark.links that were skipped as unusable.",
		}),
		refilters: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "waymark_links_filter_rebuilds_total", Help: "Times the bloom filter was made anew.",
		}),
	}
	for how, name := range []string{
		resolvedFiltered: "filtered", resolvedMiss: "miss", resolvedStore: "store", resolvedCache: "cache",
	} {
		m.resolves[how] = resolves.WithLabelValues(name)
	}
	if registerer != nil {
		registerer.MustRegister(resolves, m.corrupt, m.refilters,
			gauge("waymark_links_live_count", "Links that resolve.", func() float64 { return float64(l.Len()) }),
			gauge("waymark_links_store_bytes", "Bytes of link records held, garbage included.",
				func() float64 { return float64(l.set.Load().store.arena.used.Load()) }),
			gauge("waymark_links_garbage_bytes", "Bytes of link records that await compaction.", func() float64 {
				a := &l.set.Load().store.arena
				return float64(a.used.Load() - a.live.Load())
			}))
	}
	return m
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}
