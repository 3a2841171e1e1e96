package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
	"waymark/tracker/wire"
)

func TestOrdinalSifter(t *testing.T) {
	store := newMemoryStore()
	of := topicPartition{topic: TopicClicks, topicID: [16]byte{1}}
	store.put(of, 4, &wire.Event{Event: "click", Node: 1, Ordinal: 9})
	store.put(of, 12, &wire.Event{Event: "click", Node: 1, Ordinal: 11}) // of the plan itself: says nothing
	s := &ordinalSifter{store: store}
	if err := s.start(t.Context(), of, 10); err != nil {
		t.Fatal(err)
	}
	var rows []tracker.Row
	for i, click := range []struct{ node, ordinal int }{
		{1, 9}, {1, 10}, {2, 0}, {1, 11}, {1, 10}, {2, 1}, {2, 5}, {1, 12}, {2, 3}, {3, 100},
	} {
		rows = append(rows, tracker.Row{Offset: int64(10 + i), Event: &wire.Event{Node: uint32(click.node), Ordinal: uint64(click.ordinal)}})
	}
	kept, found, err := s.sift(t.Context(), of, plan{}, rows)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []int64
	for _, row := range kept {
		offsets = append(offsets, row.Offset)
	}
	if want := []int64{11, 12, 13, 15, 16, 17, 19}; !slices.Equal(offsets, want) {
		t.Errorf("kept offsets %v, want %v", offsets, want)
	}
	if found.repeats != 3 || found.missing != 3 {
		t.Errorf("found %d repeats and %d missing, want 3 and 3", found.repeats, found.missing)
	}
}

func TestIdentitySifter(t *testing.T) {
	of := topicPartition{topic: TopicActions, topicID: [16]byte{1}}
	for _, tc := range []struct {
		name    string
		held    []*wire.Event // from offset 0 on; the plan starts at 10
		actions []*wire.Event
		want    []int // indexes of those kept
	}{
		{"all different", nil, []*wire.Event{
			{Event: "signup", Id: "1", Program: "p"}, {Event: "signup", Id: "2", Program: "p"}, {Event: "activate", Id: "1", Program: "p"},
		}, []int{0, 1, 2}},
		{"repeats within the plan", nil, []*wire.Event{
			{Event: "signup", Id: "1", Program: "p"}, {Event: "signup", Id: "1", Program: "p"}, {Event: "signup", Id: "1"},
		}, []int{0}},
		{"repeats of what ClickHouse has", []*wire.Event{{Event: "purchase", OrderId: "7", Id: "a", Program: "p"}}, []*wire.Event{
			{Event: "purchase", OrderId: "7", Id: "b", Program: "p"}, {Event: "purchase", OrderId: "7"},
			{Event: "purchase", OrderId: "7", Program: "q"}, {Event: "purchase", Id: "a", Program: "p"}, {Event: "refund", OrderId: "7", Program: "p"},
		}, []int{2, 3, 4}},
		{"without a programme it matches any, and any matches it", []*wire.Event{{Event: "signup", Id: "1"}}, []*wire.Event{
			{Event: "signup", Id: "1", Program: "p"}, {Event: "signup", Id: "1", Program: "q"},
		}, nil},
		{"judged against the kept ones alone", nil, []*wire.Event{
			{Event: "signup", Id: "1", Program: "p"}, {Event: "signup", Id: "1"}, {Event: "signup", Id: "1", Program: "q"},
		}, []int{0, 2}},
		{"nothing to tell them by", nil, []*wire.Event{{Event: "signup"}, {Event: "signup"}}, []int{0, 1}},
	} {
		store := newMemoryStore()
		for i, event := range tc.held {
			store.put(of, int64(i), event)
		}
		var rows []tracker.Row
		for i, action := range tc.actions {
			rows = append(rows, tracker.Row{Offset: int64(10 + i), Event: action})
		}
		kept, found, err := (&identitySifter{store: store}).sift(t.Context(), of, plan{from: 10, to: 20}, rows)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, row := range kept {
			got = append(got, int(row.Offset)-10)
		}
		if !slices.Equal(got, tc.want) || int(found.repeats) != len(tc.actions)-len(tc.want) {
			t.Errorf("%s: kept %v of %d, repeats %d; want %v", tc.name, got, len(tc.actions), found.repeats, tc.want)
		}
	}
}

