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
		if i%100 == 99 { // a crash: the last ones come again
			for _, old := range sent[len(sent)-5:] {
				again := *old
				records = append(records, &again)
				w.repeats[fmt.Sprintf("%s/%d", again.Topic, again.Partition)]++
			}
		}
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
	if topic == pipeline.TopicActions {
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
		w.t.Fatalf("exit code %d, %s; differences:\n%s", code, errs, foundBad(report))
	}
	return report
}

// foundBad lists the lines of a report that are not as they should be.
func foundBad(report auditReport) string {
	var lines []string
	for _, r := range report.Results {
		if r.Verdict.Bad() {
			lines = append(lines, fmt.Sprintf("%s %s %s %d %d", r.Verdict, r.What, r.Range, r.Expected, r.Found))
		}
	}
	return strings.Join(lines, "\n")
}

// contents are checksums of all tables, rows merged, by queries of the test's
// own.
func (w *auditWorld) contents() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for table, query := range map[string]string{
		"events":        "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.events",
		"clicks_hourly": "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.clicks_hourly FINAL",
		"referrals":     "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.referrals FINAL",
		"conversions":   "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.conversions",
		"action_ids":    "SELECT count(), sum(cityHash64(tuple(*))) FROM waymark.action_ids",
		"others":        "SELECT name FROM system.tables WHERE database = 'waymark' AND name LIKE 'audit%'",
	} {
		all[table] = fmt.Sprint(w.mustSQL(query))
	}
	return all
}

// source is the number of a topic, as the rows have it.
func (w *auditWorld) source(topic string) uint32 {
	w.t.Helper()
	id, err := pipeline.TopicID(w.t.Context(), w.client, topic)
	if err != nil {
		w.t.Fatal(err)
	}
	return pipeline.SourceNumber(id)
}

// plant does damage and expects an audit to find exactly what is wanted, a
// repair to mend it, and everything to be as it was.
func (w *auditWorld) plant(t *testing.T, want string, statements ...string) {
	t.Helper()
	outer := w.t
	w.t, w.server.t = t, t
	defer func() { w.t, w.server.t = outer, outer }()
	before := w.contents()
	for _, statement := range statements {
		w.mustSQL(statement)
	}
	report, code, _ := w.audit()
	if got := foundBad(report); got != want || code != 1 {
		t.Errorf("exit code %d, found\n%s\nwant\n%s", code, got, want)
	}
	report = w.clean("--repair")
	if len(report.Repaired) == 0 {
		t.Error("nothing was repaired")
	}
	w.clean()
	if after := w.contents(); !reflect.DeepEqual(after, before) {
		t.Errorf("after the repair\n%v\nbefore the damage\n%v", after, before)
	}
}

