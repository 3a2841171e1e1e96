package webhooks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The check that the README shows to receivers takes what Sign signs, and nothing
// that was altered, signed by another, or sent again later.
func TestReadmeCheck(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```python\n(import hashlib.*?)```").FindSubmatch(text)
	if shown == nil {
		t.Fatal("the README shows no check")
	}
	script := filepath.Join(t.TempDir(), "check.py")
	if err := os.WriteFile(script, shown[1], 0o600); err != nil {
		t.Fatal(err)
	}
	body, now := `{"id":"R/0","event":"reward.paid","referee":"Ü"}`, time.Now()
	signature := Sign(secret, now, []byte(body))
	for _, test := range []struct {
		name, secret, header, body string
		genuine                    bool
	}{
		{"genuine", secret, signature, body, true},
		{"a few minutes late", secret, Sign(secret, now.Add(-4*time.Minute), []byte(body)), body, true},
		{"another body", secret, signature, body + " ", false},
		{"another secret", "guessed", signature, body, false},
		{"sent again an hour later", secret, Sign(secret, now.Add(-time.Hour), []byte(body)), body, false},
		{"from an hour ahead", secret, Sign(secret, now.Add(time.Hour), []byte(body)), body, false},
		{"a new time for an old signature", secret, regexp.MustCompile(`t=[0-9]+`).ReplaceAllString(Sign(secret, now.Add(-time.Hour), []byte(body)), signature[:strings.Index(signature, ",")]), body, false},
	} {
		check := exec.Command(python, script, test.secret, test.header)
		check.Stdin = strings.NewReader(test.body)
		out, err := check.CombinedOutput()
		if (err == nil) != test.genuine || len(out) > 0 {
			t.Errorf("%s: %v\n%s", test.name, err, out)
		}
	}
}
