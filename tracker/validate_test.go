package tracker

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// validLink is a link without fault, of the programme that comes with it.
func validLink() (Link, *Program) {
	p := NewProgram("wedding")
	p.PartyTypes = []string{"supplier", "couple"}
	p.AppSchemes = []string{"myapp"}
	l := NewLink()
	l.Code, l.URL, l.Program = "LOVE-7G2K9Q", "https://shop.example/landing?a=1", "wedding"
	l.Referrer = Party{ID: "s-17", Type: "supplier"}
	return l, &p
}

// wantFault checks that an error names a field, "" for no error.
func wantFault(t *testing.T, err error, field string) {
	t.Helper()
	var fault *FieldError
	switch {
	case field == "" && err != nil:
		t.Errorf("refused: %v", err)
	case field != "" && (!errors.As(err, &fault) || fault.Field != field || fault.Detail == ""):
		t.Errorf("error %v, want one of field %s", err, field)
	}
}

func TestValidateDestination(t *testing.T) {
	long := "https://shop.example/" + strings.Repeat("a", 2048-21)
	for _, good := range []string{
		"https://shop.example", "http://shop.example/", "HTTPS://Shop.Example:8443/a/b?c=d&e#f", "http://127.0.0.1:9999/x", "http://[2001:db8::1]:80/",
		"http://localhost", "https://a_b.example/", "https://xn--mnchen-3ya.example/", "https://shop.example./", "https://shop.example/?q=%zz&r",
		"https://shop.example/ünïcode", "https://shop.example/{id}", "https://shop.example/?next=https://evil.example/@x", "myapp://open/me", "myapp:open", "MyApp://x", long,
	} {
		l, p := validLink()
		l.URL = good
		if err := l.Validate(p); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
		l, _ = validLink()
		l.ExpiredURL = good
		wantFault(t, l.Validate(p), "")
	}
	for _, bad := range []string{
		"shop.example", "/path", "//shop.example/", "?q", "https:", "https:shop.example", "https:/shop.example", "https:///path", "https://:80/", "https://?q",
		"javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
		"blob:https://x", "ftp://shop.example/", "other://x", "https://user@shop.example/", "https://user:pw@shop.example/", "https://@shop.example/", "myapp://user:pw@x",
		"https://shop.example/a b", "https://shop.example/\r\nSet-Cookie: x=1", "https://shop.example/\n", "https://shop.example/\x00", "https://shop.example/\x7f", "https://shop.example/\u0085",
		"https://shop.example\\@evil.example/", "https:\\\\evil.example", "https://shop.example/\xff", "https://shöp.example/", "https://shop.example:0/", "https://shop.example:65536/",
		"https://shop.example:80a/", "https://[::1", "https://[::1%25eth0]/", "https://[1.2.3.4]/", "https://-shop.example/", "https://shop..example/", "https://.example/",
		"https://" + strings.Repeat("a", 64) + ".example/", "https://" + strings.Repeat("a.", 130) + "example/", "https://shop.exam%70le/", "https://shop,example/", "https://shop.example/%zz", long + "a",
		"https://shop.example/\"><script>",
	} {
		l, p := validLink()
		l.URL = bad
		err := l.Validate(p)
		if err == nil {
			t.Errorf("%q is accepted", bad)
			continue
		}
		wantFault(t, err, "url")
		l, _ = validLink()
		l.ExpiredURL = bad
		wantFault(t, l.Validate(p), "expired_url")
	}
	l, p := validLink()
	l.URL = ""
	wantFault(t, l.Validate(p), "url")
}

// A scheme that runs code is refused even where a programme has it, as could
// come from another version.
func TestValidateRefusedSchemes(t *testing.T) {
	for _, scheme := range schemesRefused {
		l, p := validLink()
		p.AppSchemes = []string{scheme}
		l.URL = scheme + ":alert(1)"
		wantFault(t, l.Validate(p), "url")
	}
}

