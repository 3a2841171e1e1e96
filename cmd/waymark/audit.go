package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"waymark/clickhouse"
	"waymark/pipeline"
	"waymark/tracker"
)

type auditCommand struct {
	dataFlags
	kafkaFlags
	clickhouseFlags
	Since  string `help:"Leave out what is older: a time (2026-03-01 or RFC 3339) or an age (36h, 7d)." placeholder:"TIME|AGE"`
	JSON   bool   `name:"json" help:"Print JSON instead of a table."`
	Repair bool   `help:"Remove repeated rows from events, insert missing ones from Kafka, and rebuild the months of view targets that differ. Ingest may run, but must come to rest for moments."`
}

// auditReport is what --json prints.
type auditReport struct {
	Since       *time.Time            `json:"since,omitempty"`
	Results     []tracker.AuditResult `json:"results"`            // as it is now, after the repair if there was one
	Repaired    []string              `json:"repaired,omitempty"` // what --repair did, in order
	Differences int                   `json:"differences"`        // results that are missing, repeated or differ
	Unproven    int                   `json:"unproven"`
}

// repairRounds bounds how often --repair checks and repairs again: each round
// mends at most a thousand ranges of a kind.
const repairRounds = 20

func (c *auditCommand) Run(ctx context.Context) error {
	since, err := parseSince(c.Since, time.Now())
	if err != nil {
		return err
	}
	kafka, err := c.kafkaFlags.clients()
	if err != nil {
		return err
	}
	kafka.ID = "waymark-audit"
	database, err := c.clickhouseFlags.open(c.dir())
	if err != nil {
		return err
	}
	defer database.Close()
	if err := database.Ping(ctx); err != nil {
		return fmt.Errorf("%w; is --clickhouse its address?", err)
	}
	events, err := pipeline.NewAudit(ctx, pipeline.AuditOptions{Clients: kafka, Store: database, Since: since})
	if err != nil {
		return fmt.Errorf("%w; is --kafka its address?", err)
	}
	defer events.Close()
	ledger, err := newRewardAudit(kafka, database)
	if err != nil {
		return err
	}
	defer ledger.close()
	audit := auditor{events: events, database: database, rewards: ledger, since: since}
	if !since.IsZero() {
		audit.report.Since = &since
	}
	failed := audit.run(ctx, c.Repair)
	if err := audit.report.print(os.Stdout, c.JSON); err != nil {
		return err
	}
	if failed == nil && audit.report.Differences > 0 {
		failed = fmt.Errorf("%d differences", audit.report.Differences)
	}
	return failed
}

// parseSince reads a time, in UTC unless it says otherwise, or an age. "" is
// the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.UTC().AddDate(0, 0, -int(n)), nil
		}
	}
	age, err := time.ParseDuration(s)
	if err != nil || age < 0 {
		return time.Time{}, fmt.Errorf("--since %q is neither a time (2026-03-01, 2026-03-01T12:00:00Z) nor an age (36h, 7d)", s)
	}
	return now.UTC().Add(-age), nil
}

// auditor brings the audits of Kafka and ClickHouse together.
type auditor struct {
	events   *pipeline.Audit
	database *clickhouse.DB
	rewards  *rewardAudit
	since    time.Time
	report   auditReport
}

// run checks and, if asked, repairs and checks again until there is nothing
// left that a repair can mend.
func (a *auditor) run(ctx context.Context, repair bool) error {
	for round := 0; ; round++ {
		found, err := a.check(ctx)
		if err != nil || !repair || round == repairRounds {
			return err
		}
		before := len(a.report.Repaired)
		failed := a.repair(ctx, found)
		if len(a.report.Repaired) == before {
			return failed
		}
		if failed != nil {
			_, err := a.check(ctx) // what was repaired before it failed
			return errors.Join(failed, err)
		}
	}
}

