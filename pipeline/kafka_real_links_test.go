package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"waymark/pipeline/realkafka"
	"waymark/tracker"
)

// Kafka removes what later records of a code replace. A node that reads the
// rest knows the same links as one that has read everything, those included
// whose code was deleted and given away.
func testRealCompaction(t *testing.T, addr string) {
	setCompaction(t, addr)
	witness, writer := readyNode(t, addr, ""), readyNode(t, addr, "")
	const codes = 30
	for i := range codes {
		writer.createLink(t, fmt.Sprintf("code-%d", i), "first")
	}
	for i := range codes {
		code := fmt.Sprintf("code-%d", i)
		if _, err := writer.UpdateLink(testContext(t), "", code, func(l *tracker.Link) error { l.Campaign = "second"; return nil }); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			continue
		}
		if err := writer.DeleteLink(testContext(t), "", code); err != nil {
			t.Fatal(err)
		}
		if i%3 == 1 {
			writer.createLink(t, code, "third")
		}
	}
	waitCompacted(t, addr, writer)

	want := sameContents(t, witness, writer)
	snapshot := t.TempDir()
	fresh := readyNode(t, addr, snapshot)
	if got := fresh.contents(); !maps.Equal(got, want) || len(want) != 2*codes/3+1 {
		t.Errorf("from the compacted topic come\n%v, want\n%v", got, want)
	}
	for n := tracker.LinkNumber(1); n <= witness.links.MaxNumber(); n++ {
		was, is := witness.links.ByNumber(n), fresh.links.ByNumber(n)
		if was == nil || is == nil || was.Link.Code != is.Link.Code || was.Link.Campaign != is.Link.Campaign || was.Link.Deleted != is.Link.Deleted {
			t.Errorf("link number %d was %v and is %v", n, was, is)
		}
	}
	fresh.stop()
	again := readyNode(t, addr, snapshot)
	created := again.createLink(t, "after", "")
	if created.Number <= witness.links.MaxNumber()-1 {
		t.Errorf("number %d was given twice", created.Number)
	}
	want["/after"] = fmt.Sprintf(" #%d", created.Number)
	if got := sameContents(t, again, witness, writer); !maps.Equal(got, want) {
		t.Errorf("after a restart from a snapshot\n%v, want\n%v", got, want)
	}
}

// setCompaction makes Kafka compact waymark.links within a moment: only closed
// segments are compacted, and one closes when a record comes after segment.ms.
func setCompaction(t *testing.T, addr string) {
	t.Helper()
	settings := map[string]string{"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": "0"}
	var altered []kadm.AlterConfig
	for name, value := range settings {
		altered = append(altered, kadm.AlterConfig{Name: name, Value: &value})
	}
	responses, err := kadm.NewClient(testClient(t, addr)).AlterTopicConfigs(testContext(t), altered, TopicLinks)
	if err != nil || responses[0].Err != nil {
		t.Fatal(err, responses)
	}
}

// waitCompacted waits until each link has one record, apart from the link
// "tick" whose changes make Kafka close segments.
func waitCompacted(t *testing.T, addr string, writer *testNode) {
	t.Helper()
	writer.createLink(t, "tick", "0")
	waitFor(t, "Kafka compacts the topic", func() bool {
		if _, err := writer.UpdateLink(testContext(t), "", "tick", func(l *tracker.Link) error { l.Campaign += "."; return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // longer than segment.ms
		seen := map[string]int{}
		for _, r := range committedRecords(t, addr, TopicLinks) {
			seen[string(r.Key)]++
		}
		delete(seen, "/tick")
		for _, count := range seen {
			if count > 1 {
				return false
			}
		}
		return true
	})
}

// Two admins create the same codes while Kafka is killed again and again:
// each code that one was told is its own is there once, and no other is.
func testRealLinksWhileKilled(t *testing.T, k *realkafka.Kafka) {
	addr := k.Address()
	nodes := []*testNode{readyNode(t, addr, t.TempDir()), readyNode(t, addr, t.TempDir())}
	const codes = 40
	var mu sync.Mutex
	won := map[string]string{}
	created := make(chan struct{}, 2*codes) // room for all: the writers never wait
	var all sync.WaitGroup
	for who, n := range nodes {
		all.Go(func() {
			for i := range codes {
				link := createThroughKills(t, n, fmt.Sprintf("code-%d", i), fmt.Sprintf("of %d", who))
				if link.Number != 0 {
					mu.Lock()
					if won[link.Key()] != "" {
						t.Errorf("%s was created twice", link.Code)
					}
					won[link.Key()] = fmt.Sprintf("%s #%d", link.Campaign, link.Number)
					mu.Unlock()
				}
				created <- struct{}{}
			}
		})
	}
	for range 2 {
		for range codes / 2 {
			<-created
		}
		k.Kill()
		k.Start()
	}
	all.Wait()
	got := sameContents(t, append(nodes, readyNode(t, addr, ""))...)
	for key, link := range won {
		if got[key] != link {
			t.Errorf("%s is %q, but %q was created", key, got[key], link)
		}
	}
	if len(got) != codes {
		t.Errorf("%d codes are taken, want %d", len(got), codes)
	}
}

// createThroughKills creates a link, and tries again as a client does who gets
// no answer. The number is 0 if the code is taken: by the other admin, or by a
// try of this one that came through unanswered.
func createThroughKills(t *testing.T, n *testNode, code, campaign string) tracker.Link {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		links := []tracker.Link{testLink(code, campaign)}
		err := n.CreateLinks(ctx, links)[0]
		switch {
		case err == nil, errors.Is(err, tracker.ErrExists):
			return links[0]
		case !errors.Is(err, tracker.ErrUnavailable) || ctx.Err() != nil:
			t.Errorf("create %s: %v", code, err)
			return links[0]
		}
	}
}
