package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"waymark/loadtest"
)

// freshnessCommand measures how long a click takes from its answer to the
// report that counts it, while visitors click at a constant rate. Everything
// runs on this machine: edge, broker, engine, ingest, visitors and the asking.
type freshnessCommand struct {
	Rate     float64       `help:"Requests a second; fewer, by a third each time, until this machine keeps up." default:"20000"`
	RateMin  float64       `help:"The rate below which it is given up." default:"500"`
	Duration time.Duration `help:"How long each rate lasts." default:"30s"`
	Links    int           `help:"Links that are followed." default:"1000"`
	Probes   int           `help:"Links of which each click is waited for." default:"20"`
	Binary   string        `help:"The waymark binary to measure." default:"bin/waymark"`
	Dir      string        `help:"Directory for all data; a temporary one without it." type:"path"`
	Ring     string        `help:"Directory for the edge's ring, on a tmpfs." default:"/dev/shm" type:"path"`
	Results  string        `help:"Directory for the results." default:"bench/results" type:"path"`
}

// freshnessPoint is one rate.
type freshnessPoint struct {
	asked, rate float64   // requests a second: due, and answered
	keptUp      bool      // all were answered, on time
	seconds     []float64 // from answer to report, of each probe
}

func (c freshnessCommand) Run(ctx context.Context) error {
	up, err := startInstallation(ctx, c.Binary, c.Dir, c.Ring)
	if err != nil {
		return err
	}
	defer up.close()
	probes, err := newProbes(ctx, up, c.Probes)
	if err != nil {
		return err
	}
	campaign, err := loadtest.NewCampaign(ctx, loadtest.API{URL: up.admin, Key: up.key}, []string{up.public}, c.Links, func(int) {})
	if err != nil {
		return err
	}
	if err := campaign.Await(ctx, nil); err != nil {
		return err
	}
	var points []freshnessPoint
	for rate := c.Rate; ; rate *= 2.0 / 3 {
		if rate < c.RateMin {
			return fmt.Errorf("this machine does not keep up with %.0f requests a second; try when it is not busy", c.RateMin)
		}
		point, err := c.measure(ctx, campaign, probes, rate)
		if err != nil {
			return err
		}
		points = append(points, point)
		fmt.Fprintf(os.Stderr, "%.0f a second: %.0f answered, kept up: %v, %d probes, p50 %.2f s, p99 %.2f s\n",
			rate, point.rate, point.keptUp, len(point.seconds), quantile(point.seconds, 0.5), quantile(point.seconds, 0.99))
		if point.keptUp {
			return c.report(points).publish(c.Results, os.Stdout)
		}
		if err := probes.drain(ctx); err != nil {
			return err
		}
	}
}

// measure clicks at a rate and probes meanwhile.
func (c freshnessCommand) measure(ctx context.Context, campaign *loadtest.Campaign, probes *probes, rate float64) (freshnessPoint, error) {
	options := loadtest.Options{Rate: rate, Duration: c.Duration, Connections: 64, Threads: 1, Timeout: 10 * time.Second, Seed: 1}
	run, err := loadtest.NewTraffic(options, campaign, loadtest.DefaultTraffic(), nil)
	if err != nil {
		return freshnessPoint{}, err
	}
	point := freshnessPoint{asked: rate}
	probing, stop := context.WithCancel(ctx)
	defer stop()
	var result *loadtest.Result
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer stop()
		if result, err = run.Do(both); err != nil {
			return fmt.Errorf("click: %w", err)
		}
		return nil
	})
	group.Go(func() (err error) {
		point.seconds, err = probes.run(probing)
		return err
	})
	if err := group.Wait(); err != nil {
		return point, err
	}
	point.rate = result.Rate
	point.keptUp = result.Failed == 0 && result.Answered == result.Due && result.LatencyMS.P99 < 1000 && result.Rate > 0.97*rate
	return point, nil
}

