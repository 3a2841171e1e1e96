package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"waymark/clickhouse"
	"waymark/pipeline"
	"waymark/pipeline/realkafka"
	"waymark/tracker"
	"waymark/tracker/wire"
)

// auditWorld is a Kafka and a ClickHouse with some thousand events in both,
// and the counts of what was written.
type auditWorld struct {
	*server
	cluster  *kfake.Cluster
	brokers  string
	client   *kgo.Client
	random   *rand.Rand
	ordinals map[uint32]uint64 // last of each node
	repeats  map[string]int64  // by topic/partition
	start    time.Time
	stop     func() // of ingest
}

const auditClickPartitions = 2

// startAuditWorld has ingest brought everything in; it goes on running.
func startAuditWorld(t *testing.T) *auditWorld {
	t.Helper()
	h := newHome(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(auditClickPartitions, pipeline.TopicClicks))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	w := &auditWorld{
		server:  &server{t: t, home: h, clickhouse: realkafka.FreeAddress(t)},
		cluster: cluster, brokers: strings.Join(cluster.ListenAddrs(), ","), random: rand.New(rand.NewPCG(7, 7)),
		ordinals: map[uint32]uint64{}, repeats: map[string]int64{}, start: time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC),
	}
	w.client, err = pipeline.NewClient(w.kafkaOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	if err := pipeline.EnsureTopics(t.Context(), w.client); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "engine", "--data", h.data, "--clickhouse-listen", w.clickhouse)
	eventually(t, "the engine to answer", func() error {
		content, err := os.ReadFile(filepath.Join(h.data, "clickhouse.password"))
		if err != nil || len(content) == 0 {
			return fmt.Errorf("no password yet: %v", err)
		}
		w.password = strings.TrimSpace(string(content))
		_, err = w.sql("SELECT 1")
		return err
	})
	w.write(4000)
	w.ingest()
	return w
}

func (w *auditWorld) kafkaOptions() pipeline.ClientOptions {
	return pipeline.ClientOptions{Brokers: strings.Split(w.brokers, ","), ID: "test", Logger: slog.New(slog.DiscardHandler)}
}

