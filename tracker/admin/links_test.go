package admin

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestCreateLink(t *testing.T) {
	f := newFixture(t)
	link := f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"hello","url":"https://example.com/welcome",
  "channel":"link","referrer":{"id":"ada","type":"user"}}`)
	// The example link of the design, with what was given and the defaults.
	var want map[string]any
	if err := json.Unmarshal([]byte(`{"code":"hello","domain":"","url":"https://example.com/welcome","program":"general","campaign":"",
 "channel":"link","referrer":{"id":"ada","type":"user"},"referee_type":"","tags":[],"status":302,
 "active":true,"starts_at":null,"expires_at":null,"expired_url":"","password":"","forward_query":true,
 "click_param":"wm_click","utm":{},"rules":[],"variants":[],"preview":{},"ios_url":"","android_url":"","noindex":true,
 "number":1,"created_at":"2026-11-20T12:00:00Z","updated_at":"2026-11-20T12:00:00Z"}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(link, want) {
		t.Errorf("created %v\nwant %v", link, want)
	}
	if got := f.want(t, 200, "GET", "/v1/links/hello", f.read, ""); !reflect.DeepEqual(got, want) {
		t.Errorf("read %v\nwant %v", got, want)
	}
	link = f.want(t, 201, "POST", "/v1/links", f.admin, `{"url":"https://example.com/","program":"wedding"}`)
	if code, _ := link["code"].(string); !strings.HasPrefix(code, "LOVE-") {
		t.Errorf("generated %v", link["code"])
	}
}

func TestCreateLinkRefuses(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"taken","url":"https://example.com/"}`)
	for _, c := range []struct {
		status      int
		field, body string
	}{
		{409, "code", `{"code":"taken","url":"https://example.com/"}`},
		{422, "url", `{}`},
		{422, "url", `{"url":"javascript:alert(1)"}`},
		{422, "url", `{"url":7}`},
		{422, "uri", `{"uri":"https://example.com/"}`},
		{422, "program", `{"url":"https://example.com/","program":"nope"}`},
		{422, "code", `{"url":"https://example.com/","code":"v1"}`},
		{422, "status", `{"url":"https://example.com/","status":200}`},
		{422, "referrer.type", `{"url":"https://example.com/","program":"wedding","referrer":{"id":"x","type":"guest"}}`},
		{422, "rules", `{"url":"https://example.com/","rules":[1]}`},
		{400, "", ``}, {400, "", `hello`}, {400, "", `{"url":`}, {400, "", `"x"`}, {400, "", `[1,`},
	} {
		f.wantFault(t, c.status, c.field, "POST", "/v1/links", f.admin, c.body)
	}
	f.want(t, 413, "POST", "/v1/links", f.admin, "["+strings.Repeat("{},", 10_000)+"{}]")
}

func TestCreateBatch(t *testing.T) {
	f := newFixture(t)
	answer := f.want(t, 207, "POST", "/v1/links", f.admin, `[
		{"code":"a","url":"https://example.com/"},
		{"code":"a","url":"https://example.com/"},
		{"url":"ftp://example.com/"},
		17,
		{"url":"https://example.com/","program":"wedding"}]`)
	var faults []string
	for _, failed := range answer["failed"].([]any) {
		object := failed.(map[string]any)
		faults = append(faults, fmt.Sprint(object["index"], " ", object["field"]))
		if object["detail"] == "" {
			t.Errorf("%v has no detail", object)
		}
	}
	if want := []string{"1 code", "2 url", "3 "}; answer["created"] != 2.0 || !reflect.DeepEqual(faults, want) {
		t.Errorf("created %v, failed %q, want %q", answer["created"], faults, want)
	}
	if answer := f.want(t, 207, "POST", "/v1/links", f.admin, `[]`); answer["created"] != 0.0 || len(answer["failed"].([]any)) != 0 {
		t.Errorf("nothing: %v", answer)
	}
}

func TestChangeLink(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a","url":"https://example.com/1","channel":"qr"}`)
	link := f.want(t, 200, "PATCH", "/v1/links/a", f.admin, `{"url":"https://example.com/2","active":false}`)
	if link["url"] != "https://example.com/2" || link["active"] != false || link["channel"] != "qr" {
		t.Errorf("changed to %v", link)
	}
	if got := f.want(t, 200, "GET", "/v1/links/a", f.admin, ""); !reflect.DeepEqual(got, link) {
		t.Errorf("read %v", got)
	}
	f.wantFault(t, 422, "code", "PATCH", "/v1/links/a", f.admin, `{"code":"b"}`)
	f.wantFault(t, 422, "url", "PATCH", "/v1/links/a", f.admin, `{"url":"data:x"}`)
	f.wantFault(t, 422, "program", "PATCH", "/v1/links/a", f.admin, `{"program":"nope"}`)
	f.wantFault(t, 404, "code", "PATCH", "/v1/links/b", f.admin, `{"active":true}`)
	f.wantFault(t, 400, "", "PATCH", "/v1/links/a", f.admin, `{`)
}

