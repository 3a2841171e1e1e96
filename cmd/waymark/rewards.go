package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"text/tabwriter"
)

type rewardsCommand struct {
	List      rewardsListCommand      `cmd:"" help:"List rewards with their state and amount."`
	Recompute rewardsRecomputeCommand `cmd:"" help:"Compare the ledger with the facts and correct it, or only show the difference."`
}

type rewardsListCommand struct {
	adminFlags
	Program string `help:"Only this programme." placeholder:"NAME"`
	Party   string `help:"Only rewards of this party." placeholder:"ID"`
	State   string `help:"Only rewards in this state: pending, calculated, eligible, paid, expired or cancelled." placeholder:"STATE"`
}

// rewardRow is a row of GET /v1/rewards, as far as the table shows it.
type rewardRow struct {
	Reward, Program, Party, Rule, State, Amount, Currency, Fact string
	EarnedAt                                                    string `json:"earned_at"`
}

func (c *rewardsListCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REWARD\tPROGRAM\tPARTY\tRULE\tSTATE\tAMOUNT\tEARNED\tFACT")
	filters := url.Values{"program": {c.Program}, "party": {c.Party}, "state": {c.State}}
	for r, err := range listAll[rewardRow](ctx, client, "/v1/rewards", "rows", filters) {
		if err != nil {
			return fmt.Errorf("list the rewards: %w", err)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s %s\t%s\t%s\n", r.Reward, r.Program, r.Party, r.Rule, r.State, r.Amount, r.Currency, r.EarnedAt, r.Fact)
	}
	return table.Flush()
}

type rewardsRecomputeCommand struct {
	adminFlags
	Program  string `help:"The programme." required:"" placeholder:"NAME"`
	From     string `help:"Show only rewards of facts from this time on." placeholder:"DATE"`
	DryRun   bool   `help:"Only show what would change."`
	Document string `help:"With --dry-run: a document of the programme that is not written yet, JSON or YAML." type:"existingfile" placeholder:"FILE"`
}

func (c *rewardsRecomputeCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{"dry_run": {fmt.Sprint(c.DryRun)}}
	if c.From != "" {
		query.Set("from", c.From)
	}
	var document any
	if c.Document != "" {
		read, err := readProgramDocument(c.Document)
		if err != nil {
			return fmt.Errorf("read the programme in %s: %w", c.Document, err)
		}
		document = json.RawMessage(read.json)
	}
	var out struct {
		Rewards       int
		Before, After string
		Parties       []struct {
			Party, Before, After string
			Rewards              int
		}
	}
	if err := client.call(ctx, "POST", "/v1/programs/"+url.PathEscape(c.Program)+"/rewards/recompute?"+query.Encode(), document, &out); err != nil {
		return fmt.Errorf("recompute the rewards: %w", err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARTY\tREWARDS\tBEFORE\tAFTER")
	for _, p := range out.Parties {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", p.Party, p.Rewards, p.Before, p.After)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	verb := "changed"
	if c.DryRun {
		verb = "would change"
	}
	fmt.Printf("%d rewards: %s in the ledger, %s by the rules; %d parties %s\n", out.Rewards, out.Before, out.After, len(out.Parties), verb)
	return nil
}
