package main

import (
	"context"
	"strings"
)

// campaignCount is what a campaign brought, in cents and users.
type campaignCount struct {
	conversions             map[string]bool // users
	value, refunds, rewards int64
}

// lookCampaigns adds what the campaigns of a run brought, what they cost, and
// what came of that.
func (s *story) lookCampaigns(ctx context.Context, client *apiClient, want, have book, truth, found ledger) error {
	rows, err := apiRows(ctx, client, "/v1/reports/campaigns", s.period(""))
	if err != nil {
		return err
	}
	fixed := map[string]int64{}
	counts := s.countCampaigns(want, have)
	for _, c := range s.campaigns(s) {
		fixed[c.Name] = decimalCents(c.Spend)
		if counts[c.Name] != nil { // who came by a mailing has no referrer: see lookVariants
			addCampaign(truth, s.campaignLine(c.Name), counts[c.Name], fixed[c.Name])
		}
	}
	for _, row := range rows {
		line := s.campaignLine(text(row, "campaign"))
		if _, compared := truth[line+"spend"]; !compared {
			continue
		}
		for _, column := range []string{"conversions", "value", "refunds", "spend", "roi"} {
			found[line+column] = number(row[column])
		}
	}
	return nil
}

func (s *story) campaignLine(name string) string {
	return "campaign " + strings.TrimPrefix(name, s.campaign+"-") + ", "
}

// countCampaigns counts what the journeys of each campaign brought and earned.
func (s *story) countCampaigns(want, have book) map[string]*campaignCount {
	counts := map[string]*campaignCount{}
	of := func(campaign string) *campaignCount {
		if counts[campaign] == nil {
			counts[campaign] = &campaignCount{conversions: map[string]bool{}}
		}
		return counts[campaign]
	}
	for _, d := range s.deals {
		c := of(d.link.campaign)
		for i := range d.actions {
			if a := &d.actions[i]; a.event == s.converts {
				c.conversions[d.user] = true
				c.value += a.cents
				// A refund without a value takes all of an order from the rewards, and
				// nothing from the reports, which sum up what refunds say.
				c.refunds += max(0, s.refunds[a.order])
			}
		}
	}
	for key, e := range want {
		campaign := e.campaign
		if found := have[key]; e.fact == "" && found != nil {
			campaign = found.campaign // of whichever fact reached the milestone first, as they arrived
		}
		if e.state != "expired" {
			of(campaign).rewards += e.cents
		}
	}
	return counts
}

// addCampaign adds the lines of a campaign. The return on investment is what is
// left of the value after refunds and cost, by the cost.
func addCampaign(l ledger, line string, c *campaignCount, fixed int64) {
	spend := c.rewards + fixed
	l[line+"conversions"], l[line+"value"], l[line+"refunds"] = float64(len(c.conversions)), float64(c.value)/100, float64(c.refunds)/100
	l[line+"spend"] = float64(spend) / 100
	if spend != 0 {
		l[line+"roi"] = float64(c.value-c.refunds-spend) / float64(spend)
	}
}
