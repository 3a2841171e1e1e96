package verify

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJudge compares what a ledger may say of one key with what a table may.
func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name     string
		promised int
		open     bool
		rows     []string // facts
		want     Line
		unknown  bool
	}{
		{name: "there", promised: 1, rows: []string{"a"}, want: Line{Expected: 1, Found: 1}},
		{name: "accepted twice, there once", promised: 2, rows: []string{"a"}, want: Line{Expected: 1, Found: 1}},
		{name: "lost", promised: 1, want: Line{Expected: 1, Lost: 1}},
		{name: "doubled", promised: 1, rows: []string{"a", "a"}, want: Line{Expected: 1, Found: 2, Doubled: 1}},
		{name: "three times", promised: 1, rows: []string{"a", "a", "a"}, want: Line{Expected: 1, Found: 3, Doubled: 2}},
		{name: "altered", promised: 1, rows: []string{"b"}, want: Line{Expected: 1, Found: 1, Altered: 1}},
		{name: "open and there", open: true, rows: []string{"a"}, want: Line{Found: 1}},
		{name: "open and not there", open: true},
		{name: "open and doubled", open: true, rows: []string{"a", "a"}, want: Line{Found: 2, Doubled: 1}},
		{name: "open, then accepted, lost", open: true, promised: 1, want: Line{Expected: 1, Lost: 1}},
		{name: "unknown", rows: []string{"a", "a"}, want: Line{Found: 2}, unknown: true},
	} {
		part := tallies{}
		key := []byte("key")
		if tc.open {
			part.add(sideOpen, key, []byte("a"))
		}
		for range tc.promised {
			part.add(sidePromised, key, []byte("a"))
		}
		for _, facts := range tc.rows {
			part.add(sideEvents, key, []byte(facts))
		}
		if part["key"] == nil {
			continue
		}
		var line Line
		unknown := part["key"].judge(&line, sideEvents, func() string { return "key" })
		samples := uint64(len(line.Samples))
		line.Samples, line.sampled = nil, [4]int{}
		if unknown != tc.unknown || line.Expected != tc.want.Expected || line.Found != tc.want.Found || line.Lost != tc.want.Lost ||
			line.Doubled != tc.want.Doubled || line.Foreign != 0 || line.Altered != tc.want.Altered {
			t.Errorf("%s: %+v, unknown %v", tc.name, line, unknown)
		}
		if (samples > 0) != (line.Differences() > 0) {
			t.Errorf("%s: %d samples of %d differences", tc.name, samples, line.Differences())
		}
	}
}

// TestOpenClicks: an unknown row is taken for a request that was cut off when it
// looks like one, once for each.
func TestOpenClicks(t *testing.T) {
	v := &verification{report: &Report{}, daily: newDaily(), open: map[openClick]*openClicks{
		{"a", true, false}: {count: 2, sentMS: 1_000_000},
	}}
	codes := map[uint32]string{1: "a", 2: "b"}
	line := &Line{}
	row := func(ms uint64, link uint32, scan, head bool, rows uint32) {
		v.judgeUnknown(line, string(appendIdentity(nil, ms, 1, 2)), appendClickFacts(nil, link, scan, head), rows, codes)
	}
	row(1_000_001, 1, true, false, 1) // one of the two
	row(1_000_001, 2, true, false, 1) // another link
	row(1_000_001, 1, false, false, 1)
	row(1_000_001, 1, true, true, 1)
	row(1_000_000-clockSlackMS-1, 1, true, false, 1) // long before
	row(1_000_000-clockSlackMS, 1, true, false, 2)   // the other one, doubled
	row(1_000_002, 1, true, false, 1)                // there is no third
	if v.report.OpenClicksArrived != 2 || line.Foreign != 5 || line.Doubled != 1 || v.daily.total.hits != 2 || v.daily.total.gross != 2 {
		t.Errorf("%d arrived, %+v, %+v", v.report.OpenClicksArrived, line, v.daily.total)
	}
}

func TestDecimals(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "0": 0, "19.9": 19_900_000, "19.90": 19_900_000, "0.000001": 1, "7": 7_000_000, "999999999999.999999": 999_999_999_999_999_999} {
		if got, err := parseMicros(text); got != want || err != nil {
			t.Errorf("%q is %d, %v; expected %d", text, got, err, want)
		}
	}
	for _, text := range []string{".5", "1.2345678", "1e3", "-1", "1.2.3", "٣", "9999999999999"} {
		if got, err := parseMicros(text); !errors.Is(err, errDecimal) {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}

// TestJourneys counts a user's actions, each once, whatever their order.
func TestJourneys(t *testing.T) {
	deeds := []deed{
		{"signup\x00a1", "signup", 0, 500}, {"signup\x00a0", "signup", 0, 400}, {"purchase\x00o1", "purchase", 19_900_000, 700},
		{"purchase\x00o2", "purchase", 100_000, 600}, {"refund\x00o3", "refund", 5, 900}, {"review\x00a4", "review", 0, 100},
	}
	want := journey{signedUp: 400, converted: 600, orders: 2, value: 20_000_000, refunds: 5}
	judge := func(open string, found journey, rows int) Line {
		tally := &userTally{deeds: map[string]deed{}, open: map[string]bool{}, rows: rows, found: string(found.appendTo(nil))}
		for _, d := range append(deeds, deeds[2]) {
			again := parseDeed(appendDeed(nil, d))
			if again != d {
				t.Fatalf("%+v is read as %+v", d, again)
			}
			tally.deeds[again.key] = again
		}
		if open != "" {
			tally.open[open] = true
		}
		var l Line
		tally.judge(&l, "user")
		return l
	}
	other := want
	other.value++
	for _, tc := range []struct {
		name   string
		line   Line
		differ uint64
	}{
		{"equal", judge("", want, 1), 0},
		{"altered", judge("", other, 1), 1},
		{"altered, while something is open", judge("purchase\x00o9", other, 1), 0},
		{"altered, and what was open was accepted", judge("purchase\x00o1", other, 1), 1},
		{"lost", judge("", want, 0), 1},
	} {
		if tc.line.Differences() != tc.differ {
			t.Errorf("%s: %+v", tc.name, tc.line)
		}
	}
}

func TestSamplesAreFew(t *testing.T) {
	var l Line
	for range 1000 {
		l.differ(lost, 1, func() string { return "x" })
		l.differ(foreign, 2, func() string { return "y" })
	}
	if l.Lost != 1000 || l.Foreign != 2000 || len(l.Samples) != 2*samplesMax {
		t.Errorf("%d lost, %d foreign, %d samples", l.Lost, l.Foreign, len(l.Samples))
	}
}

func TestTableNamesDifferences(t *testing.T) {
	l := &Line{Table: "events", What: "clicks", Expected: 3, Found: 2}
	l.differ(lost, 1, func() string { return "1-2-3" })
	var b bytes.Buffer
	r := &Report{Lines: []*Line{l}, OpenClicks: 2, Unfinished: []string{"some ledger"}}
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DIFFERENT", "lost 1-2-3", "some ledger has no end", "cut off in mid-air"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

// TestClickIDsOfOthers: a ledger that the key ring cannot read is an error, never
// a click less.
func TestClickIDsOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	text := "waymark-ledger\t1\tr1\tloadtest-r1\t1\nclick\t1\t302\tclick\tabc\tGET\tr1-1\nend\t1\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Verify(t.Context(), Options{Ledgers: []string{path}, Decode: func([]byte) (ClickID, error) { return ClickID{}, errors.New("no click id") }})
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "--secrets") {
		t.Errorf("the error is %v", err)
	}
}
