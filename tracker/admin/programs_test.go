package admin

import (
	"reflect"
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

func TestProgramsOfAKeyWithAProgram(t *testing.T) {
	f := newFixture(t)
	if list := f.want(t, 200, "GET", "/v1/programs", f.weddingRead, "")["programs"].([]any); len(list) != 1 {
		t.Errorf("list %v", list)
	}
	f.want(t, 404, "GET", "/v1/programs/general", f.weddingRead, "")
	f.wantFault(t, 403, "program", "PUT", "/v1/programs/general", f.weddingAdmin, `{}`)
	f.want(t, 200, "PUT", "/v1/programs/wedding", f.weddingAdmin, `{"currency":"CHF"}`)
}
