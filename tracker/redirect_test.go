package tracker

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/tracker/wire"
)

// raw sends bytes as they are and returns the status line and headers of the
// first answer, "" if the connection was closed without one.
func (s *edgeServer) raw(request string) (head string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request)
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n')
		head += line
		if err != nil || line == "\r\n" {
			return head
		}
	}
}

func (s *edgeServer) onlyHit() *wire.Event {
	s.t.Helper()
	events := s.hits.take()
	if len(events) != 1 {
		s.t.Fatalf("%d events, want 1", len(events))
	}
	return events[0]
}

func TestRedirectStatusAndHeaders(t *testing.T) {
	s := newTestEdge(t, nil,
		&wire.Link{Code: "c302", Url: "https://x.example/p", Program: "general"},
		&wire.Link{Code: "c301", Url: "https://x.example/p", Status: 301},
		&wire.Link{Code: "c307", Url: "https://x.example/p", Status: 307},
		&wire.Link{Code: "c308", Url: "https://x.example/p", Status: 308, Index: true},
	).listen()
	location := regexp.MustCompile(`^https://x\.example/p\?wm_click=([A-Za-z0-9_-]{22})$`)
	cookie := regexp.MustCompile(`^wm=[A-Za-z0-9_-]+; Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax$`) // RFC 6265, 4.1.1
	seen := map[string]bool{}                                                                            // identities and nonces, all of one millisecond
	for number, status := range []int{302, 301, 307, 308} {
		for _, method := range []string{"GET", "HEAD"} {
			r := s.do(method, "/c30"+string("0123456789"[status-300]))
			id := location.FindStringSubmatch(r.Header.Get("Location"))
			if r.StatusCode != status || id == nil || !cookie.MatchString(r.Header.Get("Set-Cookie")) || body(r) != "" {
				t.Fatalf("%s: %d %v", method, r.StatusCode, r.Header)
			}
			want := []string{"Cache-Control", "Content-Length", "Date", "Location", "Set-Cookie"}
			if status != 308 {
				want = append(want, "X-Robots-Tag")
			}
			if got := headerNames(r.Header); !slices.Equal(got, want) {
				t.Errorf("%s %d: headers %v, want %v", method, status, got, want)
			}
			if r.Header.Get("Cache-Control") != "private, no-store" || r.Header.Get("Content-Length") != "0" {
				t.Errorf("%s %d: %v", method, status, r.Header)
			}
			e := s.onlyHit()
			click, err := s.ClickIDs.parse([]byte(id[1]), edgeNow)
			if err != nil || uint32(click.Link) != e.Link || click.TimeMS != e.TimeMs ||
				uint32(click.Node) != e.Node || uint32(click.Sequence) != e.Sequence {
				t.Errorf("click id %v, %v for event %v", click, err, e)
			}
			nonce, err := base64.RawURLEncoding.DecodeString(r.Header.Get("Set-Cookie")[3:19])
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{fmt.Sprint(e.TimeMs, e.Node, e.Sequence), string(nonce)} {
				if seen[key] {
					t.Errorf("%q was used twice", key)
				}
				seen[key] = true
			}
			wantReasons := Reasons(0)
			if method == "HEAD" {
				wantReasons = Head
			}
			if e.Event != "click" || e.Stage != "clicked" || e.Link != uint32(number+1) || e.Node != 2 ||
				Reasons(e.Reasons) != wantReasons || e.VisitorId == 0 {
				t.Errorf("%s: event %v", method, e)
			}
		}
	}
}

