//go:build !race

package tracker

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"waymark/tracker/wire"
)

// endlessConn is a connection on which the same request arrives again and
// again, a number of times.
type endlessConn struct {
	request []byte
	rest    []byte
	left    int
}

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

func (c *endlessConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		c.left--
		c.rest = c.request
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *endlessConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c *endlessConn) Close() error                     { return nil }
func (c *endlessConn) LocalAddr() net.Addr              { return loopback }
func (c *endlessConn) RemoteAddr() net.Addr             { return loopback }
func (c *endlessConn) SetDeadline(time.Time) error      { return nil }
func (c *endlessConn) SetReadDeadline(time.Time) error  { return nil }
func (c *endlessConn) SetWriteDeadline(time.Time) error { return nil }

func newTimedEdge(t testing.TB) *edgeServer {
	return newTestEdge(t, func(o *EdgeOptions) { o.Hits, o.Now = new(countingSink), nil },
		&wire.Link{Code: "hello", Url: "https://shop.example/landing?a=1", Channel: "qr", ReferrerId: "ada", ReferrerType: "user"})
}

// timedCookie is the cookie of a visitor with so many touches.
func timedCookie(s *edgeServer, touches int) string {
	v := &Visitor{ID: 1}
	for i := range touches {
		v.Click(LinkNumber(i+2), uint64(edgeNow.UnixMilli()+int64(i*100_000)), time.Hour)
	}
	v.Extend(uint64(time.Now().UnixMilli()), 90*24*time.Hour)
	return "wm=" + string(s.Cookies.Append(nil, goldenNonce, v))
}

// timedSide is a server and a request to it, again and again.
type timedSide struct {
	name    string
	server  *fasthttp.Server
	request []byte
}

// timedSides are bare fasthttp, which answers with as many bytes, the redirect,
// and the answer to an unknown code.
func timedSides(t testing.TB) []timedSide {
	s := newTimedEdge(t)
	cookie := timedCookie(s, 3)
	reply := browserRequest(t, "/hello", "Cookie", cookie)
	s.serve(reply)
	location, setCookie := reply.Response.Header.Peek("Location"), reply.Response.Header.PeekCookie("wm")
	bare := &fasthttp.Server{
		NoDefaultServerHeader: true, NoDefaultContentType: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			h := &ctx.Response.Header
			h.SetStatusCode(fasthttp.StatusFound)
			h.SetCanonical(headerLocation, location)
			h.SetCanonical(headerCacheControl, noStore)
			h.SetCanonical(headerRobotsTag, noIndex)
			h.SetCanonical(headerSetCookie, setCookie)
		},
	}
	request := func(target string) []byte {
		return []byte(browserRequest(t, target, "Cookie", cookie).Request.Header.String())
	}
	return []timedSide{{"bare", bare, request("/hello")}, {"redirect", s.server, request("/hello")}, {"unknown", s.server, request("/nothing")}}
}

// BenchmarkServe is everything but the kernel.
func BenchmarkServe(b *testing.B) {
	for _, side := range timedSides(b) {
		b.Run(side.name, func(b *testing.B) {
			b.ReportAllocs()
			if err := side.server.ServeConn(newImpatientConn(&endlessConn{request: side.request, left: b.N}, newCoarseClock(), &patience{idle: time.Hour, request: time.Hour, answer: time.Hour})); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkRedirect(b *testing.B) {
	s := newTimedEdge(b)
	for name, ctx := range map[string]*fasthttp.RequestCtx{
		"new":     browserRequest(b, "/hello"),
		"cookie":  browserRequest(b, "/hello", "Cookie", timedCookie(s, 3)),
		"query":   browserRequest(b, "/hello?a=2&b=3", "Cookie", timedCookie(s, 3)),
		"unknown": browserRequest(b, "/nothing"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				s.serve(ctx)
			}
		})
	}
}

func BenchmarkClickID(b *testing.B) {
	ids := NewClickIDs(goldenRing(b, "0"))
	id := make([]byte, 0, ClickIDLength)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			id = ids.Append(id[:0], goldenClickIDs[0].click)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ids.parse(id, goldenNow); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCookie(b *testing.B) {
	s := newTimedEdge(b)
	for _, touches := range []int{1, 8, 32} {
		value := []byte(strings.TrimPrefix(timedCookie(s, touches), "wm="))
		var v Visitor
		b.Run(fmt.Sprint("open-", touches), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(value)))
			for b.Loop() {
				if !s.Cookies.Parse(value, 0, &v) {
					b.Fatal("the cookie does not open")
				}
			}
		})
		b.Run(fmt.Sprint("seal-", touches), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(value)))
			buffer := make([]byte, 0, 1024)
			for b.Loop() {
				buffer = s.Cookies.Append(buffer[:0], goldenNonce, &v)
			}
		})
	}
}

func BenchmarkClock(b *testing.B) {
	c := NewClock(1, 0)
	for b.Loop() {
		c.Next(edgeNow)
	}
}

// BenchmarkLocation is the destination with its click id and, in the end, the
// merged parameters of the visit.
func BenchmarkLocation(b *testing.B) {
	s := newTimedEdge(b)
	p := s.Links.Resolve(nil, []byte("hello"))
	click := Click{Identity: goldenNonce, Link: LinkNumber(p.Link.Number)}
	for _, c := range []struct{ name, query string }{{"plain", ""}, {"forwarded", "b=3&utm_source=n"}, {"overridden", "a=2&b=3&qr=1"}} {
		b.Run(c.name, func(b *testing.B) {
			query, location := []byte(c.query), make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				location = p.appendLocation(location[:0], query, s.ClickIDs, click)
			}
		})
	}
}

// BenchmarkEncodeHit is the event as it goes into the ring.
func BenchmarkEncodeHit(b *testing.B) {
	s := newTimedEdge(b)
	p := s.Links.Resolve(nil, []byte("hello"))
	h := hit{
		Identity: goldenNonce, visitorID: 1, address: netip.MustParseAddr("198.51.100.7"), userAgent: []byte(chrome),
		query: []byte("utm_source=n"), referer: []byte("https://blog.example.com/post/1"), language: []byte("de-AT,de;q=0.9,en;q=0.8"),
	}
	event := h.appendTo(nil, p)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		event = h.appendTo(event[:0], p)
	}
}
