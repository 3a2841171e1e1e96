package rewards

import (
	"slices"
	"time"

	"waymark/tracker"
)

// fits reports whether a fact has all that a condition asks for.
func fits(c *tracker.Condition, f *Fact) bool {
	for _, asked := range []struct {
		any []string
		is  string
	}{
		{c.ReferrerType, f.ReferrerType}, {c.RefereeType, f.RefereeType}, {c.Plan, f.Plan},
		{c.Channel, f.Channel}, {c.Campaign, f.Campaign}, {c.Country, f.Country},
	} {
		if len(asked.any) > 0 && !slices.Contains(asked.any, asked.is) {
			return false
		}
	}
	for name, any := range c.Properties {
		if value, given := f.Properties[name]; !given || !slices.Contains(any, value) {
			return false
		}
	}
	switch {
	case c.MinValue != nil && f.Value.LessThan(*c.MinValue):
		return false
	case c.From != nil && f.Time.Before(*c.From):
		return false
	case c.To != nil && !f.Time.Before(*c.To):
		return false
	}
	return true
}

// campaignOf is the promotion that a fact is part of, nil for none.
func campaignOf(p *tracker.Program, f *Fact) *tracker.Campaign {
	for i := range p.Campaigns {
		c := &p.Campaigns[i]
		if c.Name != f.Campaign || f.Time.Before(c.StartsAt) || c.EndsAt != nil && !f.Time.Before(*c.EndsAt) {
			continue
		}
		if len(c.Audience) == 0 || slices.Contains(c.Audience, f.ReferrerType) {
			return c
		}
	}
	return nil
}

// inSeason reports whether a time lies in a span of days of each year. Days
// are compared as MM-DD, whose order is that of the calendar.
func inSeason(s *tracker.Season, t time.Time) bool {
	day := t.UTC().Format("01-02")
	if s.From <= s.To {
		return s.From <= day && day <= s.To
	}
	return s.From <= day || day <= s.To // over the new year
}
