package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// noClicks is a ClickHouse into which nothing was imported before.
type noClicks struct{}

func (noClicks) ImportedClicks(context.Context, []string) (map[string]*wire.Event, error) {
	return nil, nil
}

// earlierClicks has hits of an earlier import.
type earlierClicks map[string]*wire.Event

func (c earlierClicks) ImportedClicks(_ context.Context, ids []string) (map[string]*wire.Event, error) {
	found := map[string]*wire.Event{}
	for _, id := range ids {
		if hit, ok := c[id]; ok {
			found[id] = hit
		}
	}
	return found, nil
}

// importOptions has everything that is refused in refused.
func (k *testKafka) importOptions(t *testing.T, refused *[]string) ImportOptions {
	return ImportOptions{
		Clients: k.options(), Links: testImportEvents(t).links, Clicks: noClicks{}, Logger: testLogger(t),
		Refused: func(row *RowError) error { *refused = append(*refused, row.Error()); return nil },
	}
}

// importedEvents are the events in waymark.actions, by id or order.
func (k *testKafka) importedEvents(t *testing.T) (events map[string]*wire.Event, records int) {
	t.Helper()
	events = map[string]*wire.Event{}
	for partition, logged := range k.logged(TopicActions) {
		for _, record := range logged {
			e := new(wire.Event)
			if err := e.UnmarshalVT(record.Value); err != nil {
				t.Fatal(err)
			}
			identity, _ := tracker.IdentityOfAction(e)
			if string(record.Key) != identity.RecordKey() {
				t.Errorf("record %d of partition %d has the key %q, expected %q", record.Offset, partition, record.Key, identity.RecordKey())
			}
			events[identity.Key] = e
			records++
		}
	}
	return events, records
}

