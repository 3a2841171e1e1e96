package main

import (
	"fmt"
	"io"
	"strings"
)

// redirectRow is a contestant's turns, one a round.
type redirectRow struct {
	name string
	full []turn // at saturation
	half []turn // at the constant rate
}

// Measures of a turn.
var (
	cpuOf  = func(t turn) float64 { return t.cpuMicros }
	rateOf = func(t turn) float64 { return t.rate }
	p50Of  = func(t turn) float64 { return t.p50 }
	p99Of  = func(t turn) float64 { return t.p99 }
	p999Of = func(t turn) float64 { return t.p999 }

	generatorOf = func(t turn) float64 { return t.generator }
)

// series is one measure of all turns.
func series(turns []turn, measure func(turn) float64) []float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = measure(t)
	}
	return values
}

// report puts the tables together; the first row is what others are compared
// with.
func (o redirectCommand) report(rows []redirectRow, where string) report {
	r := report{
		name: "redirect", title: "What a captured redirect costs",
		notes: []string{
			strings.Join(append(machine(o.Binary), where), "  \n"),
			fmt.Sprintf("%d rounds, in each of which every contestant has a turn of %d requests at saturation and one of %v at a constant rate, the same for all: "+
				"half of what the slowest can do. Open loop, latency from when a request was due, %d connections, %d links loaded, popularity by Zipf; "+
				"half of the requests bring a cookie, a seventh a query string, all the headers of a browser. CPU time is that of the whole server process, "+
				"read once everything is shipped; every answered click was counted in Kafka.", o.Rounds, o.Requests, o.Duration, o.Conns, o.Links),
			"The generator and, behind it, the broker share a core: what keeps the generator from it counts as the server's latency, the more so the busier it is.",
			"Figures are the median of the rounds (least–most), and × bare is the median of the rounds' quotients.",
		},
		plot: func(w io.Writer) error { return o.draw(rows, w) },
	}
	full := table{title: "At saturation:", head: []string{"", "CPU µs a request", "× bare", "requests a second on one core", "× bare"}}
	half := table{
		title: fmt.Sprintf("At %.0f requests a second, in milliseconds:", o.Rate),
		head:  []string{"", "p50", "p99", "× bare", "p99.9", "× bare", "CPU µs a request", "× bare", "generator busy, %"},
	}
	bare := rows[0]
	for _, row := range rows {
		full.rows = append(full.rows, []string{
			row.name,
			spreadOf(series(row.full, cpuOf)).String(), ratio(series(row.full, cpuOf), series(bare.full, cpuOf)),
			spreadOf(series(row.full, rateOf)).String(), ratio(series(row.full, rateOf), series(bare.full, rateOf)),
		})
		half.rows = append(half.rows, []string{
			row.name, spreadOf(series(row.half, p50Of)).String(),
			spreadOf(series(row.half, p99Of)).String(), ratio(series(row.half, p99Of), series(bare.half, p99Of)),
			spreadOf(series(row.half, p999Of)).String(), ratio(series(row.half, p999Of), series(bare.half, p999Of)),
			spreadOf(series(row.half, cpuOf)).String(), ratio(series(row.half, cpuOf), series(bare.half, cpuOf)),
			fmt.Sprintf("%.0f", 100*spreadOf(series(row.half, generatorOf)).median),
		})
	}
	r.tables = []table{full, half}
	r.csv = redirectCSV(rows)
	return r
}

func redirectCSV(rows []redirectRow) [][]string {
	lines := [][]string{{"contestant", "round", "load", "cpu_us", "rate", "p50_ms", "p99_ms", "p99_9_ms", "max_ms", "generator_busy"}}
	for _, row := range rows {
		for load, turns := range [][]turn{row.full, row.half} {
			for i, t := range turns {
				line := []string{row.name, fmt.Sprint(i + 1), [...]string{"saturation", "half"}[load]}
				for _, value := range []float64{t.cpuMicros, t.rate, t.p50, t.p99, t.p999, t.max, t.generator} {
					line = append(line, fmt.Sprintf("%.4f", value))
				}
				lines = append(lines, line)
			}
		}
	}
	return lines
}
