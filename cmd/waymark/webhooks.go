package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"waymark/clickhouse"
	"waymark/tracker"
	"waymark/tracker/webhooks"
)

// newWebhookSender makes the sender of what becomes of referrals and rewards.
func newWebhookSender(sink tracker.ActionSink, c *catalog, database *clickhouse.DB, registry prometheus.Registerer) *webhooks.Sender {
	return webhooks.New(webhooks.Options{Store: database, Sink: sink, Programs: c.links.Programs, Registerer: registry})
}