// TestAudit plants every kind of damage, one after the other, while ingest
// runs but has nothing to do.
func TestAudit(t *testing.T) {
	w := startAuditWorld(t)
	clicks, actions := w.source(pipeline.TopicClicks), w.source(pipeline.TopicActions)
	t.Run("nothing", func(t *testing.T) {
		report := w.clean()
		w.checkExplained(t, report)
		if report.Unproven != 0 {
			t.Errorf("%d results are unproven, though Kafka has everything", report.Unproven)
		}
	})
	inClicks := func(partition int, offsets string) string {
		return fmt.Sprintf("source = %d AND partition = %d AND offset %s", clicks, partition, offsets)
	}
	const synced = " SETTINGS mutations_sync = 2"
	// Offsets with a row, next to each other.
	from := w.number("SELECT min(offset) FROM waymark.events WHERE " + inClicks(1, ">= 700"))
	t.Run("gap in events", func(t *testing.T) {
		lost := w.number(fmt.Sprintf("SELECT count() FROM waymark.events WHERE %s AND offset < %d", inClicks(1, fmt.Sprint(">= ", from)), from+40))
		w.damage(t, "missing waymark.clicks/1", lost,
			fmt.Sprintf("ALTER TABLE waymark.events DELETE WHERE %s AND offset < %d"+synced, inClicks(1, fmt.Sprint(">= ", from)), from+40))
	})
	t.Run("gap in actions", func(t *testing.T) {
		lost := w.number(fmt.Sprintf("SELECT count() FROM waymark.events WHERE source = %d AND id IN ('id100', 'id210', 'id230')", actions))
		w.damage(t, "missing waymark.actions/", lost, "ALTER TABLE waymark.events DELETE WHERE id IN ('id100', 'id210', 'id230')"+synced)
	})
	t.Run("rows twice", func(t *testing.T) {
		w.damage(t, "repeated waymark.clicks/0", 0,
			fmt.Sprintf("INSERT INTO waymark.events SELECT * FROM waymark.events WHERE %s AND offset < 120 SETTINGS insert_deduplicate = 0", inClicks(0, ">= 100")))
	})
	t.Run("repeat kept", func(t *testing.T) {
		// As by an ingest that ignores ordinals: in the offset of a repeat.
		w.damage(t, "repeated node ", 0, w.copyToGap(clicks, 1, "program AS program"))
	})
	t.Run("action twice", func(t *testing.T) {
		// As by an ingest that takes a missing programme for another one.
		w.damage(t, "repeated actions", 0, w.copyToGap(actions, 3, "'' AS program"))
	})
	t.Run("clicks_hourly", func(t *testing.T) {
		w.plant(t, "differs clicks_hourly times 2026-02-28T00:00:00Z to 2026-03-01T00:00:00Z "+w.rows("clicks_hourly", "2026-02-28", 0)+
			"\ndiffers clicks_hourly times 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z "+w.rows("clicks_hourly", "2026-03-01", 1),
			"INSERT INTO waymark.clicks_hourly SELECT * FROM waymark.clicks_hourly WHERE dimension = 'link' AND key = 'c3' AND toDate(hour) = '2026-02-28' LIMIT 1 SETTINGS insert_deduplicate = 0",
			"INSERT INTO waymark.clicks_hourly (dimension, program, key, hour, hits) VALUES ('link', 'general', 'nobody', '2026-03-01 05:00:00', 1)")
	})
	t.Run("conversions", func(t *testing.T) {
		w.plant(t, "differs conversions times 2026-02-27T00:00:00Z to 2026-02-28T00:00:00Z "+w.rows("conversions", "2026-02-27", -1),
			"ALTER TABLE waymark.conversions DELETE WHERE order_id = 'o20'"+synced)
	})
	t.Run("action_ids", func(t *testing.T) {
		n := w.number("SELECT count() FROM waymark.action_ids")
		w.plant(t, fmt.Sprintf("differs action_ids all keys %d 0", n), "TRUNCATE TABLE waymark.action_ids")
	})
	t.Run("referrals", func(t *testing.T) {
		n := w.number("SELECT count() FROM waymark.referrals FINAL")
		w.plant(t, fmt.Sprintf("differs referrals all keys %d %d", n, n+1),
			"INSERT INTO waymark.referrals (party, program, orders, value) VALUES ('u3', 'general', 1, 5), ('ghost', 'general', 1, 5)")
	})
	t.Run("all of them", func(t *testing.T) {
		w.damage(t, "", 0,
			fmt.Sprintf("ALTER TABLE waymark.events DELETE WHERE %s"+synced, inClicks(0, "< 900")),
			"ALTER TABLE waymark.events DELETE WHERE stage != 'clicked'"+synced,
			fmt.Sprintf("INSERT INTO waymark.events SELECT * FROM waymark.events WHERE %s SETTINGS insert_deduplicate = 0", inClicks(1, "> 1000")),
			"TRUNCATE TABLE waymark.clicks_hourly", "TRUNCATE TABLE waymark.referrals")
	})
	t.Run("since", func(t *testing.T) { w.since(t, from) })
	t.Run("unfinished plan", w.unfinished)
	t.Run("trimmed", w.trimmed)
}

// damage is plant for what shows in several places: the first difference has a
// prefix and, unless lost is 0, as many rows are missing.
func (w *auditWorld) damage(t *testing.T, prefix string, lost int64, statements ...string) {
	t.Helper()
	before := w.contents()
	for _, statement := range statements {
		w.mustSQL(statement)
	}
	report, code, _ := w.audit()
	got := foundBad(report)
	if !strings.HasPrefix(got, prefix) || code != 1 {
		t.Errorf("exit code %d, found\n%s\nwant %s…", code, got, prefix)
	}
	missing := int64(0)
	for _, r := range report.Results {
		if r.Verdict == tracker.AuditMissing && r.Repair != "" {
			missing += r.Expected - r.Found
		}
	}
	if lost != 0 && missing != lost {
		t.Errorf("%d rows are missing in\n%s\nwant %d", missing, got, lost)
	}
	w.clean("--repair")
	w.clean()
	if after := w.contents(); !reflect.DeepEqual(after, before) {
		t.Errorf("after the repair\n%v\nbefore the damage\n%v", after, before)
	}
}

