package clickhouse

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// place of a row: source, partition, offset.
func insertAt(t *testing.T, db *DB, source uint32, partition int32, rows ...tracker.Row) {
	t.Helper()
	of := map[bool][]tracker.Row{}
	for _, row := range rows {
		decision := tracker.ReservedEvent(row.Event.Event)
		of[decision] = append(of[decision], row)
	}
	for decisions, rows := range of {
		block := &tracker.Block{Source: source, Partition: partition, Decisions: decisions, Rows: rows}
		if decisions {
			block.Source += 1000 // another topic
		}
		block.Token = fmt.Sprintf("%d-%d-%d", block.Source, partition, rows[0].Offset)
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
}

func row(offset int64, e *wire.Event) tracker.Row { return tracker.Row{Offset: offset, Event: e} }

func TestRanges(t *testing.T) {
	db := openTestDB(t)
	hit := func(node uint32, ordinal uint64) *wire.Event {
		return &wire.Event{Event: "click", Stage: "clicked", TimeMs: 1_790_000_000_000 + ordinal, Node: node, Ordinal: ordinal}
	}
	// Node 2 is ahead of its offsets, node 1 far behind, as after a resend.
	insertAt(t, db, 7, 1, row(1000, hit(1, 5)), row(1001, hit(1, 6)), row(1003, hit(2, 90_000)))
	insertAt(t, db, 7, 1, row(1010, hit(1, 7)), row(1011, hit(2, 90_001)))
	insertAt(t, db, 7, 2, row(5000, hit(1, 999)))
	insertAt(t, db, 8, 1, row(9000, hit(1, 888)))

	if highest, err := db.HighestNode(testContext(t)); err != nil || highest != 2 {
		t.Errorf("HighestNode: %d %v, want 2", highest, err)
	}
	next, found, err := db.NextOffset(testContext(t), 7, 1)
	if err != nil || !found || next != 1012 {
		t.Errorf("NextOffset: %d %v %v, want 1012", next, found, err)
	}
	if _, found, err := db.NextOffset(testContext(t), 7, 3); err != nil || found {
		t.Errorf("NextOffset of an empty partition: %v %v", found, err)
	}
	for before, want := range map[int64]map[uint16]uint64{
		1000: {}, 1002: {1: 6}, 1010: {1: 6, 2: 90_000}, 1011: {1: 7, 2: 90_000}, 2000: {1: 7, 2: 90_001},
	} {
		got, err := db.Ordinals(testContext(t), 7, 1, before)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("Ordinals before %d: %v %v, want %v", before, got, err, want)
		}
	}
	for _, c := range []struct{ from, to, want int64 }{{1000, 1012, 5}, {1001, 1010, 2}, {1004, 1010, 0}, {0, 1 << 60, 5}} {
		got, err := db.CountRange(testContext(t), 7, 1, c.from, c.to)
		if err != nil || got != c.want {
			t.Errorf("CountRange %d to %d: %d %v, want %d", c.from, c.to, got, err, c.want)
		}
	}
}

func TestSeenActions(t *testing.T) {
	db := openTestDB(t)
	purchase := func(program, order, id string) *wire.Event {
		return &wire.Event{Event: "purchase", Stage: "converted", TimeMs: 1, Program: program, OrderId: order, Id: id, Value: "1"}
	}
	insertAt(t, db, 1, 0, row(10, purchase("wedding", "o1", "x")), row(20, purchase("general", "o1", "y")), row(30, purchase("", "", "i\t1")))
	insertAt(t, db, 2, 0, row(99, purchase("wedding", "o2", "z")))
	insertAt(t, db, 1, 1, row(99, purchase("wedding", "o3", "z")))

	var many []tracker.ActionIdentity // more than one query takes
	for i := range 2*seenBatch + 7 {
		many = append(many, tracker.ActionIdentity{Event: "signup", Key: fmt.Sprint("i:", i)})
	}
	ids := append(many,
		tracker.ActionIdentity{Event: "purchase", Key: "o:o1"}, tracker.ActionIdentity{Event: "purchase", Key: "o:o2"},
		tracker.ActionIdentity{Event: "purchase", Key: "o:o3"}, tracker.ActionIdentity{Event: "purchase", Key: "i:i\t1"},
		tracker.ActionIdentity{Event: "refund", Key: "o:o1"}, tracker.ActionIdentity{Event: "purchase", Key: "i:x"})
	for before, want := range map[int64][]string{
		10: {"/o:o2", "/o:o3"},
		20: {"/o:o2", "/o:o3", "wedding/o:o1"},
		31: {"/i:i\t1", "/o:o2", "/o:o3", "general/o:o1", "wedding/o:o1"},
	} {
		seen, err := db.SeenActions(testContext(t), 1, 0, before, ids)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, id := range seen {
			if id.Event != "purchase" {
				t.Errorf("before %d: seen %+v", before, id)
			}
			if id.Key == "o:o2" || id.Key == "o:o3" {
				if id.Program != "wedding" {
					t.Errorf("programme of %s is %q", id.Key, id.Program)
				}
				id.Program = ""
			}
			got = append(got, id.Program+"/"+id.Key)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("before %d: %q, want %q", before, got, want)
		}
	}
}

