package rewards

import (
	"strings"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

type amount = decimal.Decimal

// priced is an amount with how it came about.
type priced struct {
	base        amount
	multipliers string
	cap         string
	amount      amount
	reason      string // why it is 0
}

var one = decimal.NewFromInt(1)

// price calculates what a rule gives a party for a fact, and takes it from the
// caps.
func (c *calculation) price(p *tracker.Program, rule *tracker.RewardRule, f *Fact, party, kind string, partner Partner) priced {
	var out priced
	if out.base, out.reason = c.base(rule, f, partner); !out.base.IsPositive() {
		return out
	}
	campaign := campaignOf(p, f)
	factor := c.multiply(p, rule, f, party, kind, campaign, &out)
	exact := out.base.Mul(factor)

	month := partyMonth{partyRule{party, rule.Name}, f.Time.UTC().Year(), f.Time.UTC().Month()}
	limit := amount{}
	cut := func(name string, to *amount, used amount) {
		if to == nil {
			return
		}
		if left := decimal.Max(decimal.Zero, to.Sub(used)); out.cap == "" && left.LessThan(exact) || out.cap != "" && left.LessThan(limit) {
			out.cap, limit = name, left
		}
	}
	cut("cap", rule.Cap, decimal.Zero)
	cut("cap_monthly", rule.CapMonthly, c.monthly[month])
	if campaign != nil {
		cut("budget", campaign.Budget, c.spent[campaign.Name])
	}
	decimals := int32(p.Rewards.Decimals)
	if out.cap != "" {
		exact = limit
	}
	out.amount = exact.RoundBank(decimals)
	if out.cap != "" && out.amount.GreaterThan(limit) {
		out.amount = limit.Truncate(decimals)
	}
	if !out.amount.IsPositive() {
		out.reason = "less than the smallest amount"
		if out.cap != "" {
			out.reason = "the " + out.cap + " is used up"
		}
		return out
	}
	c.note(month, f, campaign, out.amount)
	return out
}

// note counts what was earned towards the caps and the first referrals.
func (c *calculation) note(month partyMonth, f *Fact, campaign *tracker.Campaign, earned amount) {
	numbers := c.earned[month.partyRule]
	if numbers == nil {
		numbers = map[string]int{}
		c.earned[month.partyRule] = numbers
	}
	if numbers[f.Party] == 0 {
		numbers[f.Party] = len(numbers) + 1
	}
	c.monthly[month] = c.monthly[month].Add(earned)
	if campaign != nil {
		c.spent[campaign.Name] = c.spent[campaign.Name].Add(earned)
	}
}

// base is the amount before the multipliers. A fixed one, or one by plan, is
// there or not: a refund takes it back only if nothing is left of the fact. One
// of per cent is of what is left.
func (c *calculation) base(rule *tracker.RewardRule, f *Fact, partner Partner) (base amount, reason string) {
	value, lost := f.Value, c.refunds[f]
	if lost != nil {
		if lost.whole {
			return amount{}, "refunded"
		}
		value = value.Sub(lost.amount)
	}
	switch {
	case rule.Fixed != nil:
		return *rule.Fixed, ""
	case len(rule.PerPlan) > 0:
		base, known := rule.PerPlan[f.Plan]
		if !known {
			return amount{}, "nothing is paid for the plan " + f.Plan
		}
		return base, ""
	}
	percent := rule.Percent
	if rule.PartnerRate && partner.Percent != nil {
		percent = partner.Percent
	}
	if percent == nil {
		return amount{}, "the partner has no commission rate"
	}
	return value.Mul(*percent).Shift(-2), ""
}

// multiply is the product of everything that multiplies, and names it.
func (c *calculation) multiply(p *tracker.Program, rule *tracker.RewardRule, f *Fact, party, kind string, campaign *tracker.Campaign, out *priced) amount {
	product := one
	var names []string
	times := func(name string, by amount) {
		if !by.Equal(one) {
			product, names = product.Mul(by), append(names, strings.TrimSpace(name+" "+by.String()))
		}
	}
	for i := range rule.Multipliers {
		m := &rule.Multipliers[i]
		if fits(&m.When, f) && (m.FirstReferrals == 0 || c.referralNumber(party, rule.Name, f.Party) <= m.FirstReferrals) {
			times(m.Name, m.Times)
		}
	}
	if campaign != nil {
		times("campaign "+campaign.Name, campaign.Multiplier)
		for i := range campaign.Seasons {
			if inSeason(&campaign.Seasons[i], f.Time) {
				times("season "+campaign.Seasons[i].From+" to "+campaign.Seasons[i].To, campaign.Seasons[i].Multiplier)
			}
		}
	}
	if tier := c.tierOf(p, party, kind); tier != nil {
		times("tier "+tier.Name, tier.Multiplier)
	}
	out.multipliers = strings.Join(names, " × ")
	return product
}
