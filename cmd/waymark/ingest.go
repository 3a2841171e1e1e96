package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/clickhouse"
	"waymark/pipeline"
)

type ingestCommand struct {
	dataFlags
	kafkaFlags
	clickhouseFlags
	metricsFlags
	Instance string `help:"Name of this process within the consumer group, kept across restarts, so that it takes its partitions over at once after a crash. No two processes may share one." placeholder:"NAME"`
}

func (c *ingestCommand) Run(ctx context.Context) error {
	kafka, err := c.kafkaFlags.clients()
	if err != nil {
		return err
	}
	data := c.dir()
	if err := data.open(); err != nil {
		return err
	}
	registry, ready := newRegistry(), newReadiness("ingest")
	if err := c.metricsFlags.serve(ctx, registry, ready); err != nil {
		return err
	}
	database, err := c.clickhouseFlags.open(data)
	if err != nil {
		return err
	}
	defer database.Close()
	watchClickHouse(ctx, database, ready)
	if err := retryStart(ctx, ready, "prepare ClickHouse", func(ctx context.Context) error {
		return database.Migrate(ctx, clickhouse.MigrateOptions{Embedded: c.isEmbedded(data)})
	}); err != nil {
		return err
	}
	if err := ensureTopics(ctx, kafka, ready); err != nil {
		return err
	}
	if err := reserveNodes(ctx, kafka, database, ready); err != nil {
		return err
	}
	ingest, err := newIngest(kafka, database, c.Instance, registry)
	if err != nil {
		return err
	}
	ready.addErr("ingest", ingest.Ready)
	ready.started()
	slog.Info("ingest is running", "kafka", c.Kafka)
	return ingest.Run(ctx)
}

func newIngest(kafka pipeline.ClientOptions, store pipeline.Store, instance string, registry prometheus.Registerer) (*pipeline.Ingest, error) {
	kafka.ID = "waymark-ingest"
	return pipeline.NewIngest(pipeline.IngestOptions{
		Clients: kafka, Store: store, Instance: instance, Registerer: registry,
	})
}
