package pipeline

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

func TestIngestCatalog(t *testing.T) {
	k, store := startKafka(t), newMemoryStore()
	link := func(l *wire.Link) {
		t.Helper()
		value, err := l.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		k.write(TopicLinks, 0, value)
	}
	link(&wire.Link{Number: 1, Code: "hello", Url: "https://example.com/", Program: "general", CreatedAtMs: 1_750_000_000_000, UpdatedAtMs: 1_750_000_000_000})
	k.write(TopicLinks, 0, []byte("damaged"))
	k.write(TopicLinks, 0, nil)
	program := tracker.NewProgram("wedding")
	program.Currency = "GBP"
	value, err := json.Marshal(program)
	if err != nil {
		t.Fatal(err)
	}
	record := &kgo.Record{Topic: TopicPrograms, Key: []byte("wedding"), Value: value}
	if err := k.client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fails := 2
	store.fault = func(step string, _ int) error {
		if step == "links" && fails > 0 {
			fails--
			return errors.New("away")
		}
		return nil
	}
	in := startIngest(t, IngestOptions{Clients: k.options(), Store: store, Instance: "one"})
	copies := func() ([]tracker.LinkRow, []tracker.ProgramRow) {
		store.mu.Lock()
		defer store.mu.Unlock()
		return slices.Clone(store.links), slices.Clone(store.programs)
	}
	eventually(t, "both are copied", func() bool { l, p := copies(); return len(l) == 1 && len(p) == 1 })
	in.stop()
	link(&wire.Link{Number: 1, Code: "hello", Deleted: true, CreatedAtMs: 1_750_000_000_000, UpdatedAtMs: 1_750_000_000_001})
	in = startIngest(t, IngestOptions{Clients: k.options(), Store: store, Instance: "one"})
	eventually(t, "the change is copied", func() bool { l, _ := copies(); return len(l) >= 2 })
	links, programs := copies()
	if len(links) != 2 || links[0].Version != 0 || links[1].Version != 3 || !links[1].Deleted || links[0].Deleted {
		t.Errorf("links %+v", links)
	}
	if got := links[0].Link; got.Code != "hello" || got.Number != 1 || got.URL != "https://example.com/" || !got.CreatedAt.Equal(time.UnixMilli(1_750_000_000_000)) {
		t.Errorf("link %+v", got)
	}
	if len(programs) != 1 || programs[0].Program.Name != "wedding" || programs[0].Program.Currency != "GBP" {
		t.Errorf("programmes %+v", programs)
	}
	// One without a date holds from when it was written.
	if at := programs[0]; at.WrittenAt.UnixMilli() != record.Timestamp.UnixMilli() || !at.Program.EffectiveFrom.Equal(at.WrittenAt) {
		t.Errorf("written at %v and effective from %v, the record is of %v", at.WrittenAt, at.Program.EffectiveFrom, record.Timestamp)
	}
	if got := valueOf(t, in.metrics.refused.WithLabelValues(TopicLinks)); got != 0 {
		t.Errorf("the damaged record was read again")
	}
}
