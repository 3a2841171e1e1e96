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
	decide, err := newDeciders(kafka, catalog, database, registry)
	if err != nil {
		return err
	}
	defer decide.close()
	parts.Go(func() error { return decide.Run(following) })
	err = serveHTTP(ctx, listener, newAdmin(catalog, database, decide, ring, c.PublicURL, ready, registry))
	stopFollowing()
	return errors.Join(err, parts.Wait())
}

func newAdmin(c *catalog, database *clickhouse.DB, decide *deciders, ring *tracker.KeyRing, publicURL string, ready *readiness, registry *prometheus.Registry) http.Handler {
	return admin.New(admin.Options{
		Links: c.links, Keys: c.keys, ClickIDs: tracker.NewClickIDs(ring),
		LinkWriter: c.Catalog, ProgramWriter: c.Catalog, ProgramHistory: database, KeyWriter: c.Catalog,
		Reporter: database, ClickFinder: database, ValueFinder: database,
		RewardKeeper: decide.accounts, RewardReader: database, FraudKeeper: decide.assessor, FraudReader: database,
		PartnerKeeper: decide.partners, PartnerReader: database, Auditor: decide.auditor, AuditReader: database,
		PublicURL: publicURL, Ready: ready.reasons, Gatherer: registry, Version: version,
	})
}
