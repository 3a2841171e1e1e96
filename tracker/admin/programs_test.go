package admin

import (
	"errors"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
)

// ruledProgram has a member of everything that a programme may hold.
const ruledProgram = `{"currency":"EUR","party_types":["supplier","couple"],"flows":[{"referrer":"supplier","referee":"couple"}],
	"attribution_model":"position","stages":{"booked":"converted"},
	"referrals":{"acceptance":"manual","expires_after_days":90,"sources":["website"]},
	"rewards":{"hold_days":14,"rules":[{"name":"plan","on":"booked","per_plan":{"starter":"10","scale":"50.00"},"cap":"100",
		"when":{"country":["DE"],"properties":{"size":["xl"]},"min_value":"5","from":"2026-01-01T00:00:00Z"},
		"multipliers":[{"name":"annual","times":"2","when":{"properties":{"billing":["annual"]}}}]}],
		"milestones":[{"name":"ten","count":10,"amount":"25","badge":"star"}]},
	"tiers":[{"name":"bronze","party_type":"supplier","conversions":1}],
	"campaigns":[{"name":"spring","starts_at":"2026-03-01T00:00:00Z","ends_at":"2026-06-01T00:00:00+02:00","multiplier":"1.5",
		"seasons":[{"from":"12-20","to":"01-06","multiplier":"2"}],"budget":"1000","targets":{"clicks":100},"variants":["a","b"]}],
	"fraud":{"signals":{"velocity":{"threshold":20}},"high":0.8},
	"messages":{"open_rate":0.2},
	"webhooks":[{"url":"https://shop.example/hook","secret":"only for the sender"}]}`

func TestPrograms(t *testing.T) {
	f := newFixture(t)
	program := f.want(t, 200, "PUT", "/v1/programs/insurance", f.admin, `{"currency":"USD","party_types":["agent","lead"]}`)
	for member, want := range map[string]any{
		"name": "insurance", "party_types": []any{"agent", "lead"}, "currency": "USD", "attribution_window_days": 30.0,
		"cookie_lifetime_days": 90.0, "unique_window_hours": 24.0, "code_prefix": "", "case_insensitive": false, "trust_pixel": false, "app_schemes": []any{},
		"effective_from": "2026-11-20T12:00:00Z", "flows": []any{}, "attribution_model": "last",
		"referrals": map[string]any{"acceptance": "automatic", "expires_after_days": 0.0, "sources": []any{}},
	} {
		if !reflect.DeepEqual(program[member], want) {
			t.Errorf("put %s %v, want %v", member, program[member], want)
		}
	}
	if got := f.want(t, 200, "GET", "/v1/programs/insurance", f.read, ""); !reflect.DeepEqual(got, program) {
		t.Errorf("read %v", got)
	}
	list := f.want(t, 200, "GET", "/v1/programs", f.read, "")["programs"].([]any)
	if len(list) != 3 {
		t.Errorf("list %v", list)
	}
	f.wantFault(t, 422, "name", "PUT", "/v1/programs/insurance", f.admin, `{"name":"other"}`)
	f.wantFault(t, 422, "name", "PUT", "/v1/programs/Not%20A%20Name", f.admin, `{}`)
	f.wantFault(t, 422, "currency", "PUT", "/v1/programs/insurance", f.admin, `{"currency":"money"}`)
	f.wantFault(t, 422, "colour", "PUT", "/v1/programs/insurance", f.admin, `{"colour":1}`)
	f.wantFault(t, 400, "", "PUT", "/v1/programs/insurance", f.admin, `no`)
	f.wantFault(t, 404, "name", "GET", "/v1/programs/nope", f.admin, "")
}

