package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"text/tabwriter"
)

type partnersCommand struct {
	List   partnersListCommand   `cmd:"" help:"List partners with their code, status and rate."`
	Create partnersCreateCommand `cmd:"" help:"Create a partner."`
	Change partnersChangeCommand `cmd:"" help:"Change a partner: what is left out stays."`
}

// partnerRow is a partner as the API gives it.
type partnerRow struct {
	ID, Program, Code, Type, Name, Email, Status string
	CommissionRate                               *string `json:"commission_rate"`
	JoinedAt                                     string  `json:"joined_at"`
}

func (p *partnerRow) row() string {
	rate := "of the rule"
	if p.CommissionRate != nil {
		rate = *p.CommissionRate + " %"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.ID, p.Program, p.Code, p.Type, p.Name, p.Status, rate, p.JoinedAt)
}

func printPartners(all ...partnerRow) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PARTNER\tPROGRAM\tCODE\tTYPE\tNAME\tSTATUS\tRATE\tJOINED")
	for i := range all {
		fmt.Fprint(table, all[i].row())
	}
	return table.Flush()
}

type partnersListCommand struct {
	adminFlags
	Program string `help:"Only this programme." placeholder:"NAME"`
	Status  string `help:"Only partners of this status: active, inactive, suspended or terminated." placeholder:"STATUS"`
}

func (c *partnersListCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var all []partnerRow
	filters := url.Values{"program": {c.Program}, "status": {c.Status}}
	for p, err := range listAll[partnerRow](ctx, client, "/v1/partners", "partners", filters) {
		if err != nil {
			return fmt.Errorf("list the partners: %w", err)
		}
		all = append(all, p)
	}
	return printPartners(all...)
}

// partnerFlags are what a partner can be given.
type partnerFlags struct {
	Code           *string `help:"Code, unique in the programme." placeholder:"CODE"`
	Type           *string `help:"Type of the party." placeholder:"TYPE"`
	Name           *string `help:"Name." placeholder:"TEXT"`
	Email          *string `help:"E-mail address." placeholder:"ADDRESS"`
	Status         *string `help:"active, inactive, suspended or terminated." placeholder:"STATUS"`
	CommissionRate *string `help:"Commission in per cent, or none for the rate of the rule." placeholder:"RATE"`
}

// body is the request that the flags make.
func (f *partnerFlags) body() map[string]any {
	body := map[string]any{}
	for name, value := range map[string]*string{"code": f.Code, "type": f.Type, "name": f.Name, "email": f.Email, "status": f.Status, "commission_rate": f.CommissionRate} {
		if value != nil {
			body[name] = *value
		}
	}
	if f.CommissionRate != nil && *f.CommissionRate == "none" {
		body["commission_rate"] = nil
	}
	return body
}

type partnersCreateCommand struct {
	adminFlags
	partnerFlags
	Partner string `arg:"" help:"Id of the party, as links name it as their referrer."`
	Program string `help:"The programme." required:"" placeholder:"NAME"`
}

func (c *partnersCreateCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	body := c.body()
	body["id"], body["program"] = c.Partner, c.Program
	var created partnerRow
	if err := client.call(ctx, "POST", "/v1/partners", body, &created); err != nil {
		return fmt.Errorf("create the partner: %w", err)
	}
	return printPartners(created)
}

type partnersChangeCommand struct {
	adminFlags
	partnerFlags
	Partner string `arg:"" help:"Id of the party."`
	Program string `help:"The programme." required:"" placeholder:"NAME"`
}

func (c *partnersChangeCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var changed partnerRow
	if err := client.call(ctx, "PATCH", "/v1/partners/"+url.PathEscape(c.Partner)+"?program="+url.QueryEscape(c.Program), c.body(), &changed); err != nil {
		return fmt.Errorf("change the partner: %w", err)
	}
	return printPartners(changed)
}
