package tracker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// programFaults are changes of fullProgram, at and beyond each bound: field is
// what the fault names, "" for none.
var programFaults = []struct{ old, new, field string }{
	{`"effective_from":"2026-11-20T12:00:00.123456+01:00"`, `"effective_from":"1999-12-31"`, "effective_from"},
	{`"effective_from":"2026-11-20T12:00:00.123456+01:00"`, `"effective_from":"2110-01-01"`, "effective_from"},
	{`"attribution_model":"linear"`, `"attribution_model":"best"`, "attribution_model"},

	{`{"referrer":"supplier","referee":"couple"}`, `{"referrer":"supplier"}`, "flows[0].referee"},
	{`{"referrer":"supplier","referee":"couple"}`, `{"referrer":"guest","referee":"couple"}`, "flows[0].referrer"},
	{`{"referrer":"supplier","referee":"couple"}`, `{"referrer":"couple","referee":"couple"},{"referrer":"couple","referee":"couple"}`, "flows[1]"},

	{`"booked":"converted",`, `"booked":"won",`, "stages.booked"},
	{`"booked":"converted",`, `"booked":"clicked",`, "stages.booked"},
	{`"booked":"converted",`, `"booked":"invited",`, ""},
	{`"booked":"converted",`, `"click":"converted",`, "stages.click"},
	{`"booked":"converted",`, `"reward_entry":"converted",`, "stages.reward_entry"},
	{`"booked":"converted",`, `"Booked":"converted",`, "stages.Booked"},
	{`"booked":"converted",`, `"":"converted",`, "stages."},

	{`"acceptance":"manual"`, `"acceptance":"never"`, "referrals.acceptance"},
	{`"expires_after_days":90`, `"expires_after_days":-1`, "referrals.expires_after_days"},
	{`"expires_after_days":90`, `"expires_after_days":3650`, ""},
	{`"expires_after_days":90`, `"expires_after_days":3651`, "referrals.expires_after_days"},
	{`"sources":["website"]`, `"sources":["website","website"]`, "referrals.sources[1]"},

	{`"decimals":3`, `"decimals":6`, ""},
	{`"decimals":3`, `"decimals":7`, "rewards.decimals"},
	{`"hold_days":14`, `"hold_days":-1`, "rewards.hold_days"},
	{`"approval":"manual"`, `"approval":""`, "rewards.approval"},
	{`"expires_after_days":365`, `"expires_after_days":4000`, "rewards.expires_after_days"},

	{`"name":"plan"`, `"name":""`, "rewards.rules[0].name"},
	{`"name":"plan"`, `"name":"a/b"`, "rewards.rules[0].name"},
	{`"name":"rate"`, `"name":"plan"`, "rewards.rules[1].name"},
	{`"name":"ten"`, `"name":"plan"`, "rewards.milestones[0].name"},
	{`"on":"booked"`, `"on":""`, "rewards.rules[0].on"},
	{`"on":"booked"`, `"on":"clicked"`, "rewards.rules[0].on"},
	{`"on":"booked"`, `"on":"refund"`, "rewards.rules[0].on"},
	{`"on":"booked"`, `"on":"audit_entry"`, "rewards.rules[0].on"},
	{`"on":"booked"`, `"on":"Booked"`, "rewards.rules[0].on"},
	{`"on":"booked"`, `"on":"retained"`, ""},
	{`"each":"every"`, `"each":"last"`, "rewards.rules[0].each"},
	{`"to":"upline"`, `"to":"everybody"`, "rewards.rules[0].to"},
	{`"to":"upline"`, `"to":"referrer"`, "rewards.rules[0].level"},
	{`"level":2`, `"level":0`, "rewards.rules[0].level"},
	{`"level":2`, `"level":10`, ""},
	{`"level":2`, `"level":11`, "rewards.rules[0].level"},
	{`"fixed":1`, `"fixed":null`, "rewards.rules[2]"},
	{`"fixed":1`, `"fixed":1,"percent":1`, "rewards.rules[2]"},
	{`"fixed":1`, `"fixed":1,"per_plan":{"a":1}`, "rewards.rules[2]"},
	{`"fixed":1`, `"fixed":-0.01`, "rewards.rules[2].fixed"},
	{`"fixed":1`, `"fixed":1000000000`, ""},
	{`"fixed":1`, `"fixed":1000000000.01`, "rewards.rules[2].fixed"},
	{`"fixed":1`, `"fixed":1,"partner_rate":true`, "rewards.rules[2].partner_rate"},
	{`"percent":7.5`, `"percent":null`, "rewards.rules[1].percent"},
	{`"percent":7.5`, `"percent":100`, ""},
	{`"percent":7.5`, `"percent":100.1`, "rewards.rules[1].percent"},
	{`"percent":7.5`, `"percent":-1`, "rewards.rules[1].percent"},
	{`"starter":10`, `"starter":-10`, "rewards.rules[0].per_plan.starter"},
	{`"starter":10`, `" ":10`, "rewards.rules[0].per_plan. "},
	{`"cap":100`, `"cap":0`, "rewards.rules[0].cap"},
	{`"cap":100`, `"cap":-1`, "rewards.rules[0].cap"},
	{`"cap_monthly":1e3`, `"cap_monthly":0`, "rewards.rules[0].cap_monthly"},
	{`"name":"annual"`, `"name":""`, "rewards.rules[0].multipliers[0].name"},
	{`"times":2`, `"times":0`, "rewards.rules[0].multipliers[0].times"},
	{`"times":2`, `"times":1000`, ""},
	{`"times":2`, `"times":1001`, "rewards.rules[0].multipliers[0].times"},
	{`"first_referrals":3`, `"first_referrals":-3`, "rewards.rules[0].multipliers[0].first_referrals"},
	{`"billing":["annual"]`, `"billing":[""]`, "rewards.rules[0].multipliers[0].when.properties.billing[0]"},

	{`"referrer_type":["supplier"]`, `"referrer_type":["guest"]`, "rewards.rules[0].when.referrer_type[0]"},
	{`"referee_type":["couple"]`, `"referee_type":["couple","guest"]`, "rewards.rules[0].when.referee_type[1]"},
	{`"plan":["scale"]`, `"plan":["scale","scale"]`, "rewards.rules[0].when.plan[1]"},
	{`"country":["DE"]`, `"country":["de"]`, "rewards.rules[0].when.country[0]"},
	{`"min_value":0.1`, `"min_value":-0.1`, "rewards.rules[0].when.min_value"},
	{`"to":"2026-12-31T00:00:00Z"`, `"to":"2026-01-01T00:00:00Z"`, "rewards.rules[0].when.to"},

	{`"stage":"signed_up"`, `"stage":"clicked"`, "rewards.milestones[0].stage"},
	{`"count":10`, `"count":0`, "rewards.milestones[0].count"},
	{`"amount":25`, `"amount":-25`, "rewards.milestones[0].amount"},
	{`"amount":25`, `"amount":0`, ""},
	{`"amount":25,"badge":"star"`, `"amount":0`, "rewards.milestones[0].amount"},
	{`"party_type":"couple"`, `"party_type":"guest"`, "rewards.milestones[0].party_type"},

	{`"name":"bronze"`, `"name":" "`, "tiers[0].name"},
	{`"party_type":"supplier"`, `"party_type":"guest"`, "tiers[0].party_type"},
	{`"multiplier":1.1}`, `"multiplier":0}`, "tiers[0].multiplier"},
	{`"multiplier":1.1}`, `"multiplier":1},{"name":"silver","party_type":"supplier","conversions":1}`, "tiers[1].conversions"},
	{`"multiplier":1.1}`, `"multiplier":1},{"name":"silver","party_type":"supplier","conversions":2}`, ""},
	{`"multiplier":1.1}`, `"multiplier":1},{"name":"bronze","party_type":"couple","conversions":1}`, ""},
	{`"multiplier":1.1}`, `"multiplier":1},{"name":"bronze","party_type":"supplier","conversions":2}`, "tiers[1].name"},

	{`"starts_at":"2026-03-01",`, ``, "campaigns[0].starts_at"},
	{`"ends_at":"2026-06-01"`, `"ends_at":"2026-03-01"`, "campaigns[0].ends_at"},
	{`"ends_at":"2026-06-01"`, `"ends_at":null`, ""},
	{`"audience":["couple"]`, `"audience":["guest"]`, "campaigns[0].audience[0]"},
	{`"multiplier":1.5`, `"multiplier":-1`, "campaigns[0].multiplier"},
	{`"from":"12-20"`, `"from":"02-29"`, ""},
	{`"from":"12-20"`, `"from":"02-30"`, "campaigns[0].seasons[0].from"},
	{`"to":"01-06"`, `"to":"1-6"`, "campaigns[0].seasons[0].to"},
	{`"to":"01-06"`, `"to":"2026-01-06"`, "campaigns[0].seasons[0].to"},
	{`"budget":1000`, `"budget":0`, "campaigns[0].budget"},
	{`"spend":200`, `"spend":-1`, "campaigns[0].spend"},
	{`"signups":2`, `"signups":-2`, "campaigns[0].targets.signups"},
	{`"value":4`, `"value":-4`, "campaigns[0].targets.value"},
	{`"variants":["a","b"]`, `"variants":["a"]`, "campaigns[0].variants"},
	{`"variants":["a","b"]`, `"variants":["a","a"]`, "campaigns[0].variants[1]"},

	{`"velocity":{`, `"luck":{`, "fraud.signals.luck"},
	{`"weight":0.5`, `"weight":1`, ""},
	{`"weight":0.5`, `"weight":1.01`, "fraud.signals.velocity.weight"},
	{`"weight":0.5`, `"weight":-0.01`, "fraud.signals.velocity.weight"},
	{`"threshold":20`, `"threshold":-1`, "fraud.signals.velocity.threshold"},
	{`"medium":0.3`, `"medium":0.8`, "fraud.high"},
	{`"high":0.8`, `"high":1.1`, "fraud.high"},
	{`"medium":"hold"`, `"medium":"ignore"`, "fraud.actions.medium"},
	{`"open_rate":0.2`, `"open_rate":2`, "messages.open_rate"},

	{`https://shop.example/hook`, `http://shop.example/hook`, "webhooks[0].url"},
	{`https://shop.example/hook`, `http://127.0.0.1:9999/hook`, ""},
	{`https://shop.example/hook`, `http://[::1]/hook`, ""},
	{`https://shop.example/hook`, `http://localhost/hook`, ""},
	{`https://shop.example/hook`, `http://localhost.shop.example/hook`, "webhooks[0].url"},
	{`https://shop.example/hook`, `https://user@shop.example/hook`, "webhooks[0].url"},
	{`https://shop.example/hook`, `https:///hook`, "webhooks[0].url"},
	{`"secret":"sixteen bytes or more"`, `"secret":"fifteen bytes.."`, "webhooks[0].secret"},
}

