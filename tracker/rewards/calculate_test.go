package rewards

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

func day(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text+" 12:00"[:max(0, 16-len(text))])
	if err != nil {
		panic(err)
	}
	return t
}

// programme reads the part of a document that tests are about.
func programme(t testing.TB, document string) *tracker.Program {
	t.Helper()
	p := tracker.NewProgram("p")
	if err := json.Unmarshal([]byte(document), &p); err != nil {
		t.Fatal(err)
	}
	for i := range p.Rewards.Rules { // what the parser of documents fills in
		rule := &p.Rewards.Rules[i]
		if rule.Each == "" {
			rule.Each = tracker.EachEvery
		}
		if rule.To == "" {
			rule.To = tracker.ToReferrer
		}
	}
	for i := range p.Tiers {
		if p.Tiers[i].Multiplier.IsZero() {
			p.Tiers[i].Multiplier = one
		}
	}
	for i := range p.Campaigns {
		if p.Campaigns[i].Multiplier.IsZero() {
			p.Campaigns[i].Multiplier = one
		}
	}
	return &p
}

func terms(t testing.TB, document string) *Terms {
	return &Terms{Program: "p", Versions: []Version{{Number: 1, Program: programme(t, document)}}}
}

// fact reads "purchase o:17 2026-03-01 u1 by s1 value 19.90 plan scale …",
// where "unverified" stands alone, and what is no field is a property.
func fact(text string) *Fact {
	w := strings.Fields(text)
	f := &Fact{Event: w[0], Stage: tracker.StageOf(w[0]), Key: w[1], Time: day(w[2]), Party: w[3], User: true, ReferrerType: "supplier", RefereeType: "couple"}
	if order, ok := strings.CutPrefix(f.Key, "o:"); ok {
		f.Order = order
	}
	for i := 4; i < len(w); i += 2 {
		if w[i] == "unverified" {
			f.Unverified, i = true, i-1
			continue
		}
		switch name, value := w[i], w[i+1]; name {
		case "at":
			f.Time = f.Time.Truncate(24 * time.Hour).Add(time.Duration(decimal.RequireFromString(value).IntPart()) * time.Minute)
		case "by":
			f.Referrer = value
		case "value":
			f.Value = decimal.RequireFromString(value)
		case "plan":
			f.Plan = value
		case "channel":
			f.Channel = value
		case "campaign":
			f.Campaign = value
		case "country":
			f.Country = value
		case "from":
			f.ReferrerType = value
		case "to":
			f.RefereeType = value
		default:
			if f.Properties == nil {
				f.Properties = map[string]string{}
			}
			f.Properties[name] = value
		}
	}
	return f
}

func facts(texts ...string) []*Fact {
	var all []*Fact
	for _, text := range texts {
		all = append(all, fact(text))
	}
	return all
}

// told is what rewards say, one a word: who by which rule for which fact what.
func told(rewards []Reward) string {
	var words []string
	for _, r := range rewards {
		_, key, _ := strings.Cut(r.Fact, " ")
		words = append(words, fmt.Sprintf("%s:%s:%s=%s", r.Party, r.Rule, key, r.Amount))
	}
	return strings.Join(words, " ")
}

const marketplace = `{
 "rewards": {"decimals": 2, "rules": [
  {"name":"plan","on":"converted","each":"first","when":{"referee_type":["supplier"]},
   "per_plan":{"starter":"10","professional":"25","scale":"50","enterprise":"100"},
   "multipliers":[{"name":"annual","times":"2","when":{"properties":{"billing":["annual"]}}},{"name":"first three","times":"1.5","first_referrals":3}]},
  {"name":"couple","on":"converted","each":"every","when":{"referee_type":["couple"]},"percent":"5","cap":"50"}]},
 "tiers":[{"name":"bronze","party_type":"supplier","conversions":1},{"name":"silver","party_type":"supplier","conversions":3},{"name":"gold","party_type":"supplier","conversions":5}]}`

