package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// viewCosts is the engine's CPU time, in seconds a million hits, that the query
// of each materialised view takes of the last million.
func (e *engineProcess) viewCosts(ctx context.Context, data reportsData) (map[string]float64, error) {
	views, err := e.rows(ctx, `SELECT name, as_select FROM system.tables WHERE database = 'waymark' AND engine = 'MaterializedView'
		AND has((SELECT any(dependencies_table) FROM system.tables WHERE database = 'waymark' AND name = 'events'), name) FORMAT TSVRaw`)
	if err != nil {
		return nil, err
	}
	hits := min(1_000_000, data.Events)
	from := time.UnixMilli(data.StartMS + data.SpanMS - data.SpanMS/int64(data.Events)*int64(hits)).UTC()
	costs := map[string]float64{}
	for _, view := range views {
		sql := fmt.Sprintf(`SELECT sum(cityHash64(*)) FROM (%s) SETTINGS max_threads = 1, additional_table_filters = {'waymark.events': 'time >= toDateTime64(''%s'', 3, ''UTC'')'}`,
			view[1], from.Format(time.DateTime))
		_, cpu, err := e.timed(func() error { return e.exec(ctx, sql) })
		if err != nil {
			return nil, fmt.Errorf("time %s: %w", view[0], err)
		}
		costs[strings.TrimSuffix(view[0], "_view")] = cpu / 1000 * 1e6 / float64(hits)
	}
	return costs, nil
}

func (c reportsCommand) report(answers []reportsAnswer, sizes []tableSize, views map[string]float64) report {
	r := report{
		name: "reports", title: "Reports over a year of events",
		notes: []string{
			strings.Join(machine(c.Binary), "  \n"),
			fmt.Sprintf("%d hits and the actions that follow from them, made inside the engine. Median of %d askings (least–most); "+
				"the raw question is asked once, over `events`, in a shorter form: nobody's link or programme is resolved, and of journeys only the last touch is looked for. CPU is the engine's.", c.Events, c.Rounds),
			"Rewards, fraud and campaigns have nothing to answer here: the data set has no programme that pays.",
			"Beyond three million hits distinct visitors are estimated; see `visitors_estimated` of a report.",
		},
		csv: [][]string{{"question", "ms", "cpu_ms", "raw_ms", "raw_cpu_ms"}},
		plot: func(w io.Writer) error {
			var names []string
			var values []spread
			for _, a := range answers {
				names, values = append(names, strings.TrimPrefix(a.name, "report ")), append(values, a.elapsed)
			}
			return drawBars("Milliseconds to answer", names, values, w)
		},
	}
	t := table{title: "Answers:", head: []string{"", "ms", "CPU ms", "raw ms", "raw CPU ms", "times faster", "by CPU"}}
	times := func(raw, view float64) string { return figure(raw / max(view, 1)) }
	for _, a := range answers {
		t.rows = append(t.rows, []string{a.name, a.elapsed.String(), figure(a.cpu.median), figure(a.rawElapsed), figure(a.rawCPU),
			times(a.rawElapsed, a.elapsed.median), times(a.rawCPU, a.cpu.median)})
		r.csv = append(r.csv, []string{a.name, fmt.Sprint(a.elapsed.median), fmt.Sprint(a.cpu.median), fmt.Sprint(a.rawElapsed), fmt.Sprint(a.rawCPU)})
	}
	disk := table{title: "What each table costs (CPU of the view's query alone):", head: []string{"", "rows", "bytes a hit", "CPU s a million hits"}}
	for _, size := range sizes {
		cpu := "–"
		if cost, ok := views[size.table]; ok {
			cpu = figure(cost)
		}
		disk.rows = append(disk.rows, []string{size.table, fmt.Sprint(size.rows), figure(float64(size.bytes) / float64(c.Events)), cpu})
	}
	r.tables = []table{t, disk}
	return r
}
