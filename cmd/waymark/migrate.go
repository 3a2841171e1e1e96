package main

import (
	"context"
	"fmt"

	"waymark/clickhouse"
)

type migrateCommand struct {
	dataFlags
	clickhouseFlags
}

func (c *migrateCommand) Run(ctx context.Context) error {
	database, err := c.clickhouseFlags.open(c.dir())
	if err != nil {
		return err
	}
	defer database.Close()
	if err := database.Migrate(ctx, clickhouse.MigrateOptions{Embedded: c.isEmbedded(c.dir())}); err != nil {
		return err
	}
	fmt.Println("the schema is current")
	return nil
}
