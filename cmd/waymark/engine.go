package main

import (
	"context"
	"fmt"

	"waymark/clickhouse/engine"
)

type engineCommand struct {
	Data   string `help:"Directory of all state; the tables are in DIR/engine, the password in DIR/clickhouse.password." default:"waymark-data" type:"path"`
	Listen string `name:"clickhouse-listen" help:"Address of the HTTP interface." default:"127.0.0.1:8123"`
}

func (c *engineCommand) Run(ctx context.Context) error {
	data := dataDir(c.Data)
	if err := data.open(); err != nil {
		return err
	}
	password, err := data.clickhousePassword(true)
	if err != nil {
		return err
	}
	return engine.Serve(ctx, engine.Options{
		Path:   data.path("engine"),
		Listen: c.Listen,
		Users:  []engine.User{{Name: engineUser, Password: password}},
	})
}

// args starts this command in a child process.
func (c *engineCommand) args() []string {
	return []string{"engine", fmt.Sprintf("--data=%s", c.Data), fmt.Sprintf("--clickhouse-listen=%s", c.Listen)}
}