// TestProgramFaults breaks one thing of a document after the other.
func TestProgramFaults(t *testing.T) {
	replace := func(old, new string) string {
		if strings.Count(fullProgram, old) != 1 {
			t.Fatalf("%s is there %d times", old, strings.Count(fullProgram, old))
		}
		return strings.Replace(fullProgram, old, new, 1)
	}
	for _, c := range programFaults {
		p, err := ParseProgram("wedding", []byte(replace(c.old, c.new)))
		if err == nil {
			err = p.Validate()
		}
		fault, _ := errors.AsType[*FieldError](err)
		if c.field == "" && err != nil || c.field != "" && (fault == nil || fault.Field != c.field) {
			t.Errorf("%s in place of %s: %v, want a fault of %q", c.new, c.old, err, c.field)
		}
	}
}

// TestProgramIsBounded: lists and the whole document have a size.
func TestProgramIsBounded(t *testing.T) {
	rules := func(n, multipliers int) string {
		var list []string
		for i := range n {
			var times []string
			for j := range multipliers {
				times = append(times, fmt.Sprintf(`{"name":"m%d","times":2}`, j))
			}
			list = append(list, fmt.Sprintf(`{"name":"r%d","on":"converted","fixed":1,"multipliers":[%s]}`, i, strings.Join(times, ",")))
		}
		return `{"rewards":{"rules":[` + strings.Join(list, ",") + `]}}`
	}
	for _, c := range []struct{ document, field string }{
		{rules(100, 0), ""},
		{rules(101, 0), "rewards.rules"},
		{rules(1, 20), ""},
		{rules(1, 21), "rewards.rules[0].multipliers"},
	} {
		p, err := ParseProgram("a", []byte(c.document))
		if err != nil {
			t.Fatal(err)
		}
		wantFault(t, p.Validate(), c.field)
	}
	p, err := ParseProgram("a", []byte(rules(100, 20)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "bytes with every default written out") {
		t.Errorf("a programme of %d bytes gives %v", len(mustJSON(t, p)), err)
	}
}