func TestRedirectKeepsWhatTheVisitSays(t *testing.T) {
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.Proxies, _ = ParseTrustedProxies([]string{"127.0.0.1"})
		o.CookieDomain = "example.com"
	}, &wire.Link{
		Code: "hello", Url: "https://x.example/?a=1", Program: "wedding", Campaign: "spring", Channel: "qr",
		ReferrerId: "s-17", ReferrerType: "supplier", RefereeType: "couple", Domain: "go.example.com",
	}).listen()
	r := s.do("GET", "/hello?a=2&qr=1&b=%20", "Host", "GO.example.com:8080", "User-Agent", "Mozilla/5.0 (X)", "Referer", "https://blog.example/post",
		"Accept-Language", "de-AT,de;q=0.9", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https")
	e := s.onlyHit()
	if got := r.Header.Get("Location"); !strings.HasPrefix(got, "https://x.example/?a=2&b=%20&wm_click=") {
		t.Errorf("leads to %s", got)
	}
	if got := r.Header.Get("Set-Cookie"); !strings.HasSuffix(got, "; Path=/; Domain=example.com; HttpOnly; SameSite=Lax; Secure") {
		t.Errorf("cookie %s", got)
	}
	if e.Event != "scan" || e.Stage != "clicked" || e.Program != "wedding" || e.Campaign != "spring" || e.Channel != "qr" ||
		e.Code != "hello" || e.Domain != "go.example.com" || e.ReferrerId != "s-17" || e.ReferrerType != "supplier" || e.RefereeType != "couple" ||
		e.TimeMs != uint64(edgeNow.UnixMilli()) || e.UserAgent != "Mozilla/5.0 (X)" || e.Query != "a=2&qr=1&b=%20" ||
		e.Referer != "https://blog.example/post" || e.AcceptLanguage != "de-AT,de;q=0.9" || string(e.Address) != "\xcb\x00\x71\x07" || e.Ordinal != 0 {
		t.Errorf("event %v", e)
	}
	// The host of an absolute target counts, not that of the header.
	if head := s.raw("GET http://go.example.com/hello HTTP/1.1\r\nHost: other.example\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 302 ") {
		t.Errorf("absolute target: %s", head)
	}
	if r := s.do("GET", "/hello", "Host", "other.example"); r.StatusCode != 404 {
		t.Errorf("on another host: %d", r.StatusCode)
	}
}

func TestRedirectOfLinksThatLeadNowhere(t *testing.T) {
	now := uint64(edgeNow.UnixMilli())
	s := newTestEdge(t, nil,
		&wire.Link{Code: "inactive", Url: "https://x.example/", Inactive: true, ExpiresAtMs: 1, ExpiredUrl: "https://late.example/"},
		&wire.Link{Code: "early", Url: "https://x.example/", StartsAtMs: now + 1},
		&wire.Link{Code: "started", Url: "https://x.example/", StartsAtMs: now, ExpiresAtMs: now + 1},
		&wire.Link{Code: "expired", Url: "https://x.example/", ExpiresAtMs: now},
		&wire.Link{Code: "expired-url", Url: "https://x.example/", Status: 301, ExpiresAtMs: now, ExpiredUrl: "https://late.example/?a=1#b"},
	).listen()
	for _, test := range []struct {
		code     string
		status   int
		location string
		reasons  Reasons
	}{
		{"inactive", 404, "", Inactive},
		{"early", 404, "", Early},
		{"started", 302, "https://x.example/", 0},
		{"expired", 410, "", Expired},
		{"expired-url", 302, "https://late.example/?a=1#b", Expired},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := s.do(method, "/"+test.code+"?a=2")
			location, _, _ := strings.Cut(r.Header.Get("Location"), "?a=2&wm_click=")
			if r.StatusCode != test.status || location != test.location || (test.reasons != 0) != (r.Header.Get("Set-Cookie") == "") {
				t.Errorf("%s %s: %d %v", method, test.code, r.StatusCode, r.Header)
			}
			reasons := test.reasons
			if method == "HEAD" {
				reasons |= Head
			}
			if e := s.onlyHit(); Reasons(e.Reasons) != reasons || e.Code != test.code || e.Query != "a=2" {
				t.Errorf("%s %s: event %v", method, test.code, e)
			}
		}
	}
}

// browser keeps the cookie of one visitor.
type browser struct {
	*edgeServer
	jar string // wm=…
}

