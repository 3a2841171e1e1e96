package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
)

type linksCommand struct {
	Create linksCreateCommand `cmd:"" help:"Create one link and print it."`
	Import linksImportCommand `cmd:"" help:"Create links from a CSV or NDJSON file."`
	Export linksExportCommand `cmd:"" help:"Write every link as CSV or NDJSON, in the form that import reads."`
}

type linksCreateCommand struct {
	adminFlags
	URL          string   `arg:"" help:"Where the link leads."`
	Code         string   `help:"Code of the link; made up without it." placeholder:"CODE"`
	Domain       string   `help:"The one host that the link answers on; every host without it." placeholder:"HOST"`
	Program      string   `help:"Programme of the link." default:"general"`
	Campaign     string   `help:"Campaign of the link."`
	Channel      string   `help:"Channel that the link is spread by: email, qr, social, …"`
	ReferrerID   string   `help:"Who refers: the customer's own id of the party." placeholder:"ID"`
	ReferrerType string   `help:"Type of the referrer." placeholder:"TYPE"`
	RefereeType  string   `help:"Type of whom the link is meant for." placeholder:"TYPE"`
	Tags         []string `help:"Tags, separated by commas."`
}

func (c *linksCreateCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	link := map[string]any{
		"url": c.URL, "code": c.Code, "domain": c.Domain, "program": c.Program, "campaign": c.Campaign, "channel": c.Channel,
		"referrer": map[string]string{"id": c.ReferrerID, "type": c.ReferrerType}, "referee_type": c.RefereeType, "tags": append([]string{}, c.Tags...),
	}
	var made json.RawMessage
	if err := client.call(ctx, "POST", "/v1/links", link, &made); err != nil {
		return fmt.Errorf("create the link: %w", err)
	}
	fmt.Println(string(made))
	return nil
}

type linksExportCommand struct {
	adminFlags
	Format   string `help:"csv or ndjson." enum:"csv,ndjson" default:"csv"`
	Referrer string `help:"Only the links of this referrer." placeholder:"ID"`
}

func (c *linksExportCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	write := writeNDJSON
	if c.Format == "csv" {
		table := csv.NewWriter(os.Stdout)
		if err := table.Write(linkColumns); err != nil {
			return fmt.Errorf("write the header line: %w", err)
		}
		defer table.Flush()
		write = func(link map[string]any) error { return table.Write(recordOfLink(link)) }
	}
	for link, err := range listAll[map[string]any](ctx, client, "/v1/links", "links", url.Values{"referrer": {c.Referrer}}) {
		if err != nil {
			return fmt.Errorf("list the links: %w", err)
		}
		if err := write(link); err != nil {
			return fmt.Errorf("write a link: %w", err)
		}
	}
	return nil
}

func writeNDJSON(link map[string]any) error { return json.NewEncoder(os.Stdout).Encode(link) }
