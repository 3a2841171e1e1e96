package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// redirectCommand measures what a captured redirect costs.
type redirectCommand struct {
	arenaFlags
	Rounds   int           `help:"Rounds, in each of which every contestant has a turn." default:"7"`
	Requests int           `help:"Requests of a turn at saturation." default:"100000"`
	Duration time.Duration `help:"Length of a turn at half of saturation." default:"3s"`
	Beside   []string      `help:"Further waymark binaries that take turns, such as one built with another profile; repeatable." type:"path" placeholder:"FILE"`
	NoNginx  bool          `name:"no-nginx" help:"Leave nginx out."`
	Profile  string        `help:"Write a CPU profile of the edge to this file." type:"path" placeholder:"FILE"`
	Rate     float64       `help:"Requests a second in place of half of what the slowest contestant can do." placeholder:"N"`
}

// Run has every contestant take a turn at saturation, for the CPU time and the
// rate, and one at a constant rate, the same for all, for the latencies.
func (o redirectCommand) Run(ctx context.Context) error {
	cores, err := shareCores()
	if err != nil {
		return err
	}
	var edgeArgs []string
	if o.Profile != "" {
		edgeArgs = []string{"--cpu-profile", o.Profile}
	}
	a, err := openArena(ctx, o.arenaFlags, cores, edgeArgs...)
	if err != nil {
		return err
	}
	defer a.close()
	contestants, err := o.contestants(ctx, a)
	if err != nil {
		return err
	}
	rows := make([]redirectRow, len(contestants))
	slowest := math.Inf(1)
	for i, c := range contestants { // a round to warm up, which says what saturation is
		rows[i].name = c.name
		full, _, err := o.measure(ctx, a, c, o.Rate)
		if err != nil {
			return err
		}
		slowest = min(slowest, full.rate)
	}
	if o.Rate == 0 {
		o.Rate = math.Round(slowest/200) * 100
	}
	for round := range o.Rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.Rounds)
		for i, c := range contestants {
			full, half, err := o.measure(ctx, a, c, o.Rate)
			if err != nil {
				return err
			}
			rows[i].full, rows[i].half = append(rows[i].full, full), append(rows[i].half, half)
			fmt.Fprintf(os.Stderr, "  %s: %.2f µs, p99 %.2f ms\n", c.name, full.cpuMicros, half.p99)
		}
	}
	return o.report(rows, cores.String()).publish(o.Results, os.Stdout)
}

// contestants are all that take turns, bare fasthttp first.
func (o redirectCommand) contestants(ctx context.Context, a *arena) ([]*contestant, error) {
	bare, err := a.startBare(ctx)
	if err != nil {
		return nil, err
	}
	all := []*contestant{bare}
	nginx := nginxPath()
	if nginx == "" {
		fmt.Fprintln(os.Stderr, "nginx is not installed and has no row")
	}
	for _, logged := range []bool{false, true} {
		if nginx == "" || o.NoNginx {
			break
		}
		c, err := a.startNginx(ctx, nginx, logged)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	all = append(all, a.edge)
	for _, binary := range o.Beside {
		c, err := a.startEdge("waymark of "+filepath.Base(binary), binary)
		if err != nil {
			return nil, err
		}
		if err := a.awaitAnswer(ctx, c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// measure gives a contestant its turns of a round: at saturation, and at a
// constant rate, or half of what it could do if that is 0.
func (o redirectCommand) measure(ctx context.Context, a *arena, c *contestant, rate float64) (full, half turn, err error) {
	targets := a.mix.against(c.url)
	if full, err = a.drive(ctx, c, targets, saturate(o.Requests)); err != nil {
		return full, half, err
	}
	if rate == 0 {
		rate = full.rate / 2
	}
	half, err = a.drive(ctx, c, targets, pace(rate, o.Duration))
	return full, half, err
}
