//go:build !race

package tracker

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"waymark/tracker/wire"
)

// countingSink takes hits and does not keep them.
type countingSink struct{ hits, bytes int }

func (s *countingSink) Append(payload []byte, _ uint64) (uint64, error) {
	s.hits++
	s.bytes += len(payload)
	return uint64(s.hits), nil
}

const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

// browserRequest is a request as a browser sends it, with some more lines.
func browserRequest(t testing.TB, target string, lines ...string) *fasthttp.RequestCtx {
	head := "GET " + target + " HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: " + chrome + "\r\n" +
		"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: de-AT,de;q=0.9,en;q=0.8\r\n" +
		"Accept-Encoding: gzip, deflate, br\r\nReferer: https://blog.example.com/post/1\r\nUpgrade-Insecure-Requests: 1\r\n" +
		"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
	for i := 0; i < len(lines); i += 2 {
		head += lines[i] + ": " + lines[i+1] + "\r\n"
	}
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(new(fasthttp.Request), &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4242}, nil)
	if err := ctx.Request.Header.Read(bufio.NewReader(strings.NewReader(head + "\r\n"))); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestRedirectAllocatesNothing(t *testing.T) {
	sink := new(countingSink)
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.Hits, o.Now = sink, time.Now
		o.Proxies, _ = ParseTrustedProxies([]string{"10.0.0.0/8"})
	},
		&wire.Link{Code: "hello", Url: "https://shop.example/landing?a=1#top"},
		&wire.Link{Code: "expired", Url: "https://shop.example/", ExpiresAtMs: 1},
	)
	visitor := &Visitor{ID: 1}
	for i := range TouchesMax {
		visitor.Click(LinkNumber(i+1), uint64(edgeNow.UnixMilli()+int64(i)), time.Hour)
	}
	visitor.Extend(uint64(time.Now().UnixMilli()), 90*24*time.Hour)
	cookie := "basket=abc; wm=" + string(s.Cookies.Append(nil, goldenNonce, visitor)) + "; theme=dark"
	tampered := strings.Replace(cookie, "wm=E", "wm=F", 1)
	for name, ctx := range map[string]*fasthttp.RequestCtx{
		"without cookie":               browserRequest(t, "/hello"),
		"with cookie":                  browserRequest(t, "/hello", "Cookie", cookie),
		"tampered cookie":              browserRequest(t, "/hello", "Cookie", tampered),
		"query":                        browserRequest(t, "/hello?a=2&utm_source=n&qr=1", "Cookie", cookie),
		"proxies":                      browserRequest(t, "/hello", "X-Forwarded-For", "198.51.100.7, 10.0.0.2", "X-Forwarded-Proto", "https"),
		"forwarded":                    browserRequest(t, "/hello", "Forwarded", `for="[2001:db8::1]:80";proto=https`),
		"garbage address":              browserRequest(t, "/hello", "X-Forwarded-For", "unknown"),
		"opted out":                    browserRequest(t, "/hello", "Sec-Gpc", "1"),
		"prefetch":                     browserRequest(t, "/hello", "Sec-Purpose", "prefetch"),
		"bot":                          browserRequest(t, "/hello", "User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
		"expired":                      browserRequest(t, "/expired"),
		"unknown code":                 browserRequest(t, "/nothing"),
		"malformed code":               browserRequest(t, "/%zz"),
		"no UTF-8":                     browserRequest(t, "/hello", "Referer", "https://x.example/caf\xe9"),
		"a stranger who sets the time": browserRequest(t, "/hello", HeaderTime, "2026-09-01T00:00:00.005Z"),
	} {
		answer := func() {
			ctx.Response.Reset()
			s.serve(ctx)
		}
		for range 10 { // fills the pools and the cache
			answer()
			s.Links.(*Links).cache.Wait()
		}
		if n := testing.AllocsPerRun(1000, answer); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if sink.hits == 0 {
		t.Error("no hit was kept")
	}
}
