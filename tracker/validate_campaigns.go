package tracker

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func checkCampaigns(campaigns []Campaign, types []string) error {
	if err := checkCount("campaigns", len(campaigns)); err != nil {
		return err
	}
	for i := range campaigns {
		c, at := &campaigns[i], fmt.Sprintf("campaigns[%d]", i)
		if slices.ContainsFunc(campaigns[:i], func(o Campaign) bool { return o.Name == c.Name }) {
			return fieldErrorf(at+".name", "%q is given twice", c.Name)
		}
		if err := c.validate(at, types); err != nil {
			return err
		}
	}
	return nil
}

func (c *Campaign) validate(at string, types []string) error {
	if err := checkName(at+".name", c.Name); err != nil {
		return err
	}
	if c.StartsAt.IsZero() {
		return fieldErrorf(at+".starts_at", "is missing: say when it begins")
	}
	if err := checkPeriod(at+".starts_at", at+".ends_at", &c.StartsAt, c.EndsAt); err != nil {
		return err
	}
	if err := checkTypes(at+".audience", c.Audience, types); err != nil {
		return err
	}
	if err := checkMultiplier(at+".multiplier", c.Multiplier); err != nil {
		return err
	}
	if err := checkCount(at+".seasons", len(c.Seasons)); err != nil {
		return err
	}
	for i := range c.Seasons {
		if err := c.Seasons[i].validate(fmt.Sprintf("%s.seasons[%d]", at, i)); err != nil {
			return err
		}
	}
	if err := checkLimit(at+".budget", c.Budget); err != nil {
		return err
	}
	if err := checkAmount(at+".spend", c.Spend); err != nil {
		return err
	}
	if err := c.Targets.validate(at + ".targets"); err != nil {
		return err
	}
	if len(c.Variants) == 1 {
		return fieldErrorf(at+".variants", "has one arm: a test compares at least two, the first is the control")
	}
	return checkList(at+".variants", c.Variants, linkTagsMax, linkTagMax)
}

func (t *CampaignTargets) validate(at string) error {
	for _, target := range []struct {
		field string
		value int
	}{{".clicks", t.Clicks}, {".signups", t.Signups}, {".conversions", t.Conversions}} {
		if err := checkBetween(at+target.field, target.value, 0, ruleCountMax); err != nil {
			return err
		}
	}
	return checkAmount(at+".value", t.Value)
}

func (s *Season) validate(at string) error {
	for _, day := range []struct{ field, text string }{{".from", s.From}, {".to", s.To}} {
		// In a leap year, so that a season may begin or end on 02-29.
		if _, err := time.Parse(time.DateOnly, "2000-"+day.text); err != nil {
			return fieldErrorf(at+day.field, "%q must be a day of the year as MM-DD, such as 02-14", day.text)
		}
	}
	return checkMultiplier(at+".multiplier", s.Multiplier)
}

// checkPeriod checks two times, each nil if it is open, of which the first
// comes before the second.
func checkPeriod(fromField, toField string, from, to *time.Time) error {
	if from != nil {
		if err := checkTime(fromField, *from); err != nil {
			return err
		}
	}
	if to == nil {
		return nil
	}
	if err := checkTime(toField, *to); err != nil {
		return err
	}
	if from != nil && !to.After(*from) {
		return fieldErrorf(toField, "must be after %s", fromField[strings.LastIndexByte(fromField, '.')+1:])
	}
	return nil
}
