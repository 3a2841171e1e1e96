package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"waymark/clickhouse"
	"waymark/tracker"
)

// reportsCommand asks every report and view of a year of events, and the same
// question of the raw events, in one run.
type reportsCommand struct {
	Events  int    `help:"Hits; the actions that follow from them come on top." default:"10000000"`
	Rounds  int    `help:"Askings of each report; the raw question is asked once." default:"5"`
	Binary  string `help:"The waymark binary whose engine is used." default:"bin/waymark"`
	Dir     string `help:"Directory for the engine's data; a temporary one without it." type:"path"`
	Results string `help:"Directory for the results." default:"bench/results" type:"path"`
}

// question is asked of the views, as a report or in SQL, and of the raw events.
// The raw one is a single pass that does not even resolve what an action leaves
// out, so it costs less than the same answer would.
type question struct {
	name   string
	report tracker.ReportQuery // without a name: sql
	sql    string
	raw    string
}

const (
	rawClicks = "SELECT %s AS key, countIf(valid) AS clicks, uniqExactIf(visitor_id, valid), countIf(gross), countIf(unique) FROM waymark.events WHERE stage = 'clicked' GROUP BY key ORDER BY clicks DESC LIMIT 1000"
	rawAll    = "SELECT %s AS key, countIf(stage = 'clicked' AND valid) AS clicks, uniqExactIf(visitor_id, stage = 'clicked' AND valid), countIf(stage = 'invited'), uniqExactIf(user_id, stage = 'signed_up'), uniqExactIf(user_id, stage = 'activated'), uniqExactIf(user_id, stage = 'converted'), uniqExactIf(user_id, stage = 'retained'), sumIf(value, stage = 'converted'), sumIf(value, event = 'refund') FROM waymark.events GROUP BY key ORDER BY clicks DESC LIMIT 1000"
	rawSpans  = `SELECT quantilesExactInclusive(0.5, 0.75, 0.9)(dateDiff('millisecond', from, to)) FROM
		(SELECT user_id, minIf(time, stage = 'signed_up') AS from, minIf(time, stage = 'converted') AS to FROM waymark.events WHERE stage NOT IN ('clicked', 'invited') GROUP BY user_id)
		WHERE toUnixTimestamp64Milli(from) > 0 AND to >= from`
)

// reportQuestions are over all events unless they say otherwise.
func reportQuestions(data reportsData) []question {
	var all []question
	ask := func(name, by, raw, column string) {
		all = append(all, question{
			name: "report " + name + " by " + by, raw: fmt.Sprintf(raw, column),
			report: tracker.ReportQuery{Name: name, By: by, Limit: 1000},
		})
	}
	for _, d := range [][2]string{{"channel", "channel"}, {"campaign", "campaign"}, {"country", "country"}, {"device", "device"}, {"referrer", "referrer_id"}, {"link", "code"}} {
		ask("clicks", d[0], rawClicks, d[1])
		ask("conversion_rates", d[0], rawAll, d[1])
	}
	for _, r := range [][2]string{{"funnel", "channel"}, {"channels", "channel"}, {"geography", "country"}} {
		ask(r[0], r[1], rawAll, r[1])
	}
	end := time.UnixMilli(data.StartMS + data.SpanMS).UTC().Truncate(24 * time.Hour)
	all = append(all,
		question{name: "report clicks per day", report: tracker.ReportQuery{Name: "clicks", TZ: "Europe/Berlin"}, raw: fmt.Sprintf(rawClicks, "toDate(time, 'Europe/Berlin')")},
		question{name: "report funnel", report: tracker.ReportQuery{Name: "funnel"}, raw: fmt.Sprintf(rawAll, "''")},
		question{name: "report funnel, last 30 days", report: tracker.ReportQuery{Name: "funnel", From: end.AddDate(0, 0, -30), To: end}, raw: fmt.Sprintf(rawAll, "''")},
		question{name: "report time_to_convert", report: tracker.ReportQuery{Name: "time_to_convert"}, raw: rawSpans},
		question{name: "view clicks", sql: "SELECT key, sum(clicks) FROM waymark.clicks WHERE dimension = 'country' GROUP BY key", raw: "SELECT country, countIf(valid) FROM waymark.events WHERE stage = 'clicked' GROUP BY country"},
		question{name: "view funnel", sql: "SELECT * FROM waymark.funnel", raw: fmt.Sprintf(rawAll, "program")},
		question{name: "view conversion_rates", sql: "SELECT * FROM waymark.conversion_rates WHERE dimension = 'campaign'", raw: fmt.Sprintf(rawAll, "(program, campaign)")},
		question{name: "view channels", sql: "SELECT * FROM waymark.channels", raw: fmt.Sprintf(rawAll, "(program, channel)")},
		question{name: "view geography", sql: "SELECT * FROM waymark.geography", raw: fmt.Sprintf(rawAll, "(program, country)")},
		question{name: "view time_to_convert", sql: "SELECT * FROM waymark.time_to_convert", raw: rawSpans},
	)
	return all
}

