package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// testNode is a Catalog with its copies, as a node has them.
type testNode struct {
	*Catalog
	links    *tracker.Links
	keys     *tracker.Keys
	registry *prometheus.Registry
	stop     func()
}

// startNode runs a Catalog until the test ends or stop is called. dir is its
// snapshot's, "" for none.
func startNode(t *testing.T, addr, dir string) *testNode {
	t.Helper()
	n := &testNode{links: tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20}), keys: tracker.NewKeys(""), registry: prometheus.NewRegistry()}
	var err error
	n.Catalog, err = NewCatalog(CatalogOptions{
		Clients: testClients(addr), Links: n.links, Keys: n.keys, SnapshotDir: dir, Registerer: n.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.links.Close()
	}
	t.Cleanup(n.stop)
	return n
}

// readyNode is startNode once the node has read everything.
func readyNode(t *testing.T, addr, dir string) *testNode {
	t.Helper()
	n := startNode(t, addr, dir)
	waitFor(t, "the node is ready", func() bool { return n.Ready() == nil })
	return n
}

func testLink(code, campaign string) tracker.Link {
	l := tracker.NewLink()
	l.Code, l.URL, l.Campaign = code, "https://shop.example/"+code, campaign
	return l
}

// createLink creates one link that must be free.
func (n *testNode) createLink(t *testing.T, code, campaign string) tracker.Link {
	t.Helper()
	links := []tracker.Link{testLink(code, campaign)}
	if err := n.CreateLinks(testContext(t), links)[0]; err != nil {
		t.Fatal(err)
	}
	return links[0]
}

// contents is what a node serves: campaign and number by key.
func (n *testNode) contents() map[string]string {
	all := map[string]string{}
	for next := tracker.LinkNumber(0); ; {
		var links []tracker.Link
		links, next = n.links.List(next, 10_000, nil)
		for _, l := range links {
			all[l.Key()] = fmt.Sprintf("%s #%d", l.Campaign, l.Number)
		}
		if next == 0 {
			return all
		}
	}
}

func TestCatalogFollows(t *testing.T) { onClusters(t, testCatalogFollows) }

