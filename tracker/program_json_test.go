package tracker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
)

// fullProgram has a member of everything that a programme may hold, none with
// its default.
const fullProgram = `{
	"name":"wedding","party_types":["supplier","couple"],"currency":"GBP","attribution_window_days":31,"cookie_lifetime_days":91,
	"unique_window_hours":25,"code_prefix":"LOVE","case_insensitive":true,"trust_pixel":true,"app_schemes":["myapp"],
	"effective_from":"2026-11-20T12:00:00.123456+01:00",
	"flows":[{"referrer":"supplier","referee":"couple"}],
	"attribution_model":"linear",
	"stages":{"booked":"converted","purchase":""},
	"referrals":{"acceptance":"manual","expires_after_days":90,"sources":["website"]},
	"rewards":{"decimals":3,"hold_days":14,"approval":"manual","expires_after_days":365,"unverified":true,
		"rules":[
			{"name":"plan","on":"booked","each":"every","to":"upline","level":2,"per_plan":{"starter":10,"scale":"50.50"},
				"when":{"referrer_type":["supplier"],"referee_type":["couple"],"plan":["scale"],"channel":["qr"],"campaign":["spring"],
					"country":["DE"],"properties":{"size":["xl","l"]},"min_value":0.1,"from":"2026-01-01","to":"2026-12-31T00:00:00Z"},
				"multipliers":[{"name":"annual","times":2,"when":{"properties":{"billing":["annual"]}},"first_referrals":3}],
				"cap":100,"cap_monthly":1e3},
			{"name":"rate","on":"converted","percent":7.5,"partner_rate":true},
			{"name":"fix","on":"signed_up","to":"referee","fixed":1}],
		"milestones":[{"name":"ten","party_type":"couple","stage":"signed_up","count":10,"amount":25,"badge":"star"}]},
	"tiers":[{"name":"bronze","party_type":"supplier","conversions":1,"badge":"b","multiplier":1.1}],
	"campaigns":[{"name":"spring","starts_at":"2026-03-01","ends_at":"2026-06-01","audience":["couple"],"multiplier":1.5,
		"seasons":[{"from":"12-20","to":"01-06","multiplier":2}],"budget":1000,"spend":200,
		"targets":{"clicks":1,"signups":2,"conversions":3,"value":4},"variants":["a","b"]}],
	"fraud":{"signals":{"velocity":{"weight":0.5,"threshold":20}},"medium":0.3,"high":0.8,"actions":{"low":"review","medium":"hold","high":"reject"}},
	"messages":{"open_rate":0.2,"click_rate":0.1,"conversion_rate":0.05,"bounce_rate":0.01},
	"webhooks":[{"url":"https://shop.example/hook","events":["paid"],"secret":"sixteen bytes or more"}]}`

