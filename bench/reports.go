package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"waymark/clickhouse"
)

// reportsCommand asks every report and view of a year of events, and the same
// question of the raw events, in one run.
type reportsCommand struct {
	Events  int    `help:"Hits; the actions that follow from them come on top." default:"10000000"`
	Rounds  int    `help:"Askings of each report; the raw question is asked once." default:"5"`
	Only    string `help:"Ask only questions whose names have this in them."`
	Binary  string `help:"The waymark binary whose engine is used." default:"bin/waymark"`
	Dir     string `help:"Directory for the engine's data; a temporary one without it." type:"path"`
	Keep    string `help:"Directory that keeps the data set: another run with as many events asks the same one." type:"path"`
	Results string `help:"Directory for the results." default:"bench/results" type:"path"`
}

// reportsAnswer is what a question took, in milliseconds: elapsed, and of CPU.
type reportsAnswer struct {
	question
	elapsed, cpu       spread
	rawElapsed, rawCPU float64
}

func (c reportsCommand) Run(ctx context.Context) error {
	dir := c.Keep
	if dir == "" {
		temporary, err := os.MkdirTemp(c.Dir, "waymark-reports-")
		if err != nil {
			return fmt.Errorf("make a directory for the run: %w", err)
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the data set: %w", err)
	}
	if err := checkRoom(dir, 2*bytesPerEventGuess*int64(c.Events)); err != nil {
		return err
	}
	data := newReportsData(c.Events)
	e, err := data.open(ctx, c.Binary, dir)
	if err != nil {
		return err
	}
	defer e.stop()
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
		if !strings.Contains(q.name, c.Only) {
			continue
		}
		answer, err := c.ask(ctx, e, db, q)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s ms, CPU %s ms, raw %s ms\n", q.name, answer.elapsed, figure(answer.cpu.median), figure(answer.rawElapsed))
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
