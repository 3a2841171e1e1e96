package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"waymark/loadtest/fault"
)

type options struct {
	Rounds   int           `help:"Rounds to play, after those of past failures." default:"300"`
	Minutes  float64       `help:"End after the round in which so many minutes are over; 0 goes on." default:"0"`
	Seed     uint64        `help:"Seed of the run; a random one without it."`
	Replay   []uint64      `help:"Play the rounds of these seeds and no others."`
	Past     bool          `help:"Play the rounds that failed in the past first." default:"false"`
	Faults   []string      `help:"Only these faults; --list names them."`
	List     bool          `help:"Print the table of faults."`
	Binary   string        `help:"The waymark to hurt." default:"bin/waymark" type:"path"`
	Clock    string        `name:"clock-binary" help:"The same, built with -tags chaos so that its clock can be moved." type:"path"`
	Dir      string        `help:"Where installations live, and stay when they have failed; a temporary directory without it." type:"path"`
	Rate     float64       `help:"Requests a second." default:"1500"`
	Duration time.Duration `help:"How long load flows in a round." default:"5s"`
	Reuse    int           `help:"Rounds that one installation is hurt for." default:"25"`
	Out      string        `help:"File for the result as Markdown." type:"path"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "fault-broker" {
		if err := fault.ServeBroker(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "fault-broker: "+err.Error())
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("chaos"), kong.Description("Hurts Waymark in every way it knows, under load, and counts what is lost and doubled."))
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos: "+err.Error())
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	if o.List {
		return printKinds()
	}
	table, err := selectKinds(o.Faults)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "waymark-chaos-"); err != nil {
			return fmt.Errorf("create a directory for the installations: %w", err)
		}
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	s := &suite{options: *o, program: program{o.Binary, o.Clock, self}, table: table, random: rand.New(rand.NewPCG(o.Seed, 0))}
	s.give()
	fmt.Printf("seed %d, installations in %s\n", o.Seed, o.Dir)
	err = errors.Join(s.play(ctx), s.leave())
	fmt.Println()
	s.score.write(os.Stdout)
	if o.Out != "" {
		err = errors.Join(err, s.score.writeFile(o.Out, s))
	}
	os.Remove(o.Dir) // if nothing is left in it
	return err
}

func printKinds() error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, k := range kinds {
		fmt.Fprintf(table, "%s\t%s\t%s\n", k.name, k.where(), k.what)
	}
	return table.Flush()
}

// suite plays round after round.
type suite struct {
	options
	program
	table  []*kind
	random *rand.Rand
	score  score

	given []draft // to be played first
	drawn int

	deployment *deployment
	deployed   int // installations so far
}

// play plays the rounds that were asked for. The error says how many failed.
func (s *suite) play(ctx context.Context) error {
	began := time.Now()
	for next, more := s.next(); more; next, more = s.next() {
		if s.Minutes > 0 && time.Since(began).Minutes() > s.Minutes {
			break
		}
		o, err := s.round(ctx, next)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted in round %d", s.score.rounds()+1)
		}
		if err != nil {
			return err
		}
		s.score.add(o)
		o.print(os.Stdout, s.score.rounds())
	}
	if failed := s.score.failed(); failed > 0 {
		return fmt.Errorf("%d of %d rounds failed", failed, s.score.rounds())
	}
	return nil
}

// round plays one round, on the installation that there is if it may be.
func (s *suite) round(ctx context.Context, next draft) (*outcome, error) {
	t := topologyOf(next.seed)
	if d := s.deployment; d != nil && (d.topology != t || d.rounds >= s.Reuse) {
		if err := s.leave(); err != nil {
			return nil, err
		}
	}
	if s.deployment == nil {
		s.deployed++
		d, err := deploy(ctx, s.program, t, filepath.Join(s.Dir, fmt.Sprint(s.deployed)))
		if err != nil {
			return nil, fmt.Errorf("start an installation: %w; its logs are in %s", err, s.Dir)
		}
		s.deployment = d
	}
	r := newRound(s.deployment, next.seed, next.plan)
	o := r.play(ctx)
	if len(o.failures) > 0 {
		o.kept = s.deployment.dir
		err := s.deployment.close()
		s.deployment = nil
		return o, err
	}
	return o, nil
}

// leave ends the installation and removes what it has written.
func (s *suite) leave() error {
	if s.deployment == nil {
		return nil
	}
	err := errors.Join(s.deployment.close(), os.RemoveAll(s.deployment.dir))
	s.deployment = nil
	return err
}
