package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// fullEvent has every stored field set, each to a value of its own.
func fullEvent() *wire.Event {
	return &wire.Event{
		Program: "wedding", Campaign: "spring", Channel: "qr", Link: 7, Code: "LOVE-7G2K9Q", Domain: "go.example",
		ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple", Event: "purchase", Stage: "converted",
		TimeMs: 1_790_000_000_123, Sequence: 16383, Node: 65535, Ordinal: 41, Reasons: uint32(tracker.Unverified | tracker.GPC),
		VisitorId: 1<<63 + 5, ClickTimeMs: 1_789_999_999_456, ClickNode: 3, ClickSequence: 9,
		Id: "order:1", UserId: "u\t1\\'\"", OrderId: "o-1", Value: "-12345678901.123456", Currency: "EUR", Plan: "scale",
		Properties: map[string]string{"a": "1", "b": "ü"},
		Touches:    []*wire.Touch{{Link: 1, TimeMs: 5, Channel: "email"}, {Link: 7, TimeMs: 1_789_999_999_456, Channel: ""}},
		Country:    "DE", Region: "DE-BE", City: "Berlin", Network: 3320, Device: "mobile", Browser: "Firefox", Os: "Android",
		Language: "de", ReferrerHost: "www.instagram.com", UtmSource: "s", UtmMedium: "m", UtmCampaign: "c", UtmTerm: "t",
		UtmContent: "n", AddressHash: 1<<64 - 1,
	}
}

func TestInsertBlockKeepsEveryField(t *testing.T) {
	db := openTestDB(t)
	hit := &wire.Event{
		Event: "click", Stage: "clicked", TimeMs: 1_789_999_999_456, Node: 3, Sequence: 9, Link: 7, Code: "LOVE-7G2K9Q",
		Domain: "go.example", Program: "wedding", Ordinal: 1 << 50, VisitorId: 1<<63 + 5,
	}
	block := &tracker.Block{Token: "1-0-10-20", Source: 1, Rows: []tracker.Row{{Offset: 12, Event: fullEvent()}, {Offset: 10, Event: hit}}}
	if err := db.InsertBlock(testContext(t), block); err != nil {
		t.Fatal(err)
	}
	history, err := db.ClickHistory(testContext(t), tracker.Click{Identity: tracker.Identity{TimeMS: 1_789_999_999_456, Node: 3, Sequence: 9}, Link: 7})
	if err != nil {
		t.Fatal(err)
	}
	if history.Hit == nil || !proto.Equal(history.Hit.Event, hit) || history.Hit.Offset != 10 {
		t.Errorf("hit came back as %+v", history.Hit)
	}
	if len(history.Actions) != 1 || !proto.Equal(history.Actions[0].Event, fullEvent()) || history.Actions[0].Offset != 12 {
		t.Errorf("action came back as %+v", history.Actions)
	}
	got := ask(t, db, "SELECT gross, valid, unique, reason_names, click, party, link_key FROM waymark.events WHERE stage = 'converted'")
	if want := []string{"true true true [gpc unverified] 1789999999456-3-9 u\t1\\'\" go.example/LOVE-7G2K9Q"}; !reflect.DeepEqual(got, want) {
		t.Errorf("computed columns: got %q, want %q", got, want)
	}
}

// The bits stand in SQL as numbers; they must be those of package tracker.
func TestReasonsInSQL(t *testing.T) {
	db := openTestDB(t)
	var rows []tracker.Row
	for bit := range 32 {
		rows = append(rows, tracker.Row{Offset: int64(bit), Event: &wire.Event{Event: "click", Stage: "clicked", TimeMs: 1, Reasons: 1 << bit}})
	}
	if err := db.InsertBlock(testContext(t), &tracker.Block{Token: "t", Rows: rows}); err != nil {
		t.Fatal(err)
	}
	got := ask(t, db, "SELECT gross, valid, unique, reason_names[1] FROM waymark.events ORDER BY offset")
	for bit := range 32 {
		reasons := tracker.Reasons(1 << bit)
		name := fmt.Sprint(uint32(1) << bit) // of a bit that has no name yet
		if names := reasons.Names(); len(names) > 0 {
			name = names[0]
		}
		want := fmt.Sprint(reasons&tracker.Head == 0, " ", reasons.Valid(), " ", reasons.Valid() && reasons&tracker.Repeat == 0, " ", name)
		if got[bit] != want {
			t.Errorf("bit %d: got %s, want %s", bit, got[bit], want)
		}
	}
}

