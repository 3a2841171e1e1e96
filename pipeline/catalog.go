package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// CatalogOptions configure a Catalog.
type CatalogOptions struct {
	Clients ClientOptions
	Links   *tracker.Links
	Keys    *tracker.Keys
	// SnapshotDir keeps what is known across restarts, so that a node can
	// start while Kafka is away; "" for none.
	SnapshotDir string
	Registerer  prometheus.Registerer // nil: no metrics
}

// Catalog follows waymark.links, waymark.programs and waymark.keys into Links
// and Keys, and writes them. Each topic is the truth; every node has a copy.
//
// One goroutine per topic applies records. The order between topics is not
// kept: a link may be there before its programme, and then has the defaults.
type Catalog struct {
	options CatalogOptions
	log     *slog.Logger

	links    *linksCopy
	programs *tableCopy
	keys     *tableCopy

	followLinks, followPrograms, followKeys *follower
	current                                 atomic.Bool // each has been at the end of its topic

	clients  []*kgo.Client // of the followers
	producer *kgo.Client   // idempotent; connects when it is used
	writing  linkWriters
	saved    savedState

	running context.Context // ends with Run, and with it the changes under way
	end     context.CancelFunc
}

type catalogMetrics struct {
	records *prometheus.CounterVec
	skipped *prometheus.CounterVec
	lost    prometheus.Counter
	behind  *prometheus.GaugeVec
}

func newCatalogMetrics(r prometheus.Registerer) *catalogMetrics {
	byTopic := []string{"topic"}
	m := &catalogMetrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waymark_catalog_records_total", Help: "Records of links, programmes and keys read."}, byTopic),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "waymark_catalog_skipped_records_total", Help: "Records that could not be used."}, byTopic),
		lost:    prometheus.NewCounter(prometheus.CounterOpts{Name: "waymark_catalog_lost_races_total", Help: "Link changes that another writer was faster with."}),
		behind:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waymark_catalog_behind_records", Help: "Records of a topic that are still to be read."}, byTopic),
	}
	for _, topic := range []string{TopicLinks, TopicPrograms, TopicKeys} {
		m.skipped.WithLabelValues(topic) // 0 from the start: an increase is seen only from something
	}
	if r != nil {
		r.MustRegister(m.records, m.skipped, m.lost, m.behind)
	}
	return m
}

// NewCatalog returns a catalogue with what its snapshot holds. It does not
// need Kafka. A snapshot that is damaged is reported and left out; the error
// is for a directory that can't be used.
func NewCatalog(o CatalogOptions) (*Catalog, error) {
	c := &Catalog{options: o, log: loggerOr(o.Clients.Logger)}
	c.running, c.end = context.WithCancel(context.Background())
	metrics := newCatalogMetrics(o.Registerer)
	c.links = &linksCopy{links: o.Links, verdicts: newVerdicts(), lost: metrics.lost}
	c.programs = newTableCopy(programTable{o.Links})
	c.keys = newTableCopy(keyTable{o.Keys})
	for _, f := range []struct {
		follower **follower
		topic    string
		copy     topicCopy
	}{
		{&c.followLinks, TopicLinks, c.links}, {&c.followPrograms, TopicPrograms, c.programs}, {&c.followKeys, TopicKeys, c.keys},
	} {
		client, err := c.newClient()
		if err != nil {
			c.close()
			return nil, err
		}
		c.clients = append(c.clients, client)
		*f.follower = newFollower(f.topic, f.copy, client, c.log, metrics)
	}
	var err error
	if c.producer, err = c.newClient(kgo.ProducerLinger(0)); err == nil && o.SnapshotDir != "" {
		err = errors.Join(os.MkdirAll(o.SnapshotDir, 0o755), c.load())
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *Catalog) newClient(extra ...kgo.Opt) (*kgo.Client, error) {
	return NewClient(c.options.Clients, extra...)
}

// snapshotInterval is how often changes are saved. The first snapshot comes as
// soon as there is something to save, so that a node that is killed young can
// start without Kafka, too.
const snapshotInterval = time.Minute

// Run follows the topics until ctx ends, and saves a snapshot at first, every
// minute and at the end. The Catalog can't be used afterwards.
func (c *Catalog) Run(ctx context.Context) error {
	defer c.close()
	var following sync.WaitGroup
	for _, f := range c.followers() {
		following.Go(func() { f.run(ctx) })
	}
	interval := time.Second
	for sleep(ctx, interval) {
		if c.Ready() != nil {
			continue
		}
		begun := time.Now()
		if err := c.save(); err != nil {
			c.log.Error("can't save the catalogue; a start without Kafka would find an older one", "error", err)
		}
		// Saving millions of links takes seconds, and holds up changes on the
		// embedded broker (see linksCopy.save): a hundredth of the time at most.
		interval = max(snapshotInterval, 100*time.Since(begun))
	}
	following.Wait()
	return c.save()
}

func (c *Catalog) followers() []*follower {
	return []*follower{c.followLinks, c.followPrograms, c.followKeys}
}

func (c *Catalog) close() {
	c.end()
	c.writing.close()
	for _, client := range append(c.clients, c.producer) {
		if client != nil {
			client.Close()
		}
	}
}

// Ready returns nil once links, programmes and keys can be served: they were
// read to the end or, while Kafka is away, come from a snapshot. Else it says
// what is missing.
func (c *Catalog) Ready() error {
	var missing []error
	for _, f := range c.followers() {
		missing = append(missing, f.ready())
	}
	return errors.Join(missing...)
}

// Outdated reports whether what is served comes from a snapshot alone: since
// the start Kafka has been away, and may know of more. It is cheap enough to
// be asked by every request.
func (c *Catalog) Outdated() bool {
	if c.current.Load() {
		return false
	}
	for _, f := range c.followers() {
		if !f.snapshot().current {
			return true
		}
	}
	c.current.Store(true)
	return false
}

// Status lists what an operator should know although requests are served:
// since when Kafka is away, and of when the links are that are served.
func (c *Catalog) Status() []string {
	var notes []string
	for _, f := range c.followers() {
		if note := f.status(); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}
