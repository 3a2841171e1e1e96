// Command bench measures what a captured redirect costs, beside bare fasthttp
// answering as many bytes, in one run.
//
// The contestants run as processes of their own and take turns, since shared
// machines drift; what is compared is the CPU time of the server process per
// request, which is steadier than any elapsed time. For Waymark it is read
// after the backlog has been shipped, so that capture, enrichment and delivery
// to a broker (in another process) are all in it; and every answered click is
// counted in Kafka.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Binary   string `help:"The waymark binary to measure." default:"bin/waymark"`
	Rounds   int    `help:"Rounds of each contestant." default:"5"`
	Requests int    `help:"Requests a round." default:"100000"`
	Conns    int    `help:"Connections that send them." default:"32"`

	// The roles that this program plays for itself as a child process.
	Role     string `hidden:""`
	Listen   string `hidden:""`
	Dir      string `hidden:""`
	Location string `hidden:""`
	Cookie   string `hidden:""`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	kong.Parse(&o, kong.Description("CPU time per captured redirect, beside bare fasthttp in the same run."))
	err := map[string]func(context.Context, options) error{"": run, "bare": serveBare, "broker": serveBroker}[o.Role](ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	arena, err := startArena(ctx, o)
	if err != nil {
		return err
	}
	defer arena.close()
	var bare, edge []float64
	for round := range o.Rounds + 1 {
		cpu, err := arena.measure(ctx, arena.bare, arena.bareURL, o.Requests, nil)
		if err != nil {
			return fmt.Errorf("measure bare fasthttp: %w", err)
		}
		edgeCPU, err := arena.measure(ctx, arena.edge, arena.edgeURL, o.Requests, arena.drained)
		if err != nil {
			return fmt.Errorf("measure waymark: %w", err)
		}
		if round == 0 {
			continue // warm-up
		}
		fmt.Fprintf(os.Stderr, "round %d of %d: bare fasthttp %.2f µs, waymark %.2f µs a request\n", round, o.Rounds, cpu, edgeCPU)
		bare, edge = append(bare, cpu), append(edge, edgeCPU)
	}
	printTable(o, bare, edge)
	return nil
}

func printTable(o options, bare, edge []float64) {
	fmt.Printf("\nCPU time of the server process per request, %d rounds of %d requests over %d connections\n", o.Rounds, o.Requests, o.Conns)
	fmt.Printf("%s %s/%s, %d cores, %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tmedian µs\tleast µs\tmost µs\tratio\t")
	for _, row := range []struct {
		name string
		cpu  []float64
	}{{"bare fasthttp, fixed 302", bare}, {"waymark, captured and shipped", edge}} {
		slices.Sort(row.cpu)
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t\n", row.name, median(row.cpu), row.cpu[0], row.cpu[len(row.cpu)-1], median(row.cpu)/median(bare))
	}
	table.Flush()
}

// median of a sorted slice.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