// visit follows a link so long after edgeNow and checks the reasons of the hit.
func (b *browser) visit(after time.Duration, target string, want Reasons, lines ...string) (*http.Response, *wire.Event) {
	b.t.Helper()
	b.now = edgeNow.Add(after)
	if b.jar != "" {
		lines = append(lines, "Cookie", "x=1; "+b.jar)
	}
	r := b.do("GET", target, lines...)
	e := b.onlyHit()
	if Reasons(e.Reasons) != want {
		b.t.Errorf("%s after %s: %v, want %v", target, after, Reasons(e.Reasons), want)
	}
	if set := r.Header.Get("Set-Cookie"); set != "" {
		b.jar, _, _ = strings.Cut(set, ";")
	}
	return r, e
}

// wantTouches compares with what the cookie holds.
func (b *browser) wantTouches(want ...Touch) {
	b.t.Helper()
	var v Visitor
	opens := b.Cookies.Parse([]byte(strings.TrimPrefix(b.jar, "wm=")), uint64(b.now.UnixMilli()), &v)
	if !opens || !slices.Equal(v.Touches(), want) {
		b.t.Errorf("touches %v, want %v", v.Touches(), want)
	}
}

func newBrowser(t *testing.T) *browser {
	return &browser{edgeServer: newTestEdge(t, nil,
		&wire.Link{Code: "a", Url: "https://x.example/"}, &wire.Link{Code: "b", Url: "https://x.example/"},
		&wire.Link{Code: "off", Url: "https://x.example/", Inactive: true},
	).listen()}
}

func TestRedirectVisitor(t *testing.T) {
	b := newBrowser(t)
	ms := func(after time.Duration) uint64 { return uint64(edgeNow.Add(after).UnixMilli()) }
	const hour = time.Hour

	// A prefetch sets the cookie, so that the visit after it is the same
	// visitor's, but it is no touch.
	_, ahead := b.visit(0, "/a", Prefetch, "Sec-Purpose", "prefetch;prerender")
	b.wantTouches()
	_, first := b.visit(1, "/a", 0)
	if first.VisitorId != ahead.VisitorId || first.VisitorId == 0 {
		t.Errorf("visitor %x, then %x", ahead.VisitorId, first.VisitorId)
	}
	b.wantTouches(Touch{1, ms(1), ms(1)})
	if _, e := b.visit(hour, "/b", 0); e.VisitorId != first.VisitorId {
		t.Errorf("visitor %x became %x", first.VisitorId, e.VisitorId)
	}
	b.visit(2*hour, "/a", Repeat)
	b.wantTouches(Touch{2, ms(hour), ms(hour)}, Touch{1, ms(2 * hour), ms(1)})
	b.visit(24*hour+1, "/a", 0)

	// A link that is off sees the visitor and leaves the cookie alone.
	before := b.jar
	if _, e := b.visit(25*hour, "/off", Inactive); e.VisitorId != first.VisitorId || b.jar != before {
		t.Errorf("an inactive link changed the visitor: %v", e)
	}
	// Who opts out has no visitor, and the cookie is neither read nor set.
	for _, header := range []string{"DNT", "Sec-GPC"} {
		r, e := b.visit(26*hour, "/a", GPC, header, "1")
		if e.VisitorId != 0 || r.Header.Get("Set-Cookie") != "" || !strings.Contains(r.Header.Get("Location"), "wm_click=") {
			t.Errorf("%s: visitor %x, %v", header, e.VisitorId, r.Header)
		}
	}
	if _, e := b.visit(26*hour, "/b", 0, "DNT", "0"); e.VisitorId != first.VisitorId {
		t.Error("DNT: 0 hides the visitor")
	}
}

func TestRedirectReplacesBadCookies(t *testing.T) {
	b := newBrowser(t)
	_, first := b.visit(0, "/a", 0)
	b.jar = b.jar[:len(b.jar)-1]
	r, second := b.visit(time.Minute, "/a", 0)
	if r.StatusCode != 302 || second.VisitorId == first.VisitorId || second.VisitorId == 0 {
		t.Errorf("tampered: %d, visitor %x", r.StatusCode, second.VisitorId)
	}
	at := uint64(edgeNow.Add(time.Minute).UnixMilli())
	b.wantTouches(Touch{1, at, at})
	if _, third := b.visit(91*24*time.Hour, "/a", 0); third.VisitorId == second.VisitorId || third.VisitorId == 0 {
		t.Error("an expired cookie was read")
	}
}

