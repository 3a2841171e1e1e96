// Command waymark is the one binary of Waymark: redirect node, ingest, admin
// and the embedded default in one, a file per subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

type commands struct {
	Up       upCommand       `cmd:"" help:"Everything in one command on the embedded default: broker, engine, edge, ingest, admin."`
	Edge     edgeCommand     `cmd:"" help:"A redirect node."`
	Ingest   ingestCommand   `cmd:"" help:"Move events from Kafka to ClickHouse."`
	Admin    adminCommand    `cmd:"" help:"API for links, programmes, keys and reports."`
	Engine   engineCommand   `cmd:"" help:"The embedded ClickHouse, on its HTTP interface."`
	Migrate  migrateCommand  `cmd:"" help:"Bring a ClickHouse to the current schema."`
	Links    linksCommand    `cmd:"" help:"Create, import and export links."`
	Programs programsCommand `cmd:"" help:"Check, write and show programmes."`
	Keys     keysCommand     `cmd:"" help:"Create, list and revoke API keys."`
	Rewards  rewardsCommand  `cmd:"" help:"List rewards, and recompute them."`
	Payouts  payoutsCommand  `cmd:"" help:"Pay what is eligible, and list what was paid."`
	Fraud    fraudCommand    `cmd:"" help:"List what is held against referrals, show the evidence, and decide."`
	Partners partnersCommand `cmd:"" help:"List, create and change partners."`
	Events   eventsCommand   `cmd:"" help:"Import the history of another system."`
	Demo     demoCommand     `cmd:"" help:"Drive a simulated programme through the real HTTP endpoints and check every count."`
	Loadtest loadtestCommand `cmd:"" help:"Open-loop load with a ledger, and its comparison with ClickHouse."`
	Audit    auditCommand    `cmd:"" help:"Prove that Kafka, events and every materialised view agree, and repair what does not."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	CPUProfile string `name:"cpu-profile" help:"Write a CPU profile of the process to this file at its orderly end." type:"path" placeholder:"FILE"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cli commands
	parser := kong.Must(&cli,
		kong.Name("waymark"),
		kong.Description("A click and attribution edge tracker: redirects from memory, events through Kafka into ClickHouse."),
		kong.DefaultEnvars("WAYMARK"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	command, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	// After the first signal a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	err = profiled(cli.CPUProfile, func() error { return command.Run() })
	os.Exit(exitCode(strings.Fields(command.Command())[0], err))
}

// profiled runs with a CPU profile, unless the path is empty.
func profiled(path string, run func() error) error {
	if path == "" {
		return run()
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create the file of --cpu-profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(fmt.Errorf("profile the process: %w", err), file.Close())
	}
	err = run()
	pprof.StopCPUProfile()
	return errors.Join(err, file.Close())
}

// exitCode is that of a command that ended with an error or nil. It prints the
// error. To be interrupted is none.
func exitCode(command string, err error) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "waymark "+command+": "+err.Error())
	return 1
}
