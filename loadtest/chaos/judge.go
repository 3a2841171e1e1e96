package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"waymark/loadtest/verify"
)

// eventsMin is how much a round must have sent to prove anything.
const eventsMin = 5000

// auditReport is what `waymark audit --json` prints, as far as it counts here.
type auditReport struct {
	Results []auditLine `json:"results"`
}

type auditLine struct {
	What  string `json:"what"`
	Range struct {
		Unit string `json:"unit"`
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"range"`
	Expected int64  `json:"expected"`
	Found    int64  `json:"found"`
	Verdict  string `json:"verdict"`
	Detail   string `json:"detail"`
}

func (l auditLine) String() string {
	return fmt.Sprintf("%s %s %s to %s: expected %d, found %d, %s %s", l.What, l.Range.Unit, l.Range.From, l.Range.To, l.Expected, l.Found, l.Verdict, l.Detail)
}

// judge compares what visitors were told with what ClickHouse has.
func (r *round) judge(ctx context.Context) error {
	report, err := r.verify(ctx)
	if err != nil {
		return err
	}
	audit, err := r.audit(ctx)
	if err != nil {
		return err
	}
	o := &r.result
	o.answered, o.open, o.shed = report.Clicks+report.Actions, report.OpenClicks+report.OpenActions, r.shed
	missing, errs := r.judgeAudit(audit)
	o.damaged = missing
	o.lost, o.doubled = clicksLost(report)
	errs = append(errs, judgeReport(report, r.shed+missing)...)
	if o.answered < eventsMin {
		errs = append(errs, fmt.Errorf("%d events are too few to prove anything, there should be %d", o.answered, eventsMin))
	}
	errs = append(errs, r.links.check(ctx), r.searchLogs())
	if r.broken {
		errs = append(errs, r.checkSetAside())
	}
	if r.house != nil && r.house.Nameless() > 0 {
		errs = append(errs, fmt.Errorf("%d inserts into %s had no deduplication token", r.house.Nameless(), eventsTable))
	}
	return errors.Join(errs...)
}

func (r *round) verify(ctx context.Context) (*verify.Report, error) {
	printed, code, err := r.command(ctx, "loadtest", "verify", "--data", r.data(), "--clickhouse", r.clickhouse, "--ledger", r.ledger, "--wait", "0s", "--json")
	if err != nil {
		return nil, err
	}
	report := new(verify.Report)
	if err := json.Unmarshal(printed, report); err != nil {
		return nil, fmt.Errorf("waymark loadtest verify ended with exit code %d and no report: %w", code, err)
	}
	return report, os.WriteFile(r.ledger+".verify", printed, 0o644)
}

func (r *round) audit(ctx context.Context) (*auditReport, error) {
	printed, code, err := r.command(ctx, "audit", "--data", r.data(), "--kafka", r.kafka, "--clickhouse", r.clickhouse, "--json")
	if err != nil {
		return nil, err
	}
	report := new(auditReport)
	if err := json.Unmarshal(printed, report); err != nil {
		return nil, fmt.Errorf("waymark audit ended with exit code %d and no report: %w", code, err)
	}
	return report, os.WriteFile(r.ledger+".audit", printed, 0o644)
}

// judgeAudit takes nothing but order, save for ordinals that went with a damaged
// spool: those it counts. They stay missing in all later audits of the same
// installation, where they are no news. And the broker of `up` trims what is in
// ClickHouse, so that of an action which was sent twice nobody can tell any more
// what its offset had; that the action itself is there once, verify says.
func (r *round) judgeAudit(report *auditReport) (missing uint64, errs []error) {
	if len(report.Results) == 0 {
		errs = append(errs, errors.New("audit has looked at nothing"))
	}
	for _, line := range report.Results {
		if line.Verdict == "ok" {
			continue
		}
		gap := line.Verdict == "missing" && line.Range.Unit == "ordinal"
		if gap && line.Found > 0 { // the sum of a node, whose gaps follow
			continue
		}
		key := line.What + line.Range.From + line.Range.To
		switch {
		case r.topology == up && line.Verdict == "unproven" && strings.Contains(line.Detail, "trimmed from Kafka"):
		case gap && r.knownLines[key]:
		case gap && r.broken:
			r.knownLines[key] = true
			missing += uint64(line.Expected)
		default:
			errs = append(errs, fmt.Errorf("audit: %s", line))
		}
	}
	return missing, errs
}

// clicksLost are those of the comparison by identity.
func clicksLost(report *verify.Report) (lost, doubled uint64) {
	for _, line := range report.Lines {
		if line.Table == "events" {
			lost += line.Lost
			doubled += line.Doubled
		}
	}
	return lost, doubled
}

// countsActions tells the lines about actions, which are never shed unanswered, from
// those about clicks.
func countsActions(line *verify.Line) bool {
	return line.What == "actions" || line.What == "purchases" || line.What == "users"
}

// judgeReport expects as many clicks to be lost as were counted as lost, in each
// line that has clicks, and no other difference.
func judgeReport(report *verify.Report, counted uint64) (errs []error) {
	if len(report.Lines) == 0 || len(report.Unfinished) > 0 {
		return []error{fmt.Errorf("verify has compared %d tables, and ledgers %q have no end", len(report.Lines), report.Unfinished)}
	}
	for _, line := range report.Lines {
		allowed := counted
		if countsActions(line) {
			allowed = 0
		}
		if line.Lost == allowed && line.Doubled+line.Foreign+line.Altered == 0 {
			continue
		}
		var samples []string
		for _, s := range line.Samples {
			samples = append(samples, s.Kind+" "+s.Key)
		}
		errs = append(errs, fmt.Errorf("verify: %s, %s: ledger %d, ClickHouse %d, lost %d (%d are accounted for), doubled %d, foreign %d, altered %d: %s",
			line.Table, line.What, line.Expected, line.Found, line.Lost, allowed, line.Doubled, line.Foreign, line.Altered, strings.Join(samples, "; ")))
	}
	return errs
}

// checkSetAside sees that a damaged segment was kept for people to look at.
func (r *round) checkSetAside() error {
	if r.result.damaged == 0 {
		return nil // what was damaged had been shipped already
	}
	found, err := filepath.Glob(filepath.Join(r.data(), "edge-*", "*.corrupt"))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%d hits are missing after a segment was damaged, and no file was renamed aside", r.result.damaged)
	}
	return err
}

// fatalLines are what no process may ever say.
var fatalLines = regexp.MustCompile(`(?m)^(panic:|fatal error:|SIGBUS|SIGSEGV).*|BUG: .*`)

func (r *round) searchLogs() error {
	var errs []error
	for _, p := range r.all {
		for _, line := range p.logged(0, fatalLines) {
			errs = append(errs, fmt.Errorf("%s said %s", p.name, line))
		}
	}
	return errors.Join(errs...)
}
