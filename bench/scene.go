package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"waymark/loadtest"
)

// sceneFlags are the settings of the suites that look at the redirects while
// something else happens.
type sceneFlags struct {
	arenaFlags
	Rounds   int           `help:"Rounds, in each of which every scene is played." default:"3"`
	Duration time.Duration `help:"Length of a scene." default:"4s"`
	Rate     float64       `help:"Clicks a second in place of a share of what the edge can do." placeholder:"N"`
}

// scene is something that happens while clicks come at a constant rate.
type scene struct {
	name string
	// begin makes it happen. What it returns is called when the scene is over;
	// nil: it goes on until another scene ends it.
	begin func(context.Context) (end func() error, err error)
	// joined scenes follow the one before without a calm time in between.
	joined bool
	// doubled scenes have twice as many requests, drawn from these. One
	// generator sends them all: two would wait for each other.
	doubled loadtest.Targets
}

// take is what one playing of a scene showed.
type take struct {
	turn
	memory
	disk int64   // bytes of segments
	calm float64 // p99 of the calm time before, milliseconds
}

// play has every scene take turns with a calm time, in which nothing happens.
// Clicks come at a share of the rate that the edge can do.
func (o *sceneFlags) play(ctx context.Context, a *arena, share float64, scenes []scene) ([][]take, error) {
	full, err := a.drive(ctx, a.edge, a.mix.against(a.edge.url), saturate(100_000))
	if err != nil {
		return nil, err
	}
	if o.Rate == 0 {
		o.Rate = math.Round(full.rate*share/100) * 100
	}
	takes := make([][]take, len(scenes))
	for round := range o.Rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.Rounds)
		calm := 0.0
		for i, s := range scenes {
			if !s.joined {
				quiet, err := o.shoot(ctx, a, scene{})
				if err != nil {
					return nil, err
				}
				calm = quiet.p99
			}
			t, err := o.shoot(ctx, a, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			t.calm = calm
			takes[i] = append(takes[i], t)
			fmt.Fprintf(os.Stderr, "  %s: p99 %.2f ms, calm %.2f ms\n", s.name, t.p99, calm)
		}
	}
	return takes, a.settled(ctx)
}

// shoot plays one scene. A calm time begins when everything is settled.
func (o *sceneFlags) shoot(ctx context.Context, a *arena, s scene) (t take, err error) {
	if s.name == "" {
		if err := a.settled(ctx); err != nil {
			return t, err
		}
	}
	if s.begin != nil {
		end, err := s.begin(ctx)
		if err != nil {
			return t, err
		}
		if end != nil {
			defer func() { err = errors.Join(err, end()) }()
		}
	}
	targets, rate := a.mix.against(a.edge.url), o.Rate
	if len(s.doubled.URLs) > 0 {
		targets, rate = s.doubled, 2*o.Rate
	}
	unsettled := *a.edge
	unsettled.settle = nil
	if t.turn, err = a.drive(ctx, &unsettled, targets, pace(rate, o.Duration)); err != nil {
		return t, err
	}
	t.disk = sizeOf(filepath.Join(a.data(), "spool"))
	t.memory, err = memoryOf(a.edge.pid)
	return t, err
}

// sizeOf is what the segments below a spool take on disk.
func sizeOf(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "/links/") {
			return nil // what was deleted in the meantime takes nothing
		}
		if info, err := entry.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}

// report puts the table together.
func (o *sceneFlags) report(name, title, note, where string, scenes []scene, takes [][]take) report {
	r := report{
		name: name, title: title,
		notes: []string{
			strings.Join(append(machine(o.Binary), where), "  \n"),
			fmt.Sprintf("%d rounds. %.0f clicks a second, open loop, latency from when a click was due, %d connections, %d links, %v a scene; "+
				"before each a calm time of the same length. × calm is the median of the quotients of the two. Figures are the median (least–most). %s",
				o.Rounds, o.Rate, o.Conns, o.Links, o.Duration, note),
		},
		csv: [][]string{{"scene", "round", "p50_ms", "p99_ms", "p99_9_ms", "max_ms", "calm_p99_ms", "cpu_us", "anonymous_bytes", "ring_bytes", "disk_bytes"}},
	}
	t := table{
		title: "Clicks, in milliseconds:",
		head:  []string{"", "p50", "p99", "calm p99", "× calm", "p99.9", "CPU µs a request", "memory MB", "of it ring MB", "segments MB"},
	}
	var names []string
	var bars []spread
	for i, s := range scenes {
		of := func(measure func(take) float64) []float64 {
			values := make([]float64, len(takes[i]))
			for k, t := range takes[i] {
				values[k] = measure(t)
			}
			return values
		}
		p99, calm := of(func(t take) float64 { return t.p99 }), of(func(t take) float64 { return t.calm })
		// Of the first round: what a scene has made the heap grow by, it keeps.
		megabytes := func(measure func(take) int64) string { return fmt.Sprintf("%.0f", float64(measure(takes[i][0]))/1e6) }
		t.rows = append(t.rows, []string{
			s.name, spreadOf(of(func(t take) float64 { return t.p50 })).String(), spreadOf(p99).String(), spreadOf(calm).String(), ratio(p99, calm),
			spreadOf(of(func(t take) float64 { return t.p999 })).String(), spreadOf(of(func(t take) float64 { return t.cpuMicros })).String(),
			megabytes(func(t take) int64 { return t.resident }), megabytes(func(t take) int64 { return t.shared }), megabytes(func(t take) int64 { return t.disk }),
		})
		for k, t := range takes[i] {
			r.csv = append(r.csv, []string{s.name, fmt.Sprint(k + 1), fmt.Sprintf("%.4f", t.p50), fmt.Sprintf("%.4f", t.p99), fmt.Sprintf("%.4f", t.p999), fmt.Sprintf("%.4f", t.max),
				fmt.Sprintf("%.4f", t.calm), fmt.Sprintf("%.4f", t.cpuMicros), fmt.Sprint(t.anonymous), fmt.Sprint(t.shared), fmt.Sprint(t.disk)})
		}
		names, bars = append(names, s.name), append(bars, spreadOf(quotients(p99, calm)))
	}
	r.tables = []table{t}
	r.plot = func(w io.Writer) error {
		return drawBars("p99 of clicks, in multiples of the calm time's", names, bars, w)
	}
	return r
}
