package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"waymark/deploy"
	"waymark/tracker"
)

// exampleProgram is a programme that ships with the binary.
func exampleProgram(t *testing.T, name string) tracker.Program {
	t.Helper()
	content, err := deploy.Programs.ReadFile("programs/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseProgramDocument(name+".yaml", content)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tracker.ParseProgram(name, d.json)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestExampleProgramsAreValid loads what ships, as apply and the demo do.
func TestExampleProgramsAreValid(t *testing.T) {
	files, err := deploy.Programs.ReadDir("programs")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".yaml")
		p := exampleProgram(t, name)
		if err := p.Validate(); err != nil || p.Name != name {
			t.Errorf("%s: %q, %v", file.Name(), p.Name, err)
		}
		names = append(names, name)
	}
	if want := []string{"contest", "general", "insurance", "wedding"}; !reflect.DeepEqual(names, want) {
		t.Errorf("there are %v, want %v", names, want)
	}
}

// exampleFacts are the rules of the four kinds of referral system that the
// examples are to hold, number by number: JSON by path.
var exampleFacts = map[string]map[string]string{
	"wedding": {
		"party_types":                         `["supplier","couple"]`,
		"flows":                               `[{"referee":"couple","referrer":"supplier"},{"referee":"supplier","referrer":"couple"},{"referee":"supplier","referrer":"supplier"},{"referee":"couple","referrer":"couple"}]`,
		"code_prefix":                         `"LOVE"`,
		"attribution_window_days":             `30`,
		"cookie_lifetime_days":                `90`,
		"rewards.expires_after_days":          `365`,
		"rewards.rules.0.on":                  `"converted"`,
		"rewards.rules.0.to":                  `"referrer"`,
		"rewards.rules.0.per_plan":            `{"enterprise":"100","professional":"25","scale":"50","starter":"10"}`,
		"rewards.rules.0.multipliers.0.times": `"2"`,
		"rewards.rules.0.multipliers.0.when.properties.billing": `["annual"]`,
		"rewards.rules.0.multipliers.1.times":                   `"1.5"`,
		"rewards.rules.0.multipliers.1.first_referrals":         `3`,
		"rewards.rules.1.when.referee_type":                     `["couple"]`,
		"rewards.rules.1.percent":                               `"5"`,
		"rewards.rules.1.cap":                                   `"50"`,
		"tiers":                                                 `[bronze supplier 1][silver supplier 3][gold supplier 5][platinum supplier 10][first couple 1][active couple 3][champion couple 5]`,
		"fraud.signals.velocity":                                `{"threshold":10,"weight":0.3}`,
		"fraud.signals.similarity":                              `{"threshold":0.8,"weight":0.25}`,
		"fraud.signals.address":                                 `{"threshold":5,"weight":0.2}`,
		"fraud.signals.regularity":                              `{"threshold":0.9,"weight":0.15}`,
		"fraud.signals.speed":                                   `{"threshold":5,"weight":0.1}`,
		"fraud.high":                                            `0.7`,
		"fraud.medium":                                          `0.4`,
		"campaigns.0.multiplier":                                `"1.2"`,
		"campaigns.0.seasons.0.from":                            `"12-20"`,
		"campaigns.0.variants":                                  `["plain-card","photo-card"]`,
	},
	"insurance": {
		"flows":                        `[{"referee":"lead","referrer":"agent"},{"referee":"lead","referrer":"affiliate"}]`,
		"referrals.acceptance":         `"manual"`,
		"referrals.expires_after_days": `90`,
		"referrals.sources":            `["website","mobile_app","email","phone","in_person","social_media","other"]`,
		"rewards.approval":             `"manual"`,
		"rewards.decimals":             `2`,
		"rewards.rules.0.percent":      `"10"`,
		"rewards.rules.0.partner_rate": `true`,
	},
	"contest": {
		"stages":                      `{"entered":"converted","sent":"invited"}`,
		"messages":                    `{"bounce_rate":0.02,"click_rate":0.12,"conversion_rate":0.2,"open_rate":0.25}`,
		"campaigns.0.targets.signups": `1500`,
		"rewards.milestones.1.badge":  `"contender"`,
		"tiers":                       `[participant  1][contender  5][finalist  10][winner  50]`,
	},
	"general": {
		"party_types":             `[]`,
		"flows":                   `[]`,
		"attribution_window_days": `30`,
		"rewards.rules.0.on":      `"activated"`,
		"rewards.rules.1.multipliers.0.when.from": `"2026-12-01T00:00:00Z"`,
		"rewards.rules.1.multipliers.0.when.to":   `"2027-01-01T00:00:00Z"`,
		"rewards.rules.5.to":                      `"upline"`,
		"rewards.rules.5.level":                   `1`,
		"rewards.rules.6.level":                   `2`,
		"rewards.milestones.0.count":              `5`,
		"fraud.signals.self_referral.weight":      `1`,
	},
}