// ingest starts ingest and waits until it is through.
func (w *auditWorld) ingest() {
	w.t.Helper()
	db, err := clickhouse.Open("http://"+w.clickhouse, "waymark", w.password)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := db.Migrate(w.t.Context(), clickhouse.MigrateOptions{Embedded: true, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		w.t.Fatal(err)
	}
	// Small plans, so that a range of offsets lies in many parts.
	in, err := pipeline.NewIngest(pipeline.IngestOptions{
		Clients: w.kafkaOptions(), Store: db, PlanRowsMax: 300, Linger: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := in.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	stopped := false
	w.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			db.Close()
		}
	}
	w.t.Cleanup(w.stop)
	w.ingested()
}

// ingested waits until ingest is through with all that was written.
func (w *auditWorld) ingested() {
	w.t.Helper()
	eventually(w.t, "everything to be ingested", func() error {
		if lag, err := pipeline.IngestLag(w.t.Context(), w.client); err != nil || lag > 0 {
			return fmt.Errorf("lag %d, %v", lag, err)
		}
		return nil
	})
}

// write sends events of four days around the end of a month: hits of three
// nodes with what they send again after a crash, actions with repeats, and
// records that are no events.
func (w *auditWorld) write(events int) {
	w.t.Helper()
	var records []*kgo.Record
	var sent []*kgo.Record // hits
	var actions []*wire.Event
	for i := range events {
		at := w.start.Add(time.Duration(i) * 96 * time.Hour / time.Duration(events))
		if i%10 == 0 {
			e := w.action(i, at)
			if i%50 == 0 && len(actions) > 0 {
				e = proto.CloneOf(actions[w.random.IntN(len(actions))])
				if w.random.IntN(2) == 0 {
					e.Program = ""
				}
			}
			record := w.record(pipeline.TopicActions, at, e)
			if i%50 == 0 && len(actions) > 0 {
				w.repeats[fmt.Sprintf("%s/%d", record.Topic, record.Partition)]++
			} else {
				actions = append(actions, e)
			}
			records = append(records, record)
			continue
		}
		node := 1 + uint32(w.random.IntN(3))
		w.ordinals[node]++
		record := w.record(pipeline.TopicClicks, at, &wire.Event{
			Event: "click", Stage: "clicked", Program: "general", TimeMs: uint64(at.UnixMilli()), Node: node, Ordinal: w.ordinals[node],
			Link: uint32(i%7 + 1), Code: fmt.Sprint("c", i%7+1), Country: []string{"DE", "FR"}[i%2], VisitorId: uint64(i%40 + 1),
		})
		records, sent = append(records, record), append(sent, record)
		if i%100 == 49 { // a crash: the last ones come again
			for _, old := range sent[len(sent)-5:] {
				again := *old
				records = append(records, &again)
				w.repeats[fmt.Sprintf("%s/%d", again.Topic, again.Partition)]++
			}
		}
	}
	for i := range 100 { // every fifth decision comes a second time
		at := w.start.Add(time.Duration(i) * 57 * time.Minute)
		record := w.record(pipeline.TopicDecisions, at, &wire.Event{
			Event: "audit_entry", Program: "general", Id: fmt.Sprint("d", i-i%5/4), TimeMs: uint64(at.UnixMilli()), Properties: map[string]string{"actor": fmt.Sprint(i)},
		})
		if i%5 == 4 {
			w.repeats[fmt.Sprintf("%s/%d", record.Topic, record.Partition)]++
		}
		records = append(records, record)
	}
	records = append(records, &kgo.Record{Topic: pipeline.TopicClicks, Partition: 1, Value: []byte("no event at all"), Timestamp: w.start.Add(96 * time.Hour)})
	if err := w.client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *auditWorld) action(i int, at time.Time) *wire.Event {
	e := &wire.Event{Program: "general", TimeMs: uint64(at.UnixMilli()), UserId: fmt.Sprint("u", i/3), Id: fmt.Sprint("id", i), Link: 3, Code: "c3", Channel: "qr"}
	e.Event, e.Stage = "signup", "signed_up"
	if i%20 == 0 {
		e.Event, e.Stage, e.OrderId, e.Value = "purchase", "converted", fmt.Sprint("o", i), fmt.Sprintf("%d.25", i)
	}
	return e
}

func (w *auditWorld) record(topic string, at time.Time, e *wire.Event) *kgo.Record {
	value, err := e.MarshalVT()
	if err != nil {
		w.t.Fatal(err)
	}
	record := &kgo.Record{Topic: topic, Value: value, Timestamp: at, Partition: int32(e.Node % auditClickPartitions)}
	if topic != pipeline.TopicClicks {
		identity, _ := tracker.IdentityOfAction(e)
		for _, c := range identity.RecordKey() {
			record.Partition = (record.Partition*31 + c) % pipeline.ActionPartitions
		}
	}
	return record
}

// audit runs the command and returns what it printed, and its exit code.
func (w *auditWorld) audit(args ...string) (auditReport, int, string) {
	w.t.Helper()
	p := run(w.t, nil, append([]string{"audit", "--json", "--data", w.data, "--kafka", w.brokers, "--clickhouse", "http://" + w.clickhouse}, args...)...)
	code := p.wait(patience)
	var report auditReport
	printed, _, _ := strings.Cut(p.out.String(), "\n}\n")
	if err := json.Unmarshal([]byte(printed[max(strings.Index(printed, "{\n"), 0):]+"}"), &report); err != nil {
		w.t.Fatalf("audit ended with %d and printed %s: %v", code, p.out.String(), err)
	}
	return report, code, p.errs.String()
}

// clean expects an audit without a difference.
func (w *auditWorld) clean(args ...string) auditReport {
	w.t.Helper()
	report, code, errs := w.audit(args...)
	if code != 0 || report.Differences != 0 {
		w.t.Fatalf("exit code %d, %s; differences:\n%s", code, errs, strings.Join(foundBad(report), "\n"))
	}
	return report
}

// foundBad lists the lines of a report that are not as they should be.
func foundBad(report auditReport) []string {
	var lines []string
	for _, r := range report.Results {
		if r.Verdict.Bad() {
			lines = append(lines, fmt.Sprintf("%s %s %s %d %d", r.Verdict, r.What, r.Range, r.Expected, r.Found))
		}
	}
	return lines
}

// contents are checksums of all tables, rows merged, by queries of the test's
// own.
func (w *auditWorld) contents() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for table, query := range map[string]string{
		"events":         "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.events",
		"clicks_hourly":  "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.clicks_hourly FINAL",
		"links by day":   "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.link_clicks_daily FINAL",
		"links by month": "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.link_clicks_monthly FINAL",
		"sample":         "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.visitor_sample",
		"decisions":      "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.decisions",
		"audit entries":  "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.audit_entries",
		"by party":       "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.actions_by_party",
		"referrals":      "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.referrals FINAL",
		"conversions":    "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.conversions",
		"action_ids":     "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.action_ids",
		"others":         "SELECT name FROM system.tables WHERE database = 'waymark' AND name LIKE 'audit%'",
	} {
		all[table] = fmt.Sprint(w.mustSQL(query))
	}
	return all
}

