package admin

import (
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	f := newFixture(t)
	made := f.want(t, 201, "POST", "/v1/keys", f.admin, `{"role":"read","program":"wedding"}`)
	secret, _ := made["secret"].(string)
	id, _ := made["id"].(string)
	if !strings.HasPrefix(secret, "wmk_"+id+"_") || made["role"] != "read" || made["program"] != "wedding" || made["hash"] != nil {
		t.Errorf("made %v", made)
	}
	f.want(t, 200, "GET", "/v1/links", secret, "")
	own := f.want(t, 200, "GET", "/v1/key", secret, "")
	if own["id"] != id || own["role"] != "read" || own["program"] != "wedding" || own["hash"] != nil {
		t.Errorf("the key itself reads %v", own)
	}
	if own := f.want(t, 200, "GET", "/v1/key", f.admin, ""); own["role"] != "admin" || own["program"] != "" {
		t.Errorf("the first key itself reads %v", own)
	}
	answer := f.send("GET", "/v1/keys", f.admin, "")
	if f.lastStatus != 200 || !strings.Contains(answer, id) || strings.Contains(answer, secret) || strings.Contains(answer, "hash") {
		t.Errorf("list: %s", answer)
	}
	for range 2 { // revoking is idempotent
		f.want(t, 204, "DELETE", "/v1/keys/"+id, f.admin, "")
		f.want(t, 204, "DELETE", "/v1/keys?id="+id, f.admin, "")
	}
	f.want(t, 401, "GET", "/v1/links", secret, "")
	f.want(t, 401, "GET", "/v1/key", secret, "")
	f.want(t, 404, "DELETE", "/v1/keys/nope", f.admin, "")
	f.want(t, 404, "DELETE", "/v1/keys/bootstrap", f.admin, "")
	f.wantFault(t, 422, "id", "DELETE", "/v1/keys", f.admin, "")
	f.wantFault(t, 422, "role", "POST", "/v1/keys", f.admin, `{"role":"root"}`)
	f.wantFault(t, 422, "role", "POST", "/v1/keys", f.admin, `{"role":7}`)
	f.wantFault(t, 422, "program", "POST", "/v1/keys", f.admin, `{"role":"read","program":"nope"}`)
	f.wantFault(t, 422, "colour", "POST", "/v1/keys", f.admin, `{"role":"read","colour":"red"}`)
	f.wantFault(t, 400, "", "POST", "/v1/keys", f.admin, `read`)
	for _, body := range []string{`[]`, `[{"role":"read"}]`, `{"role":7}`, `{"role":"read","program":{}}`} {
		answer := f.send("POST", "/v1/keys", f.admin, body)
		for _, goType := range []string{"newKey", "tracker.", "admin."} {
			if f.lastStatus != 422 || strings.Contains(answer, goType) {
				t.Errorf("%s: %d %s", body, f.lastStatus, answer)
			}
		}
	}
}

func TestKeysOfAKeyWithAProgram(t *testing.T) {
	f := newFixture(t)
	if list := f.want(t, 200, "GET", "/v1/keys", f.weddingAdmin, "")["keys"].([]any); len(list) != 2 {
		t.Errorf("list %v", list)
	}
	if made := f.want(t, 201, "POST", "/v1/keys", f.weddingAdmin, `{"role":"admin"}`); made["program"] != "wedding" {
		t.Errorf("made %v", made)
	}
	f.wantFault(t, 403, "program", "POST", "/v1/keys", f.weddingAdmin, `{"role":"read","program":"general"}`)
	id := strings.Split(f.read, "_")[1]
	f.want(t, 404, "DELETE", "/v1/keys/"+id, f.weddingAdmin, "")
}
