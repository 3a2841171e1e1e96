package tracker

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"waymark/tracker/wire"
)

// locate is where a visit with this query leads, with (id) for the click id.
func locate(t testing.TB, l *wire.Link, visit string) string {
	t.Helper()
	l.Number = 1
	program := NewProgram("general")
	ids := NewClickIDs(goldenRing(t, "0"))
	click := goldenClickIDs[0].click
	location := string(prepare(l, &program).appendLocation(nil, []byte(visit), ids, click))
	return strings.Replace(location, goldenClickIDs[0].id, "(id)", 1)
}

func TestLocation(t *testing.T) {
	text := func(s string) *string { return &s }
	none := text("")
	for _, test := range []struct {
		name  string
		link  *wire.Link
		visit string
		want  string
	}{
		{"plain", &wire.Link{Url: "https://x.example/p"}, "", "https://x.example/p?wm_click=(id)"},
		{"no path", &wire.Link{Url: "https://x.example"}, "a=1", "https://x.example?a=1&wm_click=(id)"},
		{"query", &wire.Link{Url: "https://x.example/?a=1"}, "", "https://x.example/?a=1&wm_click=(id)"},
		{"empty query", &wire.Link{Url: "https://x.example/?"}, "", "https://x.example/?wm_click=(id)"},
		{"fragment", &wire.Link{Url: "https://x.example/?a=1#top?x=1"}, "b=2", "https://x.example/?a=1&b=2&wm_click=(id)#top?x=1"},
		{"fragment alone", &wire.Link{Url: "https://x.example/#top"}, "", "https://x.example/?wm_click=(id)#top"},
		{"app scheme", &wire.Link{Url: "myapp://open/item?x=1"}, "y=2", "myapp://open/item?x=1&y=2&wm_click=(id)"},
		{"opaque", &wire.Link{Url: "tel:+4930123"}, "", "tel:+4930123?wm_click=(id)"},

		{"other parameter", &wire.Link{Url: "https://x.example/", ClickParam: text("cid")}, "wm_click=1&cid=2", "https://x.example/?wm_click=1&cid=(id)"},
		{"no parameter", &wire.Link{Url: "https://x.example/p", ClickParam: none}, "", "https://x.example/p"},
		{"no parameter, empty query", &wire.Link{Url: "https://x.example/p?", ClickParam: none}, "", "https://x.example/p?"},
		{"no parameter, stays as written", &wire.Link{Url: "https://x.example/p?&a&&", ClickParam: none}, "", "https://x.example/p?&a&&"},
		{"no parameter, fragment", &wire.Link{Url: "https://x.example/p#f", ClickParam: none}, "a", "https://x.example/p?a#f"},
		{"no parameter, passes one on", &wire.Link{Url: "https://x.example/p", ClickParam: none}, "wm_click=up", "https://x.example/p?wm_click=up"},

		{"override", &wire.Link{Url: "https://x.example/?a=1&b=2&c=3"}, "b=9", "https://x.example/?a=1&c=3&b=9&wm_click=(id)"},
		{"override repeated", &wire.Link{Url: "https://x.example/?a=1&b=2&a=3"}, "a=4&z&a=5", "https://x.example/?b=2&a=4&z&a=5&wm_click=(id)"},
		{"override all", &wire.Link{Url: "https://x.example/?a=1"}, "a=", "https://x.example/?a=&wm_click=(id)"},
		{"override without value", &wire.Link{Url: "https://x.example/?a=1"}, "a", "https://x.example/?a&wm_click=(id)"},
		{"override encoded name", &wire.Link{Url: "https://x.example/?a%5Bb%5D=1&c=2"}, "a[b]=2&%63=3", "https://x.example/?a[b]=2&%63=3&wm_click=(id)"},
		{"names have case", &wire.Link{Url: "https://x.example/?a=1"}, "A=2", "https://x.example/?a=1&A=2&wm_click=(id)"},
		{"plus is a space", &wire.Link{Url: "https://x.example/?a+b=1"}, "a%20b=2", "https://x.example/?a%20b=2&wm_click=(id)"},

		{"bytes are kept", &wire.Link{Url: "https://x.example/?u=%2F%e4&v=a+b&w=%"}, "x=%2f%C3%a4&y=%zz&z=a+b%20c&=e&q='\"<>`|\\^{}", "https://x.example/?u=%2F%e4&v=a+b&w=%&x=%2f%C3%a4&y=%zz&z=a+b%20c&=e&q='\"<>`|\\^{}&wm_click=(id)"},
		{"UTF-8", &wire.Link{Url: "https://x.example/"}, "n=ä&größe=%C3%A4", "https://x.example/?n=%C3%A4&gr%C3%B6%C3%9Fe=%C3%A4&wm_click=(id)"},
		{"no UTF-8", &wire.Link{Url: "https://x.example/"}, "n=\xe4\x80\xff", "https://x.example/?n=%E4%80%FF&wm_click=(id)"},
		{"override in UTF-8", &wire.Link{Url: "https://x.example/?gr%C3%B6%C3%9Fe=1&b=2"}, "größe=3", "https://x.example/?b=2&gr%C3%B6%C3%9Fe=3&wm_click=(id)"},
		{"semicolons are no separators", &wire.Link{Url: "https://x.example/?a=1;b=2"}, "b=3;c", "https://x.example/?a=1;b=2&b=3;c&wm_click=(id)"},
		{"equals signs", &wire.Link{Url: "https://x.example/?a=1"}, "a==2=&==", "https://x.example/?a==2=&==&wm_click=(id)"},
		{"empty ones are dropped", &wire.Link{Url: "https://x.example/"}, "&&a=1&&b&", "https://x.example/?a=1&b&wm_click=(id)"},
		{"nothing but ampersands", &wire.Link{Url: "https://x.example/"}, "&&", "https://x.example/?wm_click=(id)"},
		{"question marks", &wire.Link{Url: "https://x.example/"}, "?a=1?b", "https://x.example/??a=1?b&wm_click=(id)"},
		{"URL as a value", &wire.Link{Url: "https://x.example/"}, "next=https://evil.example/", "https://x.example/?next=https://evil.example/&wm_click=(id)"},

		{"scan", &wire.Link{Url: "https://x.example/"}, "qr=1", "https://x.example/?wm_click=(id)"},
		{"scan among others", &wire.Link{Url: "https://x.example/?qr=7"}, "a=1&qr=1&b=2", "https://x.example/?qr=7&a=1&b=2&wm_click=(id)"},
		{"no scan", &wire.Link{Url: "https://x.example/"}, "qr=2&qr=&qr&QR=1", "https://x.example/?qr=2&qr=&qr&QR=1&wm_click=(id)"},

		{"forged click id", &wire.Link{Url: "https://x.example/"}, "wm_click=evil&a=1&wm_click=evil", "https://x.example/?a=1&wm_click=(id)"},
		{"forged, encoded", &wire.Link{Url: "https://x.example/"}, "wm%5fclick=evil&%77m_click", "https://x.example/?wm_click=(id)"},
		{"forged, other case", &wire.Link{Url: "https://x.example/"}, "WM_Click=evil&%57M_CLICK=evil", "https://x.example/?wm_click=(id)"},
		{"click id of the URL", &wire.Link{Url: "https://x.example/?wm_click=old&a=1"}, "", "https://x.example/?a=1&wm_click=(id)"},

		{"UTM", &wire.Link{Url: "https://x.example/?a=1", UtmSource: "news letter", UtmMedium: "e&m", UtmCampaign: "ü"}, "", "https://x.example/?a=1&utm_source=news%20letter&utm_medium=e%26m&utm_campaign=%C3%BC&wm_click=(id)"},
		{"UTM all", &wire.Link{Url: "https://x.example/", UtmSource: "1", UtmMedium: "2", UtmCampaign: "3", UtmTerm: "4", UtmContent: "5"}, "", "https://x.example/?utm_source=1&utm_medium=2&utm_campaign=3&utm_term=4&utm_content=5&wm_click=(id)"},
		{"UTM of the URL stays", &wire.Link{Url: "https://x.example/?utm_source=url", UtmSource: "link"}, "", "https://x.example/?utm_source=url&wm_click=(id)"},
		{"UTM of the visit wins", &wire.Link{Url: "https://x.example/?utm_medium=url", UtmSource: "link"}, "utm_source=v&utm_medium=v", "https://x.example/?utm_source=v&utm_medium=v&wm_click=(id)"},

		{"query not forwarded", &wire.Link{Url: "https://x.example/?a=1", DropQuery: true, UtmTerm: "t"}, "a=2&b=3", "https://x.example/?a=1&utm_term=t&wm_click=(id)"},

		{"control bytes", &wire.Link{Url: "https://x.example/"}, "a=1\r\nSet-Cookie: x=1\x00\x7f", "https://x.example/?a=1%0D%0ASet-Cookie:%20x=1%00%7F&wm_click=(id)"},
		{"fragment in a visit", &wire.Link{Url: "https://x.example/#f"}, "a=1#b", "https://x.example/?a=1%23b&wm_click=(id)#f"},
		{"unsafe URL", &wire.Link{Url: "https://x.example/ä b\r\nX: y"}, "", "https://x.example/%C3%A4%20b%0D%0AX:%20y?wm_click=(id)"},
	} {
		if got := locate(t, test.link, test.visit); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

// recount builds the query by its definition, with the standard library only.
func recount(link *wire.Link, visit string) (query []string) {
	name := func(param string) string {
		raw, _, _ := strings.Cut(param, "=")
		if decoded, err := url.QueryUnescape(raw); err == nil {
			return decoded
		}
		return raw
	}
	overriding := map[string]bool{}
	var forwarded []string
	for param := range strings.SplitSeq(visit, "&") {
		if param != "" && param != "qr=1" && !strings.EqualFold(name(param), "wm_click") {
			overriding[name(param)] = true
			forwarded = append(forwarded, param)
		}
	}
	_, own, _ := strings.Cut(link.Url, "?")
	for param := range strings.SplitSeq(own, "&") {
		if param != "" && !overriding[name(param)] && !strings.EqualFold(name(param), "wm_click") {
			query = append(query, param)
		}
	}
	return append(append(query, forwarded...), "wm_click=(id)")
}

// FuzzLocation holds what no visit may change: scheme and authority, the end of
// the header, the one click id.
func FuzzLocation(f *testing.F) {
	f.Add("a=1&b=2", "b=3&qr=1")
	f.Add("wm_click=1", "wm_click=2&%77m_click=3;WM_CLICK")
	f.Add("", "//evil.example\r\n\r\n#@")
	f.Add("%2", "%61=1&a+b")
	f.Fuzz(func(t *testing.T, own, visit string) {
		for _, c := range own {
			if c <= ' ' || c >= 0x7f || c == '#' {
				return // not what a link may hold
			}
		}
		link := wire.Link{Url: "https://shop.example/p?" + own}
		got := locate(t, &link, visit)
		if !strings.HasPrefix(got, "https://shop.example/p?") || !strings.HasSuffix(got, "wm_click=(id)") {
			t.Fatalf("%q with %q leads to %q", link.Url, visit, got)
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f || got[i] == '#' {
				t.Fatalf("%q with %q leads to %q, which holds %q", link.Url, visit, got, got[i])
			}
		}
		if strings.Contains(own+visit, "%") {
			return // url.QueryUnescape refuses a name with one bad escape as a whole
		}
		want := "https://shop.example/p?"
		for _, c := range []byte(strings.Join(recount(&link, visit), "&")) {
			if c > ' ' && c < 0x7f && c != '#' {
				want += string(rune(c))
			} else {
				want += fmt.Sprintf("%%%02X", c)
			}
		}
		if got != want {
			t.Fatalf("%q with %q\n got %q\nwant %q", link.Url, visit, got, want)
		}
	})
}
