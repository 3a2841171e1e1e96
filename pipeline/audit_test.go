package pipeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// The set of missing hits against a map, in an order as random as can be.
func TestOrdinalAuditNotesEachMissingHitOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		o, noted := newOrdinalAudit(), map[tracker.NodeOrdinal]bool{}
		for range 60 {
			hit := tracker.NodeOrdinal{Node: uint16(random.IntN(2)), Ordinal: uint64(random.IntN(40))}
			if got, want := o.lose(hit), !noted[hit]; got != want {
				t.Fatalf("%v is new: %v, want %v; noted %v", hit, got, want, noted)
			}
			noted[hit] = true
		}
		for node, runs := range o.lost {
			var last uint64
			for i, run := range runs {
				if run.From >= run.To || i > 0 && run.From < last {
					t.Fatalf("node %d: the runs %v are not in order", node, runs)
				}
				last = run.To
			}
		}
	}
}

// A gap is reported but for what is missing in events alone.
func TestOrdinalAuditGap(t *testing.T) {
	o := newOrdinalAudit()
	for _, ordinal := range []uint64{3, 12, 13, 14, 19, 25} {
		o.lose(tracker.NodeOrdinal{Node: 1, Ordinal: ordinal})
	}
	missing, results := o.gap(1, 10, 20)
	var got []string
	for _, r := range results {
		got = append(got, r.Range.String())
	}
	if want := []string{"ordinals 10 to 12", "ordinals 15 to 19"}; !slices.Equal(got, want) || missing != 6 {
		t.Errorf("%d missing in %v, want 6 in %v", missing, got, want)
	}
}

func TestSurplusActions(t *testing.T) {
	const old, now = 1, 2
	row := func(source uint32, offset int64, program string) tracker.ActionRow {
		return tracker.ActionRow{
			ActionIdentity: tracker.ActionIdentity{Program: program, Event: "purchase", Key: "o:1"},
			Place:          tracker.Place{Source: source}, Offset: offset,
		}
	}
	for name, tc := range map[string]struct {
		rows []tracker.ActionRow
		want []int64 // offsets
	}{
		"two programmes are two actions":       {[]tracker.ActionRow{row(now, 1, "a"), row(now, 2, "b")}, nil},
		"the first counts":                     {[]tracker.ActionRow{row(now, 1, "a"), row(now, 2, "a")}, []int64{2}},
		"none matches any":                     {[]tracker.ActionRow{row(now, 1, ""), row(now, 2, "b"), row(now, 3, "c")}, []int64{2, 3}},
		"any matches none":                     {[]tracker.ActionRow{row(now, 1, "a"), row(now, 2, "b"), row(now, 3, "")}, []int64{3}},
		"of an earlier topic, whatever offset": {[]tracker.ActionRow{row(now, 1, "a"), row(old, 9, "a")}, []int64{1}},
	} {
		var got []int64
		for _, row := range surplusActions(tc.rows, map[uint32]bool{now: true}) {
			got = append(got, row.Offset)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: offsets %v are surplus, want %v", name, got, tc.want)
		}
	}
}

// Where the audit of a partition ends.
func TestAuditBound(t *testing.T) {
	for name, tc := range map[string]struct {
		committed        progress
		held             int64
		log              logRange
		to, start, waits int64
	}{
		"nothing":                      {progress{}, 0, logRange{0, 0}, 0, 0, 0},
		"not begun":                    {progress{}, 0, logRange{0, 50}, 0, 0, 50},
		"settled":                      {progress{offset: 40}, 40, logRange{10, 50}, 40, 10, 10},
		"repeats at the end":           {progress{offset: 40}, 35, logRange{10, 50}, 40, 10, 10},
		"planned, and the rows there":  {progress{40, progressMetadata{To: 45}}, 45, logRange{10, 50}, 40, 10, 10},
		"the commit lags":              {progress{offset: 40}, 48, logRange{10, 50}, 48, 10, 2},
		"the commits are gone":         {progress{}, 48, logRange{10, 50}, 48, 10, 2},
		"all was trimmed":              {progress{offset: 50}, 50, logRange{50, 50}, 50, 50, 0},
		"trimmed before it was needed": {progress{offset: 40}, 40, logRange{45, 50}, 40, 40, 5},
	} {
		var x extent
		x.bound(tc.committed, tracker.Holding{To: tc.held}, tc.log)
		if got, want := fmt.Sprint(x.to, x.start, x.waiting), fmt.Sprint(tc.to, tc.start, tc.waits); got != want {
			t.Errorf("%s: end, start and waiting %s, want %s", name, got, want)
		}
	}
}

// The broker may trim what an audit is about to read, since ingest goes on. The
// records are no events, so that nobody need be asked about them.
func TestJudgeSkipsWhatIsTrimmed(t *testing.T) {
	k := startKafka(t)
	for i := range 20 {
		record := &kgo.Record{Topic: TopicClicks, Partition: 0, Value: []byte("no event")}
		if err := k.client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(i, err)
		}
	}
	topic, err := lookUpTopic(t.Context(), k.client, TopicClicks)
	if err != nil {
		t.Fatal(err)
	}
	a := &Audit{opts: AuditOptions{Clients: k.options()}, client: k.client}
	admin := kadm.NewClient(k.client)
	for _, tc := range []struct{ trimTo, from, to, trimmed, refused int64 }{
		{10, 0, 20, 10, 10}, {12, 2, 15, 10, 3}, {15, 3, 14, 11, 0}, {15, 15, 20, 0, 5},
	} {
		trim := make(kadm.Offsets)
		trim.Add(kadm.Offset{Topic: TopicClicks, At: tc.trimTo})
		if _, err := admin.DeleteRecords(t.Context(), trim); err != nil {
			t.Fatal(err)
		}
		j := &judge{Audit: a, of: topicPartition{topic: TopicClicks, topicID: topic.TopicID}, ordinals: newOrdinalAudit()}
		err := errors.Join(j.read(t.Context(), tc.from, tc.to), j.flush(t.Context()))
		j.close()
		if err != nil || j.trimmed != tc.trimmed || j.refused != tc.refused || j.absent+j.unread != 0 {
			t.Errorf("trimmed to %d, offsets %d to %d: %d trimmed, %d refused, %d absent, %d unread, %v", tc.trimTo, tc.from, tc.to, j.trimmed, j.refused, j.absent, j.unread, err)
		}
	}
}
