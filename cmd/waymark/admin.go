package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"waymark/clickhouse"
	"waymark/tracker"
	"waymark/tracker/admin"
	"waymark/tracker/fraud"
	"waymark/tracker/partners"
	"waymark/tracker/rewards/accountant"
)

type adminCommand struct {
	dataFlags
	kafkaFlags
	clickhouseFlags
	Admin     string `help:"Address of the admin API." default:"127.0.0.1:8081"`
	PublicURL string `help:"Where visitors reach the edge; QR codes lead there." default:"http://127.0.0.1:8080"`
}

func (c *adminCommand) Run(ctx context.Context) error {
	kafka, err := c.kafkaFlags.clients()
	if err != nil {
		return err
	}
	if err := tracker.CheckTarget(c.PublicURL); err != nil {
		return fmt.Errorf("--public-url: %w", err)
	}
	data := c.dir()
	if err := data.open(); err != nil {
		return err
	}
	listener, err := listen("admin", c.Admin)
	if err != nil {
		return err
	}
	defer listener.Close()
	key, err := data.adminKey(true)
	if err != nil {
		return err
	}
	ring, err := c.keyRing()
	if err != nil {
		return err
	}
	database, err := c.clickhouseFlags.open(data)
	if err != nil {
		return err
	}
	defer database.Close()
	registry, ready := newRegistry(), newReadiness("admin")
	lobby := openLobby(listener, ready)
	watchClickHouse(ctx, database, ready)
	// Without the lock another admin has the snapshot; this one reads the
	// topics from their start.
	snapshots := ""
	if lock, err := data.lock("admin"); err == nil {
		defer lock.Close()
		snapshots = data.path("links")
	}
	catalog, err := openCatalog(snapshots, "admin", kafka, key, registry)
	if err != nil {
		return err
	}
	if err := ensureTopics(ctx, kafka, ready); err != nil {
		return err
	}
	following, stopFollowing := context.WithCancel(context.Background())
	defer stopFollowing()
	var parts errgroup.Group
	parts.Go(func() error { return catalog.Run(following) })
	ready.addErr("links", catalog.Ready)
	ready.add(catalog.Status) // whose links can't be read can't write any either
	if err := waitReady(ctx, "links", catalog.Ready); err != nil {
		return err
	}
	if err := lobby.close(); err != nil {
		return err
	}
	ready.started()
	slog.Info("admin is ready", "admin", listener.Addr().String())
	accounts, closeWriter, err := newAccountant(kafka, catalog, database, registry)
	if err != nil {
		return err
	}
	defer closeWriter()
	parts.Go(func() error { return accounts.Run(following) })
	assessor := newAssessor(accounts.Sink, database, registry)
	parts.Go(func() error { return assessor.Run(following) })
	auditor := admin.NewAuditor(accounts.Sink, registry, slog.Default())
	parts.Go(func() error { return auditor.Run(following) })
	parts.Go(func() error { return newWebhookSender(accounts.Sink, catalog, database, registry).Run(following) })
	err = serveHTTP(ctx, listener, newAdmin(catalog, database, accounts, assessor, auditor, ring, c.PublicURL, ready, registry))
	stopFollowing()
	return errors.Join(err, parts.Wait())
}

func newAdmin(c *catalog, database *clickhouse.DB, accounts *accountant.Accountant, assessor *fraud.Assessor, auditor *admin.Auditor, ring *tracker.KeyRing, publicURL string, ready *readiness, registry *prometheus.Registry) http.Handler {
	return admin.New(admin.Options{
		Links: c.links, Keys: c.keys, ClickIDs: tracker.NewClickIDs(ring),
		LinkWriter: c.Catalog, ProgramWriter: c.Catalog, ProgramHistory: database, KeyWriter: c.Catalog,
		Reporter: database, ClickFinder: database, ValueFinder: database,
		RewardKeeper: accounts, RewardReader: database, FraudKeeper: assessor, FraudReader: database,
		PartnerKeeper: &partners.Keeper{Store: database, Sink: accounts.Sink}, PartnerReader: database,
		Auditor: auditor, AuditReader: database,
		PublicURL: publicURL, Ready: ready.reasons, Gatherer: registry, Version: version,
	})
}