func TestRedirectPrefetch(t *testing.T) {
	s := newTestEdge(t, nil, &wire.Link{Code: "a", Url: "https://x.example/"}).listen()
	for _, test := range []struct {
		name, value string
		want        Reasons
	}{
		{"Sec-Purpose", "prefetch", Prefetch},
		{"Sec-Purpose", "prefetch;prerender", Prefetch},
		{"Sec-Purpose", "prefetch;anonymous-client-ip", Prefetch},
		{"Purpose", "prefetch", Prefetch},
		{"Purpose", "Prefetch", Prefetch},
		{"X-Moz", "prefetch", Prefetch},
		{"X-Purpose", "preview", Prefetch},
		{"Purpose", "prefetching", 0},
		{"Purpose", "", 0},
		{"Sec-Fetch-Mode", "navigate", 0},
	} {
		s.do("GET", "/a", test.name, test.value)
		if e := s.onlyHit(); Reasons(e.Reasons) != test.want {
			t.Errorf("%s: %s gives %v", test.name, test.value, Reasons(e.Reasons))
		}
	}
}

func TestRedirectCookieLastsAsLongAsAnyProgrammeWants(t *testing.T) {
	s := newTestEdge(t, nil,
		&wire.Link{Code: "long", Url: "https://x.example/", Program: "long"}, &wire.Link{Code: "short", Url: "https://x.example/", Program: "short"},
		&wire.Link{Code: "none", Url: "https://x.example/", Program: "none"})
	for name, days := range map[string]int{"long": 365, "short": 1, "none": 0} {
		p := NewProgram(name)
		p.CookieLifetimeDays = days
		if err := s.Links.(*Links).ApplyProgram(p); err != nil {
			t.Fatal(err)
		}
	}
	s.listen()
	r := s.do("GET", "/long")
	cookie, rest, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")
	if !strings.HasPrefix(rest, " Max-Age=31536000;") {
		t.Errorf("a year: %s", rest)
	}
	s.now = edgeNow.Add(time.Second)
	if r := s.do("GET", "/short", "Cookie", cookie); !strings.Contains(r.Header.Get("Set-Cookie"), " Max-Age=31535999;") {
		t.Errorf("a day more, a second later: %s", r.Header.Get("Set-Cookie"))
	}
	if r := s.do("GET", "/short"); !strings.Contains(r.Header.Get("Set-Cookie"), " Max-Age=86400;") {
		t.Errorf("a day: %s", r.Header.Get("Set-Cookie"))
	}
	s.hits.take()
	if r := s.do("GET", "/none", "Cookie", cookie); r.Header.Get("Set-Cookie") != "" || s.onlyHit().VisitorId == 0 {
		t.Errorf("a programme without cookie: %v", r.Header)
	}
}

func TestRedirectShedsRatherThanFails(t *testing.T) {
	s := newTestEdge(t, nil, &wire.Link{Code: "a", Url: "https://x.example/"}).listen()
	s.hits.full = true
	if r := s.do("GET", "/a"); r.StatusCode != 302 || r.Header.Get("Set-Cookie") == "" {
		t.Errorf("with a full spool: %d %v", r.StatusCode, r.Header)
	}
}

