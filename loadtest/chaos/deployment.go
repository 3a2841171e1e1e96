package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"waymark/loadtest/fault"
)

// program says where the binaries are.
type program struct {
	waymark string
	clock   string // built with -tags chaos, so that its clock can be moved; "" for none
	self    string // this one, which plays the broker
}

// deployment is an installation of Waymark whose processes are the real ones.
// It lives through many rounds.
type deployment struct {
	program
	topology topology
	dir      string // everything that it writes but the rings
	rings    string
	key      string // of role admin
	rounds   int

	all     []*part // in the order of starting
	edges   []*edge
	ingests []*part
	up      *part
	engine  *part
	admin   *part
	admin2  *part // it comes and goes

	adminURL, admin2URL, clickhouse, kafka string // as clients reach them

	broker     *fault.Broker
	brokerLog  *os.File
	kafkaPipe  *fault.Pipe
	house      *fault.ClickHouse
	knownLines map[string]bool // of audit, about what earlier rounds have explained
}

// edge is a redirect node, alone or inside of `up`.
type edge struct {
	*part
	spool   string
	listens [2]string // one at a time
	current int       // which
	metrics string    // URL
	clock   string    // file with the offset of its clock, "" if that can't be moved
	ring    string    // bytes
	disk    string    // bytes
	rings   string    // directory of its ring alone
}

const (
	ringBytes = "4194304"
	diskBytes = "1073741824"
	// A ring that goes to disk at every chance, and a disk budget for less. Smaller
	// rings fill on a busy machine before a sync is through: when a process that
	// had to wait answers a hundred requests at once.
	smallRingBytes, smallDiskBytes = "524288", "262144"
)

// deploy starts an installation and waits until it is ready.
func deploy(ctx context.Context, p program, t topology, dir string) (*deployment, error) {
	d := &deployment{program: p, topology: t, dir: dir, key: "chaos-admin-key", knownLines: map[string]bool{}}
	for _, sub := range []string{"", "data", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("create the directory of an installation: %w", err)
		}
	}
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = dir // on disk: slower, no worse
	}
	var err error
	if d.rings, err = os.MkdirTemp(parent, "waymark-chaos-"); err != nil {
		return nil, fmt.Errorf("create the directory of the rings: %w", err)
	}
	start := map[topology]func(context.Context) error{parts: d.startParts, up: d.startUp}[t]
	if err := start(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	if err := d.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *deployment) data() string { return filepath.Join(d.dir, "data") }

// part makes a part that is not started yet.
func (d *deployment) part(name string, ready func() string, args func() []string) *part {
	p := &part{
		name: name, binary: d.waymark, args: args, ready: ready, log: filepath.Join(d.dir, "logs", name),
		env: []string{"WAYMARK_ADMIN_KEY=" + d.key},
	}
	d.all = append(d.all, p)
	return p
}

// always is a URL that stays what it is.
func always(url string) func() string { return func() string { return url } }

// awaitReady waits until everything that should run is of use.
func (d *deployment) awaitReady(ctx context.Context) error {
	for _, p := range d.all {
		if !p.wanted {
			continue
		}
		if err := await(ctx, p.name, patience, p.isReady); err != nil {
			return err
		}
	}
	return nil
}

// command runs the program beside the installation, such as `waymark audit`. It
// returns what that printed and its exit code.
func (d *deployment) command(ctx context.Context, args ...string) (stdout []byte, code int, err error) {
	cmd := exec.CommandContext(ctx, d.waymark, args...)
	cmd.Env = append(cleanEnvironment(), "WAYMARK_ADMIN_KEY="+d.key)
	log, err := os.OpenFile(filepath.Join(d.dir, "logs", "commands"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, 0, fmt.Errorf("open the log of a command: %w", err)
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s %q\n", time.Now().Format(time.RFC3339Nano), args)
	cmd.Stderr = log
	stdout, err = cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return stdout, exit.ExitCode(), nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("run waymark %s: %w", args[0], err)
	}
	return stdout, 0, nil
}

// close ends everything. The directory stays.
func (d *deployment) close() error {
	for _, p := range slices.Backward(d.all) {
		p.kill()
	}
	var errs []error
	if d.broker != nil {
		errs = append(errs, d.broker.Kill())
	}
	if d.kafkaPipe != nil {
		errs = append(errs, d.kafkaPipe.Close())
	}
	if d.house != nil {
		errs = append(errs, d.house.Close())
	}
	if d.brokerLog != nil {
		errs = append(errs, d.brokerLog.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(d.rings))...)
}
