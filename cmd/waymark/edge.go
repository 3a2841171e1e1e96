package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"waymark/pipeline"
	"waymark/pipeline/spool"
	"waymark/tracker"
)

type edgeCommand struct {
	dataFlags
	kafkaFlags
	edgeFlags
	metricsFlags
}

func (c *edgeCommand) Run(ctx context.Context) error {
	kafka, err := c.kafkaFlags.clients()
	if err != nil {
		return err
	}
	data := c.dir()
	if err := data.open(); err != nil {
		return err
	}
	listener, err := listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	registry, ready := newRegistry(), newReadiness("edge")
	if err := c.metricsFlags.serve(ctx, registry, ready); err != nil {
		return err
	}
	lobby := openLobby(listener, ready)
	key, err := data.adminKey(false)
	if err != nil {
		return err
	}
	node, err := openNode(data, c.edgeFlags, registry)
	if err != nil {
		return err
	}
	defer node.close()
	catalog, err := openCatalog(node.snapshotDir(), "edge", kafka, key, registry)
	if err != nil {
		return err
	}
	ring, err := c.keyRing()
	if err != nil {
		return err
	}
	following, stopFollowing := context.WithCancel(context.Background())
	defer stopFollowing()
	var parts errgroup.Group
	parts.Go(func() error { return catalog.Run(following) })
	ready.addErr("links", catalog.Ready)

	if err := node.start(ctx, nodeParts{
		lobby: lobby, kafka: kafka, ring: ring, catalog: catalog, ready: ready, registry: registry,
	}); err != nil {
		return err
	}
	ready.started()
	slog.Info("edge is ready", "listen", listener.Addr().String(), "node", node.spool.Node().Number)
	select {
	case <-ctx.Done():
	case err = <-node.failed:
	}
	node.drain(drainTime{requests: 2 * time.Second, shipping: 5 * time.Second})
	stopFollowing()
	return errors.Join(err, parts.Wait())
}

// catalog is what a process knows of links, programmes and keys, and the part
// that follows their topics.
type catalog struct {
	*pipeline.Catalog
	links *tracker.Links
	keys  *tracker.Keys
}

// openCatalog opens the catalogue with its snapshot, which belongs to one
// process alone; "" for none.
func openCatalog(snapshotDir, role string, kafka pipeline.ClientOptions, adminKey string, registry prometheus.Registerer) (*catalog, error) {
	kafka.ID = "waymark-" + role
	links := tracker.NewLinks(tracker.LinksOptions{Registerer: registry})
	keys := tracker.NewKeys(adminKey)
	follower, err := pipeline.NewCatalog(pipeline.CatalogOptions{
		Clients: kafka, Links: links, Keys: keys, SnapshotDir: snapshotDir, Registerer: registry,
	})
	if err != nil {
		return nil, fmt.Errorf("open the links: %w", err)
	}
	return &catalog{follower, links, keys}, nil
}

// node is an edge node: its spool, the listener that fills it and the shippers
// that empty it.
type node struct {
	flags    edgeFlags
	dir      string // of the spool
	spool    *spool.Spool
	journal  *spool.Journal
	edge     *tracker.Edge
	client   *kgo.Client
	geo      *pipeline.Geo
	proxies  *tracker.TrustedProxies
	shippers []*pipeline.Shipper
	failed   chan error // the listener's error, if it ends by itself

	stopShipping context.CancelFunc
	shipping     errgroup.Group
}

// spoolsMax bounds the nodes that find a spool by themselves in one data
// directory.
const spoolsMax = 64

// openNode checks the flags and opens the node's spool: the one that --spool
// names, or the first in the data directory that no other node holds.
func openNode(data dataDir, flags edgeFlags, registry prometheus.Registerer) (*node, error) {
	n := &node{flags: flags, failed: make(chan error, 1)}
	if err := n.check(); err != nil {
		return nil, err
	}
	if flags.Spool != "" {
		return n, n.open(flags.Spool, registry)
	}
	for i := 1; ; i++ {
		name := "spool"
		if i > 1 {
			name = fmt.Sprintf("spool-%d", i)
		}
		err := n.open(data.path(name), registry)
		if i < spoolsMax && errors.Is(err, spool.ErrLocked) {
			continue
		}
		return n, err
	}
}