func TestParseFullProgram(t *testing.T) {
	p, err := ParseProgram("wedding", []byte(fullProgram))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	amount := func(text string) *decimal.Decimal {
		d := decimal.RequireFromString(text)
		return &d
	}
	midnight := func(year, month, day int) *time.Time {
		at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		return &at
	}
	none := Condition{ReferrerType: []string{}, RefereeType: []string{}, Plan: []string{}, Channel: []string{}, Campaign: []string{},
		Country: []string{}, Properties: map[string][]string{}}
	annual := none
	annual.Properties = map[string][]string{"billing": {"annual"}}
	signals := defaultSignals()
	signals["velocity"] = FraudSignal{0.5, 20}
	want := ProgramRules{
		EffectiveFrom:    time.Date(2026, 11, 20, 11, 0, 0, 123e6, time.UTC),
		Flows:            []Flow{{"supplier", "couple"}},
		AttributionModel: "linear",
		Stages:           map[string]string{"booked": "converted", "purchase": ""},
		Referrals:        ReferralRules{"manual", 90, []string{"website"}},
		Rewards: RewardRules{
			Decimals: 3, HoldDays: 14, Approval: "manual", ExpiresAfterDays: 365, Unverified: true,
			Rules: []RewardRule{
				{
					Name: "plan", On: "booked", Each: "every", To: "upline", Level: 2,
					When: Condition{[]string{"supplier"}, []string{"couple"}, []string{"scale"}, []string{"qr"}, []string{"spring"}, []string{"DE"},
						map[string][]string{"size": {"xl", "l"}}, amount("0.1"), midnight(2026, 1, 1), midnight(2026, 12, 31)},
					PerPlan:     map[string]decimal.Decimal{"starter": *amount("10"), "scale": *amount("50.5")},
					Multipliers: []Multiplier{{"annual", *amount("2"), annual, 3}},
					Cap:         amount("100"), CapMonthly: amount("1000"),
				},
				{Name: "rate", On: "converted", Each: "first", To: "referrer", When: none, PerPlan: map[string]decimal.Decimal{},
					Percent: amount("7.5"), PartnerRate: true, Multipliers: []Multiplier{}},
				{Name: "fix", On: "signed_up", Each: "first", To: "referee", When: none, PerPlan: map[string]decimal.Decimal{},
					Fixed: amount("1"), Multipliers: []Multiplier{}},
			},
			Milestones: []Milestone{{"ten", "couple", "signed_up", 10, *amount("25"), "star"}},
		},
		Tiers: []Tier{{"bronze", "supplier", 1, "b", *amount("1.1")}},
		Campaigns: []Campaign{{
			Name: "spring", StartsAt: *midnight(2026, 3, 1), EndsAt: midnight(2026, 6, 1), Audience: []string{"couple"}, Multiplier: *amount("1.5"),
			Seasons: []Season{{"12-20", "01-06", *amount("2")}}, Budget: amount("1000"), Spend: *amount("200"),
			Targets: CampaignTargets{1, 2, 3, *amount("4")}, Variants: []string{"a", "b"},
		}},
		Fraud:    FraudRules{signals, 0.3, 0.8, FraudActions{"review", "hold", "reject"}},
		Messages: MessageRules{0.2, 0.1, 0.05, 0.01},
		Webhooks: []Webhook{{"https://shop.example/hook", []string{"paid"}, "sixteen bytes or more"}},
	}
	// Decimals are compared as they are written: equal ones may differ inside.
	if got, want := mustJSON(t, p.ProgramRules), mustJSON(t, want); got != want {
		t.Errorf("read as\n%s, want\n%s", got, want)
	}
	again, err := ParseProgram("wedding", []byte(mustJSON(t, p)))
	if err != nil || mustJSON(t, again) != mustJSON(t, p) {
		t.Errorf("read again as %+v, %v", again, err)
	}
	// So it is read from Kafka and from a snapshot.
	stored := NewProgram("wedding")
	if err := json.Unmarshal([]byte(mustJSON(t, p)), &stored); err != nil || mustJSON(t, stored) != mustJSON(t, p) {
		t.Errorf("stored as %+v, %v", stored, err)
	}
}

