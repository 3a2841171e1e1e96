package ledger

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var header = Header{Run: "r1", Program: "loadtest-r1", Started: time.UnixMilli(1_763_640_000_123)}

func samples() []Entry {
	return []Entry{
		{Kind: Click, TimeMS: 1763640000500, Status: 302, Event: []byte("click"), ClickID: []byte("AbC-_9"), Method: []byte("GET"), Code: []byte("r1a")},
		{Kind: Click, Open: true, TimeMS: 7, Event: []byte("scan"), Method: []byte("HEAD"), Code: []byte("é/1")},
		{Kind: Action, TimeMS: 8, Status: 202, Event: []byte("purchase"), Way: []byte("events"), ID: []byte("r1-a1"), OrderID: []byte("r1-o1"), UserID: []byte("r1-u1"), Value: []byte("19.90"), HappenedMS: 9},
		{Kind: Action, Open: true, TimeMS: 10, Event: []byte("lead"), ClickID: []byte("AbC-_9"), Way: []byte("postback"), ID: []byte("r1-a2")},
	}
}

// golden was written by hand from the table in the package's documentation.
const golden = "waymark-ledger\t1\tr1\tloadtest-r1\t1763640000123\n" +
	"click\t1763640000500\t302\tclick\tAbC-_9\tGET\tr1a\n" +
	"open-click\t7\t0\tscan\t\tHEAD\té/1\n" +
	"action\t8\t202\tpurchase\t\tevents\tr1-a1\tr1-o1\tr1-u1\t19.90\t9\n" +
	"open-action\t10\t0\tlead\tAbC-_9\tpostback\tr1-a2\t\t\t\t0\n" +
	"end\t4\n"

func TestGoldenLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	w, err := Create(path, header)
	if err != nil {
		t.Fatal(err)
	}
	b := w.Buffer()
	for _, e := range samples() {
		if err := b.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.Flush(), w.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || string(content) != golden {
		t.Fatalf("%v\n%s\nexpected\n%s", err, content, golden)
	}
	got, r := readAll(t, golden)
	if r.Header != header || !r.Ended() {
		t.Errorf("header %+v, ended %v", r.Header, r.Ended())
	}
	for i, want := range samples() {
		if !equal(got[i], want) {
			t.Errorf("entry %d is %+v, expected %+v", i, got[i], want)
		}
	}
	if _, err := Create(path, header); err == nil {
		t.Error("a ledger was replaced")
	}
}

// equal compares entries; nil and empty are the same.
func equal(a, b Entry) bool { return bytes.Equal(a.AppendTo(nil), b.AppendTo(nil)) }

func readAll(t *testing.T, text string) ([]Entry, *Reader) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	for {
		var e Entry
		err := r.Next(&e)
		if errors.Is(err, io.EOF) {
			return entries, r
		}
		if err != nil {
			t.Fatal(err)
		}
		var kept Entry
		if !kept.parse(bytes.TrimSuffix(e.AppendTo(nil), []byte{'\n'})) {
			t.Fatalf("%+v cannot be read again", e)
		}
		entries = append(entries, kept)
	}
}

// TestDamagedLedgers: a ledger that was cut is read up to the cut and says so;
// what was changed is an error, never an entry less.
func TestDamagedLedgers(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		entries    int
		ended      bool
	}{
		{"whole", golden, 4, true},
		{"the end is missing", strings.TrimSuffix(golden, "end\t4\n"), 4, false},
		{"the end is torn", strings.TrimSuffix(golden, "4\n"), 4, false},
		{"a line is torn", golden[:strings.Index(golden, "19.90")], 2, false},
	} {
		entries, r := readAll(t, tc.text)
		if len(entries) != tc.entries || r.Ended() != tc.ended {
			t.Errorf("%s: %d entries, ended %v; expected %d, %v", tc.name, len(entries), r.Ended(), tc.entries, tc.ended)
		}
	}
	for _, tc := range []struct {
		name, text string
		line       uint64
	}{
		{"nothing", "", 1},
		{"something else", "GET / HTTP/1.1\n", 1},
		{"another version", strings.Replace(golden, "\t1\t", "\t2\t", 1), 1},
		{"a run with a quote", strings.Replace(golden, "\tr1\t", "\tr'1\t", 1), 1},
		{"a field less", strings.Replace(golden, "\tGET", "", 1), 2},
		{"a field more", strings.Replace(golden, "\tGET", "\tGET\t", 1), 2},
		{"no click id", strings.Replace(golden, "AbC-_9", "", 1), 2},
		{"a status that is none", strings.Replace(golden, "302", "3o2", 1), 2},
		{"an open line with a status", strings.Replace(golden, "7\t0", "7\t302", 1), 3},
		{"an unknown word", strings.Replace(golden, "open-click", "open-door", 1), 3},
		{"a line is missing", strings.Replace(golden, "open-click\t7\t0\tscan\t\tHEAD\té/1\n", "", 1), 5},
		{"something after the end", golden + "click\n", 6},
		{"an endless line", golden[:46] + strings.Repeat("x", lineBytesMax), 2},
	} {
		err := consume(tc.text)
		corrupt, ok := errors.AsType[*CorruptError](err)
		if !ok || corrupt.Line != tc.line {
			t.Errorf("%s: error %v, expected one of line %d", tc.name, err, tc.line)
		}
	}
}

func consume(text string) error {
	r, err := NewReader(strings.NewReader(text))
	for err == nil {
		var e Entry
		err = r.Next(&e)
	}
	return err
}

// TestThreadsShareALedger: lines of several buffers stay whole.
func TestThreadsShareALedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	w, err := Create(path, header)
	if err != nil {
		t.Fatal(err)
	}
	const threads, each = 4, 5000
	var wait sync.WaitGroup
	for range threads {
		b := w.Buffer()
		wait.Go(func() {
			e := samples()[2]
			for range each {
				b.Add(&e)
			}
			b.Flush()
		})
	}
	wait.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, r := readAll(t, string(content))
	if len(entries) != threads*each || !r.Ended() {
		t.Errorf("%d entries, ended %v", len(entries), r.Ended())
	}
}

func TestKeyOfAction(t *testing.T) {
	entries := samples()
	if got := string(entries[2].Key(nil)); got != "purchase\x00r1-o1" {
		t.Errorf("with an order: %q", got)
	}
	if got := string(entries[3].Key(nil)); got != "lead\x00r1-a2" {
		t.Errorf("without an order: %q", got)
	}
}

// FuzzReader: whatever is read as an entry is written as the line it came from.
func FuzzReader(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(golden[:90]))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := NewReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		_, rest, _ := bytes.Cut(text, []byte{'\n'})
		for {
			var e Entry
			if err := r.Next(&e); err != nil {
				return
			}
			line := e.AppendTo(nil)
			if !bytes.HasPrefix(rest, line) {
				t.Fatalf("%q was read as %q", rest[:min(len(rest), 200)], line)
			}
			rest = rest[len(line):]
			if reflect.DeepEqual(e, Entry{}) {
				t.Fatal("an empty entry")
			}
		}
	})
}