// TestImportActionsFindTheirClicks: in the row before, in a row after, in an
// earlier import, and nowhere.
func TestImportActionsFindTheirClicks(t *testing.T) {
	k := startKafka(t)
	startIngest(t, IngestOptions{Clients: k.options(), Store: newMemoryStore()})
	var refused []string
	o := k.importOptions(t, &refused)
	o.Source = "old"
	o.Clicks = earlierClicks{"old:c3": {Id: "old:c3", TimeMs: 1767225600000, Sequence: 9, VisitorId: 5, Program: "wedding", Campaign: "winter"}}
	progress, err := Import(t.Context(), strings.NewReader(`event,id,time,click_id,code,order_id
click,c1,2026-01-01T00:00:00Z,,OLD-1,
purchase,,2026-01-01T00:00:01Z,c1,,o1
purchase,,2026-01-01T00:00:01Z,c2,,o2
purchase,,2026-01-01T00:00:02Z,c3,,o3
purchase,,2026-01-01T00:00:02Z,c4,,o4
scan,c2,2026-01-01T00:00:00Z,,OLD-1,
nonsense,c5,never,,,
`), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := (ImportProgress{Bytes: progress.Bytes, Rows: 7, Events: 5, Refused: 2}); progress != want {
		t.Errorf("the import is through with %+v, expected %+v", progress, want)
	}
	slices.Sort(refused)
	if want := `["line 6: click_id: there is no click \"c4\"; import the clicks first, under the same --source" "line 8: time: must be RFC 3339`; !strings.HasPrefix(fmt.Sprintf("%q", refused), want) {
		t.Errorf("refused %q", refused)
	}
	events, _ := k.importedEvents(t)
	for _, c := range []struct {
		order, click, campaign string
		visitor                uint64
	}{{"o:o1", "i:old:c1", "spring", 0}, {"o:o2", "i:old:c2", "spring", 0}, {"o:o3", "", "winter", 5}} {
		e := events[c.order]
		if e == nil {
			t.Errorf("order %s is missing", c.order)
			continue
		}
		time, sequence := uint64(1767225600000), uint32(9)
		if click := events[c.click]; click != nil {
			time, sequence = click.TimeMs, click.Sequence
		}
		if e.ClickTimeMs != time || e.ClickSequence != sequence || e.ClickNode != 0 || e.Campaign != c.campaign || e.Program != "wedding" || e.VisitorId != c.visitor {
			t.Errorf("order %s belongs to click %d-%d of campaign %s, programme %s", c.order, e.ClickTimeMs, e.ClickSequence, e.Campaign, e.Program)
		}
	}
}

var errInterrupted = errors.New("interrupted")

// TestImportGoesOn: what an interrupted import was through with is not sent
// again, and later rows find what they need of it.
func TestImportGoesOn(t *testing.T) {
	k := startKafka(t)
	startIngest(t, IngestOptions{Clients: k.options(), Store: newMemoryStore()})
	var text strings.Builder
	text.WriteString("event,id,time,click_id,code,order_id\n")
	const clicks = 3000
	for i := range clicks {
		fmt.Fprintf(&text, "click,c%d,2026-01-01T00:00:00Z,,OLD-1,\n", i)
		if i == 10 || i == 2000 {
			text.WriteString("click,,2026-01-01T00:00:00Z,,OLD-1,\nbroken\n") // one row twice
		}
	}
	fmt.Fprintf(&text, "purchase,,2026-01-02T00:00:00Z,c3,,o1\n")
	whole := text.String()

	var refused []string
	o := k.importOptions(t, &refused)
	var saved ImportProgress
	o.Saved = func(p ImportProgress) error { saved = p; return errInterrupted }
	input, feed := io.Pipe()
	go func() {
		half := strings.Index(whole, "c1500,")
		io.WriteString(feed, whole[:half])
		time.Sleep(saveInterval) // so that the next row is one to save after
		io.WriteString(feed, whole[half:])
		feed.Close()
	}()
	got, err := Import(t.Context(), input, o)
	input.Close()
	if !errors.Is(err, errInterrupted) || saved.Bytes <= 0 || saved.Bytes >= int64(len(whole)) {
		t.Fatalf("interrupted with %v at %+v", err, saved)
	}
	if got != saved {
		t.Errorf("the import says that it is through with %+v, and saved %+v", got, saved)
	}
	_, before := k.importedEvents(t)
	if int64(before) != saved.Events {
		t.Errorf("%d events are in Kafka where %d were saved", before, saved.Events)
	}
	o.From, o.Saved = saved, nil
	progress, err := Import(t.Context(), strings.NewReader(whole), o)
	if err != nil {
		t.Fatal(err)
	}
	if want := (ImportProgress{Bytes: int64(len(whole)), Rows: clicks + 5, Events: clicks + 3, Refused: 2}); progress != want {
		t.Errorf("in the end it is through with %+v, expected %+v", progress, want)
	}
	events, records := k.importedEvents(t)
	if len(events) != clicks+3 || records != clicks+3 || len(refused) != 2 {
		t.Errorf("%d events in %d records and %d refused rows, expected each of %d once and 2", len(events), records, len(refused), clicks+3)
	}
	if e := events["o:o1"]; e == nil || e.ClickSequence != events["i:c3"].Sequence {
		t.Errorf("the purchase did not find its click: %v", e)
	}
}

// TestImportWaitsForIngest: an import is never much further than ingest.
func TestImportWaitsForIngest(t *testing.T) {
	k := startKafka(t)
	sink, err := newImportSink(k.options(), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := sink.awaitCredit(t.Context()); err != nil || sink.credit != importAheadMax {
		t.Fatalf("an import may send %d records ahead of an ingest that is through, expected %d (%v)", sink.credit, importAheadMax, err)
	}
	sink.credit = 2
	for i := range 2 {
		if err := sink.send(t.Context(), &wire.Event{Event: "click", Id: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sink.awaitCredit(t.Context()); err != nil || sink.credit != importAheadMax-2 {
		t.Errorf("with 2 records to ingest, %d may be sent (%v), expected %d", sink.credit, err, importAheadMax-2)
	}
	if err := sink.awaitIngest(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for an ingest that does not run gives %v", err)
	}
}
