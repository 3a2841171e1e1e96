package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"text/tabwriter"
	"time"
)

type payoutsCommand struct {
	Create payoutsCreateCommand `cmd:"" help:"Pay what is eligible."`
	List   payoutsListCommand   `cmd:"" help:"List the batches of payouts, the latest first."`
	Show   payoutsShowCommand   `cmd:"" help:"Show what a batch pays to whom."`
}

// payoutBatch is a batch as the API gives it.
type payoutBatch struct {
	Batch, Program, Currency, Total string
	Closed                          bool
	Payments                        []struct {
		Party, Amount string
		Time          time.Time
		Lines         []struct{ Reward, Amount string }
	}
}

func (b *payoutBatch) print() error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARTY\tAMOUNT\tREWARDS\tTIME")
	for _, p := range b.Payments {
		fmt.Fprintf(table, "%s\t%s %s\t%d\t%s\n", p.Party, p.Amount, b.Currency, len(p.Lines), p.Time.Format(time.RFC3339))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Printf("batch %s of %s: %s %s to %d parties\n", b.Batch, b.Program, b.Total, b.Currency, len(b.Payments))
	if !b.Closed {
		fmt.Println("it was interrupted: create it again with its --key, and it is completed")
	}
	return nil
}

type payoutsCreateCommand struct {
	adminFlags
	Program string   `help:"The programme that pays." required:"" placeholder:"NAME"`
	Key     string   `help:"A name of your own for the batch: create it again with the same, and it is completed, never repeated." placeholder:"TEXT"`
	Party   []string `help:"Only this party; repeatable." placeholder:"ID"`
	Until   string   `help:"Only what was eligible by then." placeholder:"DATE"`
	Minimum string   `help:"Parties that would get less get nothing yet." placeholder:"AMOUNT"`
}

func (c *payoutsCreateCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	in := map[string]any{"program": c.Program, "key": c.Key, "parties": c.Party, "until": c.Until, "minimum": c.Minimum}
	var batch payoutBatch
	if err := client.call(ctx, "POST", "/v1/payouts", in, &batch); err != nil {
		return fmt.Errorf("pay: %w", err)
	}
	return batch.print()
}

// payoutRow is a row of GET /v1/payouts.
type payoutRow struct {
	Batch, Program, Total, Currency string
	OpenedAt                        time.Time `json:"opened_at"`
	Closed                          bool
	Parties                         int
}

type payoutsListCommand struct {
	adminFlags
	Program string `help:"Only this programme." placeholder:"NAME"`
	Party   string `help:"Only batches that paid this party." placeholder:"ID"`
}

func (c *payoutsListCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BATCH\tPROGRAM\tOPENED\tCLOSED\tPARTIES\tTOTAL")
	filters := url.Values{"program": {c.Program}, "party": {c.Party}}
	for b, err := range listAll[payoutRow](ctx, client, "/v1/payouts", "rows", filters) {
		if err != nil {
			return fmt.Errorf("list the payouts: %w", err)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%t\t%d\t%s %s\n", b.Batch, b.Program, b.OpenedAt.Format(time.RFC3339), b.Closed, b.Parties, b.Total, b.Currency)
	}
	return table.Flush()
}

type payoutsShowCommand struct {
	adminFlags
	Batch string `arg:"" help:"Id of the batch."`
}

func (c *payoutsShowCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var batch payoutBatch
	if err := client.call(ctx, "GET", "/v1/payouts/"+url.PathEscape(c.Batch), nil, &batch); err != nil {
		return fmt.Errorf("show the batch: %w", err)
	}
	return batch.print()
}