func TestIdentitySifterLeavesRowsOnError(t *testing.T) {
	store := newMemoryStore()
	store.fault = func(call string, n int) error { return errors.New("away") }
	rows := []tracker.Row{{Offset: 3, Event: &wire.Event{Event: "signup", Id: "1"}}}
	if _, _, err := (&identitySifter{store: store}).sift(t.Context(), topicPartition{}, plan{}, rows); err == nil || rows[0].Offset != 3 {
		t.Errorf("error %v, rows %v", err, rows)
	}
}

func TestDecodeRows(t *testing.T) {
	encode := func(e *wire.Event) *kgo.Record {
		value, err := e.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return &kgo.Record{Value: value}
	}
	for _, tc := range []struct {
		name   string
		record *kgo.Record
		kept   bool
		topic  string // waymark.actions if empty
	}{
		{"a click", encode(&wire.Event{Event: "click", TimeMs: 1_750_000_000_000}), true, ""},
		{"a custom event", encode(&wire.Event{Event: "webinar", Value: "-12.50"}), true, ""},
		{"no event name", encode(&wire.Event{TimeMs: 1}), false, ""},
		{"empty", &kgo.Record{}, false, ""},
		{"no protobuf", &kgo.Record{Value: []byte("hello")}, false, ""},
		{"the year 10000", encode(&wire.Event{Event: "click", TimeMs: 253_402_300_800_000}), false, ""},
		{"a click time in the year 10000", encode(&wire.Event{Event: "signup", ClickTimeMs: 253_402_300_800_000}), false, ""},
		{"a touch in the year 10000", encode(&wire.Event{Event: "signup", Touches: []*wire.Touch{{TimeMs: 253_402_300_800_000}}}), false, ""},
		{"a node of 17 bits", encode(&wire.Event{Event: "click", Node: 1 << 16}), false, ""},
		{"a value that is none", encode(&wire.Event{Event: "purchase", Value: "ten"}), false, ""},
		{"a decision", encode(&wire.Event{Event: "reward_entry", Id: "r/0"}), true, TopicDecisions},
		{"an action among the decisions", encode(&wire.Event{Event: "purchase", Id: "r/0"}), false, TopicDecisions},
		{"a decision without an id", encode(&wire.Event{Event: "reward_entry"}), false, TopicDecisions},
		{"a decision with an order", encode(&wire.Event{Event: "reward_entry", Id: "r/0", OrderId: "o"}), false, TopicDecisions},
		{"a decision by a pixel", encode(&wire.Event{Event: "reward_entry", Id: "r/0", Reasons: uint32(tracker.Unverified)}), false, TopicDecisions},
	} {
		refused := 0
		rows := decodeRows(cmp.Or(tc.topic, TopicActions), []*kgo.Record{tc.record}, func(*kgo.Record, error) { refused++ })
		if (len(rows) == 1) != tc.kept || len(rows)+refused != 1 {
			t.Errorf("%s: %d rows, %d refused", tc.name, len(rows), refused)
		}
	}
}

