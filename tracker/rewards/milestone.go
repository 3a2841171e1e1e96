package rewards

import "waymark/tracker"

// count counts the referee for its referrer, once for each stage, and gives the
// milestones that are reached by that. What was refunded later still counts:
// the stage was reached.
func (c *calculation) count(version *Version, f *Fact) {
	key := reachedStage{f.Referrer, f.Stage, f.Party}
	if c.reached[key] {
		return
	}
	c.reached[key] = true
	stage := partyStage{f.Referrer, f.Stage}
	c.counts[stage]++
	if c.partner(f.Referrer, f.Time).Barred {
		return
	}
	for _, m := range version.Program.Rewards.Milestones {
		// More than the count, too: the rules may be younger than the referrals.
		if m.Stage != f.Stage || c.counts[stage] < m.Count || m.PartyType != "" && m.PartyType != f.ReferrerType {
			continue
		}
		id := rewardID(c.Program, m.Name, f.Referrer, "")
		if c.milestone[id] || !m.Amount.IsPositive() {
			continue
		}
		c.milestone[id] = true
		reward := Reward{
			ID: id, Party: f.Referrer, Rule: m.Name, Fact: f.Identity(), Time: f.Time, Referral: Referral{f.Referrer, f.Party},
			Type: f.ReferrerType, Campaign: f.Campaign, Base: m.Amount, Version: version.Number,
			Amount: m.Amount.RoundBank(int32(version.Program.Rewards.Decimals)),
		}
		c.schedule(version.Program, f, &reward)
		c.rewards = append(c.rewards, reward)
	}
}

// tierOf is the tier that a party has by its conversions so far, nil for none.
// It is of those before the fact that asks: a tier multiplies what is earned
// from then on.
func (c *calculation) tierOf(p *tracker.Program, party, kind string) *tracker.Tier {
	conversions := c.counts[partyStage{party, tracker.StageConverted}]
	var found *tracker.Tier
	for i := range p.Tiers {
		t := &p.Tiers[i]
		if conversions >= t.Conversions && (t.PartyType == "" || t.PartyType == kind) && (found == nil || t.Conversions >= found.Conversions) {
			found = t
		}
	}
	return found
}

// referralNumber is the place of a referee among those that earned a party
// something by a rule: its own, or the next.
func (c *calculation) referralNumber(party, rule, referee string) int {
	numbers := c.earned[partyRule{party, rule}]
	if n := numbers[referee]; n > 0 {
		return n
	}
	return len(numbers) + 1
}
