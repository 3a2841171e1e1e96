package loadtest

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// parse feeds an answer in pieces of n bytes.
func parse(text string, toHead bool, n int) (*parser, string, error) {
	p := new(parser)
	p.reset(toHead)
	var kept []byte
	for len(text) > 0 && p.phase != done {
		piece := min(n, len(text))
		kept = append(kept, text[:piece]...)
		text = text[piece:]
		rest, err := p.feed(kept)
		if err != nil {
			return p, "", err
		}
		kept = append([]byte(nil), rest...)
	}
	return p, string(kept) + text, nil
}

func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		toHead     bool
		want       response
		rest       string
		open       bool // complete only when the connection is closed
	}{
		{name: "redirect", text: "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: https://a/?wm_click=x\r\nset-cookie: wm=1.2; Max-Age=3; Path=/\r\n\r\n",
			want: response{status: 302, location: []byte("https://a/?wm_click=x"), cookie: []byte("wm=1.2")}},
		{name: "body", text: "HTTP/1.1 202 Accepted\r\ncontent-length:5\r\n\r\nhello", want: response{status: 202, body: []byte("hello")}},
		{name: "body and more", text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", want: response{status: 200, body: []byte("ok")}, rest: "HTTP"},
		{name: "to HEAD", toHead: true, text: "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", want: response{status: 200}},
		{name: "204", text: "HTTP/1.1 204 No Content\r\n\r\n", want: response{status: 204}},
		{name: "chunks", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
			want: response{status: 200, body: []byte("hello0123456789")}},
		{name: "100 first", text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			want: response{status: 404, close: true}},
		{name: "old server", text: "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", want: response{status: 200, close: true}},
		{name: "until close", text: "HTTP/1.1 200 OK\r\n\r\nsome", want: response{status: 200, body: []byte("some"), close: true}, open: true},
		{name: "pixel refused", text: "HTTP/1.1 200 OK\r\nX-Waymark-Error: event: is missing\r\nContent-Length: 0\r\n\r\n",
			want: response{status: 200, fault: []byte("event: is missing")}},
	} {
		for _, n := range []int{1, 2, 7, 1 << 20} {
			p, rest, err := parse(tc.text, tc.toHead, n)
			if err != nil {
				t.Errorf("%s by %d: %v", tc.name, n, err)
				continue
			}
			if tc.open == (p.phase == done) || !p.eof() {
				t.Errorf("%s by %d: in phase %d", tc.name, n, p.phase)
			}
			if p.status != tc.want.status || !bytes.Equal(p.location, tc.want.location) || !bytes.Equal(p.cookie, tc.want.cookie) ||
				!bytes.Equal(p.fault, tc.want.fault) || !bytes.Equal(p.body, tc.want.body) || p.close != tc.want.close || rest != tc.rest {
				t.Errorf("%s by %d: %+v and rest %q", tc.name, n, p.response, rest)
			}
		}
	}
}

func TestMalformedAnswers(t *testing.T) {
	for _, text := range []string{
		"SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headBytesMax),
	} {
		if _, _, err := parse(text, false, 1<<20); err == nil {
			t.Errorf("%.60q was taken for an answer", text)
		}
	}
}

// TestLongBody: only the beginning of a body is kept.
func TestLongBody(t *testing.T) {
	p, rest, err := parse("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 1000000), false, 1000)
	if err != nil || p.phase != done || rest != "" || len(p.body) != bodyKept {
		t.Errorf("phase %d, rest %d, body %d, %v", p.phase, len(rest), len(p.body), err)
	}
}

// FuzzAnswers: however an answer is cut into pieces, it is read alike, and where
// net/http reads a complete answer without an error, status and body are the same.
func FuzzAnswers(f *testing.F) {
	f.Add("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n", uint8(3), false)
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", uint8(1), false)
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", uint8(9), true)
	f.Fuzz(func(t *testing.T, text string, n uint8, toHead bool) {
		whole, wholeRest, wholeErr := parse(text, toHead, len(text)+1)
		pieces, piecesRest, piecesErr := parse(text, toHead, int(n)+1)
		if (wholeErr == nil) != (piecesErr == nil) {
			t.Fatalf("whole: %v, in pieces: %v", wholeErr, piecesErr)
		}
		if wholeErr != nil {
			return
		}
		if whole.phase != pieces.phase || whole.status != pieces.status || !bytes.Equal(whole.body, pieces.body) || whole.phase == done && wholeRest != piecesRest {
			t.Fatalf("whole: %+v %q, in pieces: %+v %q", whole, wholeRest, pieces, piecesRest)
		}
		if whole.phase != done {
			return
		}
		method := "GET"
		if toHead {
			method = "HEAD"
		}
		answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), &http.Request{Method: method})
		if err != nil {
			return // it is stricter
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.ProtoMajor != 1 || answer.StatusCode < 200 || len(body) > bodyKept {
			return
		}
		if answer.StatusCode != whole.status || string(body) != string(whole.body) {
			t.Fatalf("read as %d %q, net/http reads %d %q", whole.status, whole.body, answer.StatusCode, body)
		}
	})
}
