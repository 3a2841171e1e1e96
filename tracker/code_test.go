package tracker

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCheckCode(t *testing.T) {
	for _, good := range []string{
		"a", "LOVE-7G2K9Q", "x/y/z", "héllo", "日本語", "лето", "क्षि", "می\u200cخواهم", "👩\u200d👧", "a.b", "...", "a:b@c", "v1x", "v2", "v/1",
		"healthz/x", "a+b&c=d;e,f", "~_-!$'()*", strings.Repeat("é", 127),
	} {
		if err := CheckCode(good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a b", "a?b", "a#b", "a%41", "a\\b", "a\tb", "a\r\nb", "a\x00", "a\x7f",
		"a\u0085", "a\u00a0b", "a\u2028b", "a\u202eb", "a\ufeff", "\xff", "a\xc3", "a\ufffd", strings.Repeat("a", 256),
		"v1", "V1", "v1/links", "healthz", "HealthZ", "readyz", "robots.txt", "favicon.ico", "metrics", "openapi.json",
		".well-known", ".well-known/acme-challenge/x",
	} {
		err, ok := CheckCode(bad).(*FieldError)
		if !ok || err.Field != "code" {
			t.Errorf("%q gives %v", bad, err)
		}
	}
}

func TestNewCode(t *testing.T) {
	seen := map[string]bool{}
	letters := map[rune]int{}
	for range 5000 {
		code := NewCode("")
		if !regexp.MustCompile(`^[2-9BCDFGHJKMNP-TV-Z]{7}$`).MatchString(code) || seen[code] {
			t.Fatalf("%q (seen: %v)", code, seen[code])
		}
		seen[code] = true
		for _, r := range code {
			letters[r]++
		}
	}
	// 35,000 letters of 28 kinds: 1,250 each, standard deviation 35.
	for r, n := range letters {
		if n < 1250-7*35 || n > 1250+7*35 {
			t.Errorf("%c comes %d times", r, n)
		}
	}
	if len(letters) != 28 {
		t.Errorf("%d kinds of letters", len(letters))
	}
	if code := NewCode("LOVE"); !regexp.MustCompile(`^LOVE-[2-9B-Z]{6}$`).MatchString(code) || CheckCode(code) != nil {
		t.Errorf("themed code %q", code)
	}
}

// Folding is that of strings.EqualFold, for every rune there is.
func TestAppendFolded(t *testing.T) {
	fold := func(r rune) string { return string(appendFolded(nil, []byte(string(r)))) }
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		folded := fold(r)
		if !strings.EqualFold(folded, string(r)) || len(folded) > utf8.RuneLen(r) || folded != fold(unicode.SimpleFold(r)) {
			t.Fatalf("%q folds to %q, and %q to %q", r, folded, unicode.SimpleFold(r), fold(unicode.SimpleFold(r)))
		}
	}
	for code, want := range map[string]string{"aZ-9/é": "AZ-9/É", "ſt": "ST", "\u212a": "K", "a\xffb": "A\xffB", "": ""} {
		if got := string(appendFolded(nil, []byte(code))); got != want {
			t.Errorf("%q folds to %q, want %q", code, got, want)
		}
	}
}

func FuzzAppendFolded(f *testing.F) {
	f.Add("LOVE-7g", "love-7G")
	f.Add("Straße", "STRAßE")
	f.Add("\xff\xc3", "ΣΑΣ")
	f.Fuzz(func(t *testing.T, a, b string) {
		foldedA, foldedB := appendFolded(nil, []byte(a)), appendFolded(nil, []byte(b))
		if len(foldedA) > len(a) || string(appendFolded(nil, foldedA)) != string(foldedA) {
			t.Fatalf("%q folds to %q", a, foldedA)
		}
		if utf8.ValidString(a) && utf8.ValidString(b) && strings.EqualFold(a, b) != (string(foldedA) == string(foldedB)) {
			t.Fatalf("%q folds to %q, %q to %q", a, foldedA, b, foldedB)
		}
	})
}

func FuzzCheckCode(f *testing.F) {
	for _, code := range []string{"a", "x/y", "v1/z", "é", "..", "a%"} {
		f.Add(code)
	}
	f.Fuzz(func(t *testing.T, code string) {
		if CheckCode(code) != nil {
			return
		}
		if strings.ContainsAny(code, "?#%\\ \r\n\x00") || strings.HasPrefix(code, "/") || strings.Contains("/"+code+"/", "/../") || len(code) > 255 {
			t.Fatalf("%q is accepted", code)
		}
	})
}

func FuzzAppendHostname(f *testing.F) {
	for _, host := range []string{"go.ex", "GO.ex:80", "[::1]:8080", "a.:1", strings.Repeat("a", 254), ":"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name := string(appendHostname(nil, []byte(host)))
		if len(name) > domainBytesMax || strings.ContainsAny(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || len(name) > len(host) {
			t.Fatalf("%q gives %q", host, name)
		}
	})
}
