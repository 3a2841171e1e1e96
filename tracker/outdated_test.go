package tracker

import (
	"strings"
	"testing"

	"waymark/tracker/wire"
)

// A node that has only its snapshot says of nothing that it does not exist.
func TestOutdatedNodeRefusesNothingForGood(t *testing.T) {
	outdated := true
	a := newTestActions(t)
	a.Outdated = func() bool { return outdated }
	s := newTestEdge(t, func(o *EdgeOptions) {
		o.Outdated, o.NotFoundURL = a.Outdated, ""
		o.EventsHandler, o.PostbackHandler, o.PixelHandler = a.Events, a.Postback, a.Pixel
	}, &wire.Link{Code: "a", Url: "https://x.example/"}).listen()

	postback := "/v1/postback?event=signup&user_id=u&program=nobody-made-this&key="
	for _, c := range []struct {
		method, target   string
		lines            []string
		outdated, normal int
	}{
		{"GET", "/a", nil, 302, 302},
		{"GET", "/b", nil, 503, 404},
		{"HEAD", "/b", nil, 503, 404},
		{"POST", "/v1/events", []string{"Authorization", "Bearer unknown"}, 503, 401},
		{"GET", postback + "unknown", nil, 503, 401},
		{"GET", postback + "admin", nil, 503, 400},
		{"GET", "/v1/pixel.gif?event=signup&click_id=AAAAAAAAAAAAAAAAAAAAAA", nil, 200, 200},
	} {
		for _, now := range []bool{true, false} {
			outdated = now
			want := c.normal
			if now {
				want = c.outdated
			}
			r := s.do(c.method, c.target, c.lines...)
			if r.StatusCode != want || (want == 503) != (r.Header.Get("Retry-After") != "") {
				t.Errorf("outdated %v: %s %s is answered %d, Retry-After %q, want %d", now, c.method, c.target, r.StatusCode, r.Header.Get("Retry-After"), want)
			}
			if unsure := r.Header.Get("X-Waymark-Error") == ErrUnavailable.Error(); strings.Contains(c.target, "pixel") && unsure != now {
				t.Errorf("outdated %v: the pixel says %q", now, r.Header.Get("X-Waymark-Error"))
			}
		}
	}
}
