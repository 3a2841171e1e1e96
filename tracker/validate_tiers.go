package tracker

import (
	"fmt"
	"slices"
)

// checkTiers sees that the tiers of each type of party ascend, in the order of
// the document: so a reader sees the next one below.
func checkTiers(tiers []Tier, types []string) error {
	if err := checkCount("tiers", len(tiers)); err != nil {
		return err
	}
	last := map[string]*Tier{}
	for i := range tiers {
		t, at := &tiers[i], fmt.Sprintf("tiers[%d]", i)
		if err := checkName(at+".name", t.Name); err != nil {
			return err
		}
		if err := checkPartyType(at+".party_type", t.PartyType, types); err != nil {
			return err
		}
		if slices.ContainsFunc(tiers[:i], func(o Tier) bool { return o.Name == t.Name && o.PartyType == t.PartyType }) {
			return fieldErrorf(at+".name", "%q is given twice", t.Name)
		}
		if err := checkBetween(at+".conversions", t.Conversions, 0, ruleCountMax); err != nil {
			return err
		}
		if before := last[t.PartyType]; before != nil && before.Conversions >= t.Conversions {
			return fieldErrorf(at+".conversions", "is %d, and %s before it has %d: tiers ascend", t.Conversions, before.Name, before.Conversions)
		}
		last[t.PartyType] = t
		if err := checkMultiplier(at+".multiplier", t.Multiplier); err != nil {
			return err
		}
		if err := checkText(at+".badge", t.Badge, ruleTextMax); err != nil {
			return err
		}
	}
	return nil
}