// TestProgramKeepsItsMeaning: what was reported in one currency, or tells two
// links apart by case, stays so.
func TestProgramKeepsItsMeaning(t *testing.T) {
	f := newFixture(t)
	f.answers.valued = "wedding"
	f.wantFault(t, 422, "currency", "PUT", "/v1/programs/wedding", f.admin, `{"currency":"USD"}`)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, `{"currency":"EUR","code_prefix":"JOY"}`)
	f.want(t, 200, "PUT", "/v1/programs/general", f.admin, `{"currency":"USD"}`)
	f.answers.err = errors.New("ClickHouse is away")
	f.want(t, 503, "PUT", "/v1/programs/wedding", f.admin, `{"currency":"USD"}`)
	f.want(t, 200, "PUT", "/v1/programs/other", f.admin, `{"currency":"USD"}`)
	f.answers.err = nil

	for _, link := range []string{`{"code":"Größe"}`, `{"code":"one"}`, `{"code":"GRÖßE","domain":"a.example"}`, `{"code":"ONE","program":"wedding"}`} {
		f.want(t, 201, "POST", "/v1/links", f.admin, strings.Replace(link, "{", `{"url":"https://example.com/",`, 1))
	}
	f.want(t, 200, "PUT", "/v1/programs/general", f.admin, `{"currency":"USD","case_insensitive":true}`) // one is of another programme, one of another domain
	f.wantFault(t, 409, "case_insensitive", "PUT", "/v1/programs/wedding", f.admin, `{"case_insensitive":true}`)
	f.want(t, 200, "PUT", "/v1/programs/general", f.admin, `{"currency":"USD"}`)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, `{"case_insensitive":true}`)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, `{}`)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"url":"https://example.com/","code":"GRÖSSE"}`)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"url":"https://example.com/","code":"GRÖßE"}`)
	problem := f.want(t, 409, "PUT", "/v1/programs/general", f.admin, `{"currency":"USD","case_insensitive":true}`)
	if detail := problem["detail"].(string); !strings.Contains(detail, `"Größe"`) || !strings.Contains(detail, `"GRÖßE"`) {
		t.Errorf("the problem is %s", detail)
	}
}

func TestProgramsOfAKeyWithAProgram(t *testing.T) {
	f := newFixture(t)
	if list := f.want(t, 200, "GET", "/v1/programs", f.weddingRead, "")["programs"].([]any); len(list) != 1 {
		t.Errorf("list %v", list)
	}
	f.want(t, 404, "GET", "/v1/programs/general", f.weddingRead, "")
	f.wantFault(t, 403, "program", "PUT", "/v1/programs/general", f.weddingAdmin, `{}`)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.weddingAdmin, `{"currency":"CHF"}`)
}

