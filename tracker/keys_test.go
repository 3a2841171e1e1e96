package tracker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// putKey applies a key as its record says it.
func putKey(t testing.TB, keys *Keys, key APIKey) {
	t.Helper()
	value, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Apply([]byte(key.ID), value); err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, keys *Keys, role Role, program string) string {
	t.Helper()
	secret, key, err := NewAPIKey(role, program)
	if err != nil {
		t.Fatal(err)
	}
	putKey(t, keys, key)
	return secret
}

func TestKeysLifeCycle(t *testing.T) {
	keys := NewKeys("open sesame")
	if key, ok := keys.Check([]byte("open sesame")); !ok || key.Role != RoleAdmin || key.ID != BootstrapKeyID {
		t.Fatalf("bootstrap key: %+v, %v", key, ok)
	}
	secret, made, err := NewAPIKey(RoleEvent, "wedding")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^wmk_[0-9A-Za-z]{10}_[0-9A-Za-z]{32}$`).MatchString(secret) || !strings.Contains(secret, made.ID) {
		t.Errorf("secret %q of key %q", secret, made.ID)
	}
	if sum := sha256.Sum256([]byte(secret)); made.Hash != hex.EncodeToString(sum[:]) {
		t.Errorf("the hash is not the SHA-256 of the secret")
	}
	if _, ok := keys.Check([]byte(secret)); ok {
		t.Error("a key counts before its record is applied")
	}
	putKey(t, keys, made)
	if key, ok := keys.Check([]byte(secret)); !ok || key.Role != RoleEvent || key.Program != "wedding" {
		t.Errorf("after its record: %+v, %v", key, ok)
	}
	if list := keys.List(); len(list) != 1 || list[0].ID != made.ID || list[0].Hash != "" {
		t.Errorf("list: %+v", list)
	}
	now := time.Now()
	made.RevokedAt = &now
	putKey(t, keys, made)
	if _, ok := keys.Check([]byte(secret)); ok {
		t.Error("a revoked key still counts")
	}
	if list := keys.List(); len(list) != 1 || list[0].RevokedAt == nil {
		t.Errorf("list after revoking: %+v", list)
	}
	if err := keys.Apply([]byte(made.ID), nil); err != nil || len(keys.List()) != 0 {
		t.Errorf("after a tombstone: %v, %+v", err, keys.List())
	}
}

func TestKeysRefuseBadRecords(t *testing.T) {
	keys := NewKeys("")
	secret := newKey(t, keys, RoleRead, "")
	for name, record := range map[string]struct{ key, value string }{
		"no JSON":         {"a", "{"},
		"another id":      {"a", `{"id":"b","role":"admin","hash":"` + strings.Repeat("ab", 32) + `"}`},
		"no hash":         {"a", `{"id":"a","role":"admin"}`},
		"short hash":      {"a", `{"id":"a","role":"admin","hash":"abcd"}`},
		"hash of letters": {"a", `{"id":"a","role":"admin","hash":"` + strings.Repeat("zz", 32) + `"}`},
		"the bootstrap":   {BootstrapKeyID, `{"id":"bootstrap","role":"admin","hash":"` + strings.Repeat("ab", 32) + `"}`},
	} {
		if err := keys.Apply([]byte(record.key), []byte(record.value)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, ok := keys.Check([]byte(secret)); !ok || len(keys.List()) != 1 {
		t.Error("a bad record changed the keys")
	}
	if _, ok := keys.Check(nil); ok {
		t.Error("no secret is a key")
	}
}

func TestNewAPIKeyRefusesUnknownRole(t *testing.T) {
	if _, _, err := NewAPIKey("root", ""); err == nil || err.(*FieldError).Field != "role" {
		t.Errorf("got %v", err)
	}
}

func TestKeysConcurrently(t *testing.T) {
	keys := NewKeys("admin")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if !keys.IsAdmin([]byte("admin")) {
					t.Error("the admin key vanished")
				}
				keys.List()
			}
		})
	}
	for range 100 {
		newKey(t, keys, RoleEvent, "")
	}
	wg.Wait()
}

func TestBearer(t *testing.T) {
	// The first two from RFC 6750, section 2.1, and RFC 9110, section 11.1: the
	// scheme is case-insensitive.
	for header, want := range map[string]string{
		"Bearer mF_9.B5f-4.1JqM": "mF_9.B5f-4.1JqM",
		"bEARER mF_9.B5f-4.1JqM": "mF_9.B5f-4.1JqM",
		"Bearer   spaced ":       "spaced",
		"":                       "",
		"Bearer":                 "",
		"Bearer ":                "",
		"Bearertoken":            "",
		"Basic dXNlcjpwYXNz":     "",
		"Bearer two tokens":      "",
		"Bearer a,b":             "",
	} {
		if got := string(Bearer([]byte(header))); got != want {
			t.Errorf("Bearer(%q) = %q, want %q", header, got, want)
		}
	}
}

func FuzzBearer(f *testing.F) {
	f.Add([]byte("Bearer wmk_0123456789_abc"))
	f.Add([]byte("bearer  x\t"))
	f.Fuzz(func(t *testing.T, header []byte) {
		token := Bearer(header)
		if strings.ContainsAny(string(token), " \t,") {
			t.Errorf("Bearer(%q) = %q", header, token)
		}
		if token != nil && !strings.Contains(string(header), string(token)) {
			t.Errorf("Bearer(%q) = %q is no part of it", header, token)
		}
	})
}