func TestExampleProgramsSayWhatTheyPromise(t *testing.T) {
	for name, facts := range exampleFacts {
		p := exampleProgram(t, name)
		encoded, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(encoded, &document); err != nil {
			t.Fatal(err)
		}
		for path, want := range facts {
			value, err := json.Marshal(memberAt(document, path))
			if err != nil {
				t.Fatal(err)
			}
			got := string(value)
			if path == "tiers" {
				got = ""
				for _, tier := range p.Tiers {
					got += fmt.Sprintf("[%s %s %d]", tier.Name, tier.PartyType, tier.Conversions)
				}
			}
			if got != want {
				t.Errorf("%s: %s is %s, want %s", name, path, got, want)
			}
		}
	}
}

func memberAt(value any, path string) any {
	for _, name := range strings.Split(path, ".") {
		if list, ok := value.([]any); ok {
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(list) {
				return nil
			}
			value = list[i]
			continue
		}
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

func TestProgramDocuments(t *testing.T) {
	for _, c := range []struct{ file, content, name, fault string }{
		{"bakery.yaml", "currency: EUR", "bakery", ""},
		{"bakery.yaml", "name: other", "other", ""},
		{"-", "name: other", "other", ""},
		{"bakery.json", "\t{\"currency\": \"EUR\"}\n", "bakery", ""},
		{"bakery.json", `{"currency": 1}`, "", "currency: must be a string, in quotes"},
		{"-", "currency: EUR", "", "name: must begin with"},
		{"bakery.yaml", "currency: EUR\ntiers:\n  - {name: a, conversions: 2}\n  - {name: b, conversions: 2}\n", "", "tiers[1].conversions: is 2, and a before it has 2: tiers ascend (line 4)"},
		{"bakery.yaml", "- a", "", ": must be a JSON object"},
		{"bakery.yaml", "name: [a]", "", "name: must be a string, in quotes (line 1)"},
	} {
		d, err := parseProgramDocument(c.file, []byte(c.content))
		if c.fault != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.fault) {
				t.Errorf("%q gives %v, want %s", c.content, err, c.fault)
			}
		} else if err != nil || d.name != c.name {
			t.Errorf("%q in %s is %q, %v; want %q", c.content, c.file, d.name, err, c.name)
		}
	}
}

// TestProgramsDryRun needs no installation, and says of every file what is wrong.
func TestProgramsDryRun(t *testing.T) {
	write := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", "currency: EUR")
	one, two := write("one.yaml", "colour: red"), write("two.yaml", "currency: euro")
	if err := (&programsApplyCommand{Files: []string{good}, DryRun: true}).Run(t.Context()); err != nil {
		t.Error(err)
	}
	err := (&programsApplyCommand{Files: []string{one, good, two, "missing.yaml"}}).Run(t.Context())
	for _, want := range []string{"colour: unknown field (line 1)", "currency: must be", "missing.yaml"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
}
