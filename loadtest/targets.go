package loadtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Targets are URLs to ask, drawn at random. With several hosts each connection
// belongs to one of them, in turn.
type Targets struct {
	URLs     []string // http or https
	Headers  []string // `Name: value`, in every request
	Method   string   // GET if empty
	Body     string
	Insecure bool // certificates are not verified

	// Each gives further headers of the URL with that index; nil for none.
	Each func(i int) []string
	// Kind names what the URL with that index counts as in Result.Kinds; at most
	// 256 names. Nil: all are a "request".
	Kind func(i int) string

	names    []string          // of the kinds
	requests [][]targetRequest // by endpoint
}

// targetRequest is a request as it goes over the wire.
type targetRequest struct {
	kind kind
	text []byte
}

// prepare writes the requests and returns where to send them. The error names
// what cannot be asked.
func (t *Targets) prepare() ([]endpoint, error) {
	if t.Method == "" {
		t.Method = "GET"
	}
	if len(t.URLs) == 0 {
		return nil, errors.New("name at least one URL to ask")
	}
	if strings.ContainsAny(t.Method, " \r\n") {
		return nil, fmt.Errorf("%q is no method", t.Method)
	}
	var origins []string
	var endpoints []endpoint
	for i, text := range t.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is no URL that can be asked, such as http://127.0.0.1:8080/", text)
		}
		headers := t.Headers
		if t.Each != nil {
			headers = slices.Concat(headers, t.Each(i))
		}
		request, err := t.request(u, headers)
		if err != nil {
			return nil, err
		}
		kind, err := t.kindOf(i)
		if err != nil {
			return nil, err
		}
		origin := u.Scheme + "://" + u.Host
		at := slices.Index(origins, origin)
		if at < 0 {
			at = len(origins)
			origins = append(origins, origin)
			endpoints = append(endpoints, t.endpoint(u))
			t.requests = append(t.requests, nil)
		}
		t.requests[at] = append(t.requests[at], targetRequest{kind, request})
	}
	return endpoints, nil
}

// kindOf is the number of a URL's kind, under which names has its name.
func (t *Targets) kindOf(i int) (kind, error) {
	name := "request"
	if t.Kind != nil {
		name = t.Kind(i)
	}
	at := slices.Index(t.names, name)
	if at < 0 {
		at = len(t.names)
		t.names = append(t.names, name)
	}
	if at > math.MaxUint8 {
		return 0, fmt.Errorf("more than %d kinds of requests", math.MaxUint8+1)
	}
	return kind(at), nil
}

func (t *Targets) endpoint(u *url.URL) endpoint {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	e := endpoint{address: net.JoinHostPort(u.Hostname(), port)}
	if u.Scheme == "https" {
		e.tls = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: t.Insecure, NextProtos: []string{"http/1.1"}}
	}
	return e
}

func (t *Targets) request(u *url.URL, headers []string) ([]byte, error) {
	request := fmt.Appendf(nil, "%s %s HTTP/1.1\r\n", t.Method, u.RequestURI())
	given := map[string]bool{}
	for _, header := range headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(header, "\r\n") {
			return nil, fmt.Errorf("%q is no header, such as `Accept: text/html`", header)
		}
		given[strings.ToLower(name)] = true
		request = fmt.Appendf(request, "%s: %s\r\n", name, strings.TrimSpace(value))
	}
	if !given["host"] {
		request = fmt.Appendf(request, "Host: %s\r\n", u.Host)
	}
	if !given["user-agent"] {
		request = append(request, "User-Agent: waymark-loadtest\r\n"...)
	}
	if t.Body != "" {
		request = fmt.Appendf(request, "Content-Length: %d\r\n", len(t.Body))
	}
	return append(append(request, "\r\n"...), t.Body...), nil
}

// targetSource asks the URLs of a list.
type targetSource struct {
	Targets
	random *rand.Rand
}

func (s *targetSource) kinds() []string { return s.names }

func (s *targetSource) next(dst []byte, x *exchange) []byte {
	requests := s.requests[x.target]
	request := &requests[s.random.IntN(len(requests))]
	x.kind, x.toHead = request.kind, s.Method == "HEAD"
	return append(dst, request.text...)
}

// answered takes every answer below 400 for a good one.
func (s *targetSource) answered(_ *exchange, r *response) (bool, error) { return r.status < 400, nil }

func (s *targetSource) cut(*exchange) error { return nil }
func (s *targetSource) flush() error        { return nil }