func TestIsDecimal(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "0": true, "19.90": true, "-5": true, "999999999999.999999": true, "000000000001": true,
		"1000000000000": false, "1.0000001": false, ".5": false, "5.": false, "-": false, "1e3": false, "1.2.3": false, "+1": false, " 1": false, "１": false,
	} {
		if got := isDecimal(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzDecodeRows(f *testing.F) {
	seed, err := (&wire.Event{Event: "purchase", Value: "1.5", Touches: []*wire.Touch{{Link: 1, TimeMs: 2}}, Properties: map[string]string{"a": "b"}}).MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, topic := range []string{TopicActions, TopicDecisions} {
			refused := 0
			rows := decodeRows(topic, []*kgo.Record{{Value: value}}, func(*kgo.Record, error) { refused++ })
			if len(rows)+refused != 1 {
				t.Fatalf("%d rows, %d refused", len(rows), refused)
			}
			if len(rows) == 1 {
				if err := checkRow(rows[0].Event); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// memoryStore is a Store that keeps what it is given. Like ClickHouse it
// deduplicates each table by token, so that an insert can reach events and
// not the view, and made again mends that. Faults are injected by call.
type memoryStore struct {
	memoryState
	// fault is asked at each step of each call, with the number of the
	// insert. An error ends the call there: "insert", "between" (events hold
	// the block, the view does not), "inserted" (both do).
	fault func(step string, insert int) error
	// hang, where set, is waited for by each insert until its context ends.
	hang func(ctx context.Context)
}

func newMemoryStore() *memoryStore {
	return &memoryStore{memoryState: memoryState{tables: map[string]*memoryTable{
		"events": {tokens: map[string]bool{}}, "view": {tokens: map[string]bool{}},
	}, leftOut: map[tracker.Place]map[int64]bool{}}}
}

// failAtRandom makes one step in eight fail from now on.
func (s *memoryStore) failAtRandom(seed uint64) {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, seed))
	s.fault = func(string, int) error {
		mu.Lock()
		defer mu.Unlock()
		if dice.IntN(8) == 0 {
			return errors.New("too many parts")
		}
		return nil
	}
}

func (s *memoryStore) step(step string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(step, int(s.inserts.Load()))
}

func (s *memoryStore) InsertBlock(ctx context.Context, b *tracker.Block) error {
	s.inserts.Add(1)
	if s.hang != nil {
		s.hang(ctx)
	}
	if err := errors.Join(s.step("insert"), ctx.Err()); err != nil {
		return err
	}
	if err := s.insert("events", b); err != nil {
		return err
	}
	if err := s.step("between"); err != nil {
		return err
	}
	if err := s.insert("view", b); err != nil {
		return err
	}
	return s.step("inserted")
}

func (s *memoryStore) NextOffset(_ context.Context, source uint32, partition int32) (int64, bool, error) {
	next, held := int64(0), false
	for row := range s.rows("events") {
		if row.source == source && row.partition == partition {
			next, held = max(next, row.offset+1), true
		}
	}
	return next, held, s.step("next")
}

func (s *memoryStore) Ordinals(_ context.Context, source uint32, partition int32, before int64) (map[uint16]uint64, error) {
	last := make(map[uint16]uint64)
	for row := range s.rows("events") {
		if row.source == source && row.partition == partition && row.offset < before {
			node := uint16(row.event.Node)
			last[node] = max(last[node], row.event.Ordinal)
		}
	}
	return last, s.step("ordinals")
}

func (s *memoryStore) SeenActions(_ context.Context, source uint32, partition int32, before int64, ids []tracker.ActionIdentity) ([]tracker.ActionIdentity, error) {
	asked := make(map[string]bool)
	for _, id := range ids {
		if asked[id.RecordKey()] {
			return nil, fmt.Errorf("asked for %q twice", id.RecordKey())
		}
		asked[id.RecordKey()] = true
	}
	var seen []tracker.ActionIdentity
	for row := range s.rows("events") {
		id, ok := tracker.IdentityOfAction(row.event)
		if ok && asked[id.RecordKey()] && (row.source != source || row.partition == partition && row.offset < before) {
			seen = append(seen, id)
		}
	}
	return seen, s.step("seen")
}

func (s *memoryStore) CountRange(_ context.Context, source uint32, partition int32, from, to int64) (int64, error) {
	count := int64(0)
	for row := range s.rows("events") {
		if row.source == source && row.partition == partition && row.offset >= from && row.offset < to {
			count++
		}
	}
	return count, s.step("count")
}

func (s *memoryStore) LeaveOut(_ context.Context, place tracker.Place, runs []tracker.OffsetRun) error {
	if err := s.step("leave"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leftOut[place] == nil {
		s.leftOut[place] = map[int64]bool{}
	}
	for _, run := range runs {
		for offset := run.From; offset < run.To; offset++ {
			s.leftOut[place][offset] = true
		}
	}
	return s.step("left")
}

func (s *memoryStore) InsertLinks(_ context.Context, rows []tracker.LinkRow) error {
	if err := s.step("links"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links = append(s.links, rows...)
	return nil
}

func (s *memoryStore) InsertPrograms(_ context.Context, rows []tracker.ProgramRow) error {
	if err := s.step("programs"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.programs = append(s.programs, rows...)
	return nil
}