// TestProgramRules: what is left out has its default, at every depth, and a
// fault names the place.
func TestProgramRules(t *testing.T) {
	f := newFixture(t)
	program := f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, ruledProgram)
	for path, want := range map[string]any{
		"rewards.decimals":                       2.0,
		"rewards.rules.0.each":                   "first",
		"rewards.rules.0.per_plan.starter":       "10",
		"rewards.rules.0.per_plan.scale":         "50",
		"rewards.rules.0.when.plan":              []any{},
		"rewards.rules.0.when.from":              "2026-01-01T00:00:00Z",
		"rewards.rules.0.multipliers.0.times":    "2",
		"rewards.milestones.0.stage":             "converted",
		"tiers.0.multiplier":                     "1",
		"campaigns.0.ends_at":                    "2026-05-31T22:00:00Z",
		"campaigns.0.spend":                      "0",
		"fraud.signals.velocity.weight":          0.3,
		"fraud.signals.velocity.threshold":       20.0,
		"fraud.signals.similarity.threshold":     0.8,
		"fraud.medium":                           0.4,
		"webhooks.0.secret":                      "***",
		"referrals.sources.0":                    "website",
		"rewards.rules.0.when.properties.size.0": "xl",
	} {
		if got := valueAt(program, path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	f.wantFault(t, 422, "rewards.rules[0].per_plan.starter", "PUT", "/v1/programs/wedding", f.admin, strings.Replace(ruledProgram, `"starter":"10"`, `"starter":"x"`, 1))
	f.wantFault(t, 422, "campaigns[0].ends_at", "PUT", "/v1/programs/wedding", f.admin, strings.Replace(ruledProgram, `2026-03-01T`, `2026-07-01T`, 1))
	f.wantFault(t, 422, "referee_type", "POST", "/v1/links", f.admin,
		`{"url":"https://example.com/","program":"wedding","referrer":{"id":"c","type":"couple"},"referee_type":"supplier"}`)
	f.want(t, 201, "POST", "/v1/links", f.admin,
		`{"url":"https://example.com/","program":"wedding","referrer":{"id":"s","type":"supplier"},"referee_type":"couple"}`)
}

func valueAt(value any, path string) any {
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

func TestProgramInYAML(t *testing.T) {
	f := newFixture(t)
	document := `
# Comments are allowed.
name: wedding
rewards:
  rules:
    - name: plan
      on: converted
      per_plan: {starter: 0.1, scale: 50}
`
	put := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("PUT", "/v1/programs/wedding", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+f.admin)
		r.Header.Set("Content-Type", "application/yaml; charset=utf-8")
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		return w
	}
	if w := put(document); w.Code != 200 || !strings.Contains(w.Body.String(), `"starter":"0.1"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	w := put(strings.Replace(document, "50", "fifty", 1))
	if body := w.Body.String(); w.Code != 422 || !strings.Contains(body, `"field":"rewards.rules[0].per_plan.scale"`) || !strings.Contains(body, "(line 8)") {
		t.Errorf("%d %s", w.Code, body)
	}
	if w := put("a: ["); w.Code != 422 || !strings.Contains(w.Body.String(), "is not valid YAML: line 1") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestProgramVersions: a document that changes nothing makes no version, one
// with a date keeps it.
func TestProgramVersions(t *testing.T) {
	f := newFixture(t)
	put := func(body string) any {
		t.Helper()
		return f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, body)["effective_from"]
	}
	f.now = testNow.Add(-time.Hour)
	if at := put(ruledProgram); at != "2026-11-20T11:00:00Z" {
		t.Errorf("effective from %v", at)
	}
	f.now = testNow
	if at := put(ruledProgram); at != "2026-11-20T11:00:00Z" {
		t.Errorf("the same document is effective from %v", at)
	}
	if at := put(strings.Replace(ruledProgram, `"starter":"10"`, `"starter":11`, 1)); at != "2026-11-20T12:00:00Z" {
		t.Errorf("another document is effective from %v", at)
	}
	if at := put(`{"effective_from":"2026-10-01"}`); at != "2026-10-01T00:00:00Z" {
		t.Errorf("a document with a date is effective from %v", at)
	}

	f.answers.versions = nil
	for offset, day := range []int{1, 9, 5} {
		p := tracker.NewProgram("wedding")
		p.EffectiveFrom = time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)
		f.answers.versions = append(f.answers.versions, tracker.ProgramRow{Program: p, Version: uint64(offset), WrittenAt: testNow})
	}
	list := f.want(t, 200, "GET", "/v1/programs/wedding/versions?limit=2", f.weddingRead, "")
	if valueAt(list, "versions.0.version") != 1.0 || valueAt(list, "versions.1.effective_from") != "2026-11-05T00:00:00Z" || valueAt(list, "versions.2") != nil {
		t.Errorf("versions %v", list)
	}
	f.want(t, 404, "GET", "/v1/programs/general/versions", f.weddingRead, "")
	f.answers.err = errors.New("ClickHouse is away")
	f.want(t, 503, "GET", "/v1/programs/wedding/versions", f.read, "")
}

// TestProgramSecrets: a secret goes in and never out, and *** keeps it.
func TestProgramSecrets(t *testing.T) {
	f := newFixture(t)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, ruledProgram)
	for _, target := range []string{"/v1/programs/wedding", "/v1/programs"} {
		for _, key := range []string{f.read, f.admin} {
			if body := f.send("GET", target, key, ""); strings.Contains(body, "only for the sender") || !strings.Contains(body, `"secret":"***"`) {
				t.Errorf("%s shows %s", target, body)
			}
		}
	}
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, strings.Replace(ruledProgram, "only for the sender", "***", 1))
	stored, _ := f.links.Program("wedding")
	if secret := stored.Webhooks[0].Secret; secret != "only for the sender" {
		t.Errorf("the secret became %q", secret)
	}
	f.wantFault(t, 422, "webhooks[0].secret", "PUT", "/v1/programs/wedding", f.admin,
		strings.NewReplacer("only for the sender", "***", "/hook", "/other").Replace(ruledProgram))
}

// TestProgramModel: a programme's model is the one of its report.
func TestProgramModel(t *testing.T) {
	f := newFixture(t)
	f.infos = append(f.Reports(), tracker.ReportInfo{Name: "attribution"})
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.admin, ruledProgram)
	for target, want := range map[string]string{
		"attribution?program=wedding":            "position",
		"attribution?program=wedding&model=last": "last",
		"attribution?program=general":            "last",
		"attribution":                            "",
		"funnel?program=wedding":                 "",
	} {
		if f.want(t, 200, "GET", "/v1/reports/"+target, f.admin, ""); f.query.Model != want {
			t.Errorf("%s asks for the model %q, want %q", target, f.query.Model, want)
		}
	}
	f.want(t, 200, "GET", "/v1/reports/attribution", f.weddingRead, "")
	if f.query.Model != "position" {
		t.Errorf("a key of the programme gets the model %q", f.query.Model)
	}
}