// checkExplained: each offset without a row is a repeat that was written, or
// the one record that is no event.
func (w *auditWorld) checkExplained(t *testing.T, report auditReport) {
	t.Helper()
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
			t.Errorf("%s: expected %d, found %d, %q; want %q", r.What, r.Expected, r.Found, r.Detail, detail)
		}
	}
	if seen != len(w.repeats) || seen < 3 {
		t.Errorf("%d partitions have repeats, the audit names %d", len(w.repeats), seen)
	}
	for node, last := range w.ordinals {
		i := slices.IndexFunc(report.Results, func(r tracker.AuditResult) bool { return r.What == fmt.Sprint("node ", node) })
		if i < 0 || report.Results[i].Range != tracker.NumberRange("ordinal", 1, last+1) || report.Results[i].Found != int64(last) {
			t.Errorf("node %d, which took %d hits: %+v", node, last, report.Results)
		}
	}
}

// copyToGap copies a row to the next offset, which has none because its record
// was a repeat. The copy keeps its ordinal, and takes a programme.
func (w *auditWorld) copyToGap(source uint32, partition int, program string) string {
	w.t.Helper()
	place := fmt.Sprintf("source = %d AND partition = %d", source, partition)
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

// rows is how many rows a day of a target has, merged, and with so many more.
func (w *auditWorld) rows(table, day string, more int64) string {
	w.t.Helper()
	column := map[string]string{"clicks_hourly": "hour", "conversions": "time"}[table]
	final := map[string]string{"clicks_hourly": " FINAL", "conversions": ""}[table]
	n := w.number(fmt.Sprintf("SELECT count() FROM waymark.%s%s WHERE toDate(%s) = '%s'", table, final, column, day))
	return fmt.Sprint(n, " ", n+more)
}

// since: what is older than --since is not looked at.
func (w *auditWorld) since(t *testing.T, from int64) {
	w.mustSQL(fmt.Sprintf("ALTER TABLE waymark.events DELETE WHERE source = %d AND partition = 1 AND offset = %d SETTINGS mutations_sync = 2", w.source(pipeline.TopicClicks), from))
	w.mustSQL("INSERT INTO waymark.clicks_hourly (dimension, program, key, hour, hits) VALUES ('link', 'general', 'nobody', '2026-02-27 05:00:00', 1)")
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
	w.clean("--repair")
}

// unfinished: a plan that ingest has left must be finished by ingest, before
// anything can be told about view targets, or repaired.
func (w *auditWorld) unfinished(t *testing.T) {
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
	w.clean()
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
	w.clean("--repair")
	w.clean()
}

// trimmed: what Kafka has no more is judged by the ordinals.
func (w *auditWorld) trimmed(t *testing.T) {
	ends, err := kadm.NewClient(w.client).ListEndOffsets(t.Context(), pipeline.TopicClicks, pipeline.TopicActions)
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
		switch {
		case !ok:
		case strings.HasPrefix(r.What, pipeline.TopicActions) && r.Verdict != tracker.AuditUnproven:
			t.Errorf("%d repeats of actions are gone from Kafka, and yet: %+v", repeats, r)
		case strings.HasPrefix(r.What, pipeline.TopicClicks) && (r.Verdict != tracker.AuditOK || !strings.Contains(r.Detail, "repeats, by the ordinals")):
			t.Errorf("hits can be told by their ordinals, but: %+v", r)
		}
	}
	w.mustSQL("ALTER TABLE waymark.events DELETE WHERE node = 2 AND ordinal BETWEEN 100 AND 103 SETTINGS mutations_sync = 2")
	report, code, _ := w.audit("--repair")
	want := fmt.Sprintf("missing node 2 ordinals 1 to %d %d %d\nmissing node 2 ordinals 100 to 104 4 0", w.ordinals[2]+1, w.ordinals[2], w.ordinals[2]-4)
	if got := foundBad(report); code != 1 || got != want {
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