// reportsAnswer is what a question took, in milliseconds: elapsed, and of CPU.
type reportsAnswer struct {
	question
	elapsed, cpu       spread
	rawElapsed, rawCPU float64
}

func (c reportsCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp(c.Dir, "waymark-reports-")
	if err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := checkRoom(dir, 2*bytesPerEventGuess*int64(c.Events)); err != nil {
		return err
	}
	e, err := startEngine(ctx, c.Binary, dir)
	if err != nil {
		return err
	}
	defer e.close()
	data := newReportsData(c.Events)
	if err := data.fill(ctx, e); err != nil {
		return err
	}
	views, err := e.viewCosts(ctx, data)
	if err != nil {
		return err
	}
	if err := e.settleActions(ctx); err != nil {
		return err
	}
	if err := e.settle(ctx); err != nil {
		return err
	}
	sizes, err := e.tableSizes(ctx)
	if err != nil {
		return err
	}
	db, err := clickhouse.Open(e.url, "waymark", e.password)
	if err != nil {
		return err
	}
	defer db.Close()
	var answers []reportsAnswer
	for _, q := range reportQuestions(data) {
		answer, err := c.ask(ctx, e, db, q)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s ms, raw %s ms\n", q.name, answer.elapsed, figure(answer.rawElapsed))
		answers = append(answers, answer)
	}
	return c.report(answers, sizes, views).publish(c.Results, os.Stdout)
}

// settleActions renews the settled tables, twice: what the first names as
// settled is what the one before it had.
func (e *engineProcess) settleActions(ctx context.Context) error {
	for range 2 {
		for _, view := range []string{"settling_view", "settled_view", "settled_journeys_view", "settled_paths_view", "settled_until_view"} {
			for _, verb := range []string{"REFRESH", "WAIT"} {
				if err := e.exec(ctx, "SYSTEM "+verb+" VIEW waymark."+view); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c reportsCommand) ask(ctx context.Context, e *engineProcess, db *clickhouse.DB, q question) (reportsAnswer, error) {
	answer := reportsAnswer{question: q}
	var elapsed, cpu []float64
	for range c.Rounds {
		ms, used, err := e.timed(func() error {
			if q.report.Name == "" {
				return e.exec(ctx, q.sql)
			}
			_, err := db.Report(ctx, q.report)
			return err
		})
		if err != nil {
			return answer, err
		}
		elapsed, cpu = append(elapsed, ms), append(cpu, used)
	}
	answer.elapsed, answer.cpu = spreadOf(elapsed), spreadOf(cpu)
	var err error
	answer.rawElapsed, answer.rawCPU, err = e.timed(func() error { return e.exec(ctx, q.raw) })
	return answer, err
}

// timed is the elapsed time and the engine's CPU time of something, in ms.
func (e *engineProcess) timed(act func() error) (elapsed, cpu float64, err error) {
	before, err := cpuTime(e.pid())
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := act(); err != nil {
		return 0, 0, err
	}
	elapsed = float64(time.Since(began).Microseconds()) / 1000
	after, err := cpuTime(e.pid())
	return elapsed, float64((after - before).Microseconds()) / 1000, err
}
