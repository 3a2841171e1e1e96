package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// A new edge that waits for Kafka would wait for ever for a topic that no
// waiting mends: it says so and ends.
func TestEdgeRefusesTopic(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "waymark.actions"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	p := run(t, nil, "edge", "--data", t.TempDir(), "--spool-ring", t.TempDir(), ringBytes, "--listen=127.0.0.1:0", "--kafka="+cluster.ListenAddrs()[0])
	code := p.wait(patience)
	const line = "waymark edge: check topic waymark.actions: partition count is 3, but must be 8; "
	if text := p.errs.String(); code != 1 || strings.Count("\n"+text, "\n"+line) != 1 || strings.Contains(text, "trying again") {
		t.Errorf("exit code %d:\n%s", code, text)
	}
}
