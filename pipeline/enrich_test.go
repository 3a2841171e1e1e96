package pipeline

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"waymark/tracker"
	"waymark/tracker/wire"
)

func testEnricher(t testing.TB, files ...string) *Enricher {
	t.Helper()
	geo, err := OpenGeo(files...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = geo.Close() })
	e, err := NewEnricher(geo, func(day int) []byte { return []byte{byte(day), byte(day >> 8), 3} })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"

func TestEnrich(t *testing.T) {
	e := testEnricher(t, cityFile(t), networkFile(t))
	event := &wire.Event{
		Event: "click", Code: "hello", TimeMs: 1_750_000_000_000, UtmMedium: "print", UtmSource: "flyer",
		Address: []byte{81, 2, 69, 142}, UserAgent: firefox, Referer: "https://News.Example:8443/today?q=1",
		Query: "utm_source=news+letter&utm_campaign=spring%21&x=1", AcceptLanguage: "en-gb,en;q=0.9",
	}
	e.Enrich(event)
	hash := event.AddressHash
	event.AddressHash = 0
	want := &wire.Event{
		Event: "click", Code: "hello", TimeMs: 1_750_000_000_000,
		Country: "GB", Region: "GB-ENG", City: "London", Network: 20712,
		Device: "desktop", Browser: "Firefox", Os: "Linux", Language: "en-GB", ReferrerHost: "news.example",
		UtmSource: "news letter", UtmMedium: "print", UtmCampaign: "spring!",
	}
	if !proto.Equal(event, want) {
		t.Errorf("got  %v\nwant %v", event, want)
	}
	if hash == 0 {
		t.Error("the address has no hash")
	}
}

// The shippers of clicks and actions each have an Enricher and share the
// databases.
func TestEnrichShareGeo(t *testing.T) {
	geo, err := OpenGeo(cityFile(t), networkFile(t), countryFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = geo.Close() }()
	var shippers sync.WaitGroup
	for range 2 {
		e, err := NewEnricher(geo, func(int) []byte { return []byte("key") })
		if err != nil {
			t.Fatal(err)
		}
		shippers.Go(func() {
			for i := range 1000 {
				event := wire.Event{Event: "click", Address: []byte{81, 2, 69, byte(i)}}
				e.Enrich(&event)
				if event.City != "London" || event.Network != 20712 {
					t.Errorf("got %v", &event)
				}
			}
		})
	}
	shippers.Wait()
}

