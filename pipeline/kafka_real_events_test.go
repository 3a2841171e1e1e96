package pipeline

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"waymark/pipeline/realkafka"
)

// The shipper loses and reorders nothing when Kafka is killed under it, and
// when it is itself replaced by another that begins at what was acknowledged.
func testRealShipperWhileKilled(t *testing.T, k *realkafka.Kafka) {
	const node = 31
	kafka := newTestKafka(t, 12, k.Address())
	s := openSpool(t, t.TempDir(), node, false)
	var hits int
	var appending sync.WaitGroup
	appendingOver := make(chan struct{})
	appending.Go(func() {
		for ; ; hits++ {
			select {
			case <-appendingOver:
				return
			case <-time.After(time.Millisecond):
				appendHits(t, s, hits, hits+1)
			}
		}
	})
	stop := runShipper(t, NewClickShipper(kafka.shipper(), s))
	for round := range 3 {
		acked := s.Acked()
		eventually(t, "something is shipped", func() bool { return s.Acked() > acked })
		k.Kill()
		if round == 1 {
			stop()
			stop = runShipper(t, NewClickShipper(kafka.shipper(), s))
		}
		k.Start()
	}
	close(appendingOver)
	appending.Wait()
	eventually(t, "all is acknowledged", func() bool { return s.Stats().UnackedBytes == 0 })
	t.Logf("%d hits, %d of them sent more than once", hits, kafka.checkShipped(node, hits))
}

// Ingest replays exactly what it had planned, when Kafka is killed, the store
// fails at random and ingest itself crashes.
func testRealIngestWhileKilled(t *testing.T, k *realkafka.Kafka) {
	kafka, store := newTestKafka(t, 12, k.Address()), newMemoryStore()
	random := rand.New(rand.NewPCG(11, 11))
	store.failAtRandom(12)
	options := IngestOptions{Clients: kafka.options(), Store: store, Instance: "one", PlanRowsMax: 20}
	in := startIngest(t, options)
	for round := range 4 {
		kafka.load(random, 250)
		if round%2 == 0 {
			in.crash()
			in = startIngest(t, options)
			continue
		}
		k.Kill()
		k.Start()
	}
	eventually(t, "all is ingested", kafka.settled)
	kafka.check(store)
}
