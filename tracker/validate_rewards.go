package tracker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/shopspring/decimal"
)

const rewardDecimalsMax = 6 // of a value in ClickHouse

func (r *RewardRules) validate(types []string) error {
	if err := checkBetween("rewards.decimals", r.Decimals, 0, rewardDecimalsMax); err != nil {
		return err
	}
	if err := checkDays("rewards.hold_days", r.HoldDays); err != nil {
		return err
	}
	if err := checkOneOf("rewards.approval", r.Approval, manualOrNot); err != nil {
		return err
	}
	if err := checkDays("rewards.expires_after_days", r.ExpiresAfterDays); err != nil {
		return err
	}
	if err := checkCount("rewards.rules", len(r.Rules)); err != nil {
		return err
	}
	names := map[string]string{}
	for i := range r.Rules {
		at := fmt.Sprintf("rewards.rules[%d]", i)
		if err := takeRewardName(names, at, r.Rules[i].Name); err != nil {
			return err
		}
		if err := r.Rules[i].validate(at, types); err != nil {
			return err
		}
	}
	if err := checkCount("rewards.milestones", len(r.Milestones)); err != nil {
		return err
	}
	for i := range r.Milestones {
		at := fmt.Sprintf("rewards.milestones[%d]", i)
		if err := takeRewardName(names, at, r.Milestones[i].Name); err != nil {
			return err
		}
		if err := r.Milestones[i].validate(at, types); err != nil {
			return err
		}
	}
	return nil
}

// takeRewardName sees that a name is of one rule or milestone only: it is part
// of the identity of what they give.
func takeRewardName(taken map[string]string, at, name string) error {
	if !programNameOK(name) {
		return fieldErrorf(at+".name", "must begin with a lower-case letter or digit and have at most %d of a–z, 0–9, - and _, not %q", programNameMax, name)
	}
	if other, ok := taken[name]; ok {
		return fieldErrorf(at+".name", "%q is the name of %s already", name, other)
	}
	taken[name] = at
	return nil
}

func (r *RewardRule) validate(at string, types []string) error {
	switch {
	case r.On == "":
		return fieldErrorf(at+".on", "is missing: name a stage or an event, such as %s", StageConverted)
	case r.On == StageInvited || r.On == StageClicked || r.On == EventRefund:
		return fieldErrorf(at+".on", "%s earns nothing", r.On)
	}
	if err := checkEarningEvent(at+".on", r.On); err != nil {
		return err
	}
	if err := checkOneOf(at+".each", r.Each, []string{EachFirst, EachEvery}); err != nil {
		return err
	}
	if err := checkOneOf(at+".to", r.To, []string{ToReferrer, ToReferee, ToUpline}); err != nil {
		return err
	}
	switch {
	case r.To == ToUpline && (r.Level < 1 || r.Level > uplineMax):
		return fieldErrorf(at+".level", "must lie between 1 and %d, not %d: how many steps above the referrer", uplineMax, r.Level)
	case r.To != ToUpline && r.Level != 0:
		return fieldErrorf(at+".level", "is for rewards to the %s", ToUpline)
	}
	if err := r.When.validate(at+".when", types); err != nil {
		return err
	}
	if err := r.checkBase(at); err != nil {
		return err
	}
	if err := checkMultipliers(at+".multipliers", r.Multipliers, types); err != nil {
		return err
	}
	if err := checkLimit(at+".cap", r.Cap); err != nil {
		return err
	}
	return checkLimit(at+".cap_monthly", r.CapMonthly)
}

// checkBase sees that a rule has one amount, of the kinds there are.
func (r *RewardRule) checkBase(at string) error {
	kinds := 0
	for _, given := range []bool{r.Fixed != nil, len(r.PerPlan) > 0, r.Percent != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds == 0 && r.PartnerRate:
		return fieldErrorf(at+".percent", "is missing: it is for partners who have no rate of their own")
	case kinds == 0:
		return fieldErrorf(at, "has no amount: give it fixed, per_plan or percent")
	case kinds > 1:
		return fieldErrorf(at, "has %d kinds of amount: choose one of fixed, per_plan and percent", kinds)
	case r.PartnerRate && r.Percent == nil:
		return fieldErrorf(at+".partner_rate", "goes with percent only")
	}
	if r.Fixed != nil {
		return checkAmount(at+".fixed", *r.Fixed)
	}
	if p := r.Percent; p != nil && (p.IsNegative() || p.GreaterThan(decimal.NewFromInt(rulePercentMax))) {
		return fieldErrorf(at+".percent", "must lie between 0 and %d, not %s", rulePercentMax, p)
	}
	if err := checkCount(at+".per_plan", len(r.PerPlan)); err != nil {
		return err
	}
	for _, plan := range slices.Sorted(maps.Keys(r.PerPlan)) {
		field := at + ".per_plan." + plan
		if err := checkName(field, plan); err != nil {
			return err
		}
		if err := checkAmount(field, r.PerPlan[plan]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Milestone) validate(at string, types []string) error {
	if err := checkPartyType(at+".party_type", m.PartyType, types); err != nil {
		return err
	}
	if err := checkOneOf(at+".stage", m.Stage, outcomeStages); err != nil {
		return err
	}
	if err := checkBetween(at+".count", m.Count, 1, ruleCountMax); err != nil {
		return err
	}
	if m.Amount.IsZero() && m.Badge == "" {
		return fieldErrorf(at+".amount", "is 0, and there is no badge: it gives nothing")
	}
	if err := checkText(at+".badge", m.Badge, ruleTextMax); err != nil {
		return err
	}
	return checkAmount(at+".amount", m.Amount)
}