func testCatalogFollows(t *testing.T, addr string) {
	a, b := readyNode(t, addr, ""), readyNode(t, addr, "")
	created := a.createLink(t, "hello", "one")
	if created.Number != 1 || created.CreatedAt.IsZero() || !created.CreatedAt.Equal(created.UpdatedAt) {
		t.Errorf("created %+v", created)
	}
	if served, ok := a.links.Get("", "hello"); !ok || served.Campaign != "one" {
		t.Error("the creating node does not serve the link when CreateLinks returns")
	}
	waitFor(t, "the other node has the link", func() bool { _, ok := b.links.Get("", "hello"); return ok })

	updated, err := b.UpdateLink(testContext(t), "", "hello", func(l *tracker.Link) error { l.Campaign = "two"; l.Number = 77; l.Code = "x"; return nil })
	if err != nil || updated.Campaign != "two" || updated.Number != 1 || updated.Code != "hello" || !updated.UpdatedAt.After(created.UpdatedAt) {
		t.Fatalf("updated %+v, %v", updated, err)
	}
	waitFor(t, "the first node has the change", func() bool { l, _ := a.links.Get("", "hello"); return l.Campaign == "two" })

	if err := a.DeleteLink(testContext(t), "", "hello"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the other node lost the link", func() bool { _, ok := b.links.Get("", "hello"); return !ok })
	if p := b.links.ByNumber(1); p == nil || p.Link.Code != "hello" {
		t.Error("the number of the deleted link resolves no more")
	}
	if again := b.createLink(t, "hello", "three"); again.Number <= 1 {
		t.Errorf("the code's new link has number %d, which was given before", again.Number)
	}

	program := tracker.NewProgram("wedding")
	program.Currency = "CHF"
	if err := a.PutProgram(testContext(t), program); err != nil {
		t.Fatal(err)
	}
	if p, ok := a.links.Program("wedding"); !ok || p.Currency != "CHF" {
		t.Error("the writing node does not know the programme")
	}
	waitFor(t, "the other node knows the programme", func() bool { p, ok := b.links.Program("wedding"); return ok && p.Currency == "CHF" })

	secret, key, err := tracker.NewAPIKey(tracker.RoleEvent, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.PutKey(testContext(t), key); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the other node takes the key", func() bool { _, ok := b.keys.Check([]byte(secret)); return ok })
	now := time.Now()
	key.RevokedAt = &now
	if err := b.PutKey(testContext(t), key); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the first node refuses the revoked key", func() bool { _, ok := a.keys.Check([]byte(secret)); return !ok })
	for _, n := range []*testNode{a, b} {
		if err := n.Ready(); err != nil || len(n.Status()) != 0 {
			t.Errorf("ready: %v, status: %v", err, n.Status())
		}
	}
}

// realCluster is a cluster like a real Kafka, with its topics.
func realCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster := startCluster(t)
	if err := EnsureTopics(testContext(t), testClient(t, clusterAddr(cluster))); err != nil {
		t.Fatal(err)
	}
	return cluster
}

func TestCatalogStartsFromSnapshotWithoutKafka(t *testing.T) {
	dir, snapshot := t.TempDir(), filepath.Join(t.TempDir(), "snapshot")
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	addr := b.Addr()
	n := readyNode(t, addr, snapshot)
	for i := range 50 {
		n.createLink(t, fmt.Sprintf("code-%d", i), "old")
	}
	if err := n.DeleteLink(testContext(t), "", "code-7"); err != nil {
		t.Fatal(err)
	}
	program := tracker.NewProgram("wedding")
	if err := n.PutProgram(testContext(t), program); err != nil {
		t.Fatal(err)
	}
	secret, key, _ := tracker.NewAPIKey(tracker.RoleRead, "")
	if err := n.PutKey(testContext(t), key); err != nil {
		t.Fatal(err)
	}
	want := n.contents()
	n.stop()
	if info, err := os.Stat(filepath.Join(snapshot, "catalog.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("catalog.json: %v, %v, want mode 0600", info, err)
	}
	closeBroker(t, b)

	n = startNode(t, addr, snapshot)
	waitFor(t, "the node is ready without Kafka", func() bool { return n.Ready() == nil })
	if got := n.contents(); !maps.Equal(got, want) || len(want) != 49 {
		t.Errorf("from the snapshot come %d links, want %d", len(got), len(want))
	}
	if _, ok := n.links.Program("wedding"); !ok {
		t.Error("the programme is missing")
	}
	if _, ok := n.keys.Check([]byte(secret)); !ok {
		t.Error("the key is missing")
	}
	if !n.Outdated() {
		t.Error("a node that has only its snapshot takes itself for up to date")
	}
	if status := strings.Join(n.Status(), "\n"); !strings.Contains(status, TopicLinks) || !strings.Contains(status, "as of") {
		t.Errorf("status %q does not say since when", status)
	}
	links := []tracker.Link{testLink("meanwhile", "")}
	ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if err := n.CreateLinks(ctx, links)[0]; !errors.Is(err, tracker.ErrUnavailable) || links[0].Number != 0 {
		t.Errorf("create without Kafka: %v, number %d", err, links[0].Number)
	}

	startTestBroker(t, BrokerOptions{Dir: dir, Listen: addr})
	other := readyNode(t, addr, "")
	other.createLink(t, "new", "new")
	waitFor(t, "the node follows again", func() bool { _, ok := n.links.Get("", "new"); return ok && len(n.Status()) == 0 })
	if got, want := n.contents(), other.contents(); !maps.Equal(got, want) || len(got) != 50 {
		t.Errorf("after the snapshot %d links, from the start %d", len(got), len(want))
	}
}

// putRaw writes a record as another program might.
func putRaw(t *testing.T, addr, topic, key string, value []byte) {
	t.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	if err := testClient(t, addr).ProduceSync(testContext(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// putLink writes a link without a condition, as it is on a real Kafka.
func putLink(t *testing.T, addr string, number uint32, code, campaign string) {
	t.Helper()
	l := testLink(code, campaign)
	l.Number, l.CreatedAt, l.UpdatedAt = tracker.LinkNumber(number), time.UnixMilli(1000), time.UnixMilli(1000)
	value, err := l.Wire().MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	putRaw(t, addr, TopicLinks, l.Key(), value)
}

func TestCatalogReadsRecreatedTopicAnew(t *testing.T) {
	for _, when := range []string{"while following", "while down"} {
		t.Run(when, func(t *testing.T) {
			snapshot := t.TempDir()
			cluster := realCluster(t)
			addr := clusterAddr(cluster)
			putLink(t, addr, 1, "old", "")
			putLink(t, addr, 2, "both", "before")
			secret, key, _ := tracker.NewAPIKey(tracker.RoleRead, "")
			encoded, _ := json.Marshal(key)
			putRaw(t, addr, TopicKeys, key.ID, encoded)
			n := readyNode(t, addr, snapshot)
			if when == "while down" {
				n.stop()
			}
			for _, topic := range []string{TopicLinks, TopicKeys} {
				if err := cluster.DeleteTopic(topic); err != nil {
					t.Fatal(err)
				}
			}
			if err := EnsureTopics(testContext(t), testClient(t, addr)); err != nil {
				t.Fatal(err)
			}
			// More records than before, so that the old position exists.
			putLink(t, addr, 1, "both", "after")
			putLink(t, addr, 2, "new", "")
			putLink(t, addr, 3, "newer", "")
			if when == "while down" {
				n = startNode(t, addr, snapshot)
			}
			want := map[string]string{"/both": "after #1", "/new": " #2", "/newer": " #3"}
			waitFor(t, "the new topic's links are served", func() bool { return maps.Equal(n.contents(), want) })
			waitFor(t, "the old topic's key is refused", func() bool { _, ok := n.keys.Check([]byte(secret)); return !ok })
		})
	}
}

// A position that the topic does not hold, in either direction, must not make
// the node miss records.
func TestCatalogReadsAnewFromImpossiblePosition(t *testing.T) {
	for name, offset := range map[string]int64{"beyond the end": 1000, "trimmed": 0} {
		t.Run(name, func(t *testing.T) {
			cluster := realCluster(t)
			addr := clusterAddr(cluster)
			for i := range uint32(5) {
				putLink(t, addr, i+1, fmt.Sprintf("code-%d", i), "")
			}
			if name == "trimmed" {
				if err := cluster.DeleteRecords(TopicLinks, 0, 3); err != nil {
					t.Fatal(err)
				}
			}
			id, err := TopicID(testContext(t), testClient(t, addr), TopicLinks)
			if err != nil {
				t.Fatal(err)
			}
			snapshot := t.TempDir()
			writeTestSnapshot(t, snapshot, id, offset, time.Now())
			n := startNode(t, addr, snapshot)
			want := map[string]string{"/code-0": " #1", "/code-1": " #2", "/code-2": " #3", "/code-3": " #4", "/code-4": " #5"}
			if name == "trimmed" {
				want = map[string]string{"/code-3": " #4", "/code-4": " #5"}
			}
			waitFor(t, "the topic's links are served", func() bool { return maps.Equal(n.contents(), want) })
		})
	}
}

// writeTestSnapshot writes a snapshot with one link, "stale", at an offset.
func writeTestSnapshot(t *testing.T, dir string, id [16]byte, offset int64, asOf time.Time) {
	t.Helper()
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20})
	defer links.Close()
	stale := testLink("stale", "")
	stale.Number, stale.CreatedAt, stale.UpdatedAt = 99, time.UnixMilli(1), time.UnixMilli(1)
	value, _ := stale.Wire().MarshalVT()
	if err := links.Apply([]byte(stale.Key()), value, offset); err != nil {
		t.Fatal(err)
	}
	if err := links.WriteSnapshot(filepath.Join(dir, linksSnapshotFile), id); err != nil {
		t.Fatal(err)
	}
	encoded, _ := json.Marshal(catalogSnapshot{LinksAsOf: asOf, AsOf: asOf})
	if err := replaceFile(filepath.Join(dir, catalogSnapshotFile), encoded, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCatalogReadsAnewAfterLongAbsence(t *testing.T) {
	cluster := realCluster(t)
	addr := clusterAddr(cluster)
	putLink(t, addr, 1, "kept", "")
	putLink(t, addr, 2, "later", "")
	id, err := TopicID(testContext(t), testClient(t, addr), TopicLinks)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		away  time.Duration
		stale bool // the link that the topic has forgotten is still served
	}{{11 * time.Hour, true}, {13 * time.Hour, false}} { // half of a day is 12 hours
		snapshot := t.TempDir()
		writeTestSnapshot(t, snapshot, id, 0, time.Now().Add(-test.away))
		n := startNode(t, addr, snapshot)
		waitFor(t, "the node is ready", func() bool { _, ok := n.links.Get("", "later"); return ok && n.Ready() == nil })
		if _, ok := n.links.Get("", "stale"); ok != test.stale {
			t.Errorf("away for %s: the deleted link is served: %v, want %v", test.away, ok, test.stale)
		}
		n.stop()
	}
}

func TestCatalogSkipsCorruptRecords(t *testing.T) {
	addr := startTestBroker(t, BrokerOptions{}).Addr()
	putRaw(t, addr, TopicLinks, "/bad", []byte("\xff\xff no protobuf"))
	putRaw(t, addr, TopicLinks, "/empty", nil)
	putRaw(t, addr, TopicPrograms, "bad", []byte("{"))
	putRaw(t, addr, TopicPrograms, "bad", []byte(`{"name":"other"}`))
	putRaw(t, addr, TopicKeys, "bad", []byte(`{"id":"bad","hash":"xyz"}`))
	putLink(t, addr, 1, "good", "")
	n := readyNode(t, addr, "")
	if _, ok := n.links.Get("", "good"); !ok {
		t.Error("the good link is missing")
	}
	if got := metric(t, n.registry, "waymark_catalog_skipped_records_total"); got != 5 {
		t.Errorf("%v records were counted as skipped, want 5", got)
	}
	n.createLink(t, "next", "")
}

func TestCatalogNotReady(t *testing.T) {
	n := startNode(t, "127.0.0.1:1", "")
	waitFor(t, "all three topics are reported", func() bool {
		err := n.Ready()
		return err != nil && strings.Contains(err.Error(), TopicLinks) && strings.Contains(err.Error(), TopicPrograms) &&
			strings.Contains(err.Error(), TopicKeys) && strings.Contains(err.Error(), "since")
	})
}

func TestCatalogSurvivesDamagedSnapshot(t *testing.T) {
	addr := startTestBroker(t, BrokerOptions{}).Addr()
	n := readyNode(t, addr, "")
	n.createLink(t, "there", "")
	for _, damaged := range []string{catalogSnapshotFile, linksSnapshotFile} {
		snapshot := t.TempDir()
		saving := readyNode(t, addr, snapshot)
		saving.stop()
		path := filepath.Join(snapshot, damaged)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content[:len(content)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		again := readyNode(t, addr, snapshot)
		if got := slices.Collect(maps.Keys(again.contents())); !slices.Equal(got, []string{"/there"}) {
			t.Errorf("with half of %s the node serves %v", damaged, got)
		}
		again.stop()
	}
}

// A node has a snapshot before its first minute is over, in which it may be
// killed.
func TestCatalogSavesSoon(t *testing.T) {
	dir := t.TempDir()
	readyNode(t, startTestBroker(t, BrokerOptions{}).Addr(), dir)
	waitFor(t, "there is a snapshot", func() bool {
		_, err := os.Stat(filepath.Join(dir, catalogSnapshotFile))
		return err == nil
	})
}
