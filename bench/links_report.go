package main

import (
	"fmt"
	"io"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

func (c linksCommand) report(points []linksPoint) report {
	r := report{
		name: "links", title: "What links cost an edge",
		notes: []string{
			strings.Join(machine(c.Binary), "  \n"),
			fmt.Sprintf("One edge, all links in one topic. Ready is from the start of the process until /readyz is green; memory is read then: "+
				"anonymous memory cannot be taken away, pages of the snapshot can. Latencies are of %.0f requests a second for %d hot links and %.0f for rare ones, "+
				"at the same time, open loop, for %v each.", c.HotRate, c.Hot, c.ColdRate, c.Duration),
			fmt.Sprintf("Larger than memory: every %v all pages of the store are taken from the process and from the page cache, so that a rare link comes from the disk.", pageOutEvery),
		},
		plot: func(w io.Writer) error { return plotLinks(points, w) },
	}
	start := table{title: "Start:", head: []string{"links", "ready from Kafka, s", "resident, MB", "ready from snapshot, s", "resident, MB", "anonymous, MB", "snapshot, MB"}}
	tail := table{title: "Latency in milliseconds and the share of hot requests that the cache answered, at least:", head: []string{
		"links", "load", "hot p50", "hot p99", "rare p50", "rare p99", "cache hits"}}
	r.csv = [][]string{{"links", "load", "ready_kafka_s", "ready_snapshot_s", "resident_kafka_mb", "resident_snapshot_mb", "anonymous_snapshot_mb", "hot_p50_ms", "hot_p99_ms", "rare_p50_ms", "rare_p99_ms", "cache_hit_ratio"}}
	mb := func(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/1e6) }
	for _, p := range points {
		start.rows = append(start.rows, []string{
			fmt.Sprint(p.links), figure(p.fromKafka.Seconds()), mb(p.kafka.resident), figure(p.fromSnapshot.Seconds()), mb(p.snapshot.resident), mb(p.snapshot.anonymous), mb(p.snapshotBytes),
		})
		for _, load := range []struct {
			name string
			linksLoad
		}{{"hot links alone", p.calm}, {"during a scan", p.scanned}, {"larger than memory", p.paged}} {
			rare := []string{"–", "–"}
			if load.coldP99 > 0 {
				rare = []string{figure(load.coldP50), figure(load.coldP99)}
			}
			hits := fmt.Sprintf("%.4f", load.hitRatio)
			tail.rows = append(tail.rows, []string{fmt.Sprint(p.links), load.name, figure(load.hotP50), figure(load.hotP99), rare[0], rare[1], hits})
			r.csv = append(r.csv, []string{
				fmt.Sprint(p.links), load.name, figure(p.fromKafka.Seconds()), figure(p.fromSnapshot.Seconds()), mb(p.kafka.resident), mb(p.snapshot.resident), mb(p.snapshot.anonymous),
				figure(load.hotP50), figure(load.hotP99), rare[0], rare[1], hits,
			})
		}
	}
	r.tables = []table{start, tail}
	return r
}

// plotLinks shows memory and time to start by the number of links, both axes
// logarithmic.
func plotLinks(points []linksPoint, w io.Writer) error {
	p := plot.New()
	p.Title.Text = "Links: memory and start"
	p.X.Label.Text, p.Y.Label.Text = "links", "MB, or seconds"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 0}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	for i, s := range []struct {
		name string
		of   func(linksPoint) float64
	}{
		{"resident from Kafka, MB", func(p linksPoint) float64 { return float64(p.kafka.resident) / 1e6 }},
		{"resident from snapshot, MB", func(p linksPoint) float64 { return float64(p.snapshot.resident) / 1e6 }},
		{"ready from Kafka, s", func(p linksPoint) float64 { return p.fromKafka.Seconds() }},
		{"ready from snapshot, s", func(p linksPoint) float64 { return p.fromSnapshot.Seconds() }},
	} {
		var line plotter.XYs
		for _, point := range points {
			line = append(line, plotter.XY{X: float64(point.links), Y: max(s.of(point), 0.001)})
		}
		if err := addLine(p, i, s.name, line); err != nil {
			return err
		}
	}
	return writeSVG(p, plotWidth, w)
}
