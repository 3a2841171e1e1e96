package tracker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func checkMultipliers(at string, multipliers []Multiplier, types []string) error {
	if len(multipliers) > multipliersMax {
		return fieldErrorf(at, "has %d entries, at most %d are allowed", len(multipliers), multipliersMax)
	}
	for i, m := range multipliers {
		one := fmt.Sprintf("%s[%d]", at, i)
		if err := checkName(one+".name", m.Name); err != nil {
			return err
		}
		if slices.ContainsFunc(multipliers[:i], func(o Multiplier) bool { return o.Name == m.Name }) {
			return fieldErrorf(one+".name", "%q is given twice", m.Name)
		}
		if err := checkMultiplier(one+".times", m.Times); err != nil {
			return err
		}
		if err := checkBetween(one+".first_referrals", m.FirstReferrals, 0, ruleCountMax); err != nil {
			return err
		}
		if err := m.When.validate(one+".when", types); err != nil {
			return err
		}
	}
	return nil
}

func (c *Condition) validate(at string, types []string) error {
	for _, list := range []struct {
		field  string
		values []string
		types  []string
	}{
		{".referrer_type", c.ReferrerType, types},
		{".referee_type", c.RefereeType, types},
		{".plan", c.Plan, nil},
		{".channel", c.Channel, nil},
		{".campaign", c.Campaign, nil},
		{".country", c.Country, nil},
	} {
		if err := checkTypes(at+list.field, list.values, list.types); err != nil {
			return err
		}
	}
	for i, country := range c.Country {
		if len(country) != 2 || !isCapital(country[0]) || !isCapital(country[1]) {
			return fieldErrorf(fmt.Sprintf("%s.country[%d]", at, i), "%q is no country: use two capital letters (ISO 3166-1)", country)
		}
	}
	if len(c.Properties) > propertiesMax {
		return fieldErrorf(at+".properties", "has %d entries, at most %d are allowed", len(c.Properties), propertiesMax)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Properties)) {
		if err := checkName(at+".properties."+name, name); err != nil {
			return err
		}
		if err := checkList(at+".properties."+name, c.Properties[name], ruleListMax, propertyBytesMax); err != nil {
			return err
		}
	}
	if c.MinValue != nil {
		if err := checkAmount(at+".min_value", *c.MinValue); err != nil {
			return err
		}
	}
	return checkPeriod(at+".from", at+".to", c.From, c.To)
}

func isCapital(c byte) bool { return 'A' <= c && c <= 'Z' }

// checkTypes checks a list, of types of party if there are types.
func checkTypes(at string, values, types []string) error {
	if err := checkList(at, values, ruleListMax, linkTextMax); err != nil {
		return err
	}
	for i, value := range values {
		if len(types) > 0 && !slices.Contains(types, value) {
			return fieldErrorf(fmt.Sprintf("%s[%d]", at, i), "%q is none of the programme's party_types: %s", value, strings.Join(types, ", "))
		}
	}
	return nil
}
