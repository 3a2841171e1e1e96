package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// growthCommand shows how the costs of events grow with their number: 1, 10 and
// 100 times a first part, that comes through ingest. What follows is made of it
// inside the engine: the same traffic on later days by other visitors.
type growthCommand struct {
	Events  int    `help:"Events of the first part." default:"1000000"`
	Largest int    `help:"The most events." default:"100000000"`
	Links   int    `help:"Links that are followed." default:"20000"`
	Binary  string `help:"The waymark binary to measure." default:"bin/waymark"`
	Dir     string `help:"Directory for the broker and the engine; a temporary one without it." type:"path"`
	Results string `help:"Directory for the results." default:"bench/results" type:"path"`
}

// growthPoint is what was measured at one size.
type growthPoint struct {
	events                     int
	bytesPerEvent              float64
	insertCPU                  float64 // engine's CPU s a million events, for the last of them
	lastOffset, seen, ordinals float64 // ms: what ingest asks when it begins, and for each block of actions
	reports                    []float64
}

// growthReports are questions of analysts, of views by their names.
var growthReports = []struct{ name, sql string }{
	{"clicks by channel", "SELECT key, sum(clicks) FROM waymark.clicks WHERE dimension = 'channel' GROUP BY key"},
	{"clicks of a link", "SELECT hour, clicks FROM waymark.clicks WHERE dimension = 'link' AND key = (SELECT code FROM waymark.events WHERE stage = 'clicked' LIMIT 1)"},
	{"funnel", "SELECT * FROM waymark.funnel WHERE program = 'wedding'"},
}

const bytesPerEventGuess = 60 // on disk, before merges

func (c growthCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp(c.Dir, "waymark-growth-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := checkRoom(dir, 2*bytesPerEventGuess*int64(c.Largest)); err != nil {
		return err
	}
	traffic := trafficOptions{Events: c.Events, PerSecond: float64(c.Events) / 86_400, Links: c.Links, Actions: 0.05, Seed: 1}
	e, err := startFilledEngine(ctx, c.Binary, dir, traffic)
	if err != nil {
		return err
	}
	defer e.close()
	var points []growthPoint
	have, insertCPU := 1, 0.0
	for size := 1; size*c.Events <= c.Largest; size *= 10 {
		if size > 1 {
			if insertCPU, err = c.grow(ctx, e, have, size); err != nil {
				return fmt.Errorf("grow to %d events: %w", size*c.Events, err)
			}
		}
		have = size
		point, err := c.measure(ctx, e, size*c.Events)
		if err != nil {
			return fmt.Errorf("measure %d events: %w", size*c.Events, err)
		}
		point.insertCPU = insertCPU
		points = append(points, point)
		fmt.Fprintf(os.Stderr, "%d events: %.1f bytes each, %v ms\n", point.events, point.bytesPerEvent, point.reports)
	}
	return c.report(points).publish(c.Results, os.Stdout)
}

// checkRoom refuses to fill a disk.
func checkRoom(dir string, bytes int64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; free < bytes {
		return fmt.Errorf("%s has %d MB left, this takes up to %d; give another --dir or a smaller --largest", dir, free>>20, bytes>>20)
	}
	return nil
}

// grow adds the days from (included) to to (excluded) and returns the engine's
// CPU seconds a million events for the last of them.
func (c growthCommand) grow(ctx context.Context, e *engineProcess, from, to int) (float64, error) {
	progress := newProgress("events made", to*c.Events)
	var last float64
	for day := from; day < to; day++ {
		before, err := cpuTime(e.pid())
		if err != nil {
			return 0, err
		}
		// The first part lies in one day, so the copies of a day make one more.
		sql := fmt.Sprintf(`INSERT INTO waymark.events SELECT * REPLACE(
				time + INTERVAL %[1]d DAY AS time, if(toUnixTimestamp64Milli(click_time) = 0, click_time, click_time + INTERVAL %[1]d DAY) AS click_time,
				if(visitor_id = 0, 0, cityHash64(visitor_id, %[1]d)) AS visitor_id, if(address_hash = 0, 0, cityHash64(address_hash, %[1]d)) AS address_hash,
				if(id = '', '', concat(id, '-%[1]d')) AS id, if(user_id = '', '', concat(user_id, '-%[1]d')) AS user_id,
				if(order_id = '', '', concat(order_id, '-%[1]d')) AS order_id, offset + %[2]d AS offset)
			FROM (SELECT * FROM waymark.events WHERE offset < %[3]d AND time < toDateTime64(%[4]d, 3, 'UTC'))
			SETTINGS max_insert_threads = 1, max_threads = 1, max_insert_block_size = 100000, min_insert_block_size_rows = 100000, min_insert_block_size_bytes = 0,
				min_insert_block_size_rows_for_materialized_views = 100000, min_insert_block_size_bytes_for_materialized_views = 0`,
			day, int64(day)*int64(c.Events), c.Events, int64(trafficStartMS/1000+86_400))
		if err := e.exec(ctx, sql); err != nil {
			return 0, err
		}
		after, err := cpuTime(e.pid())
		if err != nil {
			return 0, err
		}
		last = (after - before).Seconds() * 1e6 / float64(c.Events)
		progress.at((day + 1) * c.Events)
	}
	return last, e.settle(ctx)
}

