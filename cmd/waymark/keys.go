package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"waymark/tracker"
)

type keysCommand struct {
	Create keysCreateCommand `cmd:"" help:"Make a key and print its secret, once."`
	List   keysListCommand   `cmd:"" help:"List the keys; secrets are not stored."`
	Revoke keysRevokeCommand `cmd:"" help:"Revoke a key by its id."`
}

type keysCreateCommand struct {
	adminFlags
	Role    string `help:"What the key may do: everything, report actions, or read links and reports." enum:"admin,event,read" required:""`
	Program string `help:"The one programme that the key is good for; all without it." placeholder:"NAME"`
}

func (c *keysCreateCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var made struct {
		Secret string `json:"secret"`
	}
	in := map[string]string{"role": c.Role, "program": c.Program}
	if err := client.call(ctx, "POST", "/v1/keys", in, &made); err != nil {
		return fmt.Errorf("create a key: %w", err)
	}
	fmt.Println(made.Secret)
	return nil
}

type keysListCommand struct{ adminFlags }

func (c *keysListCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var list struct {
		Keys []tracker.APIKey `json:"keys"`
	}
	if err := client.call(ctx, "GET", "/v1/keys", nil, &list); err != nil {
		return fmt.Errorf("list the keys: %w", err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tROLE\tPROGRAM\tCREATED\tREVOKED")
	for _, key := range list.Keys {
		revoked := ""
		if key.RevokedAt != nil {
			revoked = key.RevokedAt.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Role, key.Program, key.CreatedAt.Format(time.RFC3339), revoked)
	}
	return table.Flush()
}

type keysRevokeCommand struct {
	adminFlags
	ID string `arg:"" help:"Id of the key, as listed."`
}

func (c *keysRevokeCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := client.call(ctx, "DELETE", "/v1/keys/"+url.PathEscape(c.ID), nil, nil); err != nil {
		return fmt.Errorf("revoke the key %s: %w", c.ID, err)
	}
	return nil
}
