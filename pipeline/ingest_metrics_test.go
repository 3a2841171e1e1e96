package pipeline

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// sumOf adds up the gauges of a name.
func sumOf(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.Metric {
			sum += metric.GetGauge().GetValue()
		}
	}
	return sum
}

// While ClickHouse takes nothing, the lag is what is in Kafka and grows, also by
// what is written when every worker hangs in its insert.
func TestLagWhileClickHouseIsAway(t *testing.T) {
	k, store, registry := startKafka(t), newMemoryStore(), prometheus.NewRegistry()
	var away atomic.Bool
	away.Store(true)
	store.fault = func(string, int) error {
		if away.Load() {
			return errors.New("connection refused")
		}
		return nil
	}
	startIngest(t, IngestOptions{Clients: k.options(), Store: store, Registerer: registry})
	random := rand.New(rand.NewPCG(7, 7))
	records := func() float64 { return sumOf(t, registry, "waymark_ingest_lag_records") }
	for range 2 {
		k.load(random, 40)
		eventually(t, "the lag is all that was written", func() bool { return records() == float64(k.written.Load()) })
	}
	before := sumOf(t, registry, "waymark_ingest_lag_seconds")
	eventually(t, "the lag grows older", func() bool { return sumOf(t, registry, "waymark_ingest_lag_seconds") > before })
	away.Store(false)
	eventually(t, "all is ingested", k.settled)
	eventually(t, "the lag is gone", func() bool { return records()+sumOf(t, registry, "waymark_ingest_lag_seconds") == 0 })
	k.check(store)
}
