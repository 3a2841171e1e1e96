package tracker

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestPostback(t *testing.T) {
	s := newActionServer(t)
	click := string(s.ClickIDs.Append(nil, testClick(2)))
	good := "click_id=" + click + "&event=purchase&value=19.90&currency=EUR&order_id=o1"
	for name, c := range map[string]struct {
		query  string
		status int
		line   string // how the answer starts
	}{
		"full":             {good + "&key=" + s.event, 200, "ok"},
		"unknown ignored":  {good + "&aff_sub=x&transaction_id=1&key=" + s.event, 200, "ok"},
		"admin key":        {good + "&key=admin", 200, "ok"},
		"own programme":    {good + "&key=" + s.wedding, 200, "ok"},
		"no key":           {good, 401, "key:"},
		"unknown key":      {good + "&key=x", 401, "key:"},
		"role read":        {good + "&key=" + s.read, 403, "key:"},
		"no event":         {"click_id=" + click + "&key=" + s.event, 400, "event:"},
		"macro left":       {"click_id=" + click + "&event=purchase&value={payout}&key=" + s.event, 400, "value:"},
		"forged":           {"click_id=AAAA&event=purchase&key=" + s.event, 400, "click_id:"},
		"no click":         {"event=purchase&key=" + s.event, 400, "click_id:"},
		"type of party":    {"event=invite&program=wedding&referrer_id=x&referrer_type=guest&key=" + s.event, 400, "referrer.type:"},
		"bad byte":         {"event=signup&user_id=a%00b&key=" + s.event, 400, "user_id:"},
		"bad UTF-8":        {"event=signup&referrer_id=%ff&key=" + s.event, 400, "referrer_id:"},
		"response cut":     {"event=signup&code=%0d%0aSet-Cookie:x&key=" + s.event, 400, "code:"},
		"other programmes": {"event=signup&code=hello&key=" + s.wedding, 400, "code:"},
	} {
		resp, body := s.do(t, "GET", "/v1/postback?"+c.query, "")
		if resp.StatusCode != c.status || !strings.HasPrefix(body, c.line) || strings.ContainsAny(body, "\r\n") {
			t.Errorf("%s: %d %q, want %d %q", name, resp.StatusCode, body, c.status, c.line)
		}
		events := s.sink.take()
		if want := map[bool]int{true: 1}[c.status == 200]; len(events) != want {
			t.Errorf("%s: stored %v", name, events)
		} else if want == 1 && (events[0].OrderId != "o1" || events[0].Value != "19.9" || events[0].ClickSequence != 9 || events[0].Properties != nil) {
			t.Errorf("%s: stored %v", name, events[0])
		}
	}
}

func TestPostbackByForm(t *testing.T) {
	s := newActionServer(t)
	resp, body := s.do(t, "POST", "/v1/postback?event=signup", "user_id=u1&event=churn&key="+s.event,
		"Content-Type", "application/x-www-form-urlencoded")
	events := s.sink.take()
	if resp.StatusCode != 200 || body != "ok" || len(events) != 1 || events[0].Event != "signup" || events[0].Id != "user:u1" {
		t.Errorf("%d %q, stored %v", resp.StatusCode, body, events)
	}
	if resp, _ := s.do(t, "PUT", "/v1/postback", ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, POST" {
		t.Errorf("PUT: %d", resp.StatusCode)
	}
}

func TestPostbackUnavailable(t *testing.T) {
	s := newActionServer(t)
	s.sink.err = errors.New("disk full")
	resp, body := s.do(t, "GET", "/v1/postback?event=signup&user_id=u&key="+s.event, "")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || strings.Contains(body, "disk") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func FuzzPostback(f *testing.F) {
	f.Add("click_id=x&event=purchase&value=19.90&currency=EUR&order_id=o1&key=k")
	f.Add("event=a&event=b&user_id=%00&referrer_id=%ff&value=1e12")
	f.Fuzz(func(t *testing.T, query string) {
		var args fasthttp.Args
		args.Parse(query)
		act, err := parsePostback(&args)
		if err != nil {
			if _, ok := errors.AsType[*FieldError](err); !ok || strings.ContainsAny(oneLine(err.Error()), "\r\n\x00") {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		// The standard library reads the same from a query that it can read.
		if values, err := url.ParseQuery(query); err == nil && !strings.Contains(query, ";") && values.Get("user_id") != act.UserID {
			t.Fatalf("%q: user %q, want %q", query, act.UserID, values.Get("user_id"))
		}
	})
}
