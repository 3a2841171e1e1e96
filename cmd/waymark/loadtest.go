package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"waymark/loadtest"
	clickledger "waymark/loadtest/ledger"
)

type loadtestCommand struct {
	Run    loadtestRunCommand    `cmd:"" default:"withargs" help:"Send requests at a constant rate, and time them from when they were due."`
	Verify loadtestVerifyCommand `cmd:"" help:"Compare the ledger of a run with ClickHouse, id by id; exit 1 on any difference."`
}

type loadtestRunCommand struct {
	adminFlags
	URLs   []string `arg:"" optional:"" name:"url" help:"What to ask, http or https, drawn at random. Without any, visitors of Waymark are simulated on links of their own."`
	Listen []string `help:"Public listeners of Waymark; several edges share the connections." default:"127.0.0.1:8080"`

	Rate        float64       `help:"Requests a second." default:"1000"`
	Duration    time.Duration `help:"How long requests are due." default:"10s"`
	Requests    uint64        `help:"How many requests are due, instead of --duration."`
	Connections int           `help:"Connections, kept alive." default:"64"`
	Threads     int           `help:"Threads of the generator; half of the cores without it."`
	Timeout     time.Duration `help:"When an answer is given up, and how long to go on after the last request was due." default:"10s"`
	MaxErrors   uint64        `help:"End the run after so many failed requests; 0 goes on." default:"1000"`
	Seed        uint64        `help:"The same seed draws the same requests; a random one without it."`

	Ledger string `help:"File for every answered click and accepted action, for verify." type:"path" placeholder:"FILE"`
	Out    string `help:"Directory for latency.hgrm, result.json and seconds.csv." type:"path" placeholder:"DIR"`
	JSON   bool   `name:"json" help:"Print the result as JSON."`

	Header   []string `help:"Header of every request to a URL, such as 'Accept: text/html'; repeatable." sep:"none"`
	Method   string   `help:"Method of the requests to a URL." default:"GET"`
	Body     string   `help:"Body of the requests to a URL."`
	Insecure bool     `help:"Do not verify certificates."`

	Links    int     `help:"Links to make and follow." default:"1000"`
	Visitors int     `help:"Browsers that are remembered with their cookies." default:"20000"`
	Zipf     float64 `help:"Exponent of the popularity of links, above 1." default:"1.1"`
	Actions  float64 `help:"Share of requests that report an action." default:"0.05"`
	Unknown  float64 `help:"Share of requests for codes that do not exist." default:"0.02"`
	Bots     float64 `help:"Share of clicks by robots." default:"0.06"`
	Scans    float64 `help:"Share of clicks that are scans of a QR code." default:"0.15"`
}

func (c *loadtestRunCommand) Run(ctx context.Context) error {
	if c.Threads == 0 {
		c.Threads = max(1, min(runtime.NumCPU()/2, c.Connections))
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	options := loadtest.Options{
		Rate: c.Rate, Duration: c.Duration, Requests: c.Requests, Connections: c.Connections, Threads: c.Threads,
		Timeout: c.Timeout, MaxFailures: c.MaxErrors, Seed: c.Seed, Progress: newLoadProgress().show,
	}
	if err := options.Check(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", c.Seed)
	if len(c.URLs) > 0 {
		if c.Ledger != "" {
			return errors.New("--ledger is of clicks on links that the run makes for itself; leave the URLs out")
		}
		run, err := loadtest.NewTargets(options, loadtest.Targets{URLs: c.URLs, Headers: c.Header, Method: c.Method, Body: c.Body, Insecure: c.Insecure})
		if err != nil {
			return err
		}
		return c.do(ctx, run)
	}
	return c.visit(ctx, options)
}

// visit makes a campaign and simulates its visitors.
func (c *loadtestRunCommand) visit(ctx context.Context, options loadtest.Options) (err error) {
	traffic := loadtest.DefaultTraffic()
	traffic.Visitors, traffic.Zipf = c.Visitors, c.Zipf
	traffic.Actions, traffic.Unknown, traffic.Bots, traffic.Scans = c.Actions, c.Unknown, c.Bots, c.Scans
	if err := traffic.Check(); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	campaign, err := loadtest.NewCampaign(ctx, loadtest.API{URL: client.base, Key: client.key}, baseURLs(c.Listen), c.Links, func(links int) {
		fmt.Fprintf(os.Stderr, "%d of %d links made\n", links, c.Links)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "run %s, programme %s\n", campaign.Run, campaign.Program)
	var book *clickledger.Writer
	if c.Ledger != "" {
		if book, err = clickledger.Create(c.Ledger, clickledger.Header{Run: campaign.Run, Program: campaign.Program, Started: time.Now()}); err != nil {
			return err
		}
		defer func() {
			if closeErr := book.Close(); err == nil {
				err = closeErr
			}
		}()
	}
	if err := campaign.Await(ctx, book); err != nil {
		return err
	}
	run, err := loadtest.NewTraffic(options, campaign, traffic, book)
	if err != nil {
		return err
	}
	return c.do(ctx, run)
}

// do runs and shows what came of it, also when the run ended early.
func (c *loadtestRunCommand) do(ctx context.Context, run *loadtest.Run) error {
	result, err := run.Do(ctx)
	if result == nil {
		return err
	}
	var shown error
	if c.JSON {
		shown = result.WriteJSON(os.Stdout)
	} else {
		shown = result.WriteTable(os.Stdout)
	}
	if err == nil {
		err = shown
	}
	if c.Out == "" {
		return err
	}
	paths, outErr := result.WriteFiles(c.Out)
	for _, path := range paths {
		fmt.Fprintln(os.Stderr, path)
	}
	if err == nil {
		err = outErr
	}
	return err
}

// baseURLs makes URLs of addresses.
func baseURLs(addresses []string) []string {
	urls := make([]string, len(addresses))
	for i, address := range addresses {
		if urls[i] = address; !strings.Contains(address, "://") {
			urls[i] = "http://" + address
		}
	}
	return urls
}

// loadProgress shows each second of a run: on a terminal in one line that
// changes, elsewhere in a line every ten seconds.
type loadProgress struct{ terminal bool }

func newLoadProgress() loadProgress {
	info, err := os.Stderr.Stat()
	return loadProgress{terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (p loadProgress) show(s loadtest.Second) {
	line := fmt.Sprintf("%5d s   %8d answered   %6d failed   p50 %9.3f ms   p99 %9.3f ms   max %9.3f ms",
		s.Second+1, s.Answered, s.Failed, s.LatencyMS.P50, s.LatencyMS.P99, s.LatencyMS.Max)
	switch {
	case p.terminal:
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
	case (s.Second+1)%10 == 0:
		fmt.Fprintln(os.Stderr, line)
	}
}
