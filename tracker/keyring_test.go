package tracker

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// goldenRing has the secrets 00 01 … 1f as key 0 and 20 21 … 3f as key 3.
func goldenRing(t testing.TB, current string) *KeyRing {
	t.Helper()
	ring, err := ParseKeyRing(`{"current": ` + current + `, "keys": [
		{"id": 0, "secret": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
		{"id": 3, "secret": "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestKeyRingAddressKey(t *testing.T) {
	ring := goldenRing(t, "0")
	// HKDF-SHA256 of the secret with the info "waymark address hash 2026-11-20",
	// computed with another implementation.
	want := "16d974be6108e27e3533768b4cbbdbf312472e0d2d1b1c22914645a704d50395"
	late := time.Date(2026, 11, 21, 1, 59, 59, 0, time.FixedZone("", 2*3600)) // still the 20th in UTC
	if got := hex.EncodeToString(ring.AddressKey(late)); got != want {
		t.Errorf("AddressKey = %s, want %s", got, want)
	}
	if got := hex.EncodeToString(ring.AddressKey(late.Add(time.Second))); got == want {
		t.Error("the address key did not change at midnight")
	}
}

func TestParseKeyRingRefuses(t *testing.T) {
	secret := strings.Repeat("ab", 32)
	for name, text := range map[string]string{
		"nothing":        ``,
		"no keys":        `{"current":0,"keys":[]}`,
		"not current":    `{"current":1,"keys":[{"id":0,"secret":"` + secret + `"}]}`,
		"current beyond": `{"current":16,"keys":[{"id":0,"secret":"` + secret + `"}]}`,
		"id beyond":      `{"current":0,"keys":[{"id":16,"secret":"` + secret + `"}]}`,
		"short":          `{"current":0,"keys":[{"id":0,"secret":"` + secret[2:] + `"}]}`,
		"no hex":         `{"current":0,"keys":[{"id":0,"secret":"zz` + secret[2:] + `"}]}`,
		"twice":          `{"current":0,"keys":[{"id":0,"secret":"` + secret + `"},{"id":0,"secret":"` + secret + `"}]}`,
		"unknown field":  `{"current":0,"key":[{"id":0,"secret":"` + secret + `"}]}`,
	} {
		_, err := ParseKeyRing(text)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), secret[2:]) {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

func TestLoadOrCreateKeyRing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	rings := make([]*KeyRing, 8)
	var wait sync.WaitGroup
	for i := range rings {
		wait.Go(func() {
			var err error
			if rings[i], err = LoadOrCreateKeyRing(path); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, ring := range rings {
		if ring == nil || string(ring.secrets[0]) != string(rings[0].secrets[0]) {
			t.Fatal("nodes that started together have different secrets")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files are left, want the ring alone", len(entries))
	}
	again, err := LoadOrCreateKeyRing(path)
	if err != nil || string(again.secrets[0]) != string(rings[0].secrets[0]) {
		t.Errorf("a second start has other secrets (%v)", err)
	}
}

func TestLoadKeyRingKeepsABadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKeyRing(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "{" {
		t.Errorf("the file was changed to %q", text)
	}
}