func (c freshnessCommand) report(points []freshnessPoint) report {
	last := points[len(points)-1]
	r := report{
		name: "freshness", title: "From click to report",
		notes: []string{
			strings.Join(machine(c.Binary), "  \n"),
			fmt.Sprintf("waymark up, visitors as in waymark loadtest for %v at each rate, on %d links. A probe is a click of its own on one of %d links; "+
				"the time runs from its answer until GET /v1/reports/clicks?by=link counts it, asked every %v. A rate is kept up when each request was answered, "+
				"99 %% of them within a second of when they were due.", c.Duration, c.Links, c.Probes, probeEvery),
		},
		csv:  [][]string{{"asked_per_second", "answered_per_second", "kept_up", "probe_seconds"}},
		plot: func(w io.Writer) error { return plotFreshness(points, w) },
	}
	t := table{title: "Seconds:", head: []string{"requests a second", "answered", "kept up", "probes", "p50", "p99", "most"}}
	for _, p := range points {
		t.rows = append(t.rows, []string{
			fmt.Sprintf("%.0f", p.asked), fmt.Sprintf("%.0f", p.rate), fmt.Sprint(p.keptUp), fmt.Sprint(len(p.seconds)),
			figure(quantile(p.seconds, 0.5)), figure(quantile(p.seconds, 0.99)), figure(quantile(p.seconds, 1)),
		})
		for _, s := range p.seconds {
			r.csv = append(r.csv, []string{fmt.Sprintf("%.0f", p.asked), fmt.Sprintf("%.0f", p.rate), fmt.Sprint(p.keptUp), fmt.Sprintf("%.3f", s)})
		}
	}
	r.notes = append(r.notes, fmt.Sprintf("The highest rate that this machine kept up: %.0f a second, p99 %s s.", last.asked, figure(quantile(last.seconds, 0.99))))
	r.tables = []table{t}
	return r
}

// plotFreshness is a histogram of the rate that was kept up.
func plotFreshness(points []freshnessPoint, w io.Writer) error {
	last := points[len(points)-1]
	p := plot.New()
	p.Title.Text = fmt.Sprintf("From click to report at %.0f requests a second", last.asked)
	p.X.Label.Text, p.Y.Label.Text = "seconds", "probes"
	bars, err := plotter.NewHist(plotter.Values(last.seconds), 40)
	if err != nil {
		return fmt.Errorf("plot the freshness: %w", err)
	}
	bars.FillColor, bars.LineStyle.Width = plotutil.Color(0), vg.Points(0.25)
	p.Add(bars)
	return writeSVG(p, plotWidth, w)
}

// installation is a `waymark up` of its own.
type installation struct {
	public, admin, key string
	stop               func()
}

func startInstallation(ctx context.Context, binary, parent, ring string) (_ *installation, err error) {
	dir, err := os.MkdirTemp(parent, "waymark-freshness-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	rings, err := os.MkdirTemp(ring, "waymark-freshness-")
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("make a directory for the ring: %w", err)
	}
	up := &installation{stop: func() {}}
	clean := func() { os.RemoveAll(dir); os.RemoveAll(rings) }
	defer func() {
		if err != nil {
			up.close()
			clean()
		}
	}()
	var addresses [4]string
	for i := range addresses {
		if addresses[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	up.public, up.admin = "http://"+addresses[0], "http://"+addresses[1]
	process, err := startProcess(binary, "up", "--data", dir, "--spool-ring", rings, "--listen", addresses[0], "--admin", addresses[1],
		"--kafka-listen", addresses[2], "--clickhouse-listen", addresses[3])
	if err != nil {
		return nil, err
	}
	up.stop = func() { endProcess(process); clean() }
	err = eventually(ctx, func() error {
		key, err := os.ReadFile(filepath.Join(dir, "admin.key"))
		if err != nil {
			return err
		}
		up.key = strings.TrimSpace(string(key))
		_, err = up.call(ctx, "GET", up.public+"/readyz", "")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("wait for waymark up: %w", err)
	}
	return up, nil
}

func (up *installation) close() { up.stop() }