func TestEnrichReasons(t *testing.T) {
	e := testEnricher(t, networkFile(t))
	for _, tc := range []struct {
		name  string
		event *wire.Event
		want  tracker.Reasons
	}{
		{"a browser", &wire.Event{Event: "click", UserAgent: firefox}, 0},
		{"no user agent", &wire.Event{Event: "click"}, tracker.Bot},
		{"a scan without user agent", &wire.Event{Event: "scan"}, tracker.Bot},
		{"an action from a server", &wire.Event{Event: "signup"}, 0},
		{"a pixel fetched by a robot", &wire.Event{Event: "signup", UserAgent: "curl/8.0", Reasons: uint32(tracker.Unverified)}, tracker.Unverified | tracker.Bot},
		{"a hosting network", &wire.Event{Event: "click", UserAgent: firefox, Address: []byte{3, 4, 5, 6}}, tracker.Datacenter},
		{"what the edge marked stays", &wire.Event{Event: "click", UserAgent: "WhatsApp/2.23", Reasons: uint32(tracker.Head)}, tracker.Head | tracker.Bot | tracker.Preview},
	} {
		e.Enrich(tc.event)
		if got := tracker.Reasons(tc.event.Reasons); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestHashAddress(t *testing.T) {
	e := testEnricher(t)
	hash := func(address string, day int) uint64 { return e.hashAddress(netip.MustParseAddr(address).Unmap(), day) }
	one := hash("192.0.2.1", 7)
	for _, tc := range []struct {
		name string
		hash uint64
		same bool
	}{
		{"the same again", hash("192.0.2.1", 7), true},
		{"mapped into IPv6", hash("::ffff:192.0.2.1", 7), true},
		{"another address", hash("192.0.2.2", 7), false},
		{"another day", hash("192.0.2.1", 8), false},
	} {
		if (tc.hash == one) != tc.same {
			t.Errorf("%s: %x beside %x, want same: %v", tc.name, tc.hash, one, tc.same)
		}
	}
	if hash("2001:db8:1:2::1", 7) != hash("2001:db8:1:2:aaaa::9", 7) {
		t.Error("two addresses of one IPv6 subnet differ")
	}
	if hash("2001:db8:1:2::1", 7) == hash("2001:db8:1:3::1", 7) {
		t.Error("two IPv6 subnets are the same")
	}
}

func TestLanguageOf(t *testing.T) {
	for _, tc := range []struct{ header, want string }{
		{"", ""},
		{"de", "de"},
		{"en-US,en;q=0.9", "en-US"},
		{"EN-us", "en-US"},
		{"zh-hant-tw", "zh-Hant-TW"},
		{"zh-Hant-TW;q=1", "zh-Hant-TW"},
		{"sr-latn", "sr-Latn"},
		{"es-419", "es-419"},
		{"de-ch-1901", "de-CH-1901"},
		{" fr-CA , fr", "fr-CA"},
		{"*", ""},
		{"en--US", ""},
		{"-", ""},
		{"en_US", ""},
		{"toolongtag-x", ""},
		{"<script>", ""},
		{strings.Repeat("a-", 20) + "a", ""},
	} {
		if got := languageOf(tc.header); got != tc.want {
			t.Errorf("%q gives %q, want %q", tc.header, got, tc.want)
		}
	}
}

func TestRefererHost(t *testing.T) {
	for _, tc := range []struct{ referer, want string }{
		{"", ""},
		{"https://example.com", "example.com"},
		{"https://example.com/", "example.com"},
		{"HTTP://Example.COM:8080/a?b#c", "example.com"},
		{"https://user:secret@example.com/x", "example.com"},
		{"https://a@b@example.com/", "example.com"},
		{"https://example.com./", "example.com"},
		{"https://[2001:DB8::1]:443/", "2001:db8::1"},
		{"https://example.com?x=https://other.example", "example.com"},
		{`https://example.com\@other.example/`, "example.com"},
		{"https://münchen.example/", "münchen.example"},
		{"android-app://com.google.android.gm/", "com.google.android.gm"},
		{"about:blank", ""},
		{"javascript://example.com/%0aalert(1)", ""},
		{"example.com", ""},
		{"https:///path", ""},
		{"https://exa mple.com/", ""},
		{"https://<b>/", ""},
		{"https://\xff\xfe/", ""},
		{"https://" + strings.Repeat("a", 254), ""},
	} {
		if got := refererHost(tc.referer); got != tc.want {
			t.Errorf("%q gives %q, want %q", tc.referer, got, tc.want)
		}
	}
}

func TestTakeUTM(t *testing.T) {
	for _, tc := range []struct {
		query string
		want  [5]string // source, medium, campaign, term, content
	}{
		{"", [5]string{"link", "", "", "", ""}},
		{"utm_source=a&utm_medium=b&utm_campaign=c&utm_term=d&utm_content=e", [5]string{"a", "b", "c", "d", "e"}},
		{"utm_source=first&utm_source=second", [5]string{"first", "", "", "", ""}},
		{"utm_source=", [5]string{"link", "", "", "", ""}},
		{"utm_source", [5]string{"link", "", "", "", ""}},
		{"xutm_source=a&utm_sourcex=b&UTM_SOURCE=c", [5]string{"link", "", "", "", ""}},
		{"&&utm_term=a%20b+c&", [5]string{"link", "", "", "a b c", ""}},
		{"utm_term=50%&utm_content=%zz%4", [5]string{"link", "", "", "50%", "%zz%4"}},
		{"utm_term=%C3%A4%ff", [5]string{"link", "", "", "ä\uFFFD", ""}},
		{"utm_term=a=b", [5]string{"link", "", "", "a=b", ""}},
		{"utm_term=" + strings.Repeat("a", 127) + "%C3%A4", [5]string{"link", "", "", strings.Repeat("a", 127), ""}},
	} {
		e := &wire.Event{UtmSource: "link"}
		takeUTM(e, tc.query)
		if got := [5]string{e.UtmSource, e.UtmMedium, e.UtmCampaign, e.UtmTerm, e.UtmContent}; got != tc.want {
			t.Errorf("%q gives %q, want %q", tc.query, got, tc.want)
		}
	}
}

// Whatever bytes the spool holds, enriching them neither fails nor lets
// anything through that must stay on the node or that Kafka cannot carry.
func FuzzEnrich(f *testing.F) {
	seed, err := (&wire.Event{
		Event: "click", Code: "hello", Address: []byte{81, 2, 69, 142}, UserAgent: firefox, Referer: "https://News.Example:8443/",
		Query: "utm_source=a%20b", AcceptLanguage: "zh-hant-tw", TimeMs: 1 << 41,
	}).MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0xff})
	e := testEnricher(f, cityFile(f), networkFile(f), countryFile(f))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var event wire.Event
		if event.UnmarshalVTUnsafe(frame) != nil {
			return
		}
		e.Enrich(&event)
		if event.Address != nil || event.UserAgent+event.Query+event.Referer+event.AcceptLanguage != "" {
			t.Errorf("what only the edge may know is still there: %v", &event)
		}
		for _, text := range []string{
			event.Country, event.Region, event.City, event.Device, event.Browser, event.Os, event.Language, event.ReferrerHost,
		} {
			if len(text) > hostBytesMax || !utf8.ValidString(text) {
				t.Errorf("text %q is too long or not UTF-8", text)
			}
		}
	})
}

func FuzzEnrichText(f *testing.F) {
	f.Add("en-US,en;q=0.9", "https://example.com/", "utm_source=a%20b&utm_source=c")
	f.Add("*", "https://[::1", "utm_term=%C3")
	f.Fuzz(func(t *testing.T, language, referer, query string) {
		tag := languageOf(language)
		if again := languageOf(tag); again != tag {
			t.Errorf("language %q gives %q, that gives %q", language, tag, again)
		}
		host := refererHost(referer)
		if strings.ContainsAny(host, "/@?#% \x00<>\"") || len(host) > hostBytesMax+8 || !utf8.ValidString(host) {
			t.Errorf("referer %q gives host %q", referer, host)
		}
		var event wire.Event
		takeUTM(&event, query)
		if len(event.UtmSource) > utmBytesMax || !utf8.ValidString(event.UtmSource) {
			t.Errorf("query %q gives source %q", query, event.UtmSource)
		}
	})
}

func TestEnrichOptedOut(t *testing.T) {
	e := testEnricher(t, cityFile(t))
	event := &wire.Event{Event: "click", UserAgent: firefox, Address: []byte{81, 2, 69, 142}, Reasons: uint32(tracker.GPC)}
	e.Enrich(event)
	if event.AddressHash != 0 || event.Country != "GB" || event.Address != nil {
		t.Errorf("a visitor who opted out keeps the country and nothing that tells him apart: %v", event)
	}
}
