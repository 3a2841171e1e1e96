package admin

import (
	"fmt"
	"strings"
	"testing"

	"waymark/tracker"
)

// partnerExchanges are those of the document that are about partners.
func partnerExchanges(f *fixture) []exchange {
	list, one := "/v1/partners", "/v1/partners/{id}"
	ann := `{"id":"s-1","program":"wedding","type":"supplier","name":"Ann","commission_rate":"12.5"}`
	return []exchange{
		{list, "POST", list, f.admin, ann, 201},
		{list, "POST", list, f.admin, ann, 409},
		{list, "POST", list, f.admin, `{"id":"s-2","program":"wedding","status":"gone"}`, 422},
		{list, "POST", list, f.admin, `{`, 400},
		{list, "POST", list, f.read, ann, 403},
		{list, "POST", list, f.admin, strings.Repeat(" ", partnerBodyMax+1), 413},
		{list, "GET", list + "?limit=1", f.read, "", 200},
		{list, "GET", list + "?status=x", f.read, "", 422},
		{one, "GET", "/v1/partners/s-1", f.read, "", 200},
		{one, "GET", "/v1/partners/nobody", f.read, "", 404},
		{one, "PATCH", "/v1/partners/s-1", f.admin, `{"status":"suspended","commission_rate":null}`, 200},
		{one, "PATCH", "/v1/partners/s-1", f.admin, `{"id":"s-2"}`, 422},
		{one, "PATCH", "/v1/partners/nobody", f.admin, `{}`, 404},
		{one, "PATCH", "/v1/partners/s-1", f.admin, ``, 400},
	}
}

func TestPartners(t *testing.T) {
	f := newFixture(t)
	created := f.want(t, 201, "POST", "/v1/partners", f.weddingAdmin, `{"id":"s-1","type":"supplier","name":"Ann","email":"ann@example.com","commission_rate":12.50,"joined_at":"2026-01-15T00:00:00+01:00"}`)
	if code, _ := created["code"].(string); created["program"] != "wedding" || created["status"] != "active" || created["commission_rate"] != "12.5" || !strings.HasPrefix(code, "LOVE-") ||
		created["joined_at"] != "2026-01-14T23:00:00Z" || created["since"] != created["joined_at"] || created["recorded_at"] != "2026-11-20T12:00:00Z" {
		t.Errorf("created %v", created)
	}
	f.wantFault(t, 409, "id", "POST", "/v1/partners", f.admin, `{"id":"s-1","program":"wedding"}`)
	f.wantFault(t, 409, "code", "POST", "/v1/partners", f.admin, fmt.Sprintf(`{"id":"s-2","program":"wedding","code":%q}`, strings.ToLower(created["code"].(string))))
	changed := f.want(t, 200, "PATCH", "/v1/partners/s-1", f.admin, `{"status":"terminated","commission_rate":null,"name":"Ann O."}`)
	if changed["status"] != "terminated" || changed["commission_rate"] != nil || changed["email"] != "ann@example.com" || changed["since"] != "2026-11-20T12:00:00Z" || changed["actor"] != tracker.BootstrapKeyID {
		t.Errorf("changed %v", changed)
	}
	read := f.want(t, 200, "GET", "/v1/partners/s-1", f.weddingRead, "")
	if history := read["history"].([]any); len(history) != 2 || read["name"] != "Ann O." || history[0].(map[string]any)["name"] != "Ann" {
		t.Errorf("read %v", read)
	}
}

func TestPartnersList(t *testing.T) {
	f := newFixture(t)
	f.want(t, 200, "PUT", "/v1/programs/insurance", f.admin, `{}`)
	for _, p := range [][2]string{{"insurance", "a"}, {"insurance", "b"}, {"wedding", "a"}} {
		f.want(t, 201, "POST", "/v1/partners", f.admin, fmt.Sprintf(`{"program":%q,"id":%q}`, p[0], p[1]))
	}
	var ids []string
	for cursor := ""; ; {
		page := f.want(t, 200, "GET", "/v1/partners?limit=1&cursor="+cursor, f.read, "")
		for _, p := range page["partners"].([]any) {
			ids = append(ids, p.(map[string]any)["program"].(string)+"/"+p.(map[string]any)["id"].(string))
		}
		if cursor = page["cursor"].(string); cursor == "" {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "insurance/a insurance/b wedding/a" {
		t.Errorf("listed %s", got)
	}
	if page := f.want(t, 200, "GET", "/v1/partners", f.weddingRead, ""); len(page["partners"].([]any)) != 1 {
		t.Errorf("a key of one programme sees %v", page)
	}
	f.wantFault(t, 422, "program", "GET", "/v1/partners/a", f.read, "")
	f.want(t, 200, "GET", "/v1/partners/a?program=insurance", f.read, "")
	f.want(t, 200, "GET", "/v1/partners/b", f.read, "")
	f.wantFault(t, 404, "id", "GET", "/v1/partners/b", f.weddingRead, "")
	f.wantFault(t, 403, "program", "PATCH", "/v1/partners/b?program=insurance", f.weddingAdmin, `{}`)
	f.wantFault(t, 422, "cursor", "GET", "/v1/partners?cursor=x", f.read, "")
}

func TestPartnerFaults(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ field, body string }{
		{"id", `{"program":"wedding"}`}, {"program", `{"id":"a","program":"nope"}`}, {"type", `{"id":"a","program":"wedding","type":"agent"}`},
		{"commission_rate", `{"id":"a","program":"wedding","commission_rate":"x"}`}, {"commission_rate", `{"id":"a","program":"wedding","commission_rate":-1}`},
		{"commission_rate", `{"id":"a","program":"wedding","commission_rate":{}}`}, {"status", `{"id":"a","program":"wedding","status":"x"}`},
		{"email", `{"id":"a","program":"wedding","email":"x"}`}, {"joined_at", `{"id":"a","program":"wedding","joined_at":"2030-01-01T00:00:00Z"}`}, {"rank", `{"id":"a","program":"wedding","rank":1}`},
	} {
		f.wantFault(t, 422, c.field, "POST", "/v1/partners", f.admin, c.body)
	}
	f.records.Fault = func() error { return tracker.ErrUnavailable }
	f.wantFault(t, 503, "", "POST", "/v1/partners", f.admin, `{"id":"a","program":"wedding"}`)
}
