package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// served is the document as a client gets it. It is read without huma, so that
// a fault of huma shows, too.
type served struct {
	root map[string]any
}

func at(object any, path ...string) any {
	for _, name := range path {
		members, _ := object.(map[string]any)
		object = members[name]
	}
	return object
}

// check compares a value with a schema, as JSON Schema 2020-12 says for the
// keywords that the document uses; another keyword is a fault of this test.
func (d served) check(schema map[string]any, value any, place string) error {
	for keyword, argument := range schema {
		var err error
		switch keyword {
		case "description", "title", "examples", "default", "readOnly", "contentEncoding", "contentMediaType", "format":
			if text, ok := value.(string); ok && argument == "date-time" {
				_, err = time.Parse(time.RFC3339, text)
			}
		case "$ref":
			target, ok := at(d.root, strings.Split(strings.TrimPrefix(argument.(string), "#/"), "/")...).(map[string]any)
			if !ok {
				return fmt.Errorf("%s: %v leads nowhere", place, argument)
			}
			err = d.check(target, value, place)
		case "type":
			types, ok := argument.([]any)
			if !ok {
				types = []any{argument}
			}
			if !slices.Contains(types, any(typeOf(value))) && !(typeOf(value) == "integer" && slices.Contains(types, any("number"))) {
				err = fmt.Errorf("is a %s, not %v", typeOf(value), types)
			}
		case "enum":
			if !slices.Contains(argument.([]any), value) {
				err = fmt.Errorf("%v is none of %v", value, argument)
			}
		case "minimum":
			if n, ok := value.(float64); ok && n < argument.(float64) {
				err = fmt.Errorf("%v is below %v", value, argument)
			}
		case "required":
			for _, name := range argument.([]any) {
				if object, ok := value.(map[string]any); ok && !slices.Contains(slices.Collect(maps.Keys(object)), name.(string)) {
					err = fmt.Errorf("%v is missing", name)
				}
			}
		case "properties", "additionalProperties":
			err = d.checkMembers(schema, value, place)
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				if err == nil {
					err = d.check(argument.(map[string]any), item, fmt.Sprintf("%s[%d]", place, i))
				}
			}
		case "maxItems":
			if list, ok := value.([]any); ok && float64(len(list)) > argument.(float64) {
				err = fmt.Errorf("has %d items", len(list))
			}
		case "oneOf":
			fits := 0
			for _, one := range argument.([]any) {
				if d.check(one.(map[string]any), value, place) == nil {
					fits++
				}
			}
			if fits != 1 {
				err = fmt.Errorf("fits %d of the alternatives", fits)
			}
		default:
			err = fmt.Errorf("this test does not know the keyword %s", keyword)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

func (d served) checkMembers(schema map[string]any, value any, place string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	for name, member := range object {
		if property, ok := at(schema, "properties", name).(map[string]any); ok {
			if err := d.check(property, member, place+"."+name); err != nil {
				return err
			}
			continue
		}
		switch others := schema["additionalProperties"].(type) {
		case bool:
			if !others {
				return fmt.Errorf("%s.%s is not in the document", place, name)
			}
		case map[string]any:
			if err := d.check(others, member, place+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func typeOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// exchange is a request to a path of the document, and the status it gets.
type exchange struct {
	path, method, target, key, body string
	status                          int
}

func exchanges(f *fixture, click, keyID string) []exchange {
	link, links := `{"code":"c","url":"https://example.com/","utm":{"source":"x"},"referrer":{"id":"a","type":"b"},"starts_at":"2026-11-20T00:00:00Z"}`, "/v1/links"
	one := "/v1/links/{code}"
	return []exchange{
		{links, "POST", links, f.admin, link, 201},
		{links, "POST", links, f.admin, link, 409},
		{links, "POST", links, f.admin, `{"url":"x"}`, 422},
		{links, "POST", links, f.admin, `{`, 400},
		{links, "POST", links, f.admin, "[" + strings.Repeat("1,", 10_000) + "1]", 413},
		{links, "POST", links, f.admin, `[{"url":"https://example.com/"},{"url":"x"}]`, 207},
		{links, "GET", links + "?limit=1", f.read, "", 200},
		{links, "GET", links + "?limit=0", f.read, "", 422},
		{links, "GET", links + "?program=general", f.weddingRead, "", 403},
		{links, "GET", links, "", "", 401},
		{one, "GET", "/v1/links/c", f.read, "", 200},
		{one, "GET", "/v1/links/d", f.read, "", 404},
		{one, "PATCH", "/v1/links/c", f.admin, `{"active":false,"expires_at":"2027-01-01T00:00:00Z"}`, 200},
		{one, "PATCH", "/v1/links/c", f.admin, `{"url":"x"}`, 422},
		{one, "PATCH", "/v1/links/c", f.admin, ``, 400},
		{one, "PATCH", "/v1/links/c", f.admin, strings.Repeat(" ", linkBodyMax), 413},
		{one, "PATCH", "/v1/links/d", f.admin, `{}`, 404},
		{one + "/qr.svg", "GET", "/v1/links/c/qr.svg", f.read, "", 200},
		{one + "/qr.svg", "GET", "/v1/links/c/qr.svg?size=1", f.read, "", 422},
		{one + "/qr.png", "GET", "/v1/links/c/qr.png", f.read, "", 200},
		{one + "/qr.png", "GET", "/v1/links/d/qr.png", f.read, "", 404},
		{one, "DELETE", "/v1/links/c", f.admin, "", 204},
		{one, "DELETE", "/v1/links/c", f.admin, "", 404},
		{one, "DELETE", "/v1/links/c", f.read, "", 403},
		{"/v1/programs", "GET", "/v1/programs", f.read, "", 200},
		{"/v1/programs/{name}", "PUT", "/v1/programs/p", f.admin, `{"currency":"USD","app_schemes":["myapp"]}`, 200},
		{"/v1/programs/{name}", "PUT", "/v1/programs/p", f.admin, `{"currency":"x"}`, 422},
		{"/v1/programs/{name}", "PUT", "/v1/programs/p", f.admin, `x`, 400},
		{"/v1/programs/{name}", "PUT", "/v1/programs/p", f.admin, ruledProgram, 200},
		{"/v1/programs/{name}", "GET", "/v1/programs/p", f.read, "", 200},
		{"/v1/programs/{name}", "GET", "/v1/programs/q", f.read, "", 404},
		{"/v1/programs/{name}/versions", "GET", "/v1/programs/wedding/versions?limit=5", f.read, "", 200},
		{"/v1/programs/{name}/versions", "GET", "/v1/programs/wedding/versions?limit=0", f.read, "", 422},
		{"/v1/programs/{name}/versions", "GET", "/v1/programs/q/versions", f.read, "", 404},
		{"/v1/keys", "POST", "/v1/keys", f.admin, `{"role":"read","program":"wedding"}`, 201},
		{"/v1/keys", "POST", "/v1/keys", f.admin, `{"role":"x"}`, 422},
		{"/v1/keys", "GET", "/v1/keys", f.admin, "", 200},
		{"/v1/key", "GET", "/v1/key", f.read, "", 200},
		{"/v1/keys", "DELETE", "/v1/keys?id=" + keyID, f.admin, "", 204},
		{"/v1/keys", "DELETE", "/v1/keys?id=x", f.admin, "", 404},
		{"/v1/keys", "DELETE", "/v1/keys", f.admin, "", 422},
		{"/v1/keys/{id}", "DELETE", "/v1/keys/" + keyID, f.admin, "", 204},
		{"/v1/keys/{id}", "DELETE", "/v1/keys/x", f.admin, "", 404},
		{"/v1/keys", "GET", "/v1/keys", f.admin, "", 200},
		{"/v1/clicks/{click_id}", "GET", "/v1/clicks/" + click, f.read, "", 200},
		{"/v1/clicks/{click_id}", "GET", "/v1/clicks/forged", f.read, "", 200},
		{"/v1/clicks/{click_id}", "GET", "/v1/clicks/" + click, f.weddingRead, "", 404},
		{"/v1/reports", "GET", "/v1/reports", f.read, "", 200},
		{"/v1/reports/{name}", "GET", "/v1/reports/funnel", f.read, "", 200},
		{"/v1/reports/{name}", "GET", "/v1/reports/funnel?format=csv", f.read, "", 200},
		{"/v1/reports/{name}", "GET", "/v1/reports/funnel?format=ndjson", f.read, "", 200},
		{"/v1/reports/{name}", "GET", "/v1/reports/funnel?x=1", f.read, "", 422},
		{"/v1/reports/{name}", "GET", "/v1/reports/x", f.read, "", 404},
		{"/healthz", "GET", "/healthz", "", "", 200},
		{"/readyz", "GET", "/readyz", "", "", 200},
		{"/metrics", "GET", "/metrics", f.read, "", 200},
		{"/openapi.json", "GET", "/openapi.json", "", "", 200},
	}
}

// TestDocument compares what /openapi.json says with what the server does:
// every operation is called, and every answer must be as it is described.
func TestDocument(t *testing.T) {
	f := newFixture(t)
	f.report = tracker.Report{Columns: []string{"stage", "count"}, Rows: [][]any{{"clicked", uint64(7)}}, Extra: map[string]any{"worst_step": nil}}
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a","url":"https://example.com/"}`)
	click := tracker.Click{Identity: tracker.Identity{TimeMS: 1577934245678, Node: 1}, Link: 1}
	f.answers.versions = []tracker.ProgramRow{{Program: tracker.NewProgram("wedding"), Version: 3, WrittenAt: testNow}}
	f.history.Hit = &tracker.Row{Event: &wire.Event{Event: "click"}}
	f.history.Actions = []tracker.Row{{Event: &wire.Event{Event: "signup", TimeMs: click.TimeMS, Reasons: 1 << 7}}}
	keyID := f.want(t, 201, "POST", "/v1/keys", f.admin, `{"role":"event"}`)["id"].(string)

	doc := served{}
	if err := json.Unmarshal([]byte(f.send("GET", "/openapi.json", "", "")), &doc.root); err != nil {
		t.Fatal(err)
	}
	if version, _ := doc.root["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		t.Errorf("OpenAPI %s", version)
	}
	answered := make(map[string]bool)
	for _, x := range slices.Concat(exchanges(f, string(f.clickIDs.Append(nil, click)), keyID), rewardExchanges(t, f), fraudExchanges(f), partnerExchanges(f), auditExchanges(f)) {
		answer := f.send(x.method, x.target, x.key, x.body)
		place := fmt.Sprintf("%s %s (%d)", x.method, x.target, x.status)
		if f.lastStatus != x.status {
			t.Errorf("%s: answered %d %.300s", place, f.lastStatus, answer)
			continue
		}
		operation := at(doc.root, "paths", x.path, strings.ToLower(x.method))
		if err := doc.checkAnswer(operation, x.status, f.lastHeader.Get("Content-Type"), answer); err != nil {
			t.Errorf("%s: %v", place, err)
		}
		if err := doc.checkBody(operation, x); err != nil {
			t.Errorf("%s: %v", place, err)
		}
		if x.status < 300 {
			answered[x.method+" "+x.path] = true
		}
	}
	doc.checkOperations(t, f, answered)
}

// checkAnswer compares an answer with the document.
func (d served) checkAnswer(operation any, status int, contentType, body string) error {
	response, ok := at(operation, "responses", fmt.Sprint(status)).(map[string]any)
	if !ok {
		return fmt.Errorf("the status is not in the document")
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if body != "" {
			return fmt.Errorf("has a body that is not in the document")
		}
		return nil
	}
	contentType, _, _ = mime.ParseMediaType(contentType)
	schema, ok := at(content, contentType, "schema").(map[string]any)
	if !ok {
		return fmt.Errorf("the type %s is not in the document", contentType)
	}
	var value any = body
	if strings.HasSuffix(contentType, "json") && !strings.HasSuffix(contentType, "ndjson") {
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			return err
		}
	}
	return d.check(schema, value, "body")
}

// checkBody makes sure that a body that was accepted is one that the document
// allows.
func (d served) checkBody(operation any, x exchange) error {
	if x.body == "" || x.status >= 300 || x.status == 207 {
		return nil
	}
	var value any
	if err := json.Unmarshal([]byte(x.body), &value); err != nil {
		return err
	}
	schema, ok := at(operation, "requestBody", "content", "application/json", "schema").(map[string]any)
	if !ok {
		return fmt.Errorf("the document does not describe the body")
	}
	return d.check(schema, value, "request")
}

// checkOperations makes sure that the document lists what the server has and
// no more, and that it is complete in itself.
func (d served) checkOperations(t *testing.T, f *fixture, answered map[string]bool) {
	t.Helper()
	ids := make(map[string]bool)
	for path, item := range d.root["paths"].(map[string]any) {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			operation, ok := at(item, method).(map[string]any)
			target := strings.NewReplacer("{", "", "}", "").Replace(path)
			if !ok {
				if f.send(strings.ToUpper(method), target, f.admin, "{}"); f.lastStatus != 405 {
					t.Errorf("%s %s is not in the document and gets %d", method, path, f.lastStatus)
				}
				continue
			}
			if !answered[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is in the document and was not called with success", method, path)
			}
			id, _ := operation["operationId"].(string)
			if id == "" || ids[id] || operation["summary"] == "" {
				t.Errorf("%s %s: id %q", method, path, id)
			}
			ids[id] = true
			var declared []string
			parameters, _ := operation["parameters"].([]any)
			for _, parameter := range parameters {
				if at(parameter, "in") == "path" {
					declared = append(declared, "{"+at(parameter, "name").(string)+"}")
				}
			}
			if inPath := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !reflect.DeepEqual(inPath, declared) {
				t.Errorf("%s %s declares %v", method, path, declared)
			}
			f.send(strings.ToUpper(method), target, "", "")
			if needsKey := operation["security"] != nil; needsKey != (f.lastStatus == 401) {
				t.Errorf("%s %s: without a key %d, the document says %v", method, path, f.lastStatus, operation["security"])
			}
		}
	}
}

// Every setting of a programme, however deep, says in the document what it means.
func TestDocumentOfPrograms(t *testing.T) {
	f := newFixture(t)
	var root struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Description string `json:"description"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(f.send("GET", "/openapi.json", "", "")), &root); err != nil {
		t.Fatal(err)
	}
	for _, rules := range []any{
		tracker.Program{}, tracker.Flow{}, tracker.ReferralRules{}, tracker.RewardRules{}, tracker.RewardRule{}, tracker.Condition{}, tracker.Multiplier{}, tracker.Milestone{},
		tracker.Tier{}, tracker.Campaign{}, tracker.Season{}, tracker.CampaignTargets{}, tracker.FraudRules{}, tracker.FraudSignal{}, tracker.FraudActions{}, tracker.MessageRules{}, tracker.Webhook{},
	} {
		name := reflect.TypeOf(rules).Name()
		schema := root.Components.Schemas[name]
		if len(schema.Properties) == 0 {
			t.Errorf("%s is not in the document", name)
		}
		for property, described := range schema.Properties {
			if property != "$schema" && described.Description == "" {
				t.Errorf("%s.%s is not described", name, property)
			}
		}
	}
}