func TestValidateLink(t *testing.T) {
	at := func(text string) *time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return &parsed
	}
	for _, c := range []struct {
		name   string
		change func(l *Link)
		field  string
	}{
		{"as it is", func(*Link) {}, ""},
		{"code", func(l *Link) { l.Code = "a b" }, "code"},
		{"other programme", func(l *Link) { l.Program = "contest" }, "program"},
		{"domain", func(l *Link) { l.Domain = "go.example" }, ""},
		{"address as domain", func(l *Link) { l.Domain = "127.0.0.1" }, ""},
		{"domain with port", func(l *Link) { l.Domain = "go.example:80" }, "domain"},
		{"capital domain", func(l *Link) { l.Domain = "Go.example" }, "domain"},
		{"domain with slash", func(l *Link) { l.Domain = "go.example/x" }, "domain"},
		{"domain with underscore", func(l *Link) { l.Domain = "go_.example" }, "domain"},
		{"domain with dot at the end", func(l *Link) { l.Domain = "go.example." }, "domain"},
		{"status 303", func(l *Link) { l.Status = 303 }, "status"},
		{"status 0", func(l *Link) { l.Status = 0 }, "status"},
		{"status 308", func(l *Link) { l.Status = 308 }, ""},
		{"times", func(l *Link) { l.StartsAt, l.ExpiresAt = at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01Z") }, ""},
		{"expires before it starts", func(l *Link) { l.StartsAt, l.ExpiresAt = at("2026-01-01T00:00:01Z"), at("2026-01-01T00:00:01Z") }, "expires_at"},
		{"starts before 1970", func(l *Link) { l.StartsAt = at("1969-12-31T23:59:59Z") }, "starts_at"},
		{"starts in 1970", func(l *Link) { l.StartsAt = at("1970-01-01T00:00:00Z") }, "starts_at"},
		{"expires in 9999", func(l *Link) { l.ExpiresAt = at("9999-12-31T23:59:59Z") }, "expires_at"},
		{"no click id", func(l *Link) { l.ClickParam = "" }, ""},
		{"click_param", func(l *Link) { l.ClickParam = "sub_id.1-x" }, ""},
		{"click_param with &", func(l *Link) { l.ClickParam = "a&b" }, "click_param"},
		{"long click_param", func(l *Link) { l.ClickParam = strings.Repeat("a", 65) }, "click_param"},
		{"click_param qr", func(l *Link) { l.ClickParam = "qr" }, "click_param"},
		{"click_param utm", func(l *Link) { l.ClickParam = "utm_source" }, "click_param"},
		{"click_param in the url", func(l *Link) { l.ClickParam = "a" }, "click_param"},
		{"click_param in the url, escaped", func(l *Link) { l.URL = "https://shop.example/?wm%5Fclick=1" }, "click_param"},
		{"campaign", func(l *Link) { l.Campaign = "spring\n" }, "campaign"},
		{"channel", func(l *Link) { l.Channel = strings.Repeat("c", 256) }, "channel"},
		{"referrer", func(l *Link) { l.Referrer.ID = "\xff" }, "referrer.id"},
		{"referrer type", func(l *Link) { l.Referrer.Type = "florist" }, "referrer.type"},
		{"referee type", func(l *Link) { l.RefereeType = "florist" }, "referee_type"},
		{"known referee type", func(l *Link) { l.RefereeType = "couple" }, ""},
		{"no party", func(l *Link) { l.Referrer = Party{} }, ""},
		{"tags", func(l *Link) { l.Tags = []string{"a", "b"} }, ""},
		{"empty tag", func(l *Link) { l.Tags = []string{"a", " "} }, "tags[1]"},
		{"double tag", func(l *Link) { l.Tags = []string{"a", "a"} }, "tags[1]"},
		{"long tag", func(l *Link) { l.Tags = []string{strings.Repeat("t", 65)} }, "tags[0]"},
		{"too many tags", func(l *Link) { l.Tags = make([]string, 51) }, "tags"},
		{"utm", func(l *Link) { l.UTM = map[string]string{"source": "qr"} }, ""},
		{"utm name", func(l *Link) { l.UTM = map[string]string{"colour": "red"} }, "utm.colour"},
		{"utm value", func(l *Link) { l.UTM = map[string]string{"term": "a\r\nb"} }, "utm.term"},
		{"password", func(l *Link) { l.Password = "x" }, "password"},
		{"rules", func(l *Link) { l.Rules = []any{1} }, "rules"},
		{"variants", func(l *Link) { l.Variants = []any{1} }, "variants"},
		{"preview", func(l *Link) { l.Preview = map[string]any{"title": "x"} }, "preview"},
		{"ios_url", func(l *Link) { l.IOSURL = "https://x" }, "ios_url"},
		{"android_url", func(l *Link) { l.AndroidURL = "https://x" }, "android_url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, p := validLink()
			c.change(&l)
			wantFault(t, l.Validate(p), c.field)
		})
	}
	l, _ := validLink()
	wantFault(t, l.Validate(nil), "program")
}

