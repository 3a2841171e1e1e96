package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// committedRecords reads the first partition of a topic from its start, as
// compaction has left it.
func committedRecords(t *testing.T, addr, topic string) []*kgo.Record {
	t.Helper()
	reader := &tail{client: testClient(t, addr), topic: topic}
	if err := reader.restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var all []*kgo.Record
	for {
		records, end, err := reader.poll(testContext(t), 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, records...)
		if reader.next >= end {
			return all
		}
	}
}

// Whatever the answer to a commit says, the link is created once, and its
// creator is told so.
func TestCommitIsJudgedByTheLog(t *testing.T) {
	for name, test := range map[string]struct{ executed, undone bool }{
		"an error, and it counts":         {executed: true},
		"an error, and it does not count": {},
		"no error, and it does not count": {undone: true},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := realCluster(t)
			addr := clusterAddr(cluster)
			other := testClient(t, addr)
			n := readyNode(t, addr, "")
			first := true
			cluster.ControlKey(int16(kmsg.EndTxn), func(request kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				if !first {
					return nil, nil, false
				}
				first = false
				if test.undone {
					request.(*kmsg.EndTxnRequest).Commit = false
					return nil, nil, false
				}
				if test.executed {
					cluster.SleepControl(func() {
						again := *request.(*kmsg.EndTxnRequest)
						if _, err := again.RequestWith(context.Background(), other); err != nil {
							t.Error(err)
						}
					})
				}
				response := request.ResponseKind().(*kmsg.EndTxnResponse)
				response.ErrorCode = kerr.UnknownServerError.Code
				return response, nil, true
			})
			created := n.createLink(t, "once", "mine")
			if first {
				t.Fatal("no commit failed")
			}
			want := map[string]string{"/once": fmt.Sprintf("mine #%d", created.Number)}
			if got := n.contents(); !maps.Equal(got, want) {
				t.Errorf("served are %v, want %v", got, want)
			}
			if records := committedRecords(t, addr, TopicLinks); len(records) != 1 {
				t.Errorf("the log has %d records", len(records))
			}
			if err := n.DeleteLink(testContext(t), "", "once"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Compaction leaves one record of a code. So when a code is used again, the
// link that had it before is written under a key of its own.
func TestRetiredLinkKeepsItsRecord(t *testing.T) {
	addr := clusterAddr(realCluster(t))
	n := readyNode(t, addr, "")
	for _, campaign := range []string{"one", "two", "three"} {
		n.createLink(t, "again", campaign)
		n.createLink(t, "other "+campaign, "")
		if err := n.DeleteLink(testContext(t), "", "again"); err != nil {
			t.Fatal(err)
		}
	}
	last := map[string]string{}
	for _, r := range committedRecords(t, addr, TopicLinks) {
		var w wire.Link
		if err := w.UnmarshalVT(r.Value); err != nil {
			t.Fatal(err)
		}
		last[string(r.Key)] = fmt.Sprintf("%s #%d, deleted %v", w.Campaign, w.Number, w.Deleted)
	}
	maps.DeleteFunc(last, func(key, _ string) bool {
		return slices.Contains([]string{"/other one", "/other two", "/other three"}, key)
	})
	want := map[string]string{"#1": "one #1, deleted true", "#3": "two #3, deleted true", "/again": "three #5, deleted true"}
	if !maps.Equal(last, want) {
		t.Errorf("the last records are %v, want %v", last, want)
	}
	if n.links.Retired("", "again") == nil || n.links.ByNumber(tracker.LinkNumber(3)) == nil {
		t.Error("the node has forgotten deleted links")
	}
}

// An admin goes on at once when the topic is deleted and made anew: offsets of
// the old one are not waited for.
func TestWriterAfterTopicRecreated(t *testing.T) {
	addr := clusterAddr(realCluster(t))
	testWriterAfterTopicRecreated(t, addr)
}

func testWriterAfterTopicRecreated(t *testing.T, addr string) {
	n := readyNode(t, addr, "")
	n.createLink(t, "old", "old")
	renewTopics(t, addr)
	waitFor(t, "the node sees that the topic is empty", func() bool { return n.links.Len() == 0 && n.Ready() == nil })
	created := n.createLink(t, "new", "new")
	if got := sameContents(t, n, readyNode(t, addr, "")); len(got) != 1 || got["/new"] != fmt.Sprintf("new #%d", created.Number) {
		t.Errorf("served are %v", got)
	}
}