func (c growthCommand) measure(ctx context.Context, e *engineProcess, events int) (growthPoint, error) {
	point := growthPoint{events: events}
	got, err := e.number(ctx, "SELECT count() FROM waymark.events")
	if err != nil {
		return point, err
	}
	if got != int64(events) {
		return point, fmt.Errorf("there are %d events", got)
	}
	sizes, err := e.tableSizes(ctx)
	if err != nil {
		return point, err
	}
	for _, t := range sizes {
		point.bytesPerEvent += float64(t.bytes) / float64(events)
	}
	place := "source = (SELECT any(source) FROM (SELECT source FROM waymark.events WHERE stage = 'clicked' LIMIT 1)) AND partition = 0"
	for _, question := range []struct {
		to  *float64
		sql string
	}{
		{&point.lastOffset, "SELECT count(), max(offset) FROM waymark.events WHERE " + place},
		{&point.ordinals, "SELECT node, max(ordinal) FROM waymark.events WHERE " + place + " GROUP BY node"},
		{&point.seen, "SELECT count() FROM waymark.action_ids WHERE hash IN (SELECT hash + (number % 2) FROM (SELECT hash, rowNumberInAllBlocks() AS number FROM waymark.action_ids LIMIT 5000))"},
	} {
		if *question.to, err = e.milliseconds(ctx, question.sql); err != nil {
			return point, err
		}
	}
	for _, report := range growthReports {
		ms, err := e.milliseconds(ctx, report.sql)
		if err != nil {
			return point, fmt.Errorf("%s: %w", report.name, err)
		}
		point.reports = append(point.reports, ms)
	}
	return point, nil
}

// milliseconds is the median of five askings.
func (e *engineProcess) milliseconds(ctx context.Context, sql string) (float64, error) {
	var took []float64
	for range 5 {
		began := time.Now()
		if err := e.exec(ctx, sql); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
	return spreadOf(took).median, nil
}

func (c growthCommand) report(points []growthPoint) report {
	r := report{
		name: "growth", title: "How the costs of events grow",
		notes: []string{
			strings.Join(machine(c.Binary), "  \n"),
			fmt.Sprintf("A day of %d events on %d links through waymark ingest, and copies of it on the following days by other visitors, made inside the engine.", c.Events, c.Links),
			"Times are medians of five askings, in milliseconds.",
		},
		plot: func(w io.Writer) error { return plotGrowth(points, w) },
	}
	head := []string{"events", "bytes each", "engine CPU s a million, inserting", "resume: last offset", "resume: ordinals", "5,000 actions seen?"}
	for _, report := range growthReports {
		head = append(head, report.name)
	}
	r.csv = [][]string{head}
	t := table{title: "By the number of events:", head: head}
	for _, p := range points {
		insert := "–"
		if p.insertCPU > 0 {
			insert = figure(p.insertCPU)
		}
		row := []string{fmt.Sprint(p.events), figure(p.bytesPerEvent), insert, figure(p.lastOffset), figure(p.ordinals), figure(p.seen)}
		for _, ms := range p.reports {
			row = append(row, figure(ms))
		}
		t.rows, r.csv = append(t.rows, row), append(r.csv, row)
	}
	r.tables = []table{t}
	return r
}

// plotGrowth has both axes logarithmic, so that what grows in proportion is a
// line at 45 degrees and what does not grow is level.
func plotGrowth(points []growthPoint, w io.Writer) error {
	p := plot.New()
	p.Title.Text = "Milliseconds by the number of events"
	p.X.Label.Text, p.Y.Label.Text = "events", "ms"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 0}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	series := []struct {
		name string
		of   func(growthPoint) float64
	}{
		{"resume: last offset", func(p growthPoint) float64 { return p.lastOffset }},
		{"5,000 actions seen?", func(p growthPoint) float64 { return p.seen }},
	}
	for i, report := range growthReports {
		series = append(series, struct {
			name string
			of   func(growthPoint) float64
		}{report.name, func(p growthPoint) float64 { return p.reports[i] }})
	}
	for i, s := range series {
		var line plotter.XYs
		for _, point := range points {
			line = append(line, plotter.XY{X: float64(point.events), Y: max(s.of(point), 0.01)})
		}
		if err := addLine(p, i, s.name, line); err != nil {
			return err
		}
	}
	return writeSVG(p, plotWidth, w)
}
