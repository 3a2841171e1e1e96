package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// onClusters runs a test on the two kinds of Kafka that links are written to.
func onClusters(t *testing.T, test func(t *testing.T, addr string)) {
	t.Run("embedded", func(t *testing.T) { test(t, startTestBroker(t, BrokerOptions{}).Addr()) })
	t.Run("real", func(t *testing.T) { test(t, clusterAddr(realCluster(t))) })
}

// sameContents waits until all nodes serve the same and returns it.
func sameContents(t *testing.T, nodes ...*testNode) map[string]string {
	t.Helper()
	waitFor(t, "all nodes serve the same links", func() bool {
		for _, n := range nodes[1:] {
			if !maps.Equal(n.contents(), nodes[0].contents()) {
				return false
			}
		}
		return true
	})
	return nodes[0].contents()
}

// Of several writers that create the same codes at once, exactly one gets
// each, every node serves that one's link, and no number is given twice.
func TestCreateLinksRace(t *testing.T) { onClusters(t, testCreateLinksRace) }

func testCreateLinksRace(t *testing.T, addr string) {
	const codes, batch = 60, 12
	nodes := []*testNode{readyNode(t, addr, ""), readyNode(t, addr, ""), readyNode(t, addr, "")}
	var mu sync.Mutex
	winners := map[string]string{} // campaign and number by key
	numbers := map[tracker.LinkNumber]bool{}
	var all sync.WaitGroup
	for who, n := range nodes {
		all.Go(func() {
			for from := 0; from < codes; from += batch {
				links := make([]tracker.Link, batch)
				for i := range links {
					links[i] = testLink(fmt.Sprintf("code-%d", from+i), fmt.Sprintf("of %d", who))
				}
				errs := n.CreateLinks(testContext(t), links)
				mu.Lock()
				for i, err := range errs {
					l := links[i]
					switch {
					case err == nil && (winners[l.Key()] != "" || numbers[l.Number] || l.Number == 0):
						t.Errorf("%s was created twice, or has a number twice: %d", l.Code, l.Number)
					case err == nil:
						winners[l.Key()], numbers[l.Number] = fmt.Sprintf("%s #%d", l.Campaign, l.Number), true
					case !errors.Is(err, tracker.ErrExists):
						t.Errorf("%s: %v", l.Code, err)
					case l.Number != 0:
						t.Errorf("%s was refused, but has number %d", l.Code, l.Number)
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if got := sameContents(t, nodes...); !maps.Equal(got, winners) || len(got) != codes {
		t.Errorf("served are %v, won were %v", got, winners)
	}
	// A node that reads it all afterwards agrees.
	if got := readyNode(t, addr, "").contents(); !maps.Equal(got, winners) {
		t.Errorf("read anew: %v, won were %v", got, winners)
	}
}

// The loser of a race on a real Kafka must not have written: compaction would
// keep its record. So the committed log itself has one record for each code.
func TestTransactionalLoserNeverWrites(t *testing.T) {
	testTransactionalLoserNeverWrites(t, clusterAddr(realCluster(t)))
}

func testTransactionalLoserNeverWrites(t *testing.T, addr string) {
	nodes := []*testNode{readyNode(t, addr, ""), readyNode(t, addr, "")}
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() {
			for i := range 8 {
				n.CreateLinks(testContext(t), []tracker.Link{testLink(fmt.Sprintf("code-%d", i), "")})
			}
		})
	}
	all.Wait()
	seen := map[string]int{}
	for _, r := range committedRecords(t, addr, TopicLinks) {
		seen[string(r.Key)]++
	}
	for i := range 8 {
		if key := fmt.Sprintf("/code-%d", i); seen[key] != 1 {
			t.Errorf("%s has %d records", key, seen[key])
		}
	}
}

// A transaction is all or nothing also for a bulk request: a writer that took
// the id and died in the middle leaves nothing.
func TestTransactionOfDeadWriterIsUndone(t *testing.T) {
	testTransactionOfDeadWriterIsUndone(t, clusterAddr(realCluster(t)))
}

func testTransactionOfDeadWriterIsUndone(t *testing.T, addr string) {
	dead := testClient(t, addr, kgo.TransactionalID(linksTransactionalID))
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	l := testLink("contested", "dead")
	l.Number = 1
	value, _ := l.Wire().MarshalVT()
	if err := dead.ProduceSync(testContext(t), &kgo.Record{Topic: TopicLinks, Key: []byte(l.Key()), Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, addr, "")
	created := n.createLink(t, "contested", "alive")
	if got := n.contents(); got["/contested"] != fmt.Sprintf("alive #%d", created.Number) || len(got) != 1 {
		t.Errorf("served are %v", got)
	}
	if err := dead.EndTransaction(testContext(t), kgo.TryCommit); err == nil {
		t.Error("the dead writer could commit")
	}
}

// No update is lost when several admins count up the same field.
func TestUpdateLinkRace(t *testing.T) { onClusters(t, testUpdateLinkRace) }

func testUpdateLinkRace(t *testing.T, addr string) {
	const each = 8
	nodes := []*testNode{readyNode(t, addr, ""), readyNode(t, addr, "")}
	nodes[0].createLink(t, "counter", "0")
	waitFor(t, "the other node has the link", func() bool { _, ok := nodes[1].links.Get("", "counter"); return ok })
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() {
			for range each {
				_, err := n.UpdateLink(testContext(t), "", "counter", func(l *tracker.Link) error {
					count, err := strconv.Atoi(l.Campaign)
					l.Campaign = strconv.Itoa(count + 1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := sameContents(t, nodes...)["/counter"]; got != fmt.Sprintf("%d #1", 2*each) {
		t.Errorf("the counter is %q, want %d", got, 2*each)
	}
}

func TestCreateLinks(t *testing.T) { onClusters(t, testCreateLinks) }

func testCreateLinks(t *testing.T, addr string) {
	n := readyNode(t, addr, "")
	wedding := tracker.NewProgram("wedding")
	wedding.CodePrefix, wedding.CaseInsensitive = "LOVE", true
	if err := n.PutProgram(testContext(t), wedding); err != nil {
		t.Fatal(err)
	}
	n.createLink(t, "taken", "")
	links := []tracker.Link{testLink("a", ""), testLink("taken", ""), testLink("a", ""), testLink("", ""), testLink("", ""), testLink("Groß", ""), testLink("gROß", ""), testLink("A", "")}
	for _, i := range []int{4, 5, 6} {
		links[i].Program = "wedding"
	}
	var got []string
	for i, err := range n.CreateLinks(testContext(t), links) {
		switch {
		case err == nil:
			got = append(got, links[i].Code)
		case errors.Is(err, tracker.ErrExists) && strings.Contains(err.Error(), links[i].Code):
			got = append(got, "exists")
		default:
			t.Error(err)
		}
	}
	if len(got) != 8 || got[0] != "a" || got[1] != "exists" || got[2] != "exists" || got[5] != "Groß" || got[6] != "exists" || got[7] != "A" {
		t.Errorf("outcomes are %v", got)
	}
	if len(got[3]) != 7 || len(got[4]) != len("LOVE-7G2K9Q") || !strings.HasPrefix(got[4], "LOVE-") {
		t.Errorf("generated are %q and %q", got[3], got[4])
	}
	if err := n.CreateLinks(testContext(t), []tracker.Link{func() tracker.Link { l := testLink("GROß", ""); l.Program = "wedding"; return l }()})[0]; !errors.Is(err, tracker.ErrExists) {
		t.Errorf("a code that differs in case only: %v", err)
	}
	if _, err := n.UpdateLink(testContext(t), "", "none", nil); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("update of no link: %v", err)
	}
	if err := n.DeleteLink(testContext(t), "other.example", "taken"); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("delete on another domain: %v", err)
	}
	bad := errors.New("bad")
	if _, err := n.UpdateLink(testContext(t), "", "taken", func(*tracker.Link) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("refused update: %v", err)
	}
}

func TestCreateManyLinks(t *testing.T) { onClusters(t, testCreateManyLinks) }

func testCreateManyLinks(t *testing.T, addr string) {
	n := readyNode(t, addr, "")
	links := make([]tracker.Link, 10_000)
	for i := range links {
		links[i] = testLink(fmt.Sprintf("bulk/%d", i), "")
	}
	for i, err := range n.CreateLinks(testContext(t), links) {
		if err != nil || links[i].Number != tracker.LinkNumber(i+1) {
			t.Fatalf("link %d has number %d, %v", i, links[i].Number, err)
		}
	}
	if n.links.Len() != len(links) {
		t.Errorf("%d links are served", n.links.Len())
	}
}

// Every link that a writer was told exists must exist after any number of
// kills of the broker, once.
func TestCreateLinksWhileBrokerIsKilled(t *testing.T) {
	dir := t.TempDir()
	p := startBrokerProcess(t, dir, "127.0.0.1:0")
	addr := p.addr
	if err := EnsureTopics(testContext(t), testClient(t, addr)); err != nil {
		t.Fatal(err)
	}
	nodes := []*testNode{readyNode(t, addr, ""), readyNode(t, addr, "")}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	won := map[string]string{}
	created := make(chan struct{}, 1000) // room for all: the writers never wait
	var all sync.WaitGroup
	for who, n := range nodes {
		all.Go(func() {
			for i := range 150 {
				links := []tracker.Link{testLink(fmt.Sprintf("code-%d", i), fmt.Sprintf("of %d", who))}
				err := n.CreateLinks(ctx, links)[0]
				if err == nil {
					mu.Lock()
					if won[links[0].Key()] != "" {
						t.Errorf("%s was created twice", links[0].Code)
					}
					won[links[0].Key()] = fmt.Sprintf("%s #%d", links[0].Campaign, links[0].Number)
					mu.Unlock()
				} else if !errors.Is(err, tracker.ErrExists) {
					t.Error(err)
				}
				created <- struct{}{}
			}
		})
	}
	for range 4 {
		for range 50 {
			<-created
		}
		p.kill()
		p = startBrokerProcess(t, dir, addr)
	}
	all.Wait()
	got := readyNode(t, addr, "").contents()
	if !maps.Equal(got, won) || len(won) != 150 {
		t.Errorf("%d links are served, %d were created", len(got), len(won))
	}
	sameContents(t, append(nodes, readyNode(t, addr, ""))...)
}

func TestWriteConditionHeader(t *testing.T) {
	c := writeCondition{base: 1, writer: 2, sequence: 0x0102030405060708}
	header := c.header()
	want := "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x02" + "\x01\x02\x03\x04\x05\x06\x07\x08"
	if header.Key != "waymark-if" || string(header.Value) != want {
		t.Errorf("header %q: %x", header.Key, header.Value)
	}
	if got, ok := writeConditionOf(&kgo.Record{Headers: []kgo.RecordHeader{{Key: "other"}, header}}); !ok || got != c {
		t.Errorf("read back: %+v, %v", got, ok)
	}
	if _, ok := writeConditionOf(&kgo.Record{Headers: []kgo.RecordHeader{{Key: "other", Value: header.Value}}}); ok {
		t.Error("another header was taken for a condition")
	}
}

// The rule, case by case, as its comment states it.
func TestWriteConditionHolds(t *testing.T) {
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20})
	defer links.Close()
	existing := testLink("there", "")
	existing.Number, existing.CreatedAt, existing.UpdatedAt = 5, time.UnixMilli(1000), time.UnixMilli(1000)
	value, _ := existing.Wire().MarshalVT()
	if err := links.Apply([]byte(existing.Key()), value, 0); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		code    string
		number  uint32
		updated uint64
		base    uint64
		want    bool
	}{
		"new code":                 {"new", 6, 1, newLinkBase, true},
		"new code, number taken":   {"new", 5, 1, newLinkBase, false},
		"new code, number passed":  {"new", 4, 1, newLinkBase, false},
		"code taken":               {"there", 6, 1, newLinkBase, false},
		"update":                   {"there", 5, 1001, 1000, true},
		"update of an old version": {"there", 5, 1001, 999, false},
		"update back in time":      {"there", 5, 1000, 1000, false},
		"update of another number": {"there", 6, 1001, 1000, false},
		"update of nothing":        {"new", 6, 1001, 0, false},
		"malformed header":         {"there", 5, 1001, 0, false},
	} {
		w := wire.Link{Code: test.code, Number: test.number, UpdatedAtMs: test.updated}
		value, _ := w.MarshalVT()
		if got := (writeCondition{base: test.base}).holds(links, &kgo.Record{Value: value}); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// FuzzApplyCatalogRecords feeds arbitrary records to the copies: none may
// panic, and a good record afterwards must still count.
func FuzzApplyCatalogRecords(f *testing.F) {
	l := testLink("seed", "")
	l.Number = 1
	value, _ := l.Wire().MarshalVT()
	f.Add([]byte(l.Key()), value, writeCondition{base: newLinkBase, writer: 1, sequence: 1}.header().Value)
	f.Add([]byte("wedding"), []byte(`{"name":"wedding","case_insensitive":true}`), []byte{})
	f.Add([]byte("k"), []byte(`{"id":"k","role":"admin","hash":"00"}`), []byte(nil))
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 16})
	metrics := newCatalogMetrics(nil)
	f.Fuzz(func(t *testing.T, key, value, condition []byte) {
		fresh, err := links.Fresh()
		if err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Key: key, Value: value}
		if condition != nil {
			r.Headers = []kgo.RecordHeader{{Key: conditionHeader, Value: condition}}
		}
		copied := &linksCopy{links: fresh, verdicts: newVerdicts(), lost: metrics.lost}
		for _, c := range []topicCopy{copied, newTableCopy(programTable{fresh}), newTableCopy(keyTable{tracker.NewKeys("")})} {
			var skipped skippedRecord
			if err := c.apply(r); err != nil && !errors.As(err, &skipped) {
				t.Errorf("%T: %v is no reason to stop", c, err)
			}
		}
		good := testLink("good", "")
		good.Number = copied.links.MaxNumber() + 1
		encoded, _ := good.Wire().MarshalVT()
		if err := copied.apply(&kgo.Record{Key: []byte(good.Key()), Value: encoded, Offset: 1}); err != nil && good.Number != 0 {
			t.Errorf("a good record after it: %v", err)
		}
	})
}

// A writer that has taken the transactional id must not decide before its own
// copy has reached the topic's end: here the copy never does.
func TestTransactionalWriterDecidesOnWholeLog(t *testing.T) {
	addr := clusterAddr(realCluster(t))
	putLink(t, addr, 1, "taken", "first")
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20})
	defer links.Close()
	blind, err := NewCatalog(CatalogOptions{Clients: testClients(addr), Links: links, Keys: tracker.NewKeys("")})
	if err != nil {
		t.Fatal(err)
	}
	defer blind.close()
	ctx, cancel := context.WithTimeout(testContext(t), 500*time.Millisecond)
	defer cancel()
	if err := blind.CreateLinks(ctx, []tracker.Link{testLink("taken", "second")})[0]; !errors.Is(err, tracker.ErrUnavailable) {
		t.Errorf("create without having read the topic: %v", err)
	}
	if got := readyNode(t, addr, "").contents()["/taken"]; got != "first #1" {
		t.Errorf("the code leads to %q, want the first link", got)
	}
}

// updated_at tells the versions of a link apart, so it rises even where the
// clock of another admin was ahead.
func TestUpdateOfLinkFromTheFuture(t *testing.T) {
	addr := startTestBroker(t, BrokerOptions{}).Addr()
	l := testLink("ahead", "")
	future := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	l.Number, l.CreatedAt, l.UpdatedAt = 1, future, future
	value, _ := l.Wire().MarshalVT()
	putRaw(t, addr, TopicLinks, l.Key(), value)
	n := readyNode(t, addr, "")
	got, err := n.UpdateLink(testContext(t), "", "ahead", func(l *tracker.Link) error { l.Campaign = "x"; return nil })
	if err != nil || !got.UpdatedAt.Equal(future.Add(time.Millisecond)) {
		t.Errorf("updated at %s, %v, want a millisecond after %s", got.UpdatedAt, err, future)
	}
}

// A change that waits for Kafka must not hold up the end of the process.
func TestChangesEndWithTheCatalog(t *testing.T) {
	addr := clusterAddr(realCluster(t))
	putLink(t, addr, 1, "there", "")
	links := tracker.NewLinks(tracker.LinksOptions{CacheBytes: 1 << 20})
	defer links.Close()
	c, err := NewCatalog(CatalogOptions{Clients: testClients(addr), Links: links, Keys: tracker.NewKeys("")})
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan error, 1)
	// Nothing follows the topic, so the change waits for as long as it may.
	go func() { changed <- c.CreateLinks(context.Background(), []tracker.Link{testLink("x", "")})[0] }()
	waitFor(t, "the change is under way", func() bool {
		c.writing.mu.Lock()
		defer c.writing.mu.Unlock()
		w, ok := c.writing.writer.(*transactionalWriter)
		if !ok || !w.mu.TryLock() {
			return ok
		}
		w.mu.Unlock()
		return false
	})
	c.close()
	if err := <-changed; !errors.Is(err, tracker.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the change ended with %v, want to end with the catalogue", err)
	}
}
