package tracker

import (
	"net"
	"net/netip"
	"testing"

	"github.com/valyala/fasthttp"
)

// requestFrom is a request of a peer with these header lines, name and value
// in turn.
func requestFrom(peer string, lines ...string) *fasthttp.RequestCtx {
	var req fasthttp.Request
	for i := 0; i < len(lines); i += 2 {
		req.Header.Add(lines[i], lines[i+1])
	}
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(peer)), nil)
	return &ctx
}

func TestClient(t *testing.T) {
	proxies, err := ParseTrustedProxies([]string{"10.0.0.0/8", " 192.0.2.1", "2001:db8:1::/48", "::ffff:172.16.0.0/108", ""})
	if err != nil {
		t.Fatal(err)
	}
	const xff, fwd = "X-Forwarded-For", "Forwarded"
	for name, test := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"direct":                     {"203.0.113.9:99", nil, "203.0.113.9"},
		"direct, mapped":             {"[::ffff:203.0.113.9]:99", nil, "203.0.113.9"},
		"direct, IPv6":               {"[2001:db8::9]:99", nil, "2001:db8::9"},
		"direct, with a zone":        {"[fe80::1%eth0]:99", nil, "fe80::1"},
		"stranger lies":              {"203.0.113.9:99", []string{xff, "1.2.3.4", fwd, "for=1.2.3.4", "X-Real-IP", "1.2.3.4"}, "203.0.113.9"},
		"one proxy":                  {"10.1.2.3:99", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		"mapped proxy":               {"[::ffff:10.1.2.3]:99", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		"network written as mapped":  {"172.17.0.1:99", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		"beside that network":        {"172.32.0.1:99", []string{xff, "198.51.100.7"}, "172.32.0.1"},
		"IPv6 proxy":                 {"[2001:db8:1::5]:99", []string{xff, "2001:db8:2::7"}, "2001:db8:2::7"},
		"two proxies":                {"192.0.2.1:99", []string{xff, "198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		"client lies through proxy":  {"10.1.2.3:99", []string{xff, "1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		"lies over two lines":        {"10.1.2.3:99", []string{xff, "1.1.1.1", xff, "198.51.100.7"}, "198.51.100.7"},
		"chain over two lines":       {"10.1.2.3:99", []string{xff, "198.51.100.7", xff, "10.9.9.9"}, "198.51.100.7"},
		"only proxies":               {"10.1.2.3:99", []string{xff, "10.0.0.9, 10.0.0.8"}, "10.0.0.9"},
		"no header":                  {"10.1.2.3:99", nil, "10.1.2.3"},
		"empty header":               {"10.1.2.3:99", []string{xff, ""}, "10.1.2.3"},
		"garbage":                    {"10.1.2.3:99", []string{xff, "198.51.100.7, <script>, 10.0.0.2"}, "10.0.0.2"},
		"unknown":                    {"10.1.2.3:99", []string{xff, "unknown"}, "10.1.2.3"},
		"unspecified":                {"10.1.2.3:99", []string{xff, "0.0.0.0"}, "10.1.2.3"},
		"zone":                       {"10.1.2.3:99", []string{xff, "fe80::1%eth0"}, "10.1.2.3"},
		"leading zeros":              {"10.1.2.3:99", []string{xff, "010.8.8.8"}, "10.1.2.3"},
		"port":                       {"10.1.2.3:99", []string{xff, "198.51.100.7:5555"}, "198.51.100.7"},
		"IPv6 with port":             {"10.1.2.3:99", []string{xff, "[2001:db8::7]:5555"}, "2001:db8::7"},
		"IPv6 in brackets":           {"10.1.2.3:99", []string{xff, "[2001:db8::7]"}, "2001:db8::7"},
		"bad port":                   {"10.1.2.3:99", []string{xff, "198.51.100.7:x"}, "10.1.2.3"},
		"mapped":                     {"10.1.2.3:99", []string{xff, "::ffff:198.51.100.7"}, "198.51.100.7"},
		"mapped trusted":             {"10.1.2.3:99", []string{xff, "198.51.100.7,::ffff:10.0.0.1"}, "198.51.100.7"},
		"huge":                       {"10.1.2.3:99", []string{xff, string(make([]byte, 9000))}, "10.1.2.3"},
		"RFC 7239":                   {"10.1.2.3:99", []string{fwd, `for=192.0.2.60;proto=http;by=203.0.113.43`}, "192.0.2.60"},
		"RFC 7239, case and quotes":  {"10.1.2.3:99", []string{fwd, `For="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
		"RFC 7239, two elements":     {"10.1.2.3:99", []string{fwd, `for=198.51.100.17;by=x, for=10.0.0.3`}, "198.51.100.17"},
		"RFC 7239, two lines":        {"10.1.2.3:99", []string{fwd, `for=198.51.100.17`, fwd, `for=10.0.0.3`}, "198.51.100.17"},
		"RFC 7239, hidden":           {"10.1.2.3:99", []string{fwd, `for=198.51.100.17, for=_secret`}, "10.1.2.3"},
		"X-Forwarded-For goes first": {"10.1.2.3:99", []string{fwd, "for=1.1.1.1", xff, "198.51.100.7"}, "198.51.100.7"},
		"X-Real-IP":                  {"10.1.2.3:99", []string{"X-Real-IP", "198.51.100.7"}, "198.51.100.7"},
		"X-Real-IP goes last":        {"10.1.2.3:99", []string{"X-Real-IP", "1.1.1.1", xff, "198.51.100.7"}, "198.51.100.7"},
		"X-Real-IP is garbage":       {"10.1.2.3:99", []string{"X-Real-IP", "me"}, "10.1.2.3"},
	} {
		if got := proxies.Client(requestFrom(test.peer, test.lines...)); got.String() != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	var nobody *TrustedProxies
	if got := nobody.Client(requestFrom("10.1.2.3:99", xff, "1.1.1.1")); got.String() != "10.1.2.3" {
		t.Errorf("without trusted proxies: %s", got)
	}
	onSocket := requestFrom("10.1.2.3:99")
	onSocket.SetRemoteAddr(&net.UnixAddr{Name: "@", Net: "unix"})
	if got := proxies.Client(onSocket); got.IsValid() {
		t.Errorf("on a Unix socket: %s", got)
	}
}

func TestSecure(t *testing.T) {
	proxies, _ := ParseTrustedProxies([]string{"10.0.0.0/8"})
	for name, test := range map[string]struct {
		peer  string
		lines []string
		want  bool
	}{
		"direct":                {"203.0.113.9:99", nil, false},
		"stranger":              {"203.0.113.9:99", []string{"X-Forwarded-Proto", "https"}, false},
		"proxy by https":        {"10.0.0.1:99", []string{"X-Forwarded-Proto", "https"}, true},
		"proxy in capitals":     {"10.0.0.1:99", []string{"X-Forwarded-Proto", "HTTPS"}, true},
		"proxies":               {"10.0.0.1:99", []string{"X-Forwarded-Proto", "https, http"}, true},
		"proxy by http":         {"10.0.0.1:99", []string{"X-Forwarded-Proto", "http"}, false},
		"proxy says nothing":    {"10.0.0.1:99", nil, false},
		"RFC 7239":              {"10.0.0.1:99", []string{"Forwarded", `for="a,b";proto=https;by=c, for=d;proto=http`}, true},
		"RFC 7239, http":        {"10.0.0.1:99", []string{"Forwarded", "proto=http"}, false},
		"X-Forwarded-Proto won": {"10.0.0.1:99", []string{"Forwarded", "proto=https", "X-Forwarded-Proto", "http"}, false},
	} {
		if got := proxies.Secure(requestFrom(test.peer, test.lines...)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParseTrustedProxiesRefuses(t *testing.T) {
	for _, text := range []string{"proxy", "10.0.0.0/33", "fe80::1%eth0", "::ffff:10.0.0.0/90", "10.0.0.1:80"} {
		if _, err := ParseTrustedProxies([]string{text}); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

func FuzzClient(f *testing.F) {
	f.Add("198.51.100.7, 10.0.0.2:80", `for="[2001:db8::1]:80";proto=https`, "::1")
	f.Add("[::ffff:1.2.3.4", `for=";,"`, "[]")
	proxies, _ := ParseTrustedProxies([]string{"10.0.0.0/8", "::/1"})
	f.Fuzz(func(t *testing.T, xff, forwarded, real string) {
		for _, lines := range [][]string{
			{"X-Forwarded-For", xff}, {"Forwarded", forwarded, "X-Real-IP", real}, {"X-Real-IP", real},
		} {
			ctx := requestFrom("10.0.0.1:9", lines...)
			addr := proxies.Client(ctx)
			if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
				t.Errorf("%q gives %v", lines, addr)
			}
			proxies.Secure(ctx)
		}
	})
}
