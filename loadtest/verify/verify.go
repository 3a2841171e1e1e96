package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/loadtest/ledger"
)

// ClickID is what a click id stands for.
type ClickID struct {
	TimeMS   uint64 // Unix milliseconds
	Link     uint32
	Node     uint16
	Sequence uint16
}

// Options are the settings of a verification.
type Options struct {
	Ledgers        []string // paths
	ClickHouse     string   // clickhouse://… or http://…
	User, Password string   // unless the address has them

	// Decode reads a click id. Click ids are encrypted with the key ring of the
	// installation, and the rows have the plain parts; asking the admin API for
	// each of millions would take hours.
	Decode func(id []byte) (ClickID, error)

	// Wait is for how long the rows may show no progress until the comparison is
	// made although some are missing; with 0 it is made at once.
	Wait     time.Duration
	Temp     string       // directory for temporary files; the system's if empty
	Progress func(string) // what is being done; nil for nobody
}

const waitPoll = 500 * time.Millisecond

// verification is the state of one comparison.
type verification struct {
	Options
	scope
	conn   driver.Conn
	report *Report

	clicks  *spill // by identity
	actions *spill // by event and order or id
	users   *spill // by user
	daily   daily
	open    map[openClick]*openClicks
}

// Verify compares ledgers with ClickHouse. The error is that the comparison could
// not be made; differences are in the report.
func Verify(ctx context.Context, o Options) (*Report, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	dir, err := os.MkdirTemp(o.Temp, "waymark-verify-")
	if err != nil {
		return nil, fmt.Errorf("create a temporary directory: %w; choose another place with --temp", err)
	}
	defer os.RemoveAll(dir)
	v := &verification{Options: o, report: &Report{Format: 1, Unfinished: []string{}}, daily: newDaily(), open: map[openClick]*openClicks{}}
	for _, s := range []struct {
		name string
		into **spill
	}{{"clicks", &v.clicks}, {"actions", &v.actions}, {"users", &v.users}} {
		if *s.into, err = newSpill(dir, s.name); err != nil {
			return nil, err
		}
		defer (*s.into).close()
	}
	for _, path := range o.Ledgers {
		o.Progress("reading " + path)
		if err := v.readLedger(path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if v.conn, err = open(o.ClickHouse, o.User, o.Password); err != nil {
		return nil, err
	}
	defer v.conn.Close()
	for _, step := range []func(context.Context) error{
		v.countActions, v.await, v.compareClicks, v.compareDaily, v.compareDimensions, v.compareActions, v.compareReferrals,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	for _, line := range v.report.Lines {
		v.report.Differences += line.Differences()
	}
	return v.report, nil
}

// line adds a line to the report.
func (v *verification) line(table, what string) *Line {
	l := &Line{Table: table, What: what, Samples: []Sample{}}
	v.report.Lines = append(v.report.Lines, l)
	return l
}

// readLedger divides the entries of a ledger among the spills.
func (v *verification) readLedger(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	defer file.Close()
	r, err := ledger.NewReader(file)
	if err != nil {
		return err
	}
	v.runs, v.programs = append(v.runs, r.Run), append(v.programs, r.Program)
	v.report.Runs = v.runs
	for line := 2; ; line++ {
		var e ledger.Entry
		if err := r.Next(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		add := v.addAction
		if e.Kind == ledger.Click {
			add = v.addClick
		}
		if err := add(&e); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	if !r.Ended() {
		v.report.Unfinished = append(v.report.Unfinished, path)
	}
	return nil
}

// decode reads a click id of the ledger.
func (v *verification) decode(id []byte) (ClickID, error) {
	click, err := v.Decode(id)
	if err != nil {
		return click, fmt.Errorf("read the click id %s: %w; give the key ring of the installation that made it, with --data or --secrets", id, err)
	}
	return click, nil
}

// await waits until as many rows are there as the ledger promises, and none has
// come since, or until none has come for so long that none will.
func (v *verification) await(ctx context.Context) error {
	if v.Wait <= 0 {
		return nil
	}
	var lastClicks, lastActions uint64
	for changed, first := time.Now(), true; ; first = false {
		clicks, actions, err := arrived(ctx, v.conn, v.scope)
		if err != nil {
			return err
		}
		v.Progress(fmt.Sprintf("waiting: %d of %d clicks and %d of %d actions are there", clicks, v.report.Clicks, actions, v.report.Actions))
		if first || clicks != lastClicks || actions != lastActions {
			changed = time.Now()
		} else if time.Since(changed) > v.Wait || clicks >= v.report.Clicks && actions >= v.report.Actions {
			return nil
		}
		lastClicks, lastActions = clicks, actions
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitPoll):
		}
	}
}
