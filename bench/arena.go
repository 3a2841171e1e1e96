package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/loadtest"
)

const adminKey = "bench-admin-key"

// arenaFlags are the settings of every suite that measures redirects.
type arenaFlags struct {
	Binary  string `help:"The waymark binary to measure." default:"bin/waymark" type:"path"`
	Links   int    `help:"Links that Waymark has loaded." default:"1000000"`
	Conns   int    `help:"Connections of the generator." default:"64"`
	Results string `help:"Directory of the published results." default:"bench/results" type:"path"`
}

// contestant is a server that answers every request of the mix with a redirect.
type contestant struct {
	name   string
	pid    int
	url    string
	settle func(context.Context) error // waits until nothing is left to do of what was answered; nil: nothing ever is
	took   func(answered uint64)       // told of answered clicks; nil: nobody counts
}

// arena is the contestants and what they need, each a process of its own.
type arena struct {
	arenaFlags
	*cores
	dir       string
	rings     []string // directories in memory
	self      string   // this program
	processes []*exec.Cmd
	brokerAt  string
	broker    *exec.Cmd
	edge      *contestant
	mix       *mix
	headers   []string // of a typical answer of the edge
	kafka     *kadm.Client
	answered  int64 // clicks so far
}

// openArena starts a broker and an edge with its links, and draws the requests.
func openArena(ctx context.Context, flags arenaFlags, c *cores, edgeArgs ...string) (_ *arena, err error) {
	dir, err := os.MkdirTemp("", "waymark-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	a := &arena{arenaFlags: flags, cores: c, dir: dir}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if a.brokerAt, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := a.startBroker(); err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(a.brokerAt))
	if err != nil {
		return nil, err
	}
	a.kafka = kadm.NewClient(client)
	if a.edge, err = a.startEdge("waymark, captured and shipped", a.Binary, edgeArgs...); err != nil {
		return nil, err
	}
	campaign, err := a.makeLinks(ctx)
	if err != nil {
		return nil, err
	}
	code := func(i int) string { return fmt.Sprintf("%s-%d", campaign, i) }
	if err := a.learnAnswer(ctx, a.edge.url+"/"+code(a.Links/2)); err != nil {
		return nil, err
	}
	if a.mix, err = newMix(ctx, a.edge.url, a.Links, code); err != nil {
		return nil, fmt.Errorf("draw the requests: %w", err)
	}
	a.edge.took(warmUp)
	return a, a.edge.settle(ctx)
}

// learnAnswer notes the headers that the other contestants are to send: those
// of a visitor who comes back for the first time, whose cookie is neither the
// shortest nor the longest of the mix.
func (a *arena) learnAnswer(ctx context.Context, url string) error {
	var header http.Header
	if err := eventually(ctx, func() (err error) {
		header, err = follow(ctx, url, "")
		return err
	}); err != nil {
		return fmt.Errorf("wait for the links on the edge: %w", err)
	}
	cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	header, err := follow(ctx, url, cookie)
	if err != nil {
		return err
	}
	a.edge.took(2)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name != "Date" && name != "Content-Length" { // which every server adds by itself
			a.headers = append(a.headers, name+": "+header.Get(name))
		}
	}
	return nil
}

// awaitAnswer waits until an edge serves the links.
func (a *arena) awaitAnswer(ctx context.Context, c *contestant) error {
	err := eventually(ctx, func() error {
		_, err := follow(ctx, c.url+a.mix.targets[0], "")
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", c.name, err)
	}
	c.took(1)
	return nil
}

// startBroker starts the broker. It steps back behind the generator, with which
// it may share a core, and whose lateness would count as the server's: brokers
// are other machines.
func (a *arena) startBroker() (err error) {
	a.broker, err = a.start(a.self, "broker", "--listen", a.brokerAt, "--dir", filepath.Join(a.dir, "broker"))
	if err != nil {
		return err
	}
	return stepBack(a.broker.Process.Pid)
}

// startEdge starts an edge. It waits for its links before it answers.
func (a *arena) startEdge(name, binary string, args ...string) (*contestant, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ring, err := a.memoryDir()
	if err != nil {
		return nil, err
	}
	args = append([]string{"edge", "--data", a.data(), "--kafka", a.brokerAt, "--listen", address, "--spool-ring", ring}, args...)
	process, err := a.startServer(binary, args...)
	if err != nil {
		return nil, err
	}
	a.processes = append(a.processes, process)
	return &contestant{
		name: name, pid: process.Process.Pid, url: "http://" + address,
		settle: a.settled, took: func(n uint64) { a.answered += int64(n) },
	}, nil
}

// memoryDir makes a directory in memory where there is such a thing.
func (a *arena) memoryDir() (string, error) {
	dir, err := os.MkdirTemp("/dev/shm", "waymark-bench-")
	if err != nil {
		if dir, err = os.MkdirTemp(a.dir, "ring-"); err != nil {
			return "", fmt.Errorf("make a directory for the ring: %w", err)
		}
	}
	a.rings = append(a.rings, dir)
	return dir, nil
}

func (a *arena) data() string { return filepath.Join(a.dir, "data") }

// makeLinks makes the links through an admin, which lives only for that, and
// returns what their codes begin with.
func (a *arena) makeLinks(ctx context.Context) (run string, err error) {
	address, err := freeAddress()
	if err != nil {
		return "", err
	}
	if err := os.Setenv("WAYMARK_ADMIN_KEY", adminKey); err != nil {
		return "", err
	}
	admin, err := startProcess(a.Binary, "admin", "--data", a.data(), "--kafka", a.brokerAt, "--admin", address)
	if err != nil {
		return "", err
	}
	defer endProcess(admin)
	api := loadtest.API{URL: "http://" + address, Key: adminKey}
	var campaign *loadtest.Campaign
	err = eventually(ctx, func() (err error) {
		campaign, err = loadtest.NewCampaign(ctx, api, []string{a.edge.url}, a.Links, func(int) {})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("make the links: %w", err)
	}
	return campaign.Run, nil
}

// settled waits until every answered click is in Kafka, and fails when there
// are more or, after a minute, fewer.
func (a *arena) settled(ctx context.Context) error {
	return eventually(ctx, func() error {
		count, err := a.clicks(ctx)
		if err != nil {
			return err
		}
		if count != a.answered {
			return fmt.Errorf("%d clicks were answered, %d are in Kafka", a.answered, count)
		}
		return nil
	})
}

func (a *arena) clicks(ctx context.Context) (int64, error) {
	ends, err := a.kafka.ListEndOffsets(ctx, "waymark.clicks")
	if err != nil {
		return 0, fmt.Errorf("ask for the end of waymark.clicks: %w", err)
	}
	var sum int64
	ends.Each(func(end kadm.ListedOffset) { sum += max(end.Offset, 0) })
	return sum, nil
}

// start starts a child of the arena on the cores that are not the server's.
func (a *arena) start(name string, args ...string) (*exec.Cmd, error) {
	command, err := startProcess(name, args...)
	if err != nil {
		return nil, err
	}
	a.processes = append(a.processes, command)
	return command, nil
}

func (a *arena) close() {
	if a.kafka != nil {
		a.kafka.Close()
	}
	for _, process := range slices.Backward(a.processes) {
		endProcess(process)
	}
	for _, ring := range a.rings {
		os.RemoveAll(ring)
	}
	os.RemoveAll(a.dir)
}
