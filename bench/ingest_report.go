package main

import (
	"fmt"
	"io"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

var ingestNames = map[string]string{
	"ceiling": "bare loop of prepared blocks", "waymark": "waymark ingest", "engine": "ClickHouse's Kafka engine",
}

// Measures of a heat.
func heatSeries(heats []heat, measure func(heat) float64) []float64 {
	values := make([]float64, len(heats))
	for i, h := range heats {
		values[i] = measure(h)
	}
	return values
}

func heatCPU(h heat) float64     { return h.cpu }
func heatEngine(h heat) float64  { return h.engineCPU }
func heatOthers(h heat) float64  { return h.cpu - h.engineCPU }
func heatElapsed(h heat) float64 { return h.elapsed }

func (c ingestCommand) report(heats map[string][]heat, views []viewCost) report {
	r := report{
		name: "ingest", title: "From Kafka to ClickHouse",
		notes: []string{
			strings.Join(machine(c.Binary), "  \n"),
			fmt.Sprintf("%d rounds of %d events, of which %.0f %% are actions, on %d links at %.0f events a second of their own time, from one topic "+
				"into the same tables and views, each contestant into an engine of its own. CPU time is that of all processes but the broker, until every "+
				"row is there and merged; the bare loop's blocks of %d rows were encoded before the clock started.",
				c.Rounds, c.Events, 100*c.Actions, c.Links, c.PerSecond, c.BlockRows),
			"Figures are seconds a million events: the median of the rounds (least–most). × ceiling is the ceiling's CPU time by the contestant's, × Kafka engine " +
				"the Kafka engine's by the contestant's: what they do for the same CPU time.",
		},
		plot: func(w io.Writer) error { return plotIngest(heats, w) },
		csv:  [][]string{{"contestant", "round", "cpu_s_per_million", "engine_cpu_s_per_million", "elapsed_s_per_million"}},
	}
	times := func(base, of string) string {
		return ratio(heatSeries(heats[base], heatCPU), heatSeries(heats[of], heatCPU))
	}
	race := table{title: "Seconds a million events:", head: []string{"", "CPU", "of that outside of the engine", "elapsed", "× ceiling", "× Kafka engine"}}
	for _, name := range []string{"ceiling", "waymark", "engine"} {
		of := heats[name]
		race.rows = append(race.rows, []string{
			ingestNames[name], spreadOf(heatSeries(of, heatCPU)).String(), spreadOf(heatSeries(of, heatOthers)).String(),
			spreadOf(heatSeries(of, heatElapsed)).String(), times("ceiling", name), times("engine", name),
		})
		for i, h := range of {
			r.csv = append(r.csv, []string{name, fmt.Sprint(i + 1), fmt.Sprintf("%.4f", h.cpu), fmt.Sprintf("%.4f", h.engineCPU), fmt.Sprintf("%.4f", h.elapsed)})
		}
	}
	if r.tables = append(r.tables, race); len(views) == 0 {
		return r
	}
	costs := table{title: "The engine's CPU seconds a million events for the prepared blocks, with one view at a time:", head: []string{"", "CPU", "of that for the view"}}
	for _, v := range views {
		name := v.name
		if name == "" {
			name = "events alone"
		}
		costs.rows = append(costs.rows, []string{name, figure(v.cpu), figure(max(0, v.cpu-views[0].cpu))})
	}
	r.tables = append(r.tables, costs)
	return r
}

// plotIngest stacks the engine's CPU time and that of the rest.
func plotIngest(heats map[string][]heat, w io.Writer) error {
	p := plot.New()
	p.Title.Text = "CPU time from Kafka to ClickHouse"
	p.Y.Label.Text = "seconds a million events"
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	var names []string
	var engine, others plotter.Values
	for _, name := range []string{"ceiling", "waymark", "engine"} {
		names = append(names, ingestNames[name])
		engine = append(engine, spreadOf(heatSeries(heats[name], heatEngine)).median)
		others = append(others, spreadOf(heatSeries(heats[name], heatOthers)).median)
	}
	below, err := plotter.NewBarChart(engine, 2*vg.Centimeter)
	if err != nil {
		return fmt.Errorf("plot the CPU time: %w", err)
	}
	above, err := plotter.NewBarChart(others, 2*vg.Centimeter)
	if err != nil {
		return fmt.Errorf("plot the CPU time: %w", err)
	}
	below.Color, above.Color = plotutil.Color(0), plotutil.Color(1)
	below.LineStyle.Width, above.LineStyle.Width = 0, 0
	above.StackOn(below)
	p.Add(below, above)
	p.Legend.Add("engine, with its merges", below)
	p.Legend.Add("ingest or loop", above)
	p.NominalX(names...)
	return writeSVG(p, plotWidth, w)
}