func TestClickHistory(t *testing.T) {
	db := openTestDB(t)
	identity := tracker.Identity{TimeMS: 1_790_000_000_000, Node: 4, Sequence: 2}
	with := func(e *wire.Event) *wire.Event {
		e.ClickTimeMs, e.ClickNode, e.ClickSequence = identity.TimeMS, 4, 2
		return e
	}
	at := identity.TimeMS
	signup := with(&wire.Event{Event: "signup", Stage: "signed_up", TimeMs: at + 10, Link: 7, Program: "p", UserId: "ada", Id: "1"})
	late := with(&wire.Event{Event: "purchase", Stage: "converted", TimeMs: at + 40, Program: "p", Id: "4", Reasons: uint32(tracker.Late)})
	alone := &wire.Event{Event: "purchase", Stage: "converted", TimeMs: at + 30, UserId: "ada", Id: "3", Value: "12.5"}
	insertAt(t, db, 1, 0,
		row(0, late), row(1, alone), row(2, signup),
		row(3, &wire.Event{Event: "purchase", Stage: "converted", TimeMs: at + 50, UserId: "ada", Program: "other", Id: "5"}),
		row(4, &wire.Event{Event: "purchase", Stage: "converted", TimeMs: at + 60, UserId: "ada", Link: 9, Id: "6"}),
		row(5, &wire.Event{Event: "purchase", Stage: "converted", TimeMs: at + 70, UserId: "bob", Id: "7"}),
		row(6, &wire.Event{Event: "invite", Stage: "invited", TimeMs: at + 80, UserId: "ada", Id: "8"}))
	click := tracker.Click{Identity: identity, Link: 7}
	history, err := db.ClickHistory(testContext(t), click)
	if err != nil {
		t.Fatal(err)
	}
	if history.Hit != nil {
		t.Errorf("a hit that has not arrived: %v", history.Hit)
	}
	hit := &wire.Event{Event: "scan", Stage: "clicked", TimeMs: at, Node: 4, Sequence: 2, Link: 7}
	insertAt(t, db, 3, 0, row(77, hit), row(78, &wire.Event{Event: "scan", Stage: "clicked", TimeMs: at, Node: 4, Sequence: 3, Link: 7}))
	if history, err = db.ClickHistory(testContext(t), click); err != nil {
		t.Fatal(err)
	}
	if history.Hit == nil || !proto.Equal(history.Hit.Event, hit) {
		t.Errorf("hit: %v", history.Hit)
	}
	want := []*wire.Event{signup, alone, late}
	if !slices.EqualFunc(history.Actions, want, func(got tracker.Row, want *wire.Event) bool { return proto.Equal(got.Event, want) }) {
		t.Errorf("actions: %v, want %v", history.Actions, want)
	}
}

func TestCatalogKeepsTheLatest(t *testing.T) {
	db := openTestDB(t)
	link := tracker.NewLink()
	link.Number, link.Code, link.URL = 5, "a", "https://x.example/1"
	changed := link
	changed.URL = "https://x.example/2"
	for _, rows := range [][]tracker.LinkRow{{{Link: changed, Version: 9}, {Link: link, Version: 8}}, {{Link: changed, Version: 9}}, nil} {
		if err := db.InsertLinks(testContext(t), rows); err != nil {
			t.Fatal(err)
		}
	}
	program := tracker.NewProgram("p")
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: program, Version: 2}, {Program: tracker.NewProgram("p"), Version: 1}}); err != nil {
		t.Fatal(err)
	}
	got := append(ask(t, db, "SELECT number, url, click_param, active, deleted, starts_at IS NULL FROM waymark.links FINAL"),
		ask(t, db, "SELECT name, attribution_window_days, version FROM waymark.programs FINAL")...)
	want := []string{"5 https://x.example/2 wm_click true false 1", "p 30 2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The rows of a place are found by the indexes of the raw tables: of a range of
// offsets, none but its granules are read.
func TestRangesUseTheIndex(t *testing.T) {
	db := openTestDB(t)
	for _, table := range []string{
		"events (event, stage, time, source, partition, offset) SELECT 'click', 'clicked', toDateTime64('2026-03-01 00:00:00', 3, 'UTC') + toIntervalSecond(number)",
		"decisions (event, time, source, partition, offset) SELECT 'audit_entry', toDateTime64('2026-03-01 00:00:00', 3, 'UTC') + toIntervalSecond(number)",
	} {
		exec(t, db, "INSERT INTO waymark."+table+", 1, 0, number FROM numbers(400000)")
	}
	plan := strings.Join(ask(t, db, "EXPLAIN indexes = 1 SELECT count() FROM ("+placeColumns+"events UNION ALL "+placeColumns+"decisions) WHERE source = 1 AND partition = 0 AND offset >= 70000 AND offset < 71000"), "\n")
	for _, table := range []string{"waymark.events", "waymark.decisions"} {
		_, of, _ := strings.Cut(plan, "ReadFromMergeTree ("+table+")")
		of, _, _ = strings.Cut(of, "ReadFromMergeTree")
		found := regexp.MustCompile(`Name: offsets[\s\S]*?Granules: (\d+)/(\d+)`).FindStringSubmatch(of)
		if found == nil || found[1] == found[2] || len(found[1]) > 1 {
			t.Errorf("%s: the index on offset spares too little: %v of\n%s", table, found, plan)
		}
	}
}
