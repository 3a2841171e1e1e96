package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"waymark/loadtest"
	"waymark/pipeline"
	"waymark/tracker/wire"
)

// linksCommand measures what links cost an edge: its memory and how soon it is
// ready, from Kafka and from its snapshot; whether a scan of rare links pushes
// the hot ones out of the cache; and the latency of rare links while the store
// is larger than memory, which is brought about by taking its pages away.
type linksCommand struct {
	Sizes    []int         `help:"Numbers of links." default:"100000,1000000"`
	Binary   string        `help:"The waymark binary to measure." default:"bin/waymark"`
	Dir      string        `help:"Directory for the broker and the edge; a temporary one without it. Not on a tmpfs." type:"path"`
	Ring     string        `help:"Directory for the edge's ring, on a tmpfs." default:"/dev/shm" type:"path"`
	Duration time.Duration `help:"How long each load lasts." default:"10s"`
	HotRate  float64       `help:"Requests a second for the hot links." default:"1000"`
	ColdRate float64       `help:"Requests a second for rare links." default:"1000"`
	Hot      int           `help:"Hot links." default:"1000"`
	Results  string        `help:"Directory for the results." default:"bench/results" type:"path"`
}

// linksPoint is what was measured with so many links.
type linksPoint struct {
	links                   int
	fromKafka, fromSnapshot time.Duration // until ready
	kafka, snapshot         memory        // once ready
	snapshotBytes           int64
	calm, scanned, paged    linksLoad
}

// linksLoad is what visitors of hot and rare links saw at the same time.
type linksLoad struct {
	hotP50, hotP99, coldP50, coldP99 float64 // ms; cold is 0 where there was none
	hitRatio                         float64 // of the cache, for the hot requests, at least
}

func (c linksCommand) Run(ctx context.Context) error {
	var points []linksPoint
	for _, links := range c.Sizes {
		point, err := c.measure(ctx, links)
		if err != nil {
			return fmt.Errorf("measure %d links: %w", links, err)
		}
		fmt.Fprintf(os.Stderr, "%+v\n", point)
		points = append(points, point)
	}
	return c.report(points).publish(c.Results, os.Stdout)
}

