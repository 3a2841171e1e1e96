package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed reports_hits.sql
var reportsHitsSQL string

//go:embed reports_actions.sql
var reportsActionsSQL string

var reportsInserts = template.Must(template.Must(template.New("hits").Parse(reportsHitsSQL)).New("actions").Parse(reportsActionsSQL))

// reportsData makes events inside the engine: ten million through ingest take
// minutes, and the reports cannot tell.
type reportsData struct {
	Events, Links, Referrers int
	StartMS, SpanMS          int64
	First, Count             int
}

func newReportsData(events int) reportsData {
	return reportsData{
		Events: events, Links: max(1000, events/500), Referrers: max(300, events/1500),
		StartMS: time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), SpanMS: 365 * 24 * time.Hour.Milliseconds(),
	}
}

// reportsStep is the number of hits of an insert: the largest block of ingest.
const reportsStep = 500_000

// open starts an engine that has the events of the data set. In a directory
// that is kept they are made once: a note beside them says how many they are.
func (d reportsData) open(ctx context.Context, binary, dir string) (*engineProcess, error) {
	note := filepath.Join(dir, "events")
	have, err := os.ReadFile(note)
	switch {
	case err == nil && string(have) != fmt.Sprint(d.Events):
		return nil, fmt.Errorf("%s has a data set of %s events; ask for as many, or remove it", dir, have)
	case err != nil && !os.IsNotExist(err):
		return nil, fmt.Errorf("read what data set is there: %w", err)
	}
	e, openErr := openEngine(ctx, binary, dir)
	if openErr != nil || err == nil {
		return e, openErr
	}
	if err = d.fill(ctx, e); err == nil {
		err = os.WriteFile(note, fmt.Append(nil, d.Events), 0o644)
	}
	if err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// fill inserts all hits and what follows from them, through every view.
func (d reportsData) fill(ctx context.Context, e *engineProcess) error {
	began, shown := time.Now(), time.Time{}
	for d.First = 0; d.First < d.Events; d.First += reportsStep {
		d.Count = min(reportsStep, d.Events-d.First)
		for _, insert := range []string{"hits", "actions"} {
			var sql strings.Builder
			if err := reportsInserts.ExecuteTemplate(&sql, insert, d); err != nil {
				panic("BUG: render the " + insert + ": " + err.Error())
			}
			if err := e.exec(ctx, sql.String()); err != nil {
				return fmt.Errorf("make the %s from number %d: %w", insert, d.First, err)
			}
		}
		if done := d.First + d.Count; done == d.Events || time.Since(shown) > 5*time.Second {
			shown = time.Now()
			took := time.Since(began)
			left := time.Duration(float64(took) / float64(done) * float64(d.Events-done))
			fmt.Fprintf(os.Stderr, "%d of %d hits made in %s, %s left\n", done, d.Events, took.Round(time.Second), left.Round(time.Second))
		}
	}
	return nil
}