func TestRedirectSimulatedTime(t *testing.T) {
	then := uint64(time.Date(2026, 9, 1, 0, 0, 0, 5_000_000, time.UTC).UnixMilli())
	s := newTestEdge(t, nil, &wire.Link{Code: "a", Url: "https://x.example/", ExpiresAtMs: then + 1}).listen()
	at := []string{HeaderTime, "2026-09-01T00:00:00.005Z", "Authorization", "Bearer " + adminSecret}
	r := s.do("GET", "/a", at...)
	e := s.onlyHit()
	if r.StatusCode != 302 || e.TimeMs != then || Reasons(e.Reasons) != Simulated || e.Sequence < 8192 {
		t.Errorf("%d %v", r.StatusCode, e)
	}
	if _, rest, _ := strings.Cut(r.Header.Get("Set-Cookie"), "; "); !strings.HasPrefix(rest, "Max-Age=7776000;") {
		t.Errorf("cookie %s", rest)
	}
	cookie, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")
	s.do("GET", "/a", append(at, "Cookie", cookie)...)
	if again := s.onlyHit(); again.TimeMs != then || again.Sequence == e.Sequence || Reasons(again.Reasons) != Simulated|Repeat || again.VisitorId != e.VisitorId {
		t.Errorf("%v", again)
	}
	at[3] = "Bearer stranger"
	if r := s.do("GET", "/a", at...); r.StatusCode != 410 || s.onlyHit().TimeMs != uint64(edgeNow.UnixMilli()) {
		t.Errorf("a stranger set the time: %d", r.StatusCode)
	}
	at[1], at[3] = "yesterday", "Bearer "+adminSecret
	if r := s.do("GET", "/a", at...); r.StatusCode != 400 || !strings.HasPrefix(body(r), HeaderTime+": must be RFC 3339") || len(s.hits.take()) != 0 {
		t.Errorf("a bad time: %d", r.StatusCode)
	}
}

func TestRedirectCodes(t *testing.T) {
	s := newTestEdge(t, nil,
		&wire.Link{Code: "größe", Url: "https://x.example/1"}, &wire.Link{Code: "a/b", Url: "https://x.example/2"},
		&wire.Link{Code: "ABC", Url: "https://x.example/3"}, &wire.Link{Code: "a+b", Url: "https://x.example/4"},
		&wire.Link{Code: "東京/旅", Url: "https://x.example/5"},
	).listen()
	for target, want := range map[string]string{
		"/gr%C3%B6%c3%9fe": "https://x.example/1", "/gr\xc3\xb6\xc3\x9fe": "https://x.example/1", "/a/b": "https://x.example/2",
		"/a%2Fb": "https://x.example/2", "/%61%2fb?": "https://x.example/2", "/a+b": "https://x.example/4", "/ABC": "https://x.example/3",
		"/%E6%9D%B1%E4%BA%AC/%E6%97%85": "https://x.example/5", "/ABC#fragment": "https://x.example/3",
		"/abc": "404", "/a%20b": "404", "/a/b/": "404", "//a/b": "404", "/a//b": "404", "/./a/b": "404", "/x/../ABC": "404",
		"/ABC%": "400", "/ABC%4": "400", "/%zz": "400", "/%C3": "400", "/\xff": "400", "/ABC%00": "400", "/%0d%0aX:%20y": "400", "/%7f": "400",
	} {
		head := s.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if status, ok := strings.CutPrefix(head, "HTTP/1.1 "); ok && len(want) == 3 {
			if !strings.HasPrefix(status, want) || strings.Contains(head, "Location") {
				t.Errorf("%q: %s", target, head)
			}
		} else if !strings.Contains(head, "\r\nLocation: "+want+"?wm_click=") {
			t.Errorf("%q: %s", target, head)
		}
	}
}

