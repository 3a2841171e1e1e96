package pipeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// catalogState is everything that a node knows after reading the catalogue.
type catalogState struct {
	links    map[string]string
	numbers  map[tracker.LinkNumber]string // deleted links too
	programs []tracker.Program
	keys     []tracker.APIKey
}

func (n *testNode) state() catalogState {
	s := catalogState{links: n.contents(), numbers: map[tracker.LinkNumber]string{}, programs: n.links.Programs(), keys: n.keys.List()}
	for number := tracker.LinkNumber(1); number <= n.links.MaxNumber(); number++ {
		if p := n.links.ByNumber(number); p != nil {
			s.numbers[number] = fmt.Sprintf("%s %s %v %d", p.Link.Code, p.Link.Campaign, p.Link.Deleted, p.Link.UpdatedAtMs)
		}
	}
	return s
}

func (s catalogState) equal(o catalogState) bool {
	return maps.Equal(s.links, o.links) && maps.Equal(s.numbers, o.numbers) &&
		fmt.Sprint(s.programs) == fmt.Sprint(o.programs) && fmt.Sprint(s.keys) == fmt.Sprint(o.keys)
}

// wastefulCatalog fills a broker's catalogue with versions that are mostly
// superseded, a code given away twice and a lost race at the very end. It
// returns what a node knows of it, and the directory of a snapshot that was
// made halfway.
func wastefulCatalog(t *testing.T, b *Broker) (want catalogState, halfway string) {
	t.Helper()
	halfway = t.TempDir()
	n := readyNode(t, b.Addr(), "")
	links := make([]tracker.Link, 40)
	for i := range links {
		links[i] = testLink(fmt.Sprintf("code-%d", i), "0")
	}
	if err := errors.Join(n.CreateLinks(testContext(t), links)...); err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		for i := range links {
			if _, err := n.UpdateLink(testContext(t), "", links[i].Code, func(l *tracker.Link) error { l.Campaign += fmt.Sprint(round); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		p := tracker.NewProgram("wedding")
		p.AttributionWindowDays = round + 1
		if err := n.PutProgram(testContext(t), p); err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{"code-3", "code-4"} {
			if err := n.DeleteLink(testContext(t), "", code); err != nil {
				t.Fatal(err)
			}
			n.createLink(t, code, fmt.Sprintf("again %d ", round))
		}
		if round == 1 {
			saving := readyNode(t, b.Addr(), halfway)
			saving.stop()
		}
	}
	_, key, _ := tracker.NewAPIKey(tracker.RoleRead, "")
	for range 5 {
		if err := n.PutKey(testContext(t), key); err != nil {
			t.Fatal(err)
		}
	}
	loser := testLink("code-5", "loser")
	loser.Number = 1000
	value, _ := loser.Wire().MarshalVT()
	client := testClient(t, b.Addr())
	r := &kgo.Record{Topic: TopicLinks, Key: []byte(loser.Key()), Value: value, Headers: []kgo.RecordHeader{writeCondition{base: newLinkBase, writer: 1}.header()}}
	if err := client.ProduceSync(testContext(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the node has read everything", func() bool { return n.followLinks.snapshot().next == r.Offset+1 })
	return n.state(), halfway
}

// compactNow compacts whatever is worth it, however small.
func compactNow(t *testing.T, dir string, step func(string) error) error {
	t.Helper()
	return (&compaction{dir: dir, log: quiet, step: step}).run()
}

func noStep(string) error { return nil }

func logDir(dir, topic string) string { return filepath.Join(dir, "partitions", topic+"-0") }

func linksLogDir(dir string) string { return logDir(dir, TopicLinks) }

func TestCompactionKeepsWhatCounts(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	want, halfway := wastefulCatalog(t, b)
	end := b.cluster.PartitionInfo(TopicLinks, 0).HighWatermark
	id := b.cluster.TopicInfo(TopicLinks).TopicID
	closeBroker(t, b)

	if err := compactNow(t, dir, noStep); err != nil {
		t.Fatal(err)
	}
	// 40 codes, of which two were given away 4 times, and the lost race.
	if got := recordCount(t, dir, TopicLinks); got != 40+2*4+1 {
		t.Errorf("the compacted log has %d records, want 49", got)
	}
	if got := recordCount(t, dir, TopicPrograms); got != 4 {
		t.Errorf("%d versions of the programme are left of 4", got)
	}
	b = startTestBroker(t, BrokerOptions{Dir: dir})
	if got := b.cluster.PartitionInfo(TopicLinks, 0).HighWatermark; got != end {
		t.Errorf("the log ends at %d, before it ended at %d", got, end)
	}
	if got := b.cluster.TopicInfo(TopicLinks).TopicID; got != id {
		t.Errorf("the topic is %x, was %x", got, id)
	}
	fresh := readyNode(t, b.Addr(), "")
	if got := fresh.state(); !got.equal(want) {
		t.Errorf("from the start a node knows\n%v, want\n%v", got, want)
	}
	behind := readyNode(t, b.Addr(), halfway)
	if got := behind.state(); !got.equal(want) {
		t.Errorf("from a position in the middle a node knows\n%v, want\n%v", got, want)
	}
	// Life goes on, in new batches behind compacted ones, and after a restart.
	created := fresh.createLink(t, "afterwards", "")
	if created.Number != 49 { // 40, and 2*4 given away
		t.Errorf("the next number is %d, want 49", created.Number)
	}
	if _, err := behind.UpdateLink(testContext(t), "", "code-7", func(l *tracker.Link) error { l.Campaign = "after"; return nil }); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both nodes agree", func() bool { return fresh.state().equal(behind.state()) })
	want = fresh.state()
	closeBroker(t, b)
	b = startTestBroker(t, BrokerOptions{Dir: dir})
	if got := readyNode(t, b.Addr(), "").state(); !got.equal(want) {
		t.Errorf("after a restart a node knows\n%v, want\n%v", got, want)
	}
}

func recordCount(t *testing.T, dir, topic string) (n int) {
	t.Helper()
	segments, _, err := logSegments(logDir(dir, topic))
	if err != nil {
		t.Fatal(err)
	}
	if err := eachRecord(segments, func(*kgo.Record) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// However far a compaction came, the next start finds one whole log.
func TestCompactionIsCrashSafe(t *testing.T) {
	original := t.TempDir()
	b := startTestBroker(t, BrokerOptions{Dir: original})
	want, _ := wastefulCatalog(t, b)
	closeBroker(t, b)

	killed := errors.New("killed")
	reached := map[string]int{}
	for stopAt := 1; ; stopAt++ {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		calls := 0
		err := compactNow(t, dir, func(name string) error {
			if calls++; calls == stopAt {
				reached[name]++
				return killed
			}
			return nil
		})
		if err == nil {
			break // it has no further step
		}
		if !errors.Is(err, killed) {
			t.Fatal(err)
		}
		b := startTestBroker(t, BrokerOptions{Dir: dir}) // recovers, and compacts nothing so small
		if got := readyNode(t, b.Addr(), "").state(); !got.equal(want) {
			t.Errorf("stopped at step %d, a node knows\n%v, want\n%v", stopAt, got, want)
		}
		closeBroker(t, b)
		if entries, _ := filepath.Glob(filepath.Join(dir, "partitions", "*.*.*")); len(entries) != 0 {
			t.Errorf("stopped at step %d, these are left: %v", stopAt, entries)
		}
	}
	for _, step := range []string{"wrote a batch", "wrote the new log", "finished the new log", "moved the old log away", "moved the new log into place"} {
		if reached[step] != 2 { // for each of two topics
			t.Errorf("step %q was reached %d times, want 2", step, reached[step])
		}
	}
}

func TestCompactionOnlyWhereWorthIt(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	wastefulCatalog(t, b)
	closeBroker(t, b)
	before := recordCount(t, dir, TopicLinks)
	if err := compactLogs(dir, quiet); err != nil || recordCount(t, dir, TopicLinks) != before {
		t.Errorf("a small log was compacted: %d records of %d, %v", recordCount(t, dir, TopicLinks), before, err)
	}
	if err := compactNow(t, dir, noStep); err != nil {
		t.Fatal(err)
	}
	segments, _, err := logSegments(linksLogDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	content := readFile(t, segments[0])
	if err := compactNow(t, dir, func(string) error { return errors.New("compacted again") }); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(readFile(t, segments[0]), content) {
		t.Error("a compacted log was written again")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// A log that is damaged is left to the broker as it is; a last batch that was
// not finished is what every kill may leave, and no damage.
func TestCompactionOfDamagedLog(t *testing.T) {
	for name, test := range map[string]struct {
		damage    func([]byte) []byte
		compacted bool
	}{
		"unfinished last batch": {func(b []byte) []byte { return append(b, b[:40]...) }, true},
		"zeros at the end":      {func(b []byte) []byte { return append(b, make([]byte, 100)...) }, true},
		"transaction":           {func([]byte) []byte { return transactionalBatch() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := startTestBroker(t, BrokerOptions{Dir: dir})
			wastefulCatalog(t, b)
			closeBroker(t, b)
			path := filepath.Join(linksLogDir(dir), "0.dat")
			damaged := test.damage(readFile(t, path))
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := compactNow(t, dir, noStep); err != nil {
				t.Fatal(err)
			}
			left, err := os.ReadFile(path)
			untouched := err == nil && bytes.Equal(left, damaged)
			if untouched == test.compacted {
				t.Errorf("compacted: %v, want %v", !untouched, test.compacted)
			}
		})
	}
}

func transactionalBatch() []byte {
	compressor, _ := kgo.DefaultCompressor(kgo.SnappyCompression())
	raw, _ := encodeBatch([]*kgo.Record{{Value: []byte("x")}}, compressor)
	raw[22] |= 0x10
	return resum(raw)
}

// What is in the middle of the log must not be taken for its end.
func TestDamageBeforeTheEndIsReported(t *testing.T) {
	compressor, _ := kgo.DefaultCompressor(kgo.SnappyCompression())
	first, _ := encodeBatch([]*kgo.Record{{Value: []byte("x")}}, compressor)
	dir := t.TempDir()
	broken := slices.Clone(first)
	broken[len(broken)-1] ^= 1
	a, b := filepath.Join(dir, "0.dat"), filepath.Join(dir, "1.dat")
	for path, content := range map[string][]byte{a: broken, b: first} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var damaged *logError
	if err := eachRecord([]string{a, b}, func(*kgo.Record) error { return nil }); !errors.As(err, &damaged) || damaged.Path != a || damaged.Offset != 0 {
		t.Errorf("error %v, want one on %s", err, a)
	}
}

// The files are what the broker itself writes: its index entries, and batches
// that it and its clients read.
func TestIndexEntryIsTheBrokers(t *testing.T) {
	dir := t.TempDir()
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	client := testClient(t, b.Addr())
	at := time.UnixMilli(1_700_000_000_123)
	if err := client.ProduceSync(testContext(t), &kgo.Record{Topic: TopicLinks, Value: []byte("x"), Timestamp: at}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got, want := encodeIndexEntry(at.UnixMilli()), readFile(t, filepath.Join(linksLogDir(dir), "0.idx")); !bytes.Equal(got, want) {
		t.Errorf("the entry is %x, the broker's is %x", got, want)
	}
}

func FuzzReadLog(f *testing.F) {
	compressor, _ := kgo.DefaultCompressor(kgo.SnappyCompression())
	raw, _ := encodeBatch([]*kgo.Record{{Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}, {Offset: 7}}, compressor)
	f.Add(raw, false)
	f.Add(append(slices.Clone(raw), raw...), false)
	f.Add(raw, true)
	negative := slices.Concat(raw[:21], make([]byte, batchHeaderBytes-22), []byte{1, 0x1b}, make([]byte, 40)) // one record, of -14 bytes
	f.Add(negative, true)
	f.Fuzz(func(t *testing.T, content []byte, sum bool) {
		if sum && len(content) > 21 { // past the checksum, to what is behind it
			content = resum(slices.Clone(content))
		}
		path := filepath.Join(t.TempDir(), "0.dat")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		var damaged *logError
		if err := eachRecord([]string{path}, func(*kgo.Record) error { return nil }); err != nil && !errors.As(err, &damaged) {
			t.Error(err)
		}
	})
}

// resum gives a batch the checksum and length that fit its content.
func resum(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}
