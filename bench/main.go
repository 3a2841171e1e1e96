// Command bench measures Waymark beside what it is compared with, in one run.
//
//	redirect.go   what a captured redirect costs, beside bare fasthttp and nginx
//	faults.go     what a visitor feels while Kafka is away, slow or comes back
//	hostile.go    what a visitor feels while somebody floods or starves the node
//	ingest.go, freshness.go, storage.go, links.go, growth.go   what comes after the redirect
//	reports.go    what analysts ask, of the views and of the raw events
//
// Contestants are processes of their own and take turns in rounds, since shared
// machines drift: a round compares what ran within seconds, and what is
// published is the median over the rounds, with its spread.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands are the suites, a file each.
type commands struct {
	Redirect redirectCommand `cmd:"" default:"withargs" help:"What a captured redirect costs, beside bare fasthttp and nginx."`
	Faults   faultsCommand   `cmd:"" help:"Redirects while Kafka is away, slow, and catching up."`
	Hostile  hostileCommand  `cmd:"" help:"Redirects under a flood of unknown codes, slow clients, huge headers and idle connections."`
	Ingest   ingestCommand   `cmd:"" help:"Kafka to ClickHouse: Waymark beside a bare loop of prepared blocks and ClickHouse's own Kafka engine."`

	Freshness freshnessCommand `cmd:"" help:"From the click to the report that counts it."`
	Storage   storageCommand   `cmd:"" help:"Bytes a click on ClickHouse's disk, by table and column."`
	Links     linksCommand     `cmd:"" help:"Memory and start of an edge by the number of links, and the latency of rare ones."`
	Growth    growthCommand    `cmd:"" help:"The costs of events by their number."`
	Reports   reportsCommand   `cmd:"" help:"Every report and view beside the same question on raw events, and what each view costs."`

	// The roles that this program plays for itself as a child process.
	Bare   bareRole   `cmd:"" hidden:""`
	Broker brokerRole `cmd:"" hidden:""`
	Crowd  crowdRole  `cmd:"" hidden:""`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := kong.Parse(new(commands), kong.Name("bench"), kong.Description("Measures Waymark, each contender in the same run."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}
