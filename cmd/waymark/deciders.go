package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"waymark/clickhouse"
	"waymark/pipeline"
	"waymark/tracker/admin"
	"waymark/tracker/fraud"
	"waymark/tracker/partners"
	"waymark/tracker/rewards/accountant"
	"waymark/tracker/webhooks"
)

// deciders are the parts of admin that write down what is decided: rewards and
// payouts, assessments of fraud, records of partners, who changed what, and
// which webhook was told of it. They share one writer.
type deciders struct {
	accounts *accountant.Accountant
	assessor *fraud.Assessor
	partners *partners.Keeper
	auditor  *admin.Auditor
	sender   *webhooks.Sender
	close    func() // the writer, once Run has ended
}

func newDeciders(kafka pipeline.ClientOptions, c *catalog, database *clickhouse.DB, registry prometheus.Registerer) (*deciders, error) {
	kafka.ID = "waymark-ledger"
	writer, err := pipeline.NewDecisionWriter(kafka)
	if err != nil {
		return nil, err
	}
	programs := c.links.Programs
	return &deciders{
		accounts: accountant.New(accountant.Options{Store: database, Sink: writer, Programs: programs, Registerer: registry}),
		assessor: fraud.NewAssessor(fraud.Options{Store: database, Sink: writer, Registerer: registry}),
		partners: &partners.Keeper{Store: database, Sink: writer},
		auditor:  admin.NewAuditor(writer, registry, slog.Default()),
		sender:   webhooks.New(webhooks.Options{Store: database, Sink: writer, Programs: programs, Registerer: registry}),
		close:    writer.Close,
	}, nil
}

// Run decides what follows from facts and from time alone until its context
// ends.
func (d *deciders) Run(ctx context.Context) error {
	var parts errgroup.Group
	for _, run := range []func(context.Context) error{d.accounts.Run, d.assessor.Run, d.auditor.Run, d.sender.Run} {
		parts.Go(func() error { return run(ctx) })
	}
	return parts.Wait()
}