// check reads what the flags name, so that a mistake shows before anything is
// started.
func (n *node) check() (err error) {
	if n.proxies, err = tracker.ParseTrustedProxies(n.flags.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if err := tracker.CheckCookieDomain(n.flags.CookieDomain); err != nil {
		return fmt.Errorf("--cookie-domain: %w", err)
	}
	if err := tracker.CheckTarget(n.flags.RootURL); err != nil {
		return fmt.Errorf("--root-url: %w", err)
	}
	if err := tracker.CheckTarget(n.flags.NotFoundURL); err != nil {
		return fmt.Errorf("--not-found-url: %w", err)
	}
	if n.geo, err = pipeline.OpenGeo(n.flags.GeoIP...); err != nil {
		return fmt.Errorf("--geoip: %w", err)
	}
	return nil
}

func (n *node) open(dir string, registry prometheus.Registerer) (err error) {
	n.dir = dir
	n.spool, err = spool.Open(spool.Options{
		Dir: dir, RingDir: n.flags.SpoolRing, RingBytes: n.flags.SpoolRingBytes, DiskBytesMax: n.flags.SpoolDiskBytes, Registerer: registry,
	})
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	if n.journal, err = spool.OpenJournal(spool.JournalOptions{Dir: dir + "/actions", Registerer: registry}); err != nil {
		n.spool.Close()
		return fmt.Errorf("open the journal of actions: %w", err)
	}
	return nil
}

// snapshotDir is where the node keeps a copy of the links: beside its spool,
// which no other process has open.
func (n *node) snapshotDir() string { return filepath.Join(n.dir, "links") }

// nodeParts is what a node needs of the process around it.
type nodeParts struct {
	lobby    *lobby // holds the public listener until the node serves
	kafka    pipeline.ClientOptions
	ring     *tracker.KeyRing
	catalog  *catalog
	ready    *readiness
	registry prometheus.Registerer
}

// start brings the node up, while the lobby answers: it claims a number where
// the spool has none yet, which needs Kafka, and waits for the links, which
// come from Kafka or from the snapshot. Then it serves.
func (n *node) start(ctx context.Context, p nodeParts) error {
	var err error
	p.kafka.ID = "waymark-edge"
	if n.client, err = pipeline.NewClient(p.kafka); err != nil {
		return err
	}
	if err := n.claim(ctx, p.ready); err != nil {
		return err
	}
	if err := n.startShipping(p); err != nil {
		return err
	}
	if n.edge, err = n.newEdge(p); err != nil {
		return err
	}
	p.ready.addErr("spool", n.spoolTrouble)
	p.ready.addErr("node", n.numberTrouble)
	p.ready.remark(n.notes(p.catalog))
	if err := waitReady(ctx, "links", p.catalog.Ready); err != nil {
		return err
	}
	if err := p.lobby.close(); err != nil {
		return err
	}
	go func() {
		if err := n.edge.Serve(p.lobby.listener); err != nil {
			n.failed <- err
		}
	}()
	return nil
}

// claim sees that the spool has a node number, for as long as it takes to get
// one from Kafka.
func (n *node) claim(ctx context.Context, ready *readiness) error {
	if n.spool.Node().Known {
		return nil
	}
	return retryStart(ctx, ready, "get a number for this new node from Kafka", func(ctx context.Context) error {
		if err := pipeline.EnsureTopics(ctx, n.client); err != nil {
			return err
		}
		number, err := pipeline.ClaimNode(ctx, n.client, n.spool.Identity().String())
		if err != nil {
			return err
		}
		return n.spool.SetNode(number)
	})
}

// startShipping moves what spool and journal hold to Kafka until drain.
func (n *node) startShipping(p nodeParts) (err error) {
	options := make([]pipeline.ShipperOptions, 2)
	for i := range options {
		enricher, err := pipeline.NewEnricher(n.geo, func(day int) []byte { return p.ring.AddressKey(time.Unix(int64(day)*86400, 0)) })
		if err != nil {
			return err
		}
		options[i] = pipeline.ShipperOptions{Clients: p.kafka, Enricher: enricher, Registerer: p.registry}
	}
	n.shippers = []*pipeline.Shipper{pipeline.NewClickShipper(options[0], n.spool), pipeline.NewActionShipper(options[1], n.journal)}
	shipping, stop := context.WithCancel(context.Background())
	n.stopShipping = stop
	for _, s := range n.shippers {
		n.shipping.Go(func() error { return s.Run(shipping) })
	}
	return nil
}

// spoolTrouble is why hits or actions are shed, or will be once the ring is
// full. Kafka being away is none: that is what the spool is for.
func (n *node) spoolTrouble() error {
	hits, actions := n.spool.Stats(), n.journal.Stats()
	if hits.Shedding {
		return fmt.Errorf("clicks are shed (%d so far): the ring is full, and so is the disk budget of --spool-disk-bytes", hits.Shed)
	}
	return errors.Join(hits.DiskErr, actions.DiskErr)
}

// numberTrouble is a number that is not this node's. Unlike Kafka being away, it
// does not pass by itself.
func (n *node) numberTrouble() error {
	for _, s := range n.shippers {
		if err := s.Trouble(); errors.Is(err, pipeline.ErrNodesLost) {
			return err
		}
	}
	return nil
}

// notes are what a node can live with: links that may be old, events that wait
// in the spool because Kafka takes none, a ring that is not what it should be.
func (n *node) notes(c *catalog) func() []string {
	var ring []string
	opening := n.spool.Opening()
	if opening.RingLost {
		ring = append(ring, fmt.Sprintf("the ring was lost before this start, with the clicks in it; the node is now number %d", n.spool.Node().Number))
	}
	if !opening.RingInMemory {
		ring = append(ring, fmt.Sprintf("the ring %s is on no tmpfs, so redirects may wait for the disk; give --spool-ring", opening.RingPath))
	}
	if opening.RingBytes < n.flags.SpoolRingBytes {
		ring = append(ring, fmt.Sprintf("the ring has %d bytes instead of %d: there was no room for more in %s, or it still held clicks", opening.RingBytes, n.flags.SpoolRingBytes, n.flags.SpoolRing))
	}
	return func() []string {
		notes := append(slices.Clone(ring), c.Status()...)
		for _, s := range n.shippers {
			if err := s.Trouble(); err != nil {
				notes = append(notes, err.Error())
			}
		}
		return notes
	}
}

// timeOfDay is when hits and actions are taken; nil is the machine's clock. Only
// a build for fault tests has another (clock_chaos.go): there is no flag for it.
var timeOfDay func() time.Time

// newEdge puts the public listener together.
func (n *node) newEdge(p nodeParts) (*tracker.Edge, error) {
	clock := tracker.NewClock(n.spool.Node().Number, n.spool.LatestMs())
	clickIDs, cookies := tracker.NewClickIDs(p.ring), tracker.NewCookies(p.ring)
	actions := tracker.NewActions(tracker.ActionsOptions{
		Keys: p.catalog.keys, Links: p.catalog.links, Sink: n.journal, ClickIDs: clickIDs, Cookies: cookies,
		Outdated: p.catalog.Outdated, Proxies: n.proxies, Registerer: p.registry, Now: timeOfDay,
	})
	return tracker.NewEdge(tracker.EdgeOptions{
		Links: p.catalog.links, Hits: n.spool, ClickIDs: clickIDs, Cookies: cookies, Clock: clock, Proxies: n.proxies,
		CookieDomain: n.flags.CookieDomain, RootURL: n.flags.RootURL, NotFoundURL: n.flags.NotFoundURL,
		IsAdmin: p.catalog.keys.IsAdmin, Ready: p.ready.reasons, Notes: p.ready.notes, Outdated: p.catalog.Outdated,
		EventsHandler: actions.Events, PostbackHandler: actions.Postback, PixelHandler: actions.Pixel,
		Registerer: p.registry, Now: timeOfDay,
	})
}

// drainTime bounds the stages of an orderly stop.
type drainTime struct{ requests, shipping time.Duration }

// drain stops the node from the intake on: requests are answered, what they
// left is shipped, and what could not be shipped in time goes to disk.
func (n *node) drain(limit drainTime) {
	bounded := func(d time.Duration, stage func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		if err := stage(ctx); err != nil {
			slog.Warn("drain the edge", "error", err)
		}
	}
	bounded(limit.requests, n.edge.Shutdown)
	n.stopShipping()
	n.shipping.Wait()
	for _, s := range n.shippers {
		bounded(limit.shipping, s.Drain)
	}
	bounded(limit.shipping, n.spool.Flush)
}

// close gives everything back that open and start took.
func (n *node) close() {
	if n.stopShipping != nil { // again, if the node was drained
		n.stopShipping()
		n.shipping.Wait()
	}
	if n.client != nil {
		n.client.Close()
	}
	if n.geo != nil {
		n.geo.Close()
	}
	if err := errors.Join(n.journal.Close(), n.spool.Close()); err != nil {
		slog.Error("close the spool", "error", err)
	}
}
