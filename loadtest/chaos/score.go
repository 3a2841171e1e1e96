package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// score is what came of all rounds.
type score struct{ outcomes []*outcome }

func (s *score) add(o *outcome) { s.outcomes = append(s.outcomes, o) }
func (s *score) rounds() int    { return len(s.outcomes) }

func (s *score) failed() (rounds int) {
	for _, o := range s.outcomes {
		if len(o.failures) > 0 {
			rounds++
		}
	}
	return rounds
}

// played is in how many rounds a fault was.
func (s *score) played(name string) (rounds int) {
	for _, o := range s.outcomes {
		if slices.Contains(o.faults, name) {
			rounds++
		}
	}
	return rounds
}

// linesMax is how many lines are printed about a failure.
const linesMax = 12

// slow is when it is of interest what held a round up.
const slow = 20 * time.Second

// print prints the line of a round and, if it failed, all that is needed to look
// into it.
func (o *outcome) print(w io.Writer, number int) {
	verdict := "ok"
	if len(o.failures) > 0 {
		verdict = "FAILED"
	}
	fmt.Fprintf(w, "%4d  %-20d  %-5s  %6d events  %3d open  lost %d  doubled %d  shed %d  damaged %d  %s  %s  %s\n",
		number, o.seed, o.topology, o.answered, o.open, o.lost-min(o.lost, o.shed+o.damaged), o.doubled, o.shed, o.damaged, o.took, verdict, strings.Join(o.faults, " + "))
	if len(o.failures) == 0 && o.took.settling < slow {
		return
	}
	for _, s := range o.steps {
		fmt.Fprintln(w, "      ", s)
	}
	if o.took.settling >= slow {
		fmt.Fprintln(w, "       it settled late:", o.waited)
	}
	if len(o.failures) == 0 {
		return
	}
	said := strings.Split(strings.TrimSpace(errors.Join(o.failures...).Error()), "\n")
	for _, line := range said[:min(len(said), linesMax)] {
		fmt.Fprintln(w, "      ", line)
	}
	if more := len(said) - linesMax; more > 0 {
		fmt.Fprintf(w, "       and %d lines more; ledger-*.verify and ledger-*.audit have all\n", more)
	}
	fmt.Fprintf(w, "       everything it wrote is in %s; again with --replay %d\n", o.kept, o.seed)
}

// sums of some rounds.
type sums struct {
	name                                         string
	rounds, failed                               int
	answered, open, lost, doubled, shed, damaged uint64
}

func (s *sums) add(o *outcome) {
	s.rounds++
	if len(o.failures) > 0 {
		s.failed++
	}
	s.answered += o.answered
	s.open += o.open
	s.lost += o.lost - min(o.lost, o.shed+o.damaged)
	s.doubled += o.doubled
	s.shed += o.shed
	s.damaged += o.damaged
}

// table sums the rounds up by the faults that they had, and all of them.
func (s *score) table() []sums {
	var lines []sums
	for _, k := range kinds {
		line := sums{name: k.name}
		for _, o := range s.outcomes {
			if slices.Contains(o.faults, k.name) {
				line.add(o)
			}
		}
		lines = append(lines, line)
	}
	all := sums{name: "all rounds"}
	for _, o := range s.outcomes {
		all.add(o)
	}
	return append(lines, all)
}

var columns = []string{"fault", "rounds", "events", "cut off", "lost", "doubled", "shed and counted", "damaged and named", "failed"}

func (s *sums) cells() []string {
	cells := []string{s.name}
	for _, n := range []uint64{uint64(s.rounds), s.answered, s.open, s.lost, s.doubled, s.shed, s.damaged, uint64(s.failed)} {
		cells = append(cells, fmt.Sprint(n))
	}
	return cells
}

func (s *score) write(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(columns, "\t"))
	for _, line := range s.table() {
		if line.rounds == 0 {
			continue
		}
		fmt.Fprintln(table, strings.Join(line.cells(), "\t"))
	}
	table.Flush()
}

// writeFile writes the table as Markdown.
func (s *score) writeFile(path string, of *suite) error {
	var b strings.Builder
	took := time.Duration(0)
	for _, o := range s.outcomes {
		took += o.took.sum()
	}
	all := s.table()[len(kinds)]
	fmt.Fprintf(&b, `# No click lost, none counted twice

From a run of `+"`make chaos ROUNDS=%d SEED=%d`"+`: %d rounds in %v, with load flowing all the time at %.0f requests a second. In
each, one to three faults at random moments hurt an installation of real processes; after it every answered click and action was
looked for in ClickHouse by its id, in events and in every view, and the installation audited. A round with several faults counts in
each of their lines. Seeds make the same rounds again, but not the same moments within the processes.

Events are answered clicks and accepted actions; what was cut off may have arrived or not. Lost are those that are missing
beyond what was shed and counted by the node (its disk budget was used up) and what went with a damaged segment and is named by
the audit: both must be equal to the count.

| %s |
|---|%s
`, s.rounds(), of.Seed, all.rounds, took.Round(time.Second), of.Rate, strings.Join(columns, " | "), strings.Repeat("--:|", len(columns)-1))
	for _, line := range s.table() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line.cells(), " | "))
	}
	b.WriteString("\n| fault | where | what is done |\n|---|---|---|\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k.name, k.where(), k.what)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