// Every link that Validate accepts must fit in the store.
func TestLargestLinkFits(t *testing.T) {
	l, p := validLink()
	text := strings.Repeat("t", linkTextMax)
	l.Code, l.Domain = strings.Repeat("c", codeBytesMax), strings.Repeat("abcdefg.", 31)+"abcde"
	l.URL = "https://shop.example/" + strings.Repeat("a", destinationBytesMax-21)
	l.ExpiredURL, l.Campaign, l.Channel, l.Referrer.ID = l.URL, text, text, text
	for i := range linkTagsMax {
		l.Tags = append(l.Tags, strings.Repeat("t", linkTagMax-2)+string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}))
	}
	l.ClickParam = strings.Repeat("p", clickParamMax)
	for _, name := range utmNames {
		l.UTM[name] = text
	}
	if err := l.Validate(p); err != nil {
		t.Fatal(err)
	}
	if size := l.Wire().SizeVT(); size > recordBytesMax/4 {
		t.Fatalf("%d bytes of at most %d", size, recordBytesMax)
	}
}

func TestValidateProgram(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *Program)
		field  string
	}{
		{"defaults", func(*Program) {}, ""},
		{"name", func(p *Program) { p.Name = "spring-2026_b" }, ""},
		{"empty name", func(p *Program) { p.Name = "" }, "name"},
		{"name with capital", func(p *Program) { p.Name = "Wedding" }, "name"},
		{"name with slash", func(p *Program) { p.Name = "a/b" }, "name"},
		{"name with hyphen first", func(p *Program) { p.Name = "-a" }, "name"},
		{"long name", func(p *Program) { p.Name = strings.Repeat("a", 65) }, "name"},
		{"party types", func(p *Program) { p.PartyTypes = []string{"couple", "supplier"} }, ""},
		{"empty party type", func(p *Program) { p.PartyTypes = []string{""} }, "party_types[0]"},
		{"currency", func(p *Program) { p.Currency = "CHF" }, ""},
		{"small currency", func(p *Program) { p.Currency = "eur" }, "currency"},
		{"no currency", func(p *Program) { p.Currency = "" }, "currency"},
		{"no window", func(p *Program) { p.AttributionWindowDays = 0 }, "attribution_window_days"},
		{"long window", func(p *Program) { p.AttributionWindowDays = 3651 }, "attribution_window_days"},
		{"no lifetime", func(p *Program) { p.CookieLifetimeDays = 0 }, "cookie_lifetime_days"},
		{"long lifetime", func(p *Program) { p.CookieLifetimeDays = 401 }, "cookie_lifetime_days"},
		{"every click is unique", func(p *Program) { p.UniqueWindowHours = 0 }, ""},
		{"negative window", func(p *Program) { p.UniqueWindowHours = -1 }, "unique_window_hours"},
		{"prefix", func(p *Program) { p.CodePrefix = "LOVE" }, ""},
		{"reserved prefix", func(p *Program) { p.CodePrefix = "v1/x" }, "code_prefix"},
		{"prefix with space", func(p *Program) { p.CodePrefix = "MY LOVE" }, "code_prefix"},
		{"long prefix", func(p *Program) { p.CodePrefix = strings.Repeat("L", 33) }, "code_prefix"},
		{"schemes", func(p *Program) { p.AppSchemes = []string{"myapp", "com.example.app", "tel"} }, ""},
		{"scheme with ://", func(p *Program) { p.AppSchemes = []string{"myapp://"} }, "app_schemes"},
		{"capital scheme", func(p *Program) { p.AppSchemes = []string{"MyApp"} }, "app_schemes"},
		{"https", func(p *Program) { p.AppSchemes = []string{"https"} }, "app_schemes"},
		{"javascript", func(p *Program) { p.AppSchemes = []string{"javascript"} }, "app_schemes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewProgram("wedding")
			c.change(&p)
			wantFault(t, p.Validate(), c.field)
		})
	}
}

// FuzzDestination checks accepted destinations by the parser that the standard
// library's client would follow them with.
func FuzzDestination(f *testing.F) {
	for _, raw := range []string{"https://shop.example/a?b#c", "myapp:x", "http://[::1]:80", "https://a\\b", "https://u@h", "javascript:x"} {
		f.Add(raw)
	}
	p := NewProgram("wedding")
	p.AppSchemes = []string{"myapp"}
	f.Fuzz(func(t *testing.T, raw string) {
		if checkDestination("url", raw, &p) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.User != nil || !slices.Contains([]string{"https", "http", "myapp"}, u.Scheme) {
			t.Fatalf("%q is accepted: %+v, %v", raw, u, err)
		}
		if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
			t.Fatalf("%q is accepted", raw)
		}
		if u.Scheme != "myapp" && u.Hostname() == "" {
			t.Fatalf("%q is accepted without a host", raw)
		}
	})
}