// source is the number of a topic, as the rows have it.
func (w *auditWorld) source(topic string) uint32 {
	w.t.Helper()
	id, err := pipeline.TopicID(context.Background(), w.client, topic)
	if err != nil {
		w.t.Fatal(err)
	}
	return pipeline.SourceNumber(id)
}

// place is the condition for the rows of a partition.
func (w *auditWorld) place(topic string, partition int) string {
	w.t.Helper()
	return fmt.Sprintf("source = %d AND partition = %d", w.source(topic), partition)
}

func (w *auditWorld) count(place string) int64 {
	w.t.Helper()
	return w.number("SELECT count() FROM waymark.events WHERE " + place)
}

// plant does damage and expects an audit to find what is wanted and nothing
// else, a repair to mend it, and everything to be as it was. A line of want
// that ends in … is the beginning of one.
func (w *auditWorld) plant(want []string, statements ...string) {
	w.t.Helper()
	before := w.contents()
	for _, statement := range statements {
		w.mustSQL(statement)
	}
	report, code, _ := w.audit()
	got := foundBad(report)
	if code != 1 || !slices.EqualFunc(got, want, func(got, want string) bool {
		beginning, cut := strings.CutSuffix(want, "…")
		return got == want || cut && strings.HasPrefix(got, beginning)
	}) {
		w.t.Errorf("exit code %d, found\n%s\nwant\n%s", code, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.restore(before)
}

// restore repairs, and expects everything to be as it was.
func (w *auditWorld) restore(before map[string]string) {
	w.t.Helper()
	if report := w.clean("--repair"); len(report.Repaired) == 0 {
		w.t.Error("nothing was repaired")
	}
	w.clean()
	if after := w.contents(); !reflect.DeepEqual(after, before) {
		w.t.Errorf("after the repair\n%v\nbefore the damage\n%v", after, before)
	}
}

// TestAudit plants every kind of damage, one after the other, while ingest
// runs but has nothing to do.
func TestAudit(t *testing.T) {
	w := startAuditWorld(t)
	for _, part := range []struct {
		name string
		test func()
	}{
		{"nothing", w.testNothing},
		{"gaps", w.testGaps},
		{"decisions", w.testDecisions},
		{"repeats", w.testRepeats},
		{"view targets", w.testTargets},
		{"everything", w.testEverything},
		{"since", w.testSince},
		{"busy", w.testBusy},
		{"unfinished plan", w.testUnfinished},
		{"trimmed", w.testTrimmed},
	} {
		t.Run(part.name, func(t *testing.T) {
			w.t, w.server.t = t, t
			defer func() { w.t, w.server.t = nil, nil }()
			part.test()
		})
	}
}

func (w *auditWorld) testNothing() {
	report := w.clean()
	w.checkExplained(report)
	if report.Unproven != 0 {
		w.t.Errorf("%d results are unproven, though Kafka has everything", report.Unproven)
	}
}

// mutated makes a statement return when it is done.
const mutated = " SETTINGS mutations_sync = 2"

// testGaps: rows are gone from events, though the view targets counted them.
func (w *auditWorld) testGaps() {
	clicks, actions := w.place(pipeline.TopicClicks, 1), w.place(pipeline.TopicActions, 3)
	w.plant([]string{
		fmt.Sprintf("missing waymark.clicks/1 offsets 0 to 2559 %d %d", w.count(clicks), w.count(clicks)-7),
		"missing waymark.clicks/1 offsets 700 to 704 4 0",
		"missing waymark.clicks/1 offsets 901 to 904 3 0",
		fmt.Sprintf("missing waymark.actions/3 offsets 0 to 51 %d %d", w.count(actions), w.count(actions)-1),
		"missing waymark.actions/3 offsets 20 to 21 1 0",
		"differs action_ids all keys…", "differs actions_by_party all keys…", "differs clicks_hourly times…", "differs clicks_hourly times 2026-02-28…",
		"differs conversions times…", "differs conversions times 2026-02-28…",
		"differs link_clicks_daily times…", "differs link_clicks_daily times 2026-02-28…",
		"differs link_clicks_monthly times…", "differs link_clicks_monthly times 2026-02-01…", "differs referrals all keys…",
	},
		"ALTER TABLE waymark.events DELETE WHERE "+clicks+" AND offset IN (700, 701, 702, 703, 901, 902, 903)"+mutated,
		"ALTER TABLE waymark.events DELETE WHERE "+actions+" AND offset = 20"+mutated)
}

// testDecisions: a row is gone from decisions, another from the view on them.
func (w *auditWorld) testDecisions() {
	topic := fmt.Sprint(pipeline.TopicDecisions, "/", 2)
	of := w.place(pipeline.TopicDecisions, 2)
	rows := w.number("SELECT count() FROM waymark.decisions WHERE " + of)
	lost := w.number("SELECT min(offset) FROM waymark.decisions WHERE offset > 0 AND " + of)
	entries := w.number("SELECT count() FROM waymark.audit_entries")
	w.plant([]string{
		fmt.Sprintf("missing %s offsets 0 to %d %d %d", topic, int64(rows)+w.repeats[topic], rows, rows-1),
		fmt.Sprintf("missing %s offsets %d to %d 1 0", topic, lost, lost+1),
		"differs action_ids all keys…", fmt.Sprintf("differs audit_entries all keys %d %d", entries-1, entries-1),
	},
		fmt.Sprintf("ALTER TABLE waymark.decisions DELETE WHERE %s AND offset = %d", of, lost)+mutated,
		"ALTER TABLE waymark.audit_entries DELETE WHERE id = 'd50'"+mutated)
}

// testRepeats: the rows of a range stand there twice, as by an insert without
// a token; a hit stands in the offset of its repeat, as by an ingest that
// ignores ordinals; an action, as by one for which no programme is another.
func (w *auditWorld) testRepeats() {
	twice := w.place(pipeline.TopicClicks, 0)
	// What came in as an insert does is in the view targets too.
	w.plant([]string{
		"repeated waymark.clicks/0 offsets 0 to …", "repeated waymark.clicks/0 offsets 100 to 103 3 6",
		"repeated node 3 ordinals 1 to 1221 1220 1221", "repeated node 3 ordinals 16 to 17 1 2",
		"repeated actions all keys 0 1", "repeated actions offsets 3 to 4 0 1",
	},
		"INSERT INTO waymark.events SELECT * FROM waymark.events WHERE "+twice+" AND offset IN (100, 101, 102) SETTINGS insert_deduplicate = 0",
		w.copyToGap(w.place(pipeline.TopicClicks, 1), "program AS program"),
		w.copyToGap(w.place(pipeline.TopicActions, 3), "'' AS program"))
}

// testTargets: rows that are too many, too few, wrong, or all gone.
func (w *auditWorld) testTargets() {
	ids, edges := w.number("SELECT count() FROM waymark.action_ids"), w.number("SELECT count() FROM waymark.referrals FINAL")
	february := w.number("SELECT count() FROM waymark.clicks_hourly FINAL WHERE toDate(hour) = '2026-02-28'")
	march := w.number("SELECT count() FROM waymark.clicks_hourly FINAL WHERE toDate(hour) = '2026-03-01'")
	orders := w.number("SELECT count() FROM waymark.conversions WHERE toDate(time) = '2026-02-27'")
	w.plant([]string{
		fmt.Sprintf("differs action_ids all keys %d 0", ids),
		"differs clicks_hourly times…",
		fmt.Sprintf("differs clicks_hourly times 2026-02-28T00:00:00Z to 2026-03-01T00:00:00Z %d %d", february, february),
		fmt.Sprintf("differs clicks_hourly times 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z %d %d", march, march+1),
		"differs conversions times…",
		fmt.Sprintf("differs conversions times 2026-02-27T00:00:00Z to 2026-02-28T00:00:00Z %d %d", orders, orders-1),
		fmt.Sprintf("differs referrals all keys %d %d", edges, edges+1),
	},
		"TRUNCATE TABLE waymark.action_ids",
		"INSERT INTO waymark.clicks_hourly SELECT * FROM waymark.clicks_hourly WHERE dimension = 'total' AND toDate(hour) = '2026-02-28' LIMIT 1 SETTINGS insert_deduplicate = 0",
		"INSERT INTO waymark.clicks_hourly (dimension, program, key, hour, hits) VALUES ('link', 'general', 'nobody', '2026-03-01 05:00:00', 1)",
		"ALTER TABLE waymark.conversions DELETE WHERE order_id = 'o20'"+mutated,
		"INSERT INTO waymark.referrals (party, program, orders, value) VALUES ('u3', 'general', 1, 5), ('ghost', 'general', 1, 5)")
}

// testEverything at once, and more ranges than a query takes in one piece.
func (w *auditWorld) testEverything() {
	before := w.contents()
	for _, statement := range []string{
		"ALTER TABLE waymark.events DELETE WHERE " + w.place(pipeline.TopicClicks, 0) + " AND offset < 900" + mutated,
		"ALTER TABLE waymark.events DELETE WHERE stage != 'clicked'" + mutated,
		"INSERT INTO waymark.events SELECT * FROM waymark.events WHERE " + w.place(pipeline.TopicClicks, 1) + " AND offset % 2 = 0 SETTINGS insert_deduplicate = 0",
		"TRUNCATE TABLE waymark.clicks_hourly", "TRUNCATE TABLE waymark.referrals",
	} {
		w.mustSQL(statement)
	}
	w.restore(before)
}

// checkExplained: each offset without a row is a repeat that was written, or
// the one record that is no event.
func (w *auditWorld) checkExplained(report auditReport) {
	w.t.Helper()
	seen := 0
	for _, r := range report.Results {
		want, ok := w.repeats[r.What]
		if !ok {
			continue
		}
		seen++
		detail := fmt.Sprintf("%d repeats dropped", want)
		if r.What == "waymark.clicks/1" {
			detail += ", 1 refused, being no event"
		}
		if r.Detail != detail || r.Expected != r.Found {
			w.t.Errorf("%s: expected %d, found %d, %q; want %q", r.What, r.Expected, r.Found, r.Detail, detail)
		}
	}
	if seen != len(w.repeats) || seen < 3 {
		w.t.Errorf("%d partitions have repeats, the audit names %d", len(w.repeats), seen)
	}
	for node, last := range w.ordinals {
		i := slices.IndexFunc(report.Results, func(r tracker.AuditResult) bool { return r.What == fmt.Sprint("node ", node) })
		if i < 0 || report.Results[i].Range != tracker.NumberRange("ordinal", 1, last+1) || report.Results[i].Found != int64(last) {
			w.t.Errorf("node %d, which took %d hits: %+v", node, last, report.Results)
		}
	}
}

// copyToGap copies a row to the next offset, which has none because its record
// was a repeat. The copy keeps its ordinal, and takes a programme.
func (w *auditWorld) copyToGap(place, program string) string {
	w.t.Helper()
	at := w.number("SELECT min(offset) FROM waymark.events WHERE " + place + " AND (offset + 1) NOT IN (SELECT offset FROM waymark.events WHERE " + place + ")")
	return fmt.Sprintf("INSERT INTO waymark.events SELECT * REPLACE(%s, %d AS offset, ordinal_shift - 1 AS ordinal_shift) FROM (SELECT * FROM waymark.events WHERE %s AND offset = %d) SETTINGS insert_deduplicate = 0",
		program, at+1, place, at)
}

func (w *auditWorld) number(query string) int64 {
	w.t.Helper()
	var n int64
	if _, err := fmt.Sscan(w.mustSQL(query)[0][0], &n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// testSince: what is older than --since is not looked at.
func (w *auditWorld) testSince() {
	before := w.contents()
	w.mustSQL("ALTER TABLE waymark.events DELETE WHERE " + w.place(pipeline.TopicClicks, 1) + " AND offset = 700" + mutated)
	w.mustSQL("INSERT INTO waymark.clicks_hourly (dimension, program, key, hour, hits) VALUES ('link', 'general', 'nobody', '2026-02-27 05:00:00', 1)")
	t := w.t
	report := w.clean("--since", "2026-03-01")
	if report.Since == nil || !report.Since.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("since %v", report.Since)
	}
	for _, r := range report.Results {
		if r.Found == 0 && (r.What == "clicks_hourly" || r.What == "waymark.clicks/0" || strings.HasPrefix(r.What, "node")) {
			t.Errorf("nothing was audited: %+v", r)
		}
	}
	if _, code, _ := w.audit(); code != 1 {
		t.Errorf("without --since: exit code %d", code)
	}
	w.restore(before)
}

// testBusy: while events keep arriving, nothing is taken for a difference that
// is none, and a month that is over can be repaired.
func (w *auditWorld) testBusy() {
	before := w.contents()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		at := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
		for ordinal := uint64(1); ctx.Err() == nil; ordinal++ {
			at = at.Add(time.Second)
			record := w.record(pipeline.TopicClicks, at, &wire.Event{
				Event: "click", Stage: "clicked", Program: "general", TimeMs: uint64(at.UnixMilli()), Node: 9, Ordinal: ordinal, Link: 1, Code: "c1",
			})
			if err := w.client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
				w.t.Error(err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	defer func() { stop(); <-done }() // also where the test ends early: the goroutine reports to it
	w.mustSQL("TRUNCATE TABLE waymark.referrals")
	w.mustSQL("ALTER TABLE waymark.clicks_hourly DROP PARTITION 202602")
	w.mustSQL("ALTER TABLE waymark.conversions DROP PARTITION 202602")
	report := w.clean("--repair")
	if len(report.Repaired) != 3 {
		w.t.Errorf("repaired %v, want three targets", report.Repaired)
	}
	stop()
	<-done
	w.ingested()
	w.clean()
	after := w.contents()
	for _, table := range []string{"referrals", "conversions", "action_ids"} {
		if after[table] != before[table] {
			w.t.Errorf("%s: %s after the repair, %s before the damage", table, after[table], before[table])
		}
	}
	if after["events"] == before["events"] {
		w.t.Error("no event arrived during the repair")
	}
}

// testUnfinished: a plan that ingest has left must be finished by ingest,
// before anything can be told about view targets, or repaired.
func (w *auditWorld) testUnfinished() {
	t := w.t
	w.stop()
	adm := kadm.NewClient(w.client)
	before, err := adm.FetchOffsets(t.Context(), pipeline.IngestGroup)
	if err != nil {
		t.Fatal(err)
	}
	settled, _ := before.Lookup(pipeline.TopicClicks, 0)
	var planned, restored kadm.Offsets
	planned.Add(kadm.Offset{Topic: pipeline.TopicClicks, Partition: 0, At: settled.At - 10, LeaderEpoch: -1,
		Metadata: fmt.Sprintf(`{"v":1,"source":%d,"to":%d}`, w.source(pipeline.TopicClicks), settled.At)})
	restored.Add(kadm.Offset{Topic: pipeline.TopicClicks, Partition: 0, At: settled.At, LeaderEpoch: -1, Metadata: settled.Metadata})
	commit := func(offsets kadm.Offsets) {
		t.Helper()
		if err := adm.CommitAllOffsets(t.Context(), pipeline.IngestGroup, offsets); err != nil {
			t.Fatal(err)
		}
	}
	contents := w.contents()
	w.mustSQL("TRUNCATE TABLE waymark.conversions")
	commit(planned)
	report, code, _ := w.audit("--repair")
	if code != 0 || report.Unproven == 0 || len(report.Repaired) > 0 {
		t.Errorf("exit code %d, %d unproven, repaired %v", code, report.Unproven, report.Repaired)
	}
	if !slices.ContainsFunc(report.Results, func(r tracker.AuditResult) bool {
		return r.What == "conversions" && strings.Contains(r.Detail, "start it, and audit again")
	}) {
		t.Errorf("what to do is not said: %+v", report.Results)
	}
	commit(restored)
	w.restore(contents)
}

// testTrimmed: what Kafka has no more is judged by the ordinals, and by what
// ingest wrote down.
func (w *auditWorld) testTrimmed() {
	t := w.t
	ends, err := kadm.NewClient(w.client).ListEndOffsets(t.Context(), pipeline.TopicClicks, pipeline.TopicActions, pipeline.TopicDecisions)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			if err := w.cluster.DeleteRecords(o.Topic, o.Partition, o.Offset-1); err != nil {
				t.Fatal(err)
			}
		}
	})
	report := w.clean()
	for _, r := range report.Results {
		repeats, ok := w.repeats[r.What]
		if ok && (r.Verdict != tracker.AuditOK || !strings.Contains(r.Detail, "left out by ingest and trimmed")) {
			t.Errorf("ingest wrote down which %d repeats it left out, but: %+v", repeats, r)
		}
	}
	if report.Unproven != 0 {
		t.Errorf("%d results are unproven", report.Unproven)
	}
	w.mustSQL("ALTER TABLE waymark.events DELETE WHERE stage = 'clicked' AND node = 2 AND offset + ordinal_shift BETWEEN 100 AND 103" + mutated)
	report, code, _ := w.audit("--repair")
	want := fmt.Sprintf("missing node 2 ordinals 1 to %d %d %d\nmissing node 2 ordinals 100 to 104 4 0", w.ordinals[2]+1, w.ordinals[2], w.ordinals[2]-4)
	if got := strings.Join(foundBad(report), "\n"); code != 1 || got != want {
		t.Errorf("exit code %d, found\n%s\nwant\n%s", code, got, want)
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"2026-03-01":                time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		"2026-03-01T12:00:00+02:00": time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		"7d":                        time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC),
		"90m":                       time.Date(2026, 3, 10, 10, 30, 0, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-3h", "-2d", "7", "1.5d", "2026-13-01"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
