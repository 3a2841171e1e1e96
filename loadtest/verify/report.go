package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// samplesMax is how many of each kind of difference a line names.
const samplesMax = 10

// Line is the comparison of one table, or of one aspect of it.
type Line struct {
	Table    string `json:"table"`
	What     string `json:"what"`
	Expected uint64 `json:"expected"` // by the ledger, without what is open
	Found    uint64 `json:"found"`

	Lost    uint64 `json:"lost"`    // promised, and not there
	Doubled uint64 `json:"doubled"` // there more often than once: the surplus
	Foreign uint64 `json:"foreign"` // there, and never promised
	Altered uint64 `json:"altered"` // there once, and saying something else

	Samples []Sample `json:"samples"`
	sampled [4]int
}

// Sample is one difference.
type Sample struct {
	Kind string `json:"kind"` // lost, doubled, foreign or altered
	Key  string `json:"key"`
}

// Differences is their number.
func (l *Line) Differences() uint64 { return l.Lost + l.Doubled + l.Foreign + l.Altered }

// Kinds of differences.
type difference uint8

const (
	lost difference = iota
	doubled
	foreign
	altered
)

var differenceNames = [...]string{"lost", "doubled", "foreign", "altered"}

// differ counts n differences of a kind at a key.
func (l *Line) differ(kind difference, n uint64, key func() string) {
	if n == 0 {
		return
	}
	*[...]*uint64{&l.Lost, &l.Doubled, &l.Foreign, &l.Altered}[kind] += n
	if l.sampled[kind] < samplesMax {
		l.sampled[kind]++
		l.Samples = append(l.Samples, Sample{differenceNames[kind], key()})
	}
}

// sums compares two counts of the same thing.
func (l *Line) sums(expected, found uint64, key func() string) {
	l.Expected += expected
	l.Found += found
	if expected > found {
		l.differ(lost, expected-found, key)
	} else {
		l.differ(doubled, found-expected, key)
	}
}

// Report is what verification found.
type Report struct {
	Format  int      `json:"format"` // 1
	Runs    []string `json:"runs"`
	Clicks  uint64   `json:"clicks"`  // answered
	Actions uint64   `json:"actions"` // accepted, repeats counted once
	Repeats uint64   `json:"repeats"` // actions that were accepted again

	OpenClicks         uint64 `json:"open_clicks"` // requests that were cut off
	OpenClicksArrived  uint64 `json:"open_clicks_arrived"`
	OpenActions        uint64 `json:"open_actions"` // that were never accepted otherwise
	OpenActionsArrived uint64 `json:"open_actions_arrived"`

	Unfinished  []string `json:"unfinished"` // ledgers whose generator died
	Lines       []*Line  `json:"lines"`
	Differences uint64   `json:"differences"`
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write the comparison as JSON: %w", err)
	}
	return nil
}

// WriteTable prints the comparison for people.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%d clicks answered, %d actions accepted (%d of them again)\n", r.Clicks, r.Actions, r.Repeats)
	if r.OpenClicks+r.OpenActions > 0 {
		fmt.Fprintf(w, "cut off in mid-air, so either is right: %d clicks, of which %d arrived, and %d actions, of which %d arrived\n",
			r.OpenClicks, r.OpenClicksArrived, r.OpenActions, r.OpenActionsArrived)
	}
	for _, path := range r.Unfinished {
		fmt.Fprintf(w, "%s has no end: its generator died, and what was answered in its last moments shows as foreign\n", path)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "table\twhat\tledger\tClickHouse\tlost\tdoubled\tforeign\taltered\t")
	for _, l := range r.Lines {
		mark := ""
		if l.Differences() > 0 {
			mark = "DIFFERENT"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", l.Table, l.What, l.Expected, l.Found, l.Lost, l.Doubled, l.Foreign, l.Altered, mark)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the comparison: %w", err)
	}
	for _, l := range r.Lines {
		for _, s := range l.Samples {
			fmt.Fprintf(w, "%s, %s: %s %s\n", l.Table, l.What, s.Kind, s.Key)
		}
	}
	return nil
}
