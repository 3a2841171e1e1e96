package loadtest

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark/loadtest/ledger"
)

func testSource(seed uint64, t Traffic) *trafficSource {
	c := &Campaign{Run: "run", Program: "loadtest-run", Links: 100, public: []string{"http://127.0.0.1:8080"}, key: "secret"}
	return newTrafficSource(c, t, nil, 0, 50, rand.New(rand.NewPCG(seed, 0)))
}

// clickAnswer is what an edge answers.
func clickAnswer() *response {
	return &response{status: 302, location: []byte("https://shop.example/landing?wm_click=AbCdEfGhIjKlMnOpQrStUv"), cookie: []byte("wm=cookie")}
}

// TestRequestsAreHTTP reads what visitors send with the server's own parser, and
// counts what there is.
func TestRequestsAreHTTP(t *testing.T) {
	s := testSource(1, DefaultTraffic())
	counts := map[string]int{}
	codes := map[string]int{}
	for range 20_000 {
		var x exchange
		wire := s.next(nil, &x)
		rest := bufio.NewReader(bytes.NewReader(wire))
		r, err := http.ReadRequest(rest)
		if err != nil {
			t.Fatalf("%v in\n%s", err, wire)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || rest.Buffered() != 0 {
			t.Fatalf("%v, %d bytes too many in\n%s", err, rest.Buffered(), wire)
		}
		if x.toHead != (r.Method == "HEAD") || x.scan && x.kind == kindClick != slices.Contains(r.URL.Query()["qr"], "1") {
			t.Fatalf("described as %+v:\n%s", x, wire)
		}
		counts[s.kinds()[x.kind]]++
		if r.UserAgent() == "" || slices.Contains(bots, r.UserAgent()) {
			counts["bot"]++
		}
		if r.Header.Get("Cookie") != "" {
			counts["returning"]++
		}
		answer := clickAnswer()
		switch x.kind {
		case kindClick:
			codes[r.URL.Path]++
			if addr, err := netip.ParseAddr(r.Header.Get("X-Forwarded-For")); err != nil || addr.IsPrivate() || addr.IsMulticast() {
				t.Fatalf("address %q: %v", r.Header.Get("X-Forwarded-For"), err)
			}
		case kindUnknown:
			answer = &response{status: 404}
		case kindEvents:
			answer = &response{status: 202, body: []byte(`{"accepted":` + string(rune('0'+strings.Count(string(body), `"id"`))) + `,"rejected":[]}`)}
		default:
			answer = &response{status: 200}
		}
		if good, err := s.answered(&x, answer); !good || err != nil {
			t.Fatalf("%+v was no good answer to\n%s", answer, wire)
		}
	}
	for name, least := range map[string]int{"clicks": 17_000, "unknown codes": 200, "events": 300, "postbacks": 50, "pixels": 50, "bot": 600, "returning": 2000} {
		if counts[name] < least {
			t.Errorf("%s: %d, expected %d and more", name, counts[name], least)
		}
	}
	if codes["/run-0"] < 5*codes["/run-50"] || len(codes) < 80 {
		t.Errorf("%d links; the first was followed %d times, the fiftieth %d", len(codes), codes["/run-0"], codes["/run-50"])
	}
}

// TestSeed: the same seed draws the same requests.
func TestSeed(t *testing.T) {
	traffic := DefaultTraffic()
	traffic.Actions = 0 // they carry the time
	requests := func(seed uint64) string {
		s, all := testSource(seed, traffic), []byte(nil)
		for range 1000 {
			var x exchange
			all = s.next(all, &x)
			answer := clickAnswer()
			if x.kind == kindUnknown {
				answer.status = 404
			}
			s.answered(&x, answer)
		}
		return string(all)
	}
	first, again, other := requests(7), requests(7), requests(8)
	if first != again {
		t.Error("one seed, two loads")
	}
	if first == other {
		t.Error("two seeds, one load")
	}
}

// TestDoubtfulAnswers: what may have happened is open, what cannot have is left
// out.
func TestDoubtfulAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		kind   kind
		answer response
		good   bool
		lines  int
		open   bool
	}{
		{"redirect", kindClick, *clickAnswer(), true, 1, false},
		{"redirect without click id", kindClick, response{status: 302, location: []byte("/")}, false, 0, false},
		{"click not found", kindClick, response{status: 404}, false, 0, false},
		{"click fails", kindClick, response{status: 500}, false, 1, true},
		{"click refused", kindClick, response{status: 503}, false, 0, false},
		{"unknown code is found", kindUnknown, *clickAnswer(), false, 0, false},
		{"unknown code fails", kindUnknown, response{status: 503}, false, 0, false},
		{"both accepted", kindEvents, response{status: 202, body: []byte(`{"accepted":2,"rejected":[]}`)}, true, 2, false},
		{"one of two accepted", kindEvents, response{status: 202, body: []byte(`{"accepted":1,"rejected":[{}]}`)}, false, 2, true},
		{"none accepted", kindEvents, response{status: 202, body: []byte(`{"accepted":0,"rejected":[{},{}]}`)}, false, 0, false},
		{"unauthorised", kindEvents, response{status: 401}, false, 0, false},
		{"perhaps not durable", kindEvents, response{status: 503}, false, 2, true},
		{"pixel refused", kindPixel, response{status: 200, fault: []byte("event: is missing")}, false, 0, false},
	} {
		path := t.TempDir() + "/ledger"
		w, err := ledger.Create(path, ledger.Header{Run: "run", Program: "loadtest-run", Started: time.UnixMilli(1)})
		if err != nil {
			t.Fatal(err)
		}
		s := testSource(1, DefaultTraffic())
		s.ledger = w.Buffer()
		x := exchange{kind: tc.kind, visitor: -1, sentMS: 1}
		if tc.kind >= kindEvents {
			for _, id := range []string{"run-a1", "run-a2"} {
				x.actions = append(x.actions, ledger.Entry{Kind: ledger.Action, Event: []byte("signup"), Way: wayEvents, ID: []byte(id)})
			}
		}
		good, err := s.answered(&x, &tc.answer)
		if err != nil || good != tc.good {
			t.Errorf("%s: %v, %v", tc.name, good, err)
		}
		s.flush()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		lines, open := countLedger(t, path)
		if lines != tc.lines || (open > 0) != tc.open {
			t.Errorf("%s: %d lines, %d of them open", tc.name, lines, open)
		}
	}
}

func TestClickIDOfLocation(t *testing.T) {
	for location, want := range map[string]string{
		"https://a/?wm_click=AbC-_1":           "AbC-_1",
		"https://a/?x=1&wm_click=AbC#top":      "AbC",
		"https://a/?wm_click=AbC&x=wm":         "AbC",
		"https://a/?wm_click=":                 "",
		"https://a/?wm_click=a\tb":             "",
		"https://a/?wm_click=a%20b":            "",
		"https://a/":                           "",
		"?wm_click=" + strings.Repeat("a", 65): "",
	} {
		if got := clickID([]byte(location)); string(got) != want {
			t.Errorf("%q: %q, expected %q", location, got, want)
		}
	}
}

func countLedger(t *testing.T, path string) (lines, open int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := ledger.NewReader(file)
	for err == nil {
		var e ledger.Entry
		if err = r.Next(&e); err == nil {
			lines++
			if e.Open {
				open++
			}
		}
	}
	if !r.Ended() {
		t.Fatalf("the ledger has no end: %v", err)
	}
	return lines, open
}