// TestRedirectHostile sends what attackers send. Whatever it is, the node
// answers, leads nowhere but to the link's destination and sets no header that
// it was told to.
func TestRedirectHostile(t *testing.T) {
	s := newTestEdge(t, nil, &wire.Link{Code: "a", Url: "https://x.example/p"}).listen()
	host := " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	long := strings.Repeat("a", 20_000)
	for request, status := range map[string]string{
		"GET //evil.example" + host:                                  "404",
		"GET //evil.example/%2e%2e" + host:                           "404",
		"GET ///evil.example" + host:                                 "404",
		"GET /\\evil.example" + host:                                 "404",
		"GET /%5cevil.example" + host:                                "404",
		"GET /%2f%2fevil.example" + host:                             "404",
		"GET /https:evil.example" + host:                             "404",
		"GET /https://evil.example" + host:                           "404",
		"GET http://evil.example" + host:                             "404",
		"GET http://evil.example?a" + host:                           "404",
		"GET http://?a" + host:                                       "400",
		"GET http:///a" + host:                                       "400",
		"GET http://evil.example/a?b" + host:                         "302",
		"GET javascript:alert(1)" + host:                             "400",
		"GET *" + host:                                               "400",
		"OPTIONS *" + host:                                           "400",
		"CONNECT evil.example:443" + host:                            "400",
		"GET /a?next=//evil.example&url=https://evil.example" + host: "302",
		"GET /a?@evil.example" + host:                                "302",
		"GET /a?wm_click=evil&WM_CLICK=evil&%77m_click=evil" + host:  "302",
		"GET /a?%0d%0aSet-Cookie:%20evil=1" + host:                   "302",
		"GET /a?n=\xc3\xa4\xff" + host:                               "302",
		"GET /a?x=1\rSet-Cookie:evil=1" + host:                       "400",
		"GET /a?x=\x00" + host:                                       "400",
		"GET /a?x=1 y" + host:                                        "400",
		"GET /a?" + long + host:                                      "431",
		"GET /" + long[:8000] + host:                                 "404",
		"GET /a HTTP/1.1\r\nHost: x\r\nX: " + long + "\r\n\r\n":      "431",
		"GET /a HTTP/1.1\r\n\r\n":                                    "400",
		"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n":              "400",
		"GET /a HTTP/1.1\r\nHost: x y\r\n\r\n":                       "400",
		"GET /a HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n":                "302",
		"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: wm=\"; wm=;;=;wm\r\n\r\n":                                 "302",
		"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n": "302",
		"GET /a HTTP/9.9" + "\r\nHost: x\r\nConnection: close\r\n\r\n":                                                        "302",
		"GET /a HTTP/1.0\r\n\r\n": "302",
		"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n":          "413",
		"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n": "413",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n":                   "400",
		"\r\n\r\n\r\nGET /a" + host:                                              "302",
	} {
		head := s.raw(request)
		_, answer, _ := strings.Cut(head, " ")
		name := request[:min(len(request), 80)]
		if !strings.HasPrefix(answer, status) {
			t.Errorf("%q: %q, want %s", name, head, status)
		}
		for line := range strings.SplitSeq(head, "\r\n") {
			if location, ok := strings.CutPrefix(line, "Location: "); ok && !strings.HasPrefix(location, "https://x.example/p?") {
				t.Errorf("%q leads to %s", name, location)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
				t.Errorf("%q: %q is not ASCII", name, line)
			}
			if strings.HasPrefix(line, "Set-Cookie: evil") || strings.Count(line, "wm_click=") > 1 || strings.Contains(line, "click=evil") || strings.HasPrefix(line, "Server:") {
				t.Errorf("%q: %s", name, line)
			}
		}
	}
	for _, e := range s.hits.take() {
		if e.Code != "a" {
			t.Errorf("event %v", e)
		}
	}
}

// TestTooLarge: what cannot be read is refused in the form of its endpoint.
func TestTooLarge(t *testing.T) {
	s := newTestEdge(t, nil).listen()
	for path, contentType := range map[string]string{"/a": "text/plain; charset=utf-8", "/v1/events": "application/problem+json"} {
		head := s.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 413 ") || !strings.Contains(head, "\r\nContent-Type: "+contentType+"\r\n") {
			t.Errorf("%s: %q", path, head)
		}
	}
}

// FuzzCode holds that a code has no byte that could end a header, and that a
// path which needs no escapes is its own code.
func FuzzCode(f *testing.F) {
	f.Add([]byte("gr%C3%B6%c3%9fe/a"))
	f.Add([]byte("%0d%"))
	f.Fuzz(func(t *testing.T, path []byte) {
		code, ok := appendCode(nil, path)
		if !ok {
			return
		}
		if strings.ContainsAny(string(code), "\r\n\x00\x7f") || len(code) > len(path) {
			t.Errorf("%q stands for %q", path, code)
		}
		if !strings.Contains(string(path), "%") && string(code) != string(path) {
			t.Errorf("%q stands for %q", path, code)
		}
	})
}
