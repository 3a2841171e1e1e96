package rewards

import (
	"slices"
	"time"

	"waymark/tracker"
)

// calculation is the state of going through the facts once, in their order.
type calculation struct {
	*Terms
	history  history
	referees map[string]*referee
	refunds  map[*Fact]*refunded
	rewards  []Reward

	met       map[refereeFact]bool         // what each referee has done
	reached   map[reachedStage]bool        // referees that count for tiers and milestones
	counts    map[partyStage]int           // how many of them a party has
	earned    map[partyRule]map[string]int // referees that earned a party something by a rule, numbered from 1
	monthly   map[partyMonth]amount        // earned by a rule in a month
	spent     map[string]amount            // by campaign
	milestone map[string]bool              // ids of those reached
}

type (
	refereeFact  struct{ party, what string }
	reachedStage struct{ referrer, stage, referee string }
	partyStage   struct{ party, stage string }
	partyRule    struct{ party, rule string }
	partyMonth   struct {
		partyRule
		year  int
		month time.Month
	}
)

// Calculate returns what all facts of a programme earn, in their order; those
// that are refused by the terms with an amount of 0. It reorders facts in place.
// Memory grows with the facts and rewards, about a kilobyte for each.
//
// What a fact earns can depend on all that came before it (tiers, caps, budgets,
// the first so many referrals) and on what came later (refunds, rejections), but
// never on the order in which facts arrived.
func Calculate(terms *Terms, facts []*Fact) []Reward {
	c := &calculation{
		Terms: terms, history: newHistory(terms.Versions),
		referees: map[string]*referee{}, met: map[refereeFact]bool{}, reached: map[reachedStage]bool{},
		counts: map[partyStage]int{}, earned: map[partyRule]map[string]int{}, monthly: map[partyMonth]amount{},
		spent: map[string]amount{}, milestone: map[string]bool{},
	}
	facts = slices.DeleteFunc(facts, func(f *Fact) bool {
		judges := f.Event == EventAccept || f.Event == EventReject
		return f.Unverified && (judges || !c.history.at(f.Time).Program.Rewards.Unverified)
	})
	slices.SortFunc(facts, compareFacts)
	c.refunds = refunds(facts)
	for _, f := range facts {
		r := c.referees[f.Party]
		if r == nil {
			r = &referee{}
			c.referees[f.Party] = r
		}
		r.meet(f)
	}
	for _, f := range facts {
		switch f.Event {
		case tracker.EventRefund, EventAccept, EventReject:
		default:
			c.reward(f)
		}
	}
	return c.rewards
}

// reward adds what a fact earns.
func (c *calculation) reward(f *Fact) {
	version := c.history.at(f.Time)
	refusal := c.refusal(version.Program, f)
	if f.Referrer != "" {
		for i := range version.Program.Rewards.Rules {
			c.apply(version, &version.Program.Rewards.Rules[i], f, refusal)
		}
	}
	for _, what := range []string{f.Event, f.Stage} {
		c.met[refereeFact{f.Party, what}] = true
	}
	if f.Referrer != "" && f.Stage != "" && refusal == "" {
		c.count(version, f)
	}
}

// refusal says why a fact earns nobody anything, "" if it may earn.
func (c *calculation) refusal(p *tracker.Program, f *Fact) string {
	r := c.referees[f.Party]
	switch {
	case f.Referrer == f.Party:
		return "self-referral"
	case !p.Allows(f.ReferrerType, f.RefereeType):
		return "the programme has no such flow"
	case !r.rejected.IsZero():
		return "the referral was rejected"
	case c.Verdicts[Referral{f.Referrer, f.Party}] == VerdictReject:
		return "the referral was rejected for fraud"
	case r.expired(&p.Referrals, f.Time):
		return "the referral had expired"
	}
	return ""
}

// apply adds what one rule gives for a fact, if it fits.
func (c *calculation) apply(version *Version, rule *tracker.RewardRule, f *Fact, refusal string) {
	// The first fact is the first of its kind, whatever else the rule asks: who
	// bought twice did not make a first purchase with the second.
	if !f.is(rule.On) || rule.Each == tracker.EachFirst && c.met[refereeFact{f.Party, rule.On}] || !fits(&rule.When, f) {
		return
	}
	party, kind := c.beneficiary(rule, f)
	if party == "" {
		return
	}
	reward := Reward{
		ID: rewardID(c.Program, rule.Name, party, f.Identity()), Party: party, Rule: rule.Name, Fact: f.Identity(), Time: f.Time,
		Referral: Referral{f.Referrer, f.Party}, Type: f.ReferrerType, Campaign: f.Campaign, Version: version.Number, Reason: refusal,
	}
	if lost := c.refunds[f]; lost != nil {
		reward.Changed = lost.last
	}
	partner := c.partner(party, f.Time)
	if reward.Reason == "" && partner.Barred {
		reward.Reason = "the partner was suspended"
	}
	if reward.Reason == "" {
		priced := c.price(version.Program, rule, f, party, kind, partner)
		reward.Base, reward.Multipliers, reward.Cap, reward.Amount, reward.Reason = priced.base, priced.multipliers, priced.cap, priced.amount, priced.reason
	}
	c.schedule(version.Program, f, &reward)
	c.rewards = append(c.rewards, reward)
}

// beneficiary is who earns by a rule, and of which type; "" for nobody. A
// browser that never signed up can't be paid.
func (c *calculation) beneficiary(rule *tracker.RewardRule, f *Fact) (party, kind string) {
	switch rule.To {
	case tracker.ToReferee:
		if !f.User {
			return "", ""
		}
		return f.Party, f.RefereeType
	case tracker.ToUpline:
		return c.above(f, rule.Level)
	}
	return f.Referrer, f.ReferrerType
}

// schedule says when a reward can be paid, and what it waits for.
func (c *calculation) schedule(p *tracker.Program, f *Fact, reward *Reward) {
	rules, r := &p.Rewards, c.referees[f.Party]
	reward.Due = f.Time.AddDate(0, 0, rules.HoldDays)
	if p.Referrals.Acceptance == tracker.Manual {
		if r.accepted.IsZero() {
			reward.Waiting = "acceptance"
		} else if reward.Due.Before(r.accepted) {
			reward.Due = r.accepted
		}
	}
	if verdict, judged := c.Verdicts[Referral{f.Referrer, f.Party}]; verdict == VerdictHold || c.Guarded && !judged {
		reward.Waiting = "fraud"
	}
	reward.Manual, reward.ExpiresIn = rules.Approval == tracker.Manual, rules.ExpiresAfterDays
}