func (c linksCommand) measure(ctx context.Context, links int) (linksPoint, error) {
	p := linksPoint{links: links}
	dir, err := os.MkdirTemp(c.Dir, "waymark-links-")
	if err != nil {
		return p, fmt.Errorf("make a directory for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	ring, err := os.MkdirTemp(c.Ring, "waymark-links-")
	if err != nil {
		return p, fmt.Errorf("make a directory for the ring: %w", err)
	}
	defer os.RemoveAll(ring)
	topic, err := startTopic(ctx, dir)
	if err != nil {
		return p, err
	}
	defer topic.close()
	if err := topic.fillLinks(ctx, links); err != nil {
		return p, err
	}
	edge := &linksEdge{binary: c.Binary, dir: filepath.Join(dir, "data"), ring: ring, kafka: topic.address}
	if p.fromKafka, p.kafka, err = edge.start(ctx); err != nil {
		return p, fmt.Errorf("start from Kafka: %w", err)
	}
	edge.stop()
	if p.fromSnapshot, p.snapshot, err = edge.start(ctx); err != nil {
		return p, fmt.Errorf("start from the snapshot: %w", err)
	}
	defer edge.stop()
	snapshots, err := filepath.Glob(filepath.Join(edge.dir, "*", "*", "links.snapshot"))
	if err != nil || len(snapshots) != 1 {
		return p, fmt.Errorf("find the snapshot below %s: there are %d", edge.dir, len(snapshots))
	}
	info, err := os.Stat(snapshots[0])
	if err != nil {
		return p, err
	}
	p.snapshotBytes = info.Size()
	return p, c.load(ctx, edge, snapshots[0], &p)
}

// load measures the hot links alone, during a scan, and while the pages of the
// store are taken away again and again.
func (c linksCommand) load(ctx context.Context, edge *linksEdge, snapshot string, p *linksPoint) (err error) {
	if _, err = c.drive(ctx, edge, p.links, false); err != nil { // warm up
		return err
	}
	if p.calm, err = c.drive(ctx, edge, p.links, false); err != nil {
		return err
	}
	if p.scanned, err = c.drive(ctx, edge, p.links, true); err != nil {
		return err
	}
	paging, stop := context.WithCancel(ctx)
	defer stop()
	var evictor errgroup.Group
	evictor.Go(func() error { return keepPagingOut(paging, edge.command.Process.Pid, snapshot) })
	p.paged, err = c.drive(ctx, edge, p.links, true)
	stop()
	if evicting := evictor.Wait(); evicting != nil {
		return evicting
	}
	return err
}

// rareMax bounds the rare links that a load draws from, and the memory of the
// generator.
const rareMax = 200_000

// drive asks for hot links, and with rare for others, too.
func (c linksCommand) drive(ctx context.Context, edge *linksEdge, links int, rare bool) (linksLoad, error) {
	before, err := edge.cacheHits(ctx)
	if err != nil {
		return linksLoad{}, err
	}
	var hot, cold *loadtest.Result
	group, driving := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		hot, err = c.ask(driving, edge, c.HotRate, 0, c.Hot, 1)
		return err
	})
	if rare {
		stride := max(1, (links-c.Hot)/rareMax)
		group.Go(func() (err error) {
			cold, err = c.ask(driving, edge, c.ColdRate, c.Hot, links, stride)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return linksLoad{}, err
	}
	after, err := edge.cacheHits(ctx)
	if err != nil {
		return linksLoad{}, err
	}
	load := linksLoad{hotP50: hot.LatencyMS.P50, hotP99: hot.LatencyMS.P99}
	hits := after - before
	if rare {
		load.coldP50, load.coldP99 = cold.LatencyMS.P50, cold.LatencyMS.P99
		hits -= repeats(float64(cold.Answered), float64(min(links-c.Hot, rareMax)))
	}
	load.hitRatio = min(1, hits/float64(hot.Answered))
	return load, nil
}

// repeats is how many of n draws with replacement from a set are expected to
// repeat another: the most rare links that the cache can have answered.
func repeats(n, set float64) float64 { return n - set*(1-math.Pow(1-1/set, n)) }

// ask draws from the links from (included) to to (excluded), each stride-th.
func (c linksCommand) ask(ctx context.Context, edge *linksEdge, rate float64, from, to, stride int) (*loadtest.Result, error) {
	var urls []string
	for i := from; i < to; i += stride {
		urls = append(urls, edge.url+"/"+linkCode(i))
	}
	run, err := loadtest.NewTargets(
		loadtest.Options{Rate: rate, Duration: c.Duration, Connections: 64, Threads: 1, Timeout: 30 * time.Second, MaxFailures: 1, Seed: 1},
		loadtest.Targets{URLs: urls, Headers: []string{"User-Agent: " + trafficBrowsers[0]}})
	if err != nil {
		return nil, err
	}
	result, err := run.Do(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for links: %w", err)
	}
	return result, nil
}

// linkCode spreads the codes, so that neighbours are not written alike.
func linkCode(i int) string { return "LOVE-" + strconv.FormatUint(uint64(i)*2654435761%(1<<32), 36) }

// fillLinks produces links of ordinary size.
func (t *topic) fillLinks(ctx context.Context, links int) error {
	var failed error
	progress := newProgress("links produced", links)
	for i := range links {
		link := wire.Link{
			Number: uint32(i + 1), Code: linkCode(i), Url: "https://shop.example/landing?partner=" + strconv.Itoa(i), Program: "general", Channel: "qr",
			ReferrerId: "s-" + strconv.Itoa(i), ReferrerType: "supplier", RefereeType: "couple", CreatedAtMs: trafficStartMS, UpdatedAtMs: trafficStartMS,
		}
		value, err := link.MarshalVT()
		if err != nil {
			panic("BUG: encode a link: " + err.Error())
		}
		t.client.Produce(ctx, &kgo.Record{Topic: pipeline.TopicLinks, Key: []byte("/" + link.Code), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil && failed == nil { // promises are called one at a time
				failed = err
			}
		})
		progress.at(i + 1)
	}
	if err := t.client.Flush(ctx); err != nil {
		return fmt.Errorf("produce the links: %w", err)
	}
	return failed
}

// linksEdge is an edge on a data directory that outlives it.
type linksEdge struct {
	binary, dir, ring, kafka string
	url, metrics             string
	command                  *exec.Cmd
}

// readyWait is how long ten million links may take on a busy machine.
const readyWait = 10 * time.Minute

// start returns how long the edge took to be ready, and its memory then.
func (e *linksEdge) start(ctx context.Context) (time.Duration, memory, error) {
	listen, err := freeAddress()
	if err != nil {
		return 0, memory{}, err
	}
	metrics, err := freeAddress()
	if err != nil {
		return 0, memory{}, err
	}
	e.url, e.metrics = "http://"+listen, "http://"+metrics
	began := time.Now()
	e.command, err = startProcess(e.binary, "edge", "--data", e.dir, "--kafka", e.kafka, "--listen", listen, "--metrics", metrics, "--spool-ring", e.ring)
	if err != nil {
		return 0, memory{}, err
	}
	for {
		response, err := http.Get(e.metrics + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(began) > readyWait || ctx.Err() != nil {
			e.stop()
			return 0, memory{}, fmt.Errorf("wait for the edge: it is not ready after %v", readyWait)
		}
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(began)
	held, err := memoryOf(e.command.Process.Pid)
	return took, held, err
}

// stop waits for the snapshot to be written, however long it takes.
func (e *linksEdge) stop() {
	e.command.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(readyWait, func() { e.command.Process.Kill() })
	e.command.Wait()
	timer.Stop()
}

// cacheHits is how many codes the cache has resolved.
func (e *linksEdge) cacheHits(ctx context.Context) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", e.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read the edge's metrics: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, fmt.Errorf("read the edge's metrics: %w", err)
	}
	const name = `waymark_resolve_total{result="cache"} `
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("read the edge's metrics: there is no %s", name)
}