func TestParseProgramRefuses(t *testing.T) {
	for text, field := range map[string]string{
		`x`:                                   "",
		`[]`:                                  "",
		`{} {}`:                               "",
		"{\"name\":\"\xff\"}":                 "",
		`{"name":"other"}`:                    "name",
		`{"colour":1}`:                        "colour",
		`{"ProgramRules":{}}`:                 "ProgramRules",
		`{"Currency":"EUR"}`:                  "Currency",
		`{"currency":"EUR","currency":"EUR"}`: "currency",
		`{"attribution_window_days":1.5}`:     "attribution_window_days",
		`{"trust_pixel":"yes"}`:               "trust_pixel",
		`{"party_types":"couple"}`:            "party_types",
		`{"party_types":["a",null]}`:          "party_types[1]",
		`{"party_types":["a",1]}`:             "party_types[1]",
		`{"flows":[{"from":"a"}]}`:            "flows[0].from",
		`{"rewards":[]}`:                      "rewards",
		`{"rewards":{"rules":[{},{},{"per_plan":{"starter":"ten"}}]}}`:    "rewards.rules[2].per_plan.starter",
		`{"rewards":{"rules":[{"fixed":""}]}}`:                            "rewards.rules[0].fixed",
		`{"rewards":{"rules":[{"fixed":1e999999999}]}}`:                   "rewards.rules[0].fixed",
		`{"rewards":{"rules":[{"fixed":1.2345678}]}}`:                     "rewards.rules[0].fixed",
		`{"rewards":{"rules":[{"fixed":{"amount":1}}]}}`:                  "rewards.rules[0].fixed",
		`{"rewards":{"rules":[{"when":{"from":"yesterday"}}]}}`:           "rewards.rules[0].when.from",
		`{"rewards":{"rules":[{"when":{"properties":{"a":"b"}}}]}}`:       "rewards.rules[0].when.properties.a",
		`{"rewards":{"rules":[{"multipliers":[{"times":2,"times":3}]}]}}`: "rewards.rules[0].multipliers[0].times",
		`{"campaigns":[{"ends_at":5}]}`:                                   "campaigns[0].ends_at",
		`{"fraud":{"signals":{"speed":{"weight":"high"}}}}`:               "fraud.signals.speed.weight",
		`{"fraud":{"signals":{"speed":null}}}`:                            "fraud.signals.speed",
		`{"fraud":{"medium":1e999}}`:                                      "fraud.medium",
		`{"effective_from":"2026-13-01"}`:                                 "effective_from",
		`{"webhooks":[{"url":"https://a.example","retry":true}]}`:         "webhooks[0].retry",
	} {
		_, err := ParseProgram("wedding", []byte(text))
		if fault, ok := err.(*FieldError); !ok || fault.Field != field {
			t.Errorf("%s gives %v, want a fault of %q", text, err, field)
		}
	}
}

// TestProgramsShareNothing: what one document says of a map must not change
// the defaults of the next.
func TestProgramsShareNothing(t *testing.T) {
	p, err := ParseProgram("a", []byte(`{"fraud":{"signals":{"velocity":{"weight":0}}},"stages":{"x":"converted"},"rewards":{"rules":[{"per_plan":{"a":1}}]}}`))
	if err != nil || p.Fraud.Signals["velocity"] != (FraudSignal{0, 10}) {
		t.Fatal(p.Fraud, err)
	}
	if next := NewProgram("a"); !reflect.DeepEqual(next.Fraud.Signals, defaultSignals()) || len(next.Stages) != 0 {
		t.Errorf("the defaults became %+v", next)
	}
	masked := p.Masked()
	masked.Webhooks = append(masked.Webhooks, Webhook{})
	if len(p.Webhooks) != 0 {
		t.Error("what is shown shares the webhooks")
	}
}

// FuzzParseProgram checks that a programme that is accepted survives being
// stored and read, as JSON and as YAML.
func FuzzParseProgram(f *testing.F) {
	f.Add([]byte(fullProgram))
	f.Add([]byte(`{"rewards":{"rules":[{"name":"a","on":"converted","fixed":0.000001}]},"stages":{"a_b":""}}`))
	f.Add([]byte(`{"campaigns":[{"name":"\u2028: #é","starts_at":"2000-01-01","variants":["1e3","~"]}]}`))
	f.Add([]byte(`{"tiers":[{"name":"yes","conversions":0},{"name":"0x1","conversions":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProgram("wedding", data)
		if err != nil {
			if _, ok := err.(*FieldError); !ok {
				t.Fatalf("%q gives %v", data, err)
			}
			return
		}
		if err := p.Validate(); err != nil {
			if _, ok := err.(*FieldError); !ok {
				t.Fatalf("%q gives %v", data, err)
			}
			return
		}
		first := mustJSON(t, p)
		again, err := ParseProgram("wedding", []byte(first))
		if err != nil || mustJSON(t, again) != first {
			t.Fatalf("%s became %s, %v", first, mustJSON(t, again), err)
		}
		text, err := YAMLFromJSON([]byte(first))
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		document, _, err := JSONFromYAML(text)
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		if again, err = ParseProgram("wedding", document); err != nil || mustJSON(t, again) != first {
			t.Fatalf("%s\nbecame %s\n%v", text, strings.TrimSpace(mustJSON(t, again)), err)
		}
	})
}
