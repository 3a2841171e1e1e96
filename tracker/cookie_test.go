package tracker

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

// goldenCookie was computed with another implementation of HKDF and AES-GCM:
// key 3, nonce 0102 | 42 and 14 bits | 010203.
const goldenCookie = "EwECaHuVl57ABQECAyDS4JgaTKcBB07zopx1YOJ16O-t-o6DfI-7LbKf01_snL03rJpZOwWpMFZN65I"

var goldenNonce = Identity{TimeMS: 1795000000123, Node: 258, Sequence: 5}

func goldenVisitor() *Visitor {
	v := &Visitor{ID: 0x0123456789abcdef, ExpiresMS: 1802776000_000, count: 2}
	v.touches[0] = Touch{Link: 7, TimeMS: 1794990000000, CountedMS: 1794990000000}
	v.touches[1] = Touch{Link: 300, TimeMS: 1795000000123, CountedMS: 1794999000123}
	return v
}

func goldenCookies(t testing.TB, current string) *Cookies {
	c := NewCookies(goldenRing(t, current))
	c.boot = [3]byte{1, 2, 3}
	return c
}

// sameVisitor compares what a cookie carries.
func sameVisitor(a, b *Visitor) bool {
	return a.ID == b.ID && a.ExpiresMS == b.ExpiresMS && slices.Equal(a.Touches(), b.Touches())
}

func TestCookieGolden(t *testing.T) {
	if got := string(goldenCookies(t, "3").Append([]byte("wm="), goldenNonce, goldenVisitor())); got != "wm="+goldenCookie {
		t.Errorf("Append = %s,\n want wm=%s", got, goldenCookie)
	}
	for _, current := range []string{"0", "3"} {
		var v Visitor
		if !goldenCookies(t, current).Parse([]byte(goldenCookie), goldenNonce.TimeMS, &v) || !sameVisitor(&v, goldenVisitor()) {
			t.Errorf("Parse gives %x %d %v", v.ID, v.ExpiresMS, v.Touches())
		}
	}
}

func TestCookieRoundTrip(t *testing.T) {
	c := goldenCookies(t, "0")
	ms := rapid.Uint64Range(0, 1<<timeBits-1)
	rapid.Check(t, func(t *rapid.T) {
		v := Visitor{ID: rapid.Uint64Min(1).Draw(t, "id"), ExpiresMS: rapid.Uint64Range(1, 1<<32).Draw(t, "expires") * 1000}
		v.count = rapid.IntRange(0, TouchesMax).Draw(t, "count")
		for i := range v.Touches() {
			v.touches[i] = Touch{LinkNumber(rapid.Uint32Min(1).Draw(t, "link")), ms.Draw(t, "time"), ms.Draw(t, "counted")}
		}
		nonce := Identity{ms.Draw(t, "now"), rapid.Uint16().Draw(t, "node"), rapid.Uint16Range(0, 16383).Draw(t, "sequence")}
		value := c.Append(nil, nonce, &v)
		if len(value) > 1024 || strings.ContainsAny(string(value), "\",;\\ =") {
			t.Fatalf("%q does not fit into a cookie", value)
		}
		var got Visitor
		if !c.Parse(value, v.ExpiresMS-1, &got) || !sameVisitor(&got, &v) {
			t.Fatalf("%x %d %v became %x %d %v", v.ID, v.ExpiresMS, v.Touches(), got.ID, got.ExpiresMS, got.Touches())
		}
		if c.Parse(value, v.ExpiresMS, &got) || got.ID != 0 || len(got.Touches()) != 0 {
			t.Fatal("an expired cookie was read")
		}
	})
}

func TestCookieTampered(t *testing.T) {
	c := goldenCookies(t, "0")
	sealed, err := base64.RawURLEncoding.DecodeString(goldenCookie)
	if err != nil {
		t.Fatal(err)
	}
	var v Visitor
	for bit := range 8 * len(sealed) {
		sealed[bit/8] ^= 1 << (bit % 8)
		if c.Parse([]byte(base64.RawURLEncoding.EncodeToString(sealed)), 0, &v) {
			t.Errorf("bit %d was changed without notice", bit)
		}
		sealed[bit/8] ^= 1 << (bit % 8)
	}
	for n := range len(goldenCookie) {
		if c.Parse([]byte(goldenCookie[:n]), 0, &v) {
			t.Errorf("cut to %d characters without notice", n)
		}
	}
	other, _ := ParseKeyRing(`{"current":3,"keys":[{"id":3,"secret":"` + strings.Repeat("77", 32) + `"}]}`)
	if NewCookies(other).Parse([]byte(goldenCookie), 0, &v) {
		t.Error("a cookie of another installation was read")
	}
	if c.Parse([]byte(strings.Repeat("A", 100_000)), 0, &v) {
		t.Error("a huge cookie was read")
	}
}

func TestCookieFind(t *testing.T) {
	c := goldenCookies(t, "0")
	bad := strings.Repeat("A", len(goldenCookie))
	for name, test := range map[string]struct {
		lines []string
		found bool
	}{
		"alone":          {[]string{"wm=" + goldenCookie}, true},
		"among others":   {[]string{"a=b; wm=" + goldenCookie + ";c"}, true},
		"quoted":         {[]string{`wm="` + goldenCookie + `"`}, true},
		"second line":    {[]string{"a=b", "c=d;wm=" + goldenCookie}, true},
		"after a forged": {[]string{"wm=" + bad + "; wm=" + goldenCookie}, true},
		"after many":     {[]string{strings.Repeat("wm="+bad+"; ", 4) + "wm=" + goldenCookie}, false},
		"other name":     {[]string{"xwm=" + goldenCookie + "; wmx=" + goldenCookie + "; WM=" + goldenCookie}, false},
		"none":           {nil, false},
		"garbage":        {[]string{"===;;;\"; wm; wm=; wm=\""}, false},
	} {
		var h fasthttp.RequestHeader
		for _, line := range test.lines {
			h.Add("Cookie", line)
		}
		var v Visitor
		if got := c.Find(&h, goldenNonce.TimeMS, &v); got != test.found || got != (v.ID == 0x0123456789abcdef) {
			t.Errorf("%s: found %v, visitor %x", name, got, v.ID)
		}
	}
}

func FuzzCookie(f *testing.F) {
	f.Add([]byte(goldenCookie))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, value []byte) {
		var v Visitor
		if goldenCookies(t, "0").Parse(value, 0, &v) && !sameVisitor(&v, goldenVisitor()) {
			t.Errorf("%q was not sealed here, yet it opens", value)
		}
	})
}

// FuzzCookieTouches reads what only a holder of the secret could have sealed.
func FuzzCookieTouches(f *testing.F) {
	f.Add([]byte("\xef\xcd\xab\x89\x67\x45\x23\x01\xc0\xdb\xd0\xdb\x06\x07\x80\x9e\xed\xbb\xd6\x68\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		var v Visitor
		if v.decode(plain) && (v.ID == 0 || len(v.Touches()) > TouchesMax) {
			t.Errorf("visitor %x with %d touches", v.ID, len(v.Touches()))
		}
	})
}
