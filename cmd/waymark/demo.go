package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// The world is drawn in memory, some kilobytes a member, before it is sent.
const (
	demoUsersMax = 1_000_000
	demoDaysMax  = 3650
)

type demoCommand struct {
	adminFlags
	Listen  string        `help:"Address of the public listener." default:"127.0.0.1:8080"`
	Program string        `help:"The example programme to fill, with rewards, cheats and payouts: general, wedding, insurance or contest. Without it, the members of wedding only invite each other." enum:",general,wedding,insurance,contest" default:"" placeholder:"NAME"`
	Users   int           `help:"Members of the simulated programme, at most." default:"2000"`
	Days    int           `help:"Length of the time, up to now, in which the members of the programme wedding invite each other." default:"30"`
	Seed    uint64        `help:"The same seed draws the same programme." default:"1"`
	Wait    time.Duration `help:"How long ClickHouse may show no progress before the comparison is final." default:"1m"`
}

// Run simulates an example programme, sends it through the public endpoints,
// and compares what ClickHouse found with what the simulation itself knows.
// Each run has campaigns and parties of its own, so that runs do not disturb
// each other.
func (c *demoCommand) Run(ctx context.Context) error {
	if c.Users < 2 || c.Users > demoUsersMax || c.Days < 1 || c.Days > demoDaysMax {
		return fmt.Errorf("--users must be from 2 to %d and --days from 1 to %d, they are %d and %d", demoUsersMax, demoDaysMax, c.Users, c.Days)
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	end := time.Now().Add(-time.Minute)
	run := strconv.FormatInt(end.UnixMilli(), 36)
	if c.Program == "" || c.Program == "wedding" {
		if err := putDemoProgram(ctx, client, "wedding", end, nil, nil); err != nil {
			return err
		}
		if err := c.runLoops(ctx, client, run, end); err != nil || c.Program == "" {
			return err
		}
	}
	script := scripts[c.Program]
	s := newStory(c.Program, script, c.Seed, run+"s", end.UnixMilli())
	script.write(s, c.Users)
	s.writeChannels()
	return c.runStory(ctx, client, s, end)
}

// runStory plays a story. A programme of partners tells a receiver of the demo
// by webhook, and no more once it is over; of an installation elsewhere nobody
// is told, for webhooks without TLS lead to its own machine.
func (c *demoCommand) runStory(ctx context.Context, client *apiClient, s *story, end time.Time) (err error) {
	conductor := conductor{demoCommand: c, client: client, driver: &driver{edge: "http://" + c.Listen, key: client.key, program: c.Program, admin: client}, story: s}
	var hooks []demoWebhook
	if s.manual && client.isLocal() {
		if conductor.told, err = listenForWebhooks(); err != nil {
			return err
		}
		defer conductor.told.server.Close()
		hooks = []demoWebhook{{conductor.told.url, conductor.told.secret, toldEvents}}
		defer func() {
			err = errors.Join(err, putDemoProgram(context.WithoutCancel(ctx), client, c.Program, end, s.campaigns(s), nil))
		}()
	}
	if err := putDemoProgram(ctx, client, c.Program, end, s.campaigns(s), hooks); err != nil {
		return err
	}
	truth, found, err := conductor.play(ctx)
	if err != nil {
		return err
	}
	return printComparison(&s.world, truth, found)
}

// scripts are the stories of the example programmes.
var scripts = map[string]*script{
	"general": &generalScript, "wedding": &weddingScript, "insurance": &insuranceScript, "contest": &contestScript,
}

// runLoops simulates how the parties of the programme wedding invite each
// other, which K, funnel and cycle times are counted by.
func (c *demoCommand) runLoops(ctx context.Context, client *apiClient, run string, end time.Time) error {
	world := newWorld(c.Seed, run, c.Users, end.AddDate(0, 0, -c.Days).UnixMilli(), end.UnixMilli())
	bar := newProgress("simulating "+world.campaign, "events", int64(world.steps()))
	drive := driver{edge: "http://" + c.Listen, key: client.key, admin: client, progress: func(n int) { bar.Add(n) }}
	err := drive.drive(ctx, world)
	bar.Exit()
	if err != nil {
		return err
	}
	counted := world.count()
	found, err := c.await(ctx, client, world, counted)
	if err != nil {
		return err
	}
	return printComparison(world, counted, found)
}

// steps is how many links, hits and actions a world has.
func (w *world) steps() int {
	steps := len(w.links) + len(w.reports)
	for _, link := range w.links {
		steps += len(link.invitations)
	}
	for _, first := range w.journeys {
		for _, j := range append([]*journey{first}, first.after...) {
			steps += len(j.hits) + len(j.actions)
		}
	}
	return steps
}

// await asks for the reports until they agree with the ledger, or stand still
// for so long that they never will.
func (c *demoCommand) await(ctx context.Context, client *apiClient, w *world, counted ledger) (found ledger, err error) {
	for changed := time.Now(); ; {
		now, err := readLedger(ctx, client, w)
		if err != nil {
			return nil, err
		}
		if differences(counted, now) == 0 {
			return now, nil
		}
		if differences(now, found) > 0 || found == nil {
			changed = time.Now()
		}
		if found = now; time.Since(changed) > c.Wait {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// readLedger reads the same counts from the reports.
func readLedger(ctx context.Context, client *apiClient, w *world) (ledger, error) {
	l := ledger{}
	rows := func(report, more string) ([]map[string]any, error) {
		query := url.Values{
			"program": {"wedding"}, "by": {"campaign"}, "limit": {"100000"},
			"from": {formatMS(w.start - dayMS)}, "to": {formatMS(w.end + dayMS)},
		}
		var answer struct {
			Rows []map[string]any `json:"rows"`
		}
		if err := client.call(ctx, "GET", "/v1/reports/"+report+"?"+query.Encode()+more, nil, &answer); err != nil {
			return nil, fmt.Errorf("read the report %s: %w", report, err)
		}
		var mine []map[string]any
		for _, row := range answer.Rows {
			if row["key"] == w.campaign {
				mine = append(mine, row)
			}
		}
		return mine, nil
	}
	for _, hits := range []string{"gross", "valid", "unique"} {
		clicks, err := rows("clicks", "&hits="+hits)
		if err != nil {
			return nil, err
		}
		for _, row := range clicks {
			l["clicks "+hits] = number(row["clicks"])
		}
	}
	funnel, err := rows("funnel", "")
	if err != nil {
		return nil, err
	}
	for _, row := range funnel {
		l[fmt.Sprint("funnel ", row["stage"])] = number(row["count"])
	}
	rates, err := rows("conversion_rates", "")
	if err != nil {
		return nil, err
	}
	for _, row := range rates {
		l["value"] = number(row["value"])
	}
	viral, err := rows("viral", "")
	if err != nil {
		return nil, err
	}
	for _, row := range viral {
		arrow := map[any]string{"one-sided": " → ", "two-sided": " ⇄ "}[row["kind"]]
		if arrow == "" {
			continue
		}
		name := fmt.Sprint(row["referrer_type"], arrow, row["referee_type"])
		l["K "+name] = number(row["k"])
		if row["cycle_hours"] != nil {
			l["cycle hours "+name] = number(row["cycle_hours"])
		}
	}
	return l, nil
}

// number reads a JSON number, or a decimal, which is a string.
func number(value any) float64 {
	n, _ := strconv.ParseFloat(strings.Trim(fmt.Sprint(value), `"`), 64)
	return n
}

// differences counts the lines in which two ledgers differ.
func differences(a, b ledger) int {
	n := 0
	for key := range a {
		if value, ok := b[key]; !ok || !equal(a[key], value) {
			n++
		}
	}
	return n
}

func printComparison(w *world, counted, found ledger) error {
	fmt.Printf("\nprogramme %s, campaign %s: %d links, %d visitors, %d events\n\n", w.program, w.campaign, len(w.links), len(w.journeys), w.steps()-len(w.links))
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\ttruth\tClickHouse\t")
	for _, key := range counted.lines() {
		mark := ""
		if value, ok := found[key]; !ok || !equal(counted[key], value) {
			mark = "DIFFERENT"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", key, shown(counted[key]), shown(found[key]), mark)
	}
	table.Flush()
	if n := differences(counted, found); n > 0 {
		return fmt.Errorf("compare the ledger with ClickHouse: %d of %d lines differ", n, len(counted))
	}
	fmt.Printf("\nall %d lines are equal\n", len(counted))
	return nil
}

// shown writes whole numbers as such, and others with up to six decimals.
func shown(value float64) string {
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(value, 'f', 6, 64), "0"), ".")
}
