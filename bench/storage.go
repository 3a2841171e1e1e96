package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// storageCommand measures what a click takes on ClickHouse's disk, raw event
// and views together, after realistic traffic went through ingest.
type storageCommand struct {
	Events  int     `help:"Events to make." default:"2000000"`
	PerDay  float64 `help:"Events a day of their own time. The fewer, the more a roll-up costs each." default:"1000000"`
	Links   int     `help:"Links that are followed." default:"20000"`
	Actions float64 `help:"Share of the events that are actions." default:"0.05"`
	Seed    uint64  `help:"The same seed makes the same events." default:"1"`
	Binary  string  `help:"The waymark binary to measure." default:"bin/waymark"`
	Dir     string  `help:"Directory for the broker and the engine; a temporary one without it." type:"path"`
	Results string  `help:"Directory for the results." default:"bench/results" type:"path"`
}

func (c storageCommand) traffic() trafficOptions {
	return trafficOptions{Events: c.Events, PerSecond: c.PerDay / 86_400, Links: c.Links, Actions: c.Actions, Seed: c.Seed}
}

func (c storageCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp(c.Dir, "waymark-storage-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	e, err := startFilledEngine(ctx, c.Binary, dir, c.traffic())
	if err != nil {
		return err
	}
	defer e.close()
	if err := e.settle(ctx); err != nil {
		return err
	}
	merged, err := e.tableSizes(ctx)
	if err != nil {
		return err
	}
	if err := e.optimize(ctx, merged); err != nil {
		return err
	}
	whole, err := e.tableSizes(ctx)
	if err != nil {
		return err
	}
	columns, err := e.columnSizes(ctx)
	if err != nil {
		return err
	}
	clicks, err := e.number(ctx, "SELECT count() FROM waymark.events WHERE stage = 'clicked'")
	if err != nil {
		return err
	}
	return c.report(float64(clicks), merged, whole, columns).publish(c.Results, os.Stdout)
}

// startFilledEngine starts an engine and lets waymark ingest bring traffic in.
func startFilledEngine(ctx context.Context, binary, dir string, traffic trafficOptions) (_ *engineProcess, err error) {
	topic, err := startTopic(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer topic.close()
	if err := topic.fill(ctx, traffic); err != nil {
		return nil, err
	}
	e, err := startEngine(ctx, binary, dir)
	if err != nil {
		return nil, err
	}
	race := &ingestRace{ingestCommand: ingestCommand{Binary: binary, trafficOptions: traffic}, dir: dir, topic: topic}
	if _, err := race.waymark(ctx, e); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// tableSize is what a table takes on disk, with indexes and marks.
type tableSize struct {
	table              string
	rows, bytes, parts int64
}

func (e *engineProcess) tableSizes(ctx context.Context) ([]tableSize, error) {
	rows, err := e.rows(ctx, `SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts
		WHERE database = 'waymark' AND active AND table != 'migrations' GROUP BY table ORDER BY table != 'events', sum(bytes_on_disk) DESC`)
	if err != nil {
		return nil, err
	}
	var sizes []tableSize
	for _, row := range rows {
		size := tableSize{table: row[0]}
		for i, to := range []*int64{&size.rows, &size.bytes, &size.parts} {
			if *to, err = strconv.ParseInt(row[i+1], 10, 64); err != nil {
				return nil, fmt.Errorf("read the size of %s: %w", row[0], err)
			}
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

// optimize merges each table to one part a month, as time does.
func (e *engineProcess) optimize(ctx context.Context, tables []tableSize) error {
	for _, t := range tables {
		if err := e.exec(ctx, "OPTIMIZE TABLE waymark."+t.table+" FINAL"); err != nil {
			return err
		}
	}
	return nil
}

// columnSize is what a column of a large table takes. Small tables keep all
// columns in one file, which cannot be told apart.
type columnSize struct {
	table, column, kind, codec string
	bytes                      int64
}

func (e *engineProcess) columnSizes(ctx context.Context) ([]columnSize, error) {
	rows, err := e.rows(ctx, `SELECT p.table, p.column, any(p.type), any(c.compression_codec), sum(p.column_bytes_on_disk) AS bytes
		FROM system.parts_columns AS p LEFT JOIN system.columns AS c ON c.database = p.database AND c.table = p.table AND c.name = p.column
		WHERE p.database = 'waymark' AND p.active AND p.part_type = 'Wide' GROUP BY p.table, p.column ORDER BY p.table != 'events', p.table, bytes DESC`)
	if err != nil {
		return nil, err
	}
	var sizes []columnSize
	for _, row := range rows {
		bytes, err := strconv.ParseInt(row[4], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the size of column %s: %w", row[1], err)
		}
		sizes = append(sizes, columnSize{row[0], row[1], strings.ReplaceAll(row[2], `\'`, "'"), row[3], bytes})
	}
	return sizes, nil
}

func (c storageCommand) report(clicks float64, merged, whole []tableSize, columns []columnSize) report {
	r := report{
		name: "storage", title: "What a click takes on disk",
		notes: []string{
			strings.Join(machine(c.Binary), "  \n"),
			fmt.Sprintf("%.0f clicks and the %.0f actions that followed them, %.0f a day, on %d links, through waymark ingest; all tables together by the number of clicks. "+
				"The reasons for the codecs are in clickhouse/migrations.", clicks, float64(c.Events)-clicks, c.PerDay, c.Links),
		},
		csv:  [][]string{{"table", "column", "codec", "bytes_per_click"}},
		plot: func(w io.Writer) error { return plotStorage(clicks, columns, whole, w) },
	}
	perClick := func(bytes int64) string { return fmt.Sprintf("%.2f", float64(bytes)/clicks) }
	tables := table{title: "Bytes a click:", head: []string{"", "rows a click", "merged so far", "parts", "merged to the end"}}
	var before, after int64
	for i, t := range whole {
		before, after = before+merged[i].bytes, after+t.bytes
		tables.rows = append(tables.rows, []string{t.table, figure(float64(t.rows) / clicks), perClick(merged[i].bytes), fmt.Sprint(merged[i].parts), perClick(t.bytes)})
		r.csv = append(r.csv, []string{t.table, "", "", perClick(t.bytes)})
	}
	tables.rows = append(tables.rows, []string{"together", "", perClick(before), "", perClick(after)})
	each := table{title: "Of that, merged to the end, by column (from 0.01 bytes):", head: []string{"", "type", "codec", "bytes a click"}}
	for _, column := range columns {
		r.csv = append(r.csv, []string{column.table, column.column, column.codec, perClick(column.bytes)})
		if float64(column.bytes)/clicks >= 0.01 {
			each.rows = append(each.rows, []string{column.table + "." + column.column, column.kind, column.codec, perClick(column.bytes)})
		}
	}
	r.tables = []table{tables, each}
	return r
}

// plotStorage shows the largest columns of events and each other table.
func plotStorage(clicks float64, columns []columnSize, tables []tableSize, w io.Writer) error {
	p := plot.New()
	p.Title.Text = "Bytes a click on disk"
	p.X.Min = 0
	var names []string
	var values plotter.Values
	for _, t := range tables {
		if t.table != "events" {
			names, values = append(names, t.table), append(values, float64(t.bytes)/clicks)
		}
	}
	for _, c := range columns {
		if bytes := float64(c.bytes) / clicks; c.table == "events" && bytes >= 0.3 {
			names, values = append(names, "events."+c.column), append(values, bytes)
		}
	}
	bars, err := plotter.NewBarChart(values, vg.Points(8))
	if err != nil {
		return fmt.Errorf("plot the storage: %w", err)
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, plotutil.Color(0), 0
	p.Add(bars)
	p.NominalY(names...)
	return writeSVG(p, plotWidth, w)
}
