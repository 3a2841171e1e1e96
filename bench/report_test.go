package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestSpread(t *testing.T) {
	if got := spreadOf([]float64{3, 1, 2}); got != (spread{2, 1, 3}) {
		t.Errorf("the spread of 3, 1, 2 is %+v", got)
	}
	if got := spreadOf([]float64{4, 1, 2, 3}); got != (spread{2.5, 1, 4}) {
		t.Errorf("the spread of 4, 1, 2, 3 is %+v", got)
	}
	if got := (spread{8.123, 0.01234, 1234.5}).String(); got != "8.12 (0.012–1234)" {
		t.Errorf("printed %q", got)
	}
	// A machine that is twice as slow in the second round doubles both sides.
	if got := ratio([]float64{15, 30, 14}, []float64{10, 20, 10}); got != "1.50" {
		t.Errorf("the ratio is %s", got)
	}
}

// TestPublish compares with what was written by hand.
func TestPublish(t *testing.T) {
	r := report{
		name: "sample", title: "A title", notes: []string{"A note."},
		tables: []table{{title: "Figures:", head: []string{"", "µs"}, rows: [][]string{{"bare", "7.00 (6–8)"}, {"other", "8"}}}},
		csv:    [][]string{{"name", "us"}, {"bare, fixed", "7"}},
		plot: func(w io.Writer) error {
			return drawBars("A title", []string{"bare", "other"}, []spread{{7, 6, 8}, {8, 8, 8}}, w)
		},
	}
	const want = `# A title

A note.

Figures:

|       |         µs |
| ----- | ---------: |
| bare  | 7.00 (6–8) |
| other |          8 |

![A title](sample.svg)
`
	dir := filepath.Join(t.TempDir(), "results")
	var printed bytes.Buffer
	if err := r.publish(dir, &printed); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(filepath.Join(dir, "sample.md"))
	if err != nil || string(written) != want || printed.String() != "\n"+want {
		t.Errorf("%v, written:\n%s\nprinted:%s", err, written, printed.String())
	}
	file, err := os.Open(filepath.Join(dir, "sample.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if rows, err := csv.NewReader(file).ReadAll(); err != nil || rows[1][0] != "bare, fixed" {
		t.Errorf("%v in the CSV: %v", rows, err)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "sample.svg")); err != nil || !bytes.Contains(svg, []byte("</svg>")) || !bytes.Contains(svg, []byte("other")) {
		t.Errorf("the plot: %v", err)
	}
}

// TestRedirectReport plots and tabulates two contestants.
func TestRedirectReport(t *testing.T) {
	turns := func(by float64) []turn {
		return []turn{{cpuMicros: 8 * by, rate: 1e5 / by, p50: 0.1 * by, p99: 0.2 * by, p999: 0.4 * by, max: by}}
	}
	rows := []redirectRow{{"bare", turns(1), turns(1)}, {"waymark", turns(1.25), turns(1.5)}}
	r := redirectCommand{Rate: 50_000}.report(rows, "here")
	if cpu, p99 := r.tables[0].rows[1][2], r.tables[1].rows[1][3]; cpu != "1.25" || p99 != "1.50" {
		t.Errorf("× bare is %s in CPU time and %s in p99", cpu, p99)
	}
	if len(r.csv) != 5 {
		t.Errorf("%d lines of CSV: %v", len(r.csv), r.csv)
	}
	var svg bytes.Buffer
	if err := r.plot(&svg); err != nil || !bytes.Contains(svg.Bytes(), []byte("waymark")) {
		t.Errorf("the plot: %v", err)
	}
}