// decisionBlocks are some of each kind of decision.
func decisionBlocks(count int) []*tracker.Block {
	var blocks []*tracker.Block
	for i := range count {
		event := []string{"reward_entry", "fraud_assessment", "fraud_decision", "partner_change", "audit_entry"}[i%5]
		blocks = append(blocks, &tracker.Block{
			Token: fmt.Sprintf("99-3-%d of %d", i, count), Source: 99, Partition: 3, From: int64(i), To: int64(i) + 1, Decisions: true,
			Rows: []tracker.Row{{Offset: int64(i), Event: &wire.Event{
				Event: event, Program: "wedding", UserId: fmt.Sprint("s-", i), Id: fmt.Sprint(event, "/", i), Value: "-2.500001", Currency: "EUR",
				TimeMs:     uint64(auditDay.UnixMilli()) + uint64(i)*86_400_000,
				Properties: map[string]string{"entry": "earn", "reward": fmt.Sprint("r", i), "referrer": "a", "kind": "record", "n": "0"},
			}}},
		})
	}
	return blocks
}

// A decision is kept with all that it has, out of events, and under its identity.
func TestInsertDecisions(t *testing.T) {
	db := openTestDB(t)
	insertAll(t, db, decisionBlocks(1))
	got := ask(t, db, "SELECT *, (SELECT count() FROM waymark.events) FROM waymark.decisions")
	want := []string{"reward_entry 2026-03-03 00:00:00 +0000 UTC wedding s-0 reward_entry/0 -2.500001 EUR map[entry:earn kind:record n:0 referrer:a reward:r0] 99 3 0 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	id := tracker.ActionIdentity{Program: "wedding", Event: "reward_entry", Key: "i:reward_entry/0"}
	for before, want := range map[int64]int{0: 0, 1: 1} {
		if seen, err := db.SeenActions(testContext(t), 99, 3, before, []tracker.ActionIdentity{id}); err != nil || len(seen) != want {
			t.Errorf("before offset %d, %v is seen, %v", before, seen, err)
		}
	}
	if has, err := db.HasActions(testContext(t), []tracker.ActionIdentity{id}); err != nil || len(has) != 1 || has[0] != id {
		t.Errorf("has %v, %v", has, err)
	}
	if next, held, err := db.NextOffset(testContext(t), 99, 3); err != nil || next != 1 || !held {
		t.Errorf("next offset %d, %v, %v", next, held, err)
	}
	if count, err := db.CountRange(testContext(t), 99, 3, 0, 9); err != nil || count != 1 {
		t.Errorf("%d rows in the range, %v", count, err)
	}
}

// viewTargets are the tables that an insert into events feeds, with what must
// not change when a block comes again.
var viewTargets = map[string]string{
	"events":              "SELECT count(), sum(cityHash64(*)) FROM waymark.events",
	"decisions":           "SELECT count(), sum(cityHash64(*)) FROM waymark.decisions",
	"clicks_hourly":       "SELECT sum(hits), sum(gross), sum(valid), sum(unique) FROM waymark.clicks_hourly",
	"link_clicks_daily":   "SELECT sum(hits), sum(gross), sum(valid), sum(unique) FROM waymark.link_clicks_daily",
	"link_clicks_monthly": "SELECT sum(hits), sum(gross), sum(valid), sum(unique) FROM waymark.link_clicks_monthly",
	"visitor_sample":      "SELECT count(), sum(cityHash64(*)) FROM waymark.visitor_sample",
	"hit_days":            "SELECT count(), sum(cityHash64(day)), max(newest_offset), max(newest) FROM (SELECT * FROM waymark.hit_days FINAL)",
	"actions_by_party":    "SELECT count(), sum(cityHash64(*)) FROM waymark.actions_by_party",
	"referees":            "SELECT sum(actions) FROM waymark.referees",
	"reward_entries":      "SELECT count() FROM waymark.reward_entries",
	"fraud_entries":       "SELECT count() FROM waymark.fraud_entries",
	"partner_changes":     "SELECT count() FROM waymark.partner_changes",
	"message_events":      "SELECT count() FROM waymark.message_events",
	"audit_entries":       "SELECT count() FROM waymark.audit_entries",
	"referrals":           "SELECT sum(orders), sum(value), sum(refunds) FROM waymark.referrals",
	"conversions":         "SELECT count(), sum(value) FROM waymark.conversions",
	"action_ids":          "SELECT count(), sum(hash) FROM waymark.action_ids",
}

func contents(t *testing.T, db *DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for table, query := range viewTargets {
		all[table] = ask(t, db, query)[0]
	}
	return all
}

func TestSameTokenAddsNothing(t *testing.T) {
	db := openTestDB(t)
	world := newWorld(1, 3000)
	blocks := append(world.blocks(7), decisionBlocks(10)...)
	for _, block := range blocks {
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
	want := contents(t, db)
	if want["events"] == "0 0" || want["conversions"] == "0 0" || want["audit_entries"] == "0" {
		t.Fatalf("nothing was inserted: %v", want)
	}
	for range 2 {
		for _, block := range blocks {
			if err := db.InsertBlock(testContext(t), block); err != nil {
				t.Fatal(err)
			}
		}
		if got := contents(t, db); !reflect.DeepEqual(got, want) {
			t.Fatalf("after a replay:\n got %v\nwant %v", got, want)
		}
	}
	// Another token is another block, or nothing would ever be counted.
	again := *blocks[0]
	again.Token = "another"
	if err := db.InsertBlock(testContext(t), &again); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, db); got["events"] == want["events"] || got["clicks_hourly"] == want["clicks_hourly"] {
		t.Errorf("a new token added nothing: %v", got)
	}
}

// An insert that fails between two views leaves some targets with the block
// and others without; the same insert again must complete it.
func TestReplayRepairsHalfAnInsert(t *testing.T) {
	world := newWorld(2, 2000)
	blocks := append(world.blocks(3), decisionBlocks(5)...)
	var want map[string]string
	db := openTestDB(t)
	for _, block := range blocks {
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
	want = contents(t, db)

	// The views are fed in some order of their names or identities, so the one
	// that fails takes different places among them.
	for _, trap := range []string{"a_trap", "clicks_z_trap", "d_trap", "z_trap"} {
		t.Run(trap, func(t *testing.T) {
			db := openTestDB(t)
			exec(t, db, "CREATE TABLE waymark.trapped (x UInt8) ENGINE = MergeTree ORDER BY x")
			for _, block := range blocks {
				exec(t, db, "CREATE MATERIALIZED VIEW waymark."+trap+" TO waymark.trapped AS SELECT throwIf(event != '') AS x FROM waymark."+rawTableOf(block).name)
				if err := db.InsertBlock(testContext(t), block); err == nil {
					t.Fatal("the trap did not close")
				}
				exec(t, db, "DROP TABLE waymark."+trap+" SYNC")
				for range 2 {
					if err := db.InsertBlock(testContext(t), block); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := contents(t, db); !reflect.DeepEqual(got, want) {
				t.Errorf("after the repair:\n got %v\nwant %v", got, want)
			}
		})
	}
}

// A block whose rows lie in many months makes a part in each of them, and more
// rows than ClickHouse hands on in one piece stay one block.
func TestBlockOfManyMonthsAndRows(t *testing.T) {
	db := openTestDB(t)
	const rows = 150_000
	block := &tracker.Block{Token: "big", Source: 9, Partition: 3, From: 0, To: rows}
	for i := range rows {
		block.Rows = append(block.Rows, tracker.Row{Offset: int64(i), Event: &wire.Event{
			Event: "click", Stage: "clicked", TimeMs: uint64(1_700_000_000_000 + i*400_000), Link: uint32(i), Code: fmt.Sprint("c", i), ReferrerId: fmt.Sprint("r", i),
		}})
	}
	for range 2 {
		if err := db.InsertBlock(testContext(t), block); err != nil {
			t.Fatal(err)
		}
	}
	got := ask(t, db, "SELECT count(), uniqExact(toYYYYMM(time)) FROM waymark.events")
	got = append(got, ask(t, db, "SELECT dimension, sum(hits) FROM waymark.clicks WHERE dimension IN ('total', 'link') GROUP BY dimension ORDER BY dimension")...)
	want := []string{"150000 24", "link 150000", "total 150000"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestInsertErrorIsShort: a connection that breaks is no reason to fill the log
// with the names of all columns.
func TestInsertErrorIsShort(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	_, err := http.Get(server.URL + "?query=INSERT+INTO+waymark.events")
	got := withoutQuery(fmt.Errorf("batch sendStreamQuery: %w", err))
	if want := "reach ClickHouse at " + strings.TrimPrefix(server.URL, "http://") + ": EOF"; got.Error() != want || !errors.Is(got, io.EOF) {
		t.Errorf("%q, want %q", got, want)
	}
	if other := errors.New("too many parts"); withoutQuery(other) != other {
		t.Error("an answer of ClickHouse is not left as it is")
	}
}
