package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"waymark/tracker"
)

type programsCommand struct {
	Apply    programsApplyCommand    `cmd:"" help:"Check programmes in YAML or JSON files and write them."`
	Show     programsShowCommand     `cmd:"" help:"Print a programme."`
	List     programsListCommand     `cmd:"" help:"List the programmes."`
	Versions programsVersionsCommand `cmd:"" help:"List the versions of a programme and since when each holds."`
}

type programsShowCommand struct {
	adminFlags
	Name string `arg:"" help:"Name of the programme."`
	YAML bool   `name:"yaml" help:"As YAML, which apply reads; as JSON without it."`
}

func (c *programsShowCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var document json.RawMessage
	if err := client.call(ctx, "GET", "/v1/programs/"+url.PathEscape(c.Name), nil, &document); err != nil {
		return fmt.Errorf("read the programme %s: %w", c.Name, err)
	}
	if !c.YAML {
		fmt.Println(string(document))
		return nil
	}
	text, err := tracker.YAMLFromJSON(document)
	if err != nil {
		return fmt.Errorf("show the programme %s: %w", c.Name, err)
	}
	// As a comment: who edits what was shown and applies it means from now on,
	// and would otherwise change what was earned since that date.
	fmt.Print(strings.Replace(string(text), "\neffective_from: ", "\n# effective_from: ", 1))
	return nil
}

type programsListCommand struct{ adminFlags }

func (c *programsListCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var list struct {
		Programs []tracker.Program `json:"programs"`
	}
	if err := client.call(ctx, "GET", "/v1/programs", nil, &list); err != nil {
		return fmt.Errorf("list the programmes: %w", err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tCURRENCY\tRULES\tTIERS\tCAMPAIGNS\tEFFECTIVE FROM")
	for _, p := range list.Programs {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%s\n", p.Name, p.Currency, len(p.Rewards.Rules), len(p.Tiers), len(p.Campaigns), shownTime(p.EffectiveFrom))
	}
	return table.Flush()
}

// shownTime leaves out the time of what was never written, only assumed.
func shownTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

type programsVersionsCommand struct {
	adminFlags
	Name  string `arg:"" help:"Name of the programme."`
	Limit int    `help:"At most so many, the latest." default:"100"`
}

func (c *programsVersionsCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var list struct {
		Versions []struct {
			Version       uint64    `json:"version"`
			EffectiveFrom time.Time `json:"effective_from"`
			WrittenAt     time.Time `json:"written_at"`
		} `json:"versions"`
	}
	path := fmt.Sprintf("/v1/programs/%s/versions?limit=%d", url.PathEscape(c.Name), c.Limit)
	if err := client.call(ctx, "GET", path, nil, &list); err != nil {
		return fmt.Errorf("list the versions of the programme %s: %w", c.Name, err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tEFFECTIVE FROM\tWRITTEN")
	for _, v := range list.Versions {
		fmt.Fprintf(table, "%d\t%s\t%s\n", v.Version, shownTime(v.EffectiveFrom), shownTime(v.WrittenAt))
	}
	return table.Flush()
}