func TestDeleteLink(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a","url":"https://example.com/"}`)
	if body := f.send("DELETE", "/v1/links/a", f.admin, ""); f.lastStatus != 204 || body != "" {
		t.Errorf("%d %q", f.lastStatus, body)
	}
	f.wantFault(t, 404, "code", "GET", "/v1/links/a", f.admin, "")
	f.wantFault(t, 404, "code", "DELETE", "/v1/links/a", f.admin, "")
	if link := f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a","url":"https://example.com/"}`); link["number"] != 2.0 {
		t.Errorf("created again as %v", link["number"])
	}
}

func TestCodesInPaths(t *testing.T) {
	f := newFixture(t)
	for _, code := range []string{"a/b", "schön/北京", "a+b", "x/qr.svg", "semi;colon,comma", "links"} {
		body, err := json.Marshal(map[string]string{"code": code, "url": "https://example.com/"})
		if err != nil {
			t.Fatal(err)
		}
		f.want(t, 201, "POST", "/v1/links", f.admin, string(body))
		escaped := "/v1/links/" + url.PathEscape(code)
		if link := f.want(t, 200, "GET", escaped, f.admin, ""); link["code"] != code {
			t.Errorf("%s: got %v", escaped, link)
		}
		f.want(t, 200, "GET", escaped+"/qr.svg", f.admin, "")
	}
	if link := f.want(t, 200, "GET", "/v1/links/a/b", f.admin, ""); link["code"] != "a/b" {
		t.Errorf("plain slash: %v", link)
	}
	f.want(t, 200, "GET", "/v1/links/a/b/qr.png", f.admin, "")
	f.want(t, 200, "PATCH", "/v1/links/sch%C3%B6n/%E5%8C%97%E4%BA%AC", f.admin, `{"active":false}`)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a/b","domain":"go.example","url":"https://example.com/2"}`)
	if link := f.want(t, 200, "GET", "/v1/links/a/b?domain=go.example", f.admin, ""); link["url"] != "https://example.com/2" {
		t.Errorf("by domain: %v", link)
	}
}

// pages reads all pages and returns the codes on each.
func (f *fixture) pages(t *testing.T, query, key string) (pages []string) {
	t.Helper()
	cursor := ""
	for {
		page := f.want(t, 200, "GET", "/v1/links?"+query+"&cursor="+cursor, key, "")
		var codes []string
		for _, link := range page["links"].([]any) {
			codes = append(codes, link.(map[string]any)["code"].(string))
		}
		pages = append(pages, strings.Join(codes, " "))
		if cursor = page["cursor"].(string); cursor == "" {
			return pages
		}
	}
}

func TestListLinks(t *testing.T) {
	f := newFixture(t)
	if got := f.pages(t, "", f.read); !reflect.DeepEqual(got, []string{""}) {
		t.Errorf("no links: %q", got)
	}
	for i := range 7 {
		program := []string{"general", "wedding"}[i%2]
		f.want(t, 201, "POST", "/v1/links", f.admin, fmt.Sprintf(`{"code":"c%d","url":"https://example.com/","program":%q,"referrer":{"id":"r%d","type":"couple"}}`, i, program, i%3))
	}
	f.want(t, 204, "DELETE", "/v1/links/c2", f.admin, "")
	for query, want := range map[string][]string{
		"":                            {"c0 c1 c3 c4 c5 c6"},
		"limit=4":                     {"c0 c1 c3 c4", "c5 c6"},
		"limit=1000&program=wedding":  {"c1 c3 c5"},
		"referrer=r0":                 {"c0 c3 c6"},
		"referrer=r0&program=wedding": {"c3"},
		"referrer=none&limit=2":       {""},
	} {
		if got := f.pages(t, query, f.read); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	f.wantFault(t, 422, "limit", "GET", "/v1/links?limit=1001", f.read, "")
	f.wantFault(t, 422, "limit", "GET", "/v1/links?limit=x", f.read, "")
	f.wantFault(t, 422, "cursor", "GET", "/v1/links?cursor=x", f.read, "")
}

func TestLinksOfAKeyWithAProgram(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"theirs","url":"https://example.com/"}`)
	link := f.want(t, 201, "POST", "/v1/links", f.weddingAdmin, `{"code":"ours","url":"https://example.com/"}`)
	if link["program"] != "wedding" {
		t.Errorf("created in %v", link["program"])
	}
	f.wantFault(t, 403, "program", "POST", "/v1/links", f.weddingAdmin, `{"url":"https://example.com/","program":"general"}`)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		f.wantFault(t, 404, "code", method, "/v1/links/theirs", f.weddingAdmin, `{}`)
	}
	f.wantFault(t, 403, "program", "PATCH", "/v1/links/ours", f.weddingAdmin, `{"program":"general"}`)
	if got := f.pages(t, "", f.weddingRead); !reflect.DeepEqual(got, []string{"ours"}) {
		t.Errorf("listed %q", got)
	}
	f.wantFault(t, 403, "program", "GET", "/v1/links?program=general", f.weddingRead, "")
	f.wantFault(t, 404, "code", "GET", "/v1/links/theirs/qr.png", f.weddingRead, "")
	answer := f.want(t, 207, "POST", "/v1/links", f.weddingAdmin, `[{"url":"https://example.com/","program":"general"},{"url":"https://example.com/"}]`)
	if answer["created"] != 1.0 || answer["failed"].([]any)[0].(map[string]any)["field"] != "program" {
		t.Errorf("batch: %v", answer)
	}
}