// check fills the report anew.
func (a *auditor) check(ctx context.Context) (*pipeline.EventsAudit, error) {
	found, err := a.events.Check(ctx)
	if err != nil {
		return nil, err
	}
	results := found.Results
	views, err := a.database.AuditViews(ctx, a.since, a.events)
	if err != nil {
		return nil, err
	}
	results = append(results, views...)
	damaged := slices.ContainsFunc(results, func(r tracker.AuditResult) bool { return r.Verdict.Bad() })
	ledgers, err := a.rewards.check(ctx, !damaged)
	if err != nil {
		return nil, err
	}
	results = append(results, ledgers...)
	a.report.Results, a.report.Differences, a.report.Unproven = results, 0, 0
	for _, r := range results {
		switch {
		case r.Verdict.Bad():
			a.report.Differences++
		case r.Verdict == tracker.AuditUnproven:
			a.report.Unproven++
		}
	}
	return found, nil
}

// repair mends events first: what that changes in the view targets, the next
// check says. Only where events is right are targets rebuilt from it.
func (a *auditor) repair(ctx context.Context, found *pipeline.EventsAudit) error {
	if len(found.Surplus) > 0 {
		if err := a.database.RemoveRows(ctx, found.Surplus, a.events); err != nil {
			return err
		}
		a.repaired("removed the repeats in %d ranges from events", len(found.Surplus))
	}
	if len(found.Missing) > 0 {
		inserted, err := a.events.InsertMissing(ctx, found.Missing)
		if inserted > 0 {
			a.repaired("inserted %d missing rows from Kafka", inserted)
		}
		if err != nil {
			return err
		}
	}
	if len(found.Surplus)+len(found.Missing) > 0 {
		return nil
	}
	rebuilt := map[string]bool{} // target and month: a result with a repair never spans two
	tables := false              // whether one of them was rebuilt
	var failed []error           // one target does not hold up the others
	for _, r := range a.report.Results {
		month := r.What + r.Range.From[:min(len(r.Range.From), len("2006-01"))]
		if r.Verdict != tracker.AuditDiffers || r.Repair == "" || rebuilt[month] {
			continue
		}
		rebuilt[month] = true
		if program, ok := strings.CutPrefix(r.What, "rewards/"); ok {
			if tables {
				continue // it is judged anew once they are sound
			}
			if err := a.rewards.repair(ctx, program); err != nil {
				failed = append(failed, err)
				continue
			}
			a.repaired("wrote into the ledger of %s what the facts are worth", program)
			continue
		}
		tables = true
		partitions, err := a.database.RebuildView(ctx, r.What, r.Range, a.events)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		a.repaired("rebuilt partition %s of %s from events", strings.Join(partitions, ", "), r.What)
	}
	return errors.Join(failed...)
}

func (a *auditor) repaired(format string, args ...any) {
	a.report.Repaired = append(a.report.Repaired, fmt.Sprintf(format, args...))
}

// auditLinesMax is how many lines the table has about one thing.
const auditLinesMax = 20

func (r *auditReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tRANGE\tEXPECTED\tFOUND\tVERDICT\t")
	lines := map[string]int{}
	repairs := map[string]bool{}
	for _, line := range r.Results {
		if line.Repair != "" {
			repairs[line.Repair] = true
		}
		if lines[line.What]++; lines[line.What] > auditLinesMax {
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\n", line.What, line.Range, line.Expected, line.Found, line.Verdict, line.Detail)
	}
	table.Flush()
	for _, line := range r.Results {
		if n := lines[line.What]; n > auditLinesMax {
			fmt.Fprintf(w, "%s: %d lines more, see --json\n", line.What, n-auditLinesMax)
			lines[line.What] = 0
		}
	}
	for _, repaired := range r.Repaired {
		fmt.Fprintln(w, "repaired:", repaired)
	}
	for _, line := range r.Results {
		if repairs[line.Repair] {
			fmt.Fprintln(w, "to repair:", line.Repair)
			delete(repairs, line.Repair)
		}
	}
	_, err := fmt.Fprintf(w, "%d differences, %d not proven\n", r.Differences, r.Unproven)
	return err
}