// Each row of the tables of rules, with the amount as worked out by hand.
func TestRules(t *testing.T) {
	const partners = `{"rewards":{"decimals":2,"rules":[{"name":"commission","on":"converted","percent":"10","partner_rate":true}]}}`
	const capped = `{"rewards":{"decimals":2,"rules":[{"name":"r","on":"converted","percent":"10","cap_monthly":"15"}]}}`
	const campaign = `{"rewards":{"decimals":2,"rules":[{"name":"r","on":"converted","fixed":"10","cap":"45"}]},
	  "tiers":[{"name":"gold","conversions":1,"multiplier":"1.2"}],
	  "campaigns":[{"name":"spring","starts_at":"2026-03-01T00:00:00Z","ends_at":"2026-04-01T00:00:00Z","audience":["supplier"],"multiplier":"2","budget":"50",
	   "seasons":[{"from":"03-20","to":"03-31","multiplier":"1.5"}]},
	   {"name":"winter","starts_at":"2026-01-01T00:00:00Z","multiplier":"1","seasons":[{"from":"12-20","to":"01-06","multiplier":"3"}]}]}`
	const levels = `{"rewards":{"decimals":2,"rules":[{"name":"direct","on":"converted","percent":"10"},{"name":"second","on":"converted","percent":"3","to":"upline","level":1},
	  {"name":"third","on":"converted","percent":"1","to":"upline","level":2},{"name":"welcome","on":"signed_up","each":"first","to":"referee","fixed":"5"}]}}`
	const milestones = `{"rewards":{"decimals":2,"milestones":[{"name":"two","stage":"converted","count":2,"amount":"20"},{"name":"three signups","stage":"signed_up","count":3,"amount":"7.5"},{"name":"badge","stage":"converted","count":1,"amount":"0"}]}}`
	const lifecycle = `{"referrals":{"acceptance":"manual","expires_after_days":30},"rewards":{"decimals":2,"rules":[{"name":"r","on":"converted","percent":"10"}]}}`
	const flows = `{"flows":[{"referrer":"supplier","referee":"couple"}],"rewards":{"decimals":2,"rules":[{"name":"r","on":"signed_up","each":"first","fixed":"1"}]}}`
	for _, test := range []struct {
		name, document string
		facts          []string
		want           string
	}{
		{"plan starter, first three", marketplace, []string{"purchase i:1 2026-03-01 u1 by s to supplier plan starter"}, "s:plan:i:1=15"},
		{"plan professional", marketplace, []string{"purchase i:1 2026-03-01 u1 by s to supplier plan professional"}, "s:plan:i:1=37.5"},
		{"plan scale", marketplace, []string{"purchase i:1 2026-03-01 u1 by s to supplier plan scale"}, "s:plan:i:1=75"},
		{"plan enterprise, annual", marketplace, []string{"purchase i:1 2026-03-01 u1 by s to supplier plan enterprise billing annual"}, "s:plan:i:1=300"},
		{"a plan that is not in the table", marketplace, []string{"purchase i:1 2026-03-01 u1 by s to supplier plan free"}, "s:plan:i:1=0"},
		{"the fourth referral", marketplace, []string{
			"purchase i:1 2026-03-01 u1 by s to supplier plan starter", "purchase i:2 2026-03-02 u2 by s to supplier plan starter",
			"purchase i:3 2026-03-03 u3 by s to supplier plan starter", "purchase i:4 2026-03-04 u4 by s to supplier plan starter billing annual",
			"purchase i:5 2026-03-05 u1 by s to supplier plan scale"},
			"s:plan:i:1=15 s:plan:i:2=15 s:plan:i:3=15 s:plan:i:4=20"},
		{"a referral that was refunded is not among the first three", marketplace, []string{
			"purchase o:1 2026-03-01 u1 by s to supplier plan starter value 9", "purchase i:2 2026-03-02 u2 by s to supplier plan starter",
			"purchase i:3 2026-03-03 u3 by s to supplier plan starter", "purchase i:4 2026-03-04 u4 by s to supplier plan starter", "refund o:1 2026-03-09 u1 value 9"},
			"s:plan:o:1=0 s:plan:i:2=15 s:plan:i:3=15 s:plan:i:4=15"},
		{"couple, five per cent", marketplace, []string{"purchase o:1 2026-03-01 c1 by s value 199.90"}, "s:couple:o:1=10"}, // 9.995 to even
		{"half to even, down", marketplace, []string{"purchase o:1 2026-03-01 c1 by s value 200.10"}, "s:couple:o:1=10"},    // 10.005
		{"half to even, up", marketplace, []string{"purchase o:1 2026-03-01 c1 by s value 200.30"}, "s:couple:o:1=10.02"},   // 10.015
		{"couple, at the cap", marketplace, []string{"purchase o:1 2026-03-01 c1 by s value 1000"}, "s:couple:o:1=50"},
		{"couple, above the cap", marketplace, []string{"purchase o:1 2026-03-01 c1 by s value 1000.40"}, "s:couple:o:1=50"},
		{"couple, partly refunded", marketplace, []string{"purchase o:1 2026-03-01 c1 by s value 300", "refund o:1 2026-03-05 c1 value 100.50"}, "s:couple:o:1=9.98"}, // 9.975
		{"a fixed one, partly refunded", marketplace, []string{"purchase o:1 2026-03-01 u1 by s to supplier plan scale value 300", "refund o:1 2026-03-05 u1 value 299.99"}, "s:plan:o:1=75"},
		{"a fixed one, refunded in two parts", marketplace, []string{"purchase o:1 2026-03-01 u1 by s to supplier plan scale value 300", "refund i:1 2026-03-05 u1 value 200", "refund i:2 2026-03-06 u1 value 100"}, "s:plan:o:1=0"},
		{"a refund without an order is of the latest payment before it", marketplace, []string{
			"purchase o:1 2026-03-01 c1 by s value 100", "purchase o:2 2026-03-02 c1 by s value 40", "purchase o:3 2026-03-09 c1 by s value 200", "refund i:1 2026-03-05 c1 value 60"},
			"s:couple:o:1=4 s:couple:o:2=0 s:couple:o:3=10"},

		{"partner, default rate", partners, []string{"purchase o:1 2026-03-01 l1 by a1 value 333.33"}, "a1:commission:o:1=33.33"},
		{"partner, rate of his own", partners, []string{"purchase o:1 2026-03-01 l1 by own value 333.33"}, "own:commission:o:1=41.67"}, // 12.5 %: 41.66625
		{"partner, before the rate of his own", partners, []string{"purchase o:1 2026-01-01 l1 by own value 333.33"}, "own:commission:o:1=33.33"},
		{"partner, suspended", partners, []string{"purchase o:1 2026-06-01 l1 by own value 333.33"}, "own:commission:o:1=0"},

		{"cap of a month", capped, []string{"purchase o:1 2026-03-01 u1 by s value 99.99", "purchase o:2 2026-03-31 u2 by s value 100", "purchase o:3 2026-03-31 u3 by s at 1439 value 7", "purchase o:4 2026-04-01 u4 by s value 100"},
			"s:r:o:1=10 s:r:o:2=5 s:r:o:3=0 s:r:o:4=10"},
		{"campaign: multiplier, season, tier of later ones, cap, budget", campaign, []string{
			"purchase o:1 2026-03-01 u1 by s campaign spring", "purchase o:2 2026-03-20 u2 by s campaign spring", "purchase o:3 2026-03-31 u3 by s campaign spring",
			"purchase o:4 2026-03-31 u4 by b campaign spring at 800 from buyer", "purchase o:5 2026-04-01 u5 by s campaign spring"},
			"s:r:o:1=20 s:r:o:2=30 s:r:o:3=0 b:r:o:4=10 s:r:o:5=12"}, // 20; 36, of which 30 are left of the budget
		{"a season over the new year", campaign, []string{"purchase o:1 2026-01-06 u1 by s campaign winter", "purchase o:2 2026-01-07 u2 by t campaign winter", "purchase o:3 2026-12-20 u3 by v campaign winter"},
			"s:r:o:1=30 t:r:o:2=10 v:r:o:3=30"},
		{"upline and referee", levels, []string{
			"signup i:b 2026-01-01 b by a", "signup i:c 2026-01-02 c by b", "signup i:d 2026-01-03 d by c", "purchase o:1 2026-01-04 d by c value 100"},
			"b:welcome:i:b=5 c:welcome:i:c=5 d:welcome:i:d=5 c:direct:o:1=10 b:second:o:1=3 a:third:o:1=1"},
		{"a ring has no upline beyond itself", levels, []string{"signup i:b 2026-01-01 b by a", "signup i:a 2026-01-02 a by b", "purchase o:1 2026-01-04 b by a value 100"},
			"b:welcome:i:b=5 a:welcome:i:a=5 a:direct:o:1=10"},
		{"self-referral", levels, []string{"signup i:b 2026-01-01 b by b", "purchase o:1 2026-01-04 b by b value 100"}, "b:welcome:i:b=0 b:direct:o:1=0"},
		{"unverified", levels, []string{"signup i:b 2026-01-01 b by a unverified"}, ""},
		{"milestones, once", milestones, []string{
			"signup i:1 2026-01-01 u1 by s", "signup i:2 2026-01-01 u2 by s", "purchase o:1 2026-01-02 u1 by s", "purchase o:2 2026-01-03 u1 by s", "purchase o:3 2026-01-04 u2 by s",
			"signup i:3 2026-01-05 u3 by s", "purchase o:4 2026-01-06 u3 by s", "signup i:4 2026-01-07 u4 by s"},
			"s:two:o:3=20 s:three signups:i:3=7.5"},
		{"rejected referrals count for no milestone", milestones, []string{"purchase o:1 2026-01-02 u1 by s", "purchase o:3 2026-01-04 u2 by s", "reject i:1 2026-01-05 u2"}, ""},
		{"expiry", lifecycle, []string{"lead i:1 2026-01-01 l1 by a", "purchase o:1 2026-01-31 l1 by a value 100", "purchase o:2 2026-05-01 l1 by a value 50", "lead i:2 2026-01-01 l2 by a", "purchase o:3 2026-02-01 l2 by a value 100"},
			"a:r:o:1=10 a:r:o:3=0 a:r:o:2=5"},
		{"rejected, then accepted", lifecycle, []string{"purchase o:1 2026-01-31 l1 by a value 100", "reject i:1 2026-02-01 l1", "accept i:2 2026-02-02 l1"}, "a:r:o:1=10"},
		{"accepted, then rejected", lifecycle, []string{"purchase o:1 2026-01-31 l1 by a value 100", "accept i:2 2026-02-01 l1", "reject i:1 2026-02-02 l1"}, "a:r:o:1=0"},
		{"a flow that there is not", flows, []string{"signup i:1 2026-01-01 u1 by s", "signup i:2 2026-01-01 u2 by s to supplier"}, "s:r:i:1=1 s:r:i:2=0"},
	} {
		terms := terms(t, test.document)
		rate := decimal.RequireFromString("12.5")
		terms.Partners = map[string][]Partner{"own": {{Since: day("2026-02-01"), Percent: &rate}, {Since: day("2026-05-01"), Barred: true}}}
		if got := told(Calculate(terms, facts(test.facts...))); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestConditions(t *testing.T) {
	f := fact("purchase o:1 2026-03-01 u1 by s value 20 plan scale channel qr campaign spring country AT billing annual")
	for condition, want := range map[string]bool{
		`{}`: true, `{"referrer_type":["couple","supplier"]}`: true, `{"referrer_type":["couple"]}`: false, `{"referee_type":["supplier"]}`: false,
		`{"plan":["scale"]}`: true, `{"plan":["starter"]}`: false, `{"channel":["qr"]}`: true, `{"channel":["email"]}`: false,
		`{"campaign":["spring"]}`: true, `{"campaign":["fall"]}`: false, `{"country":["AT","DE"]}`: true, `{"country":["DE"]}`: false,
		`{"properties":{"billing":["annual"]}}`: true, `{"properties":{"billing":["monthly"]}}`: false, `{"properties":{"age":[""]}}`: false,
		`{"min_value":"20"}`: true, `{"min_value":"20.000001"}`: false,
		`{"from":"2026-03-01T12:00:00Z"}`: true, `{"from":"2026-03-01T12:00:01Z"}`: false, `{"to":"2026-03-01T12:00:00Z"}`: false, `{"to":"2026-03-01T12:00:01Z"}`: true,
		`{"plan":["scale"],"channel":["email"]}`: false,
	} {
		var c tracker.Condition
		if err := json.Unmarshal([]byte(condition), &c); err != nil {
			t.Fatal(err)
		}
		if got := fits(&c, f); got != want {
			t.Errorf("%s fits: %t, want %t", condition, got, want)
		}
	}
}

// A fact follows the version that held at its time, however late it arrives.
func TestVersions(t *testing.T) {
	version := func(number uint64, since, fixed string) Version {
		return Version{number, day(since), programme(t, `{"rewards":{"decimals":2,"rules":[{"name":"r","on":"signed_up","fixed":"`+fixed+`"}]}}`)}
	}
	terms := &Terms{Program: "p", Versions: []Version{version(5, "2026-03-01", "5"), version(1, "2026-02-01", "1"), version(2, "2026-02-01", "2"), version(9, "2026-02-15", "9")}}
	got := told(Calculate(terms, facts("signup i:1 2026-01-01 a by s", "signup i:2 2026-02-01 b by s", "signup i:3 2026-02-20 c by s", "signup i:4 2026-03-01 d by s", "signup i:5 2026-08-01 e by s")))
	if want := "s:r:i:1=2 s:r:i:2=2 s:r:i:3=9 s:r:i:4=5 s:r:i:5=5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSchedule(t *testing.T) {
	terms := terms(t, `{"referrals":{"acceptance":"manual"},"rewards":{"hold_days":14,"approval":"manual","expires_after_days":365,"rules":[{"name":"r","on":"converted","fixed":"1"}]}}`)
	terms.Verdicts = map[Referral]Verdict{{"s", "held"}: VerdictHold, {"s", "cheat"}: VerdictReject}
	rewards := Calculate(terms, facts(
		"purchase o:1 2026-03-01 early by s", "accept i:1 2026-03-02 early", "purchase o:2 2026-03-01 late by s", "accept i:2 2026-03-20 late",
		"purchase o:3 2026-03-01 never by s", "purchase o:4 2026-03-01 held by s", "accept i:4 2026-03-02 held", "purchase o:5 2026-03-01 cheat by s"))
	want := map[string]string{
		"early": "2026-03-15  1", "late": "2026-03-20  1", "never": "2026-03-15 acceptance 1", "held": "2026-03-15 fraud 1", "cheat": "2026-03-15 acceptance 0",
	}
	for _, r := range rewards {
		if got := fmt.Sprintf("%s %s %s", r.Due.Format(time.DateOnly), r.Waiting, r.Amount); got != want[r.Referral.Referee] {
			t.Errorf("%s: got %s, want %s", r.Referral.Referee, got, want[r.Referral.Referee])
		}
		if !r.Manual || r.ExpiresIn != 365 {
			t.Errorf("%s: manual %t, expires in %d days", r.Referral.Referee, r.Manual, r.ExpiresIn)
		}
	}
}
