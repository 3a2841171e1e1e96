package admin

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	f := newFixture(t)
	program := f.want(t, 200, "PUT", "/v1/programs/insurance", f.admin, `{"currency":"USD","party_types":["agent","lead"]}`)
	want := map[string]any{
		"name": "insurance", "party_types": []any{"agent", "lead"}, "currency": "USD", "attribution_window_days": 30.0,
		"cookie_lifetime_days": 90.0, "unique_window_hours": 24.0, "code_prefix": "", "case_insensitive": false, "trust_pixel": false, "app_schemes": []any{},
	}
	if !reflect.DeepEqual(program, want) {
		t.Errorf("put %v\nwant %v", program, want)
	}
	if got := f.want(t, 200, "GET", "/v1/programs/insurance", f.read, ""); !reflect.DeepEqual(got, want) {
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
