package tracker

import (
	"bytes"
	"errors"
	"image/gif"
	"strings"
	"testing"
	"time"

	"waymark/tracker/wire"
)

func TestPixelImage(t *testing.T) {
	if len(pixelGIF) != 43 {
		t.Errorf("%d bytes", len(pixelGIF))
	}
	img, err := gif.Decode(bytes.NewReader(pixelGIF))
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size.X != 1 || size.Y != 1 {
		t.Errorf("size %v", size)
	}
	if _, _, _, alpha := img.At(0, 0).RGBA(); alpha != 0 {
		t.Error("it can be seen")
	}
}

// pixel fetches a pixel and returns what was stored and the error it names.
func (s *actionServer) fetchPixel(t *testing.T, query string, headers ...string) (*wire.Event, string) {
	t.Helper()
	resp, body := s.do(t, "GET", "/v1/pixel.gif?"+query, "", headers...)
	if resp.StatusCode != 200 || body != string(pixelGIF) || resp.Header.Get("Content-Type") != "image/gif" ||
		resp.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("%s: %d %v %q", query, resp.StatusCode, resp.Header, body)
	}
	fault := resp.Header.Get("X-Waymark-Error")
	events := s.sink.take()
	switch {
	case len(events) == 1 && fault == "":
		return events[0], ""
	case len(events) == 0 && fault != "":
		return nil, fault
	}
	t.Fatalf("%s: stored %v and said %q", query, events, fault)
	return nil, ""
}

// cookie is the Cookie header of visitor abc, who clicked on link 2 at 10:00.
func (s *actionServer) cookie() string {
	var v Visitor
	v.ID = 0xabc
	at := uint64(testNow.UnixMilli()) - 7_200_000
	v.Click(2, at, time.Hour)
	v.Extend(at, 24*time.Hour)
	return CookieName + "=" + string(s.Cookies.Append(nil, Identity{TimeMS: at, Node: 1}, &v))
}

func TestPixelByCookie(t *testing.T) {
	s := newActionServer(t)
	e, fault := s.fetchPixel(t, "event=purchase&value=5&currency=EUR&order_id=o1&plan=pro&channel=web&cachebuster=1",
		"Cookie", "a=b; "+s.cookie(), "User-Agent", "Mozilla/5.0 \xff"+strings.Repeat("x", 600), "Referer", "https://shop.example/thanks", "Accept-Language", "de-AT,de;q=0.9",
		"X-Forwarded-For", "203.0.113.9, 192.0.2.7")
	if e == nil {
		t.Fatal(fault)
	}
	if e.VisitorId != 0xabc || e.Link != 2 || e.Program != "wedding" || Reasons(e.Reasons) != Unverified || e.OrderId != "o1" ||
		e.Value != "5" || e.Plan != "pro" || e.Channel != "web" || len(e.Touches) != 1 || e.Touches[0].TimeMs != 1795168800000 || e.Touches[0].Channel != "qr" {
		t.Errorf("stored %v", e)
	}
	if !bytes.Equal(e.Address, []byte{192, 0, 2, 7}) || e.Referer != "https://shop.example/thanks" || e.AcceptLanguage != "de-AT,de;q=0.9" ||
		!strings.HasPrefix(e.UserAgent, "Mozilla/5.0 x") || len(e.UserAgent) > 512 {
		t.Errorf("stored %v", e)
	}
}

func TestPixelByClickID(t *testing.T) {
	s := newActionServer(t)
	click := string(s.ClickIDs.Append(nil, testClick(1)))
	for _, optOut := range []string{"DNT", "Sec-GPC"} {
		e, fault := s.fetchPixel(t, "event=signup&click_id="+click, "Cookie", s.cookie(), optOut, "1")
		if e == nil {
			t.Fatal(fault)
		}
		if e.VisitorId != 0 || e.Link != 1 || Reasons(e.Reasons) != Unverified|GPC || len(e.Touches) != 1 || e.Id != "click:"+click {
			t.Errorf("stored %v", e)
		}
	}
}

func TestPixelSaysWhyItIsRefused(t *testing.T) {
	s := newActionServer(t)
	for query, field := range map[string]string{
		"event=signup":                           "click_id:",
		"event=signup&click_id=forged":           "click_id:",
		"user_id=u1":                             "event:",
		"event=click&user_id=u1":                 "event:",
		"event=purchase&user_id=u1&value=%0d%0a": "value:",
	} {
		if _, fault := s.fetchPixel(t, query, "Cookie", "wm=AAAA"); !strings.HasPrefix(fault, field) {
			t.Errorf("%s: %q, want %s", query, fault, field)
		}
	}
	s.sink.err = errors.New("disk full")
	if _, fault := s.fetchPixel(t, "event=signup&user_id=u1"); fault != "temporarily unavailable, try again" {
		t.Errorf("without a sink: %q", fault)
	}
}

func TestPixelSimulatedTime(t *testing.T) {
	s := newActionServer(t)
	at := "2026-11-01T08:00:00.123Z"
	e, fault := s.fetchPixel(t, "event=signup&user_id=u1", "X-Waymark-Time", at, "Authorization", "Bearer admin")
	if e == nil || e.TimeMs != 1793520000123 || Reasons(e.Reasons) != Unverified|Simulated {
		t.Errorf("with an admin key: %v, %s", e, fault)
	}
	e, fault = s.fetchPixel(t, "event=signup&user_id=u1", "X-Waymark-Time", at, "Authorization", "Bearer "+s.event)
	if e == nil || e.TimeMs != uint64(testNow.UnixMilli()) || Reasons(e.Reasons) != Unverified {
		t.Errorf("with another key: %v, %s", e, fault)
	}
}

func TestPixelAcrossOrigins(t *testing.T) {
	s := newActionServer(t)
	resp, _ := s.do(t, "OPTIONS", "/v1/pixel.gif", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "GET")
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" ||
		resp.Header.Get("Access-Control-Allow-Credentials") != "true" || resp.Header.Get("Access-Control-Allow-Methods") != "GET" {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
	resp, _ = s.do(t, "GET", "/v1/pixel.gif?event=signup&user_id=u", "", "Origin", "https://shop.example")
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" || resp.Header.Get("Vary") != "Origin" {
		t.Errorf("GET: %v", resp.Header)
	}
	resp, _ = s.do(t, "HEAD", "/v1/pixel.gif?event=signup&user_id=u", "")
	if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "" || len(s.sink.take()) != 1 {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ = s.do(t, "POST", "/v1/pixel.gif", ""); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestPixelsAreBounded(t *testing.T) {
	s := newActionServer(t)
	for range pixelsMax {
		s.pixels <- struct{}{}
	}
	if _, fault := s.fetchPixel(t, "event=signup&user_id=u"); fault != errPixelsBusy.Error() {
		t.Errorf("over the bound: %q", fault)
	}
	for range pixelsMax {
		<-s.pixels
	}
	if e, fault := s.fetchPixel(t, "event=signup&user_id=u"); e == nil {
		t.Errorf("below the bound: %q", fault)
	}
}
