package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"waymark/clickhouse"
	"waymark/pipeline"
)

// ensureTopics creates the topics that are missing, waiting for Kafka as long
// as it takes. A topic that can't be used as it is ends the program.
func ensureTopics(ctx context.Context, kafka pipeline.ClientOptions, ready *readiness) error {
	client, err := pipeline.NewClient(kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	return retryStart(ctx, ready, "prepare the topics", func(ctx context.Context) error { return pipeline.EnsureTopics(ctx, client) })
}

// reserveNodes sees that no node gets a number that another has clicks under in
// ClickHouse: the topic that gives them may have been lost.
func reserveNodes(ctx context.Context, kafka pipeline.ClientOptions, database *clickhouse.DB, ready *readiness) error {
	client, err := pipeline.NewClient(kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	return retryStart(ctx, ready, "see that no node number is given twice", func(ctx context.Context) error {
		highest, err := database.HighestNode(ctx)
		if err != nil {
			return err
		}
		reserved, err := pipeline.ReserveNodes(ctx, client, highest)
		if reserved && err == nil {
			slog.Warn("node numbers that are in ClickHouse were not in Kafka and are now reserved there: "+pipeline.TopicNodes+" was lost, or this is another cluster", "highest", highest)
		}
		return err
	})
}

// retryStart repeats a step of starting up that needs another system, until
// it works; /readyz says what it waits for. What waiting can't mend is returned
// at once.
func retryStart(ctx context.Context, ready *readiness, doing string, step func(context.Context) error) error {
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
		ready.stuck(fmt.Sprintf("can't %s yet: %v", doing, err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// waitReady waits until a part is ready, and says every ten seconds why it is
// not.
func waitReady(ctx context.Context, part string, ready func() error) error {
	for began, said := time.Now(), time.Duration(0); ; {
		err := ready()
		if err == nil {
			return nil
		}
		if waited := time.Since(began); waited-said > 10*time.Second {
			said = waited
			slog.Warn("still waiting", "for", part, "reason", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %v", part, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
