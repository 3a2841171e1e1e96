package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

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
	registry, ready := newRegistry(), &readiness{}
	if err := c.metricsFlags.serve(ctx, registry, ready); err != nil {
		return err
	}
	database, err := c.clickhouseFlags.open(data)
	if err != nil {
		return err
	}
	defer database.Close()
	if err := retryStart(ctx, "prepare ClickHouse", func(ctx context.Context) error {
		return database.Migrate(ctx, clickhouse.MigrateOptions{})
	}); err != nil {
		return err
	}
	if err := ensureTopics(ctx, kafka); err != nil {
		return err
	}
	ingest, err := newIngest(kafka, database, c.Instance, registry)
	if err != nil {
		return err
	}
	ready.addErr("ingest", ingest.Ready)
	slog.Info("ingest is running", "kafka", c.Kafka)
	return ingest.Run(ctx)
}

func newIngest(kafka pipeline.ClientOptions, store pipeline.Store, instance string, registry prometheus.Registerer) (*pipeline.Ingest, error) {
	kafka.ID = "waymark-ingest"
	return pipeline.NewIngest(pipeline.IngestOptions{
		Clients: kafka, Store: store, Instance: instance, Registerer: registry,
	})
}

// ensureTopics creates the topics that are missing, waiting for Kafka as long
// as it takes. A topic that can't be used as it is ends the program.
func ensureTopics(ctx context.Context, kafka pipeline.ClientOptions) error {
	client, err := pipeline.NewClient(kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	return retryStart(ctx, "prepare the topics", func(ctx context.Context) error { return pipeline.EnsureTopics(ctx, client) })
}

// retryStart repeats a step of starting up that needs another system, until
// it works. What waiting can't mend is returned at once.
func retryStart(ctx context.Context, doing string, step func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := step(attempt)
		cancel()
		var unusable *pipeline.TopicError
		if err == nil || errors.As(err, &unusable) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		slog.Warn(fmt.Sprintf("can't %s yet, trying again", doing), "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
