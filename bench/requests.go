package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"waymark/loadtest"
)

// mix is the requests that every contestant gets: clicks on popular and rare
// links of a million, by real browsers, half of which come back with a cookie,
// some with a query string.
type mix struct {
	targets []string   // path and query
	headers [][]string // of each
}

const (
	// mixSize bounds the requests: the generator writes them out beforehand, and
	// they should stay in the cache of its core.
	mixSize = 4096
	// mixVisitors is how many visitors come back, each with a cookie of its own.
	mixVisitors = 256
	// mixVisits is how many links a visitor has followed before.
	mixVisits = 3
	// mixQueries is the share of requests with a query string.
	mixQueries = 0.15
	// mixZipf is the exponent of the links' popularity: of a million links the
	// first thousand get about half of the clicks.
	mixZipf = 1.1
)

var queries = [...]string{
	"utm_source=newsletter&utm_medium=email&utm_campaign=spring", "gclid=EAIaIQobChMIexample",
	"utm_source=instagram&utm_medium=social", "ref=partner&lang=de",
}

// newMix draws requests for links with these many codes. The cookies are those
// that the edge gives.
func newMix(ctx context.Context, edge string, links int, code func(int) string) (*mix, error) {
	random := rand.New(rand.NewPCG(1, 2)) // the same for every run
	zipf := rand.NewZipf(random, mixZipf, 1, uint64(links-1))
	draw := func() string { return "/" + code(int(zipf.Uint64())) }
	cookies := make([]string, mixVisitors)
	for i := range cookies {
		for range mixVisits {
			header, err := follow(ctx, edge+draw(), cookies[i])
			if err != nil {
				return nil, err
			}
			cookies[i], _, _ = strings.Cut(header.Get("Set-Cookie"), ";")
		}
	}
	browsers := loadtest.Browsers()
	m := &mix{}
	for i := range mixSize {
		target := draw()
		if random.Float64() < mixQueries {
			target += "?" + queries[random.IntN(len(queries))]
		}
		headers := []string{
			"User-Agent: " + browsers[random.IntN(len(browsers))],
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"Accept-Language: en-GB,en;q=0.9", "Accept-Encoding: gzip, deflate, br",
		}
		if i%2 == 0 {
			headers = append(headers, "Cookie: "+cookies[random.IntN(len(cookies))])
		}
		m.targets, m.headers = append(m.targets, target), append(m.headers, headers)
	}
	return m, nil
}

// warmUp is how many clicks newMix makes.
const warmUp = mixVisitors * mixVisits

// Kinds of requests.
const (
	click   = "click"
	unknown = "unknown code"
)

// against is the mix for one server.
func (m *mix) against(server string) loadtest.Targets {
	t := loadtest.Targets{
		Each: func(i int) []string { return m.headers[i%len(m.headers)] },
		Kind: func(i int) string { return [...]string{click, unknown}[i/len(m.headers)] },
	}
	for _, target := range m.targets {
		t.URLs = append(t.URLs, server+target)
	}
	return t
}

// withUnknown is the mix with as many requests for codes that nobody made.
func (m *mix) withUnknown(server string) loadtest.Targets {
	t := m.against(server)
	random := rand.New(rand.NewPCG(3, 4))
	for range m.targets {
		t.URLs = append(t.URLs, server+"/"+strconv.FormatUint(random.Uint64(), 36))
	}
	return t
}

// follow asks for a URL once, with a cookie if it is not empty, and returns the
// headers of the redirect.
func follow(ctx context.Context, url, cookie string) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", loadtest.Browsers()[0])
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusFound {
		return nil, fmt.Errorf("%s answers %s", url, response.Status)
	}
	return response.Header, nil
}
