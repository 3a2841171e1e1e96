package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"waymark/tracker/fraud"
)

type fraudCommand struct {
	List     fraudListCommand    `cmd:"" help:"List referrals, the highest scores first."`
	Show     fraudShowCommand    `cmd:"" help:"Show what is held against a referral, with the evidence and the log."`
	Approve  fraudDecideApprove  `cmd:"" help:"Decide that nothing is held against a referral."`
	Reject   fraudDecideReject   `cmd:"" help:"Decide that a referral earns nothing."`
	Withdraw fraudDecideWithdraw `cmd:"" help:"Withdraw what was decided: the assessment holds again."`
}

type fraudListCommand struct {
	adminFlags
	Program  string `help:"Only this programme." placeholder:"NAME"`
	Referrer string `help:"Only referrals by this party." placeholder:"ID"`
	Risk     string `help:"Only referrals of this risk: low, medium or high." placeholder:"RISK"`
	Action   string `help:"Only referrals with this action: approve, review, hold or reject." placeholder:"ACTION"`
}

// fraudRow is a row of GET /v1/fraud, as far as the table shows it.
type fraudRow struct {
	ID, Program, Referrer, Referee, Risk, Action, Decision string
	Score                                                  float64
	Signals                                                []string
}

func (c *fraudListCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tPROGRAM\tREFERRER\tREFEREE\tSCORE\tRISK\tACTION\tDECISION\tSIGNALS")
	filters := url.Values{"program": {c.Program}, "referrer": {c.Referrer}, "risk": {c.Risk}, "action": {c.Action}}
	for r, err := range listAll[fraudRow](ctx, client, "/v1/fraud", "rows", filters) {
		if err != nil {
			return fmt.Errorf("list the referrals: %w", err)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\n", r.ID, r.Program, r.Referrer, r.Referee, r.Score, r.Risk, r.Action, r.Decision, strings.Join(r.Signals, " "))
	}
	return table.Flush()
}

// fraudReferral is a referral as the API gives it.
type fraudReferral struct {
	fraudRow
	Signals []struct {
		Signal                   string
		Value, Threshold, Weight float64
		Triggered                bool
	}
	Evidence []struct {
		Signal, Party, Event, Action, Detail string
		Time                                 time.Time
	}
	Log []struct {
		Entry, Actor, Risk, Action, Decision, Reason string
		Time                                         time.Time
		Score                                        float64
	}
}

func (r *fraudReferral) print() error {
	fmt.Printf("%s referred %s in %s: score %.2f, risk %s, action %s\n\n", r.Referrer, r.Referee, r.Program, r.Score, r.Risk, r.Action)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SIGNAL\tVALUE\tTHRESHOLD\tWEIGHT\tTRIGGERED")
	for _, s := range r.Signals {
		fmt.Fprintf(table, "%s\t%g\t%g\t%g\t%t\n", s.Signal, s.Value, s.Threshold, s.Weight, s.Triggered)
	}
	fmt.Fprintln(table, "\nEVIDENCE\tTIME\tPARTY\tEVENT\tACTION\tDETAIL")
	for _, e := range r.Evidence {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Signal, e.Time.Format(time.RFC3339), e.Party, e.Event, e.Action, e.Detail)
	}
	fmt.Fprintln(table, "\nLOG\tTIME\tACTOR\tRESULT\tREASON")
	for _, e := range r.Log {
		result := e.Decision
		if result == "" {
			result = fmt.Sprintf("%.2f %s %s", e.Score, e.Risk, e.Action)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.Entry, e.Time.Format(time.RFC3339), e.Actor, result, e.Reason)
	}
	return table.Flush()
}

type fraudShowCommand struct {
	adminFlags
	ID string `arg:"" help:"Id of the referral."`
}

func (c *fraudShowCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var referral fraudReferral
	if err := client.call(ctx, "GET", "/v1/fraud/"+url.PathEscape(c.ID), nil, &referral); err != nil {
		return fmt.Errorf("show the referral: %w", err)
	}
	return referral.print()
}

type fraudDecision struct {
	adminFlags
	ID     string `arg:"" help:"Id of the referral."`
	Reason string `help:"Why; it is kept with the decision." placeholder:"TEXT"`
}

type (
	fraudDecideApprove  struct{ fraudDecision }
	fraudDecideReject   struct{ fraudDecision }
	fraudDecideWithdraw struct{ fraudDecision }
)

func (c *fraudDecideApprove) Run(ctx context.Context) error  { return c.decide(ctx, fraud.Approve) }
func (c *fraudDecideReject) Run(ctx context.Context) error   { return c.decide(ctx, fraud.Reject) }
func (c *fraudDecideWithdraw) Run(ctx context.Context) error { return c.decide(ctx, fraud.Withdraw) }

func (c *fraudDecision) decide(ctx context.Context, decision string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var referral fraudReferral
	in := map[string]string{"decision": decision, "reason": c.Reason}
	if err := client.call(ctx, "POST", "/v1/fraud/"+url.PathEscape(c.ID)+"/decision", in, &referral); err != nil {
		return fmt.Errorf("decide about the referral: %w", err)
	}
	fmt.Printf("%s referred %s: %s\n", referral.Referrer, referral.Referee, referral.Action)
	return nil
}
