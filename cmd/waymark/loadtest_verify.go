package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"waymark/loadtest/verify"
	"waymark/tracker"
)

type loadtestVerifyCommand struct {
	dataFlags
	clickhouseFlags
	Ledger []string      `help:"Ledger of a run; repeatable." type:"existingfile" required:"" placeholder:"FILE" sep:"none"`
	Wait   time.Duration `help:"How long ClickHouse may show no progress before the comparison is final; 0 compares at once." default:"30s"`
	Temp   string        `help:"Directory for temporary files, about 40 bytes a line of the ledger; the system's without it." type:"existingdir" placeholder:"DIR"`
	JSON   bool          `name:"json" help:"Print the comparison as JSON."`
}

func (c *loadtestVerifyCommand) Run(ctx context.Context) error {
	ring, err := c.existingKeyRing()
	if err != nil {
		return err
	}
	password, err := c.dir().clickhousePassword(false)
	if err != nil {
		return err
	}
	ids := tracker.NewClickIDs(ring)
	report, err := verify.Verify(ctx, verify.Options{
		Ledgers: c.Ledger, ClickHouse: c.ClickHouse, User: engineUser, Password: password, Wait: c.Wait, Temp: c.Temp,
		Decode: func(id []byte) (verify.ClickID, error) {
			click, err := ids.Parse(id)
			return verify.ClickID{TimeMS: click.TimeMS, Link: uint32(click.Link), Node: click.Node, Sequence: click.Sequence}, err
		},
		Progress: newVerifyProgress(),
	})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if c.JSON {
		err = report.WriteJSON(os.Stdout)
	} else {
		err = report.WriteTable(os.Stdout)
	}
	if err == nil && report.Differences > 0 {
		err = fmt.Errorf("verify: the ledger and ClickHouse differ in %d places", report.Differences)
	}
	return err
}

// existingKeyRing is the key ring of the installation. Unlike keyRing it makes
// none: a new one could read no click id.
func (c *loadtestVerifyCommand) existingKeyRing() (*tracker.KeyRing, error) {
	path := c.dir().path("secrets.json")
	if _, err := os.Stat(path); c.Secrets == "" && errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the key ring of the click ids: there is no %s; name the directory of the installation with --data, or the key ring with --secrets", path)
	}
	return c.keyRing()
}

// newVerifyProgress prints what verification is doing, each line once.
func newVerifyProgress() func(string) {
	last := ""
	return func(line string) {
		if line != last {
			fmt.Fprintln(os.Stderr, line)
		}
		last = line
	}
}
