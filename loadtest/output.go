package loadtest

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Files that WriteFiles makes.
const (
	hgrmFile    = "latency.hgrm"
	jsonFile    = "result.json"
	secondsFile = "seconds.csv"
)

// WriteTable prints the result for people.
func (r *Result) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "\n%d requests due at %s a second, %d sent, %d answered in %.2f s (%s a second) on %d connections, seed %d\n\n",
		r.Due, number(r.RateAsked), r.Sent, r.Answered, r.Seconds, number(math.Round(r.Rate)), r.Connections, r.Seed)
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "ms\tanswers\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	line := func(name string, count uint64, s Summary) {
		fmt.Fprintf(table, "%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", name, count, s.Mean, s.P50, s.P90, s.P99, s.P999, s.Max)
	}
	line("from when due", r.Answered, r.LatencyMS)
	line("from when sent", r.Answered, r.ServiceMS)
	if len(r.Kinds) > 1 {
		for _, name := range slices.Sorted(maps.Keys(r.Kinds)) {
			line(name, r.Kinds[name].Answered, r.Kinds[name].LatencyMS)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(r.Status)) {
		parts = append(parts, fmt.Sprintf("%d × %d", r.Status[status], status))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Failures)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Failures[name], name))
	}
	if r.Unsent > 0 {
		parts = append(parts, fmt.Sprintf("%d never sent, which count with the time they had waited", r.Unsent))
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(parts, ", "))
	return err
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// WriteHistogram writes the latencies, from when requests were due, in the text
// form that HdrHistogram's plotters read. Values are milliseconds.
func (r *Result) WriteHistogram(w io.Writer) error {
	if _, err := r.latency.PercentilesPrint(w, 5, 1e6); err != nil {
		return fmt.Errorf("write the histogram: %w", err)
	}
	return nil
}

// WriteJSON writes everything.
func (r *Result) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write the result as JSON: %w", err)
	}
	return nil
}

// WriteCSV writes a line for each second.
func (r *Result) WriteCSV(w io.Writer) error {
	table := csv.NewWriter(w)
	table.Write([]string{"second", "answered", "failed", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms"})
	for _, s := range r.EachSec {
		row := []string{strconv.Itoa(s.Second), strconv.FormatUint(s.Answered, 10), strconv.FormatUint(s.Failed, 10)}
		for _, ms := range []float64{s.LatencyMS.Mean, s.LatencyMS.P50, s.LatencyMS.P90, s.LatencyMS.P99, s.LatencyMS.P999, s.LatencyMS.Max} {
			row = append(row, strconv.FormatFloat(ms, 'f', 6, 64))
		}
		table.Write(row)
	}
	table.Flush()
	if err := table.Error(); err != nil {
		return fmt.Errorf("write the seconds as CSV: %w", err)
	}
	return nil
}

// WriteFiles writes latency.hgrm, result.json and seconds.csv into a directory,
// which is made if need be, and returns their paths.
func (r *Result) WriteFiles(dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the directory of the results: %w", err)
	}
	var paths []string
	for _, output := range []struct {
		name  string
		write func(io.Writer) error
	}{{hgrmFile, r.WriteHistogram}, {jsonFile, r.WriteJSON}, {secondsFile, r.WriteCSV}} {
		path := filepath.Join(dir, output.name)
		file, err := os.Create(path)
		if err != nil {
			return nil, fmt.Errorf("create a file of results: %w", err)
		}
		if err := output.write(file); err != nil {
			file.Close()
			return nil, err
		}
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
