package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what an HTTP server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// client opens a connection for each request: the servers come and go, and one
// that is kept from the last life would answer with an error.
var client = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func get(ctx context.Context, url string) (*answer, error) { return call(ctx, "GET", url, "", nil) }

// call sends a request, with a key and a JSON body if there are any.
func call(ctx context.Context, method, url, key string, in any) (*answer, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return &answer{response.StatusCode, response.Header, content}, nil
}

// metrics are the values that a process shows, each summed over its labels.
type metrics map[string]float64

// scrape reads the metrics at a URL.
func scrape(ctx context.Context, url string) (metrics, error) {
	a, err := get(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("read metrics of %s: status %d", url, a.status)
	}
	return parseMetrics(a.body), nil
}

// parseMetrics reads Prometheus' text format, as far as sums need it: name,
// labels that are left out, value.
func parseMetrics(text []byte) metrics {
	m := metrics{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, " ")
		if open := strings.IndexByte(line, '{'); open >= 0 {
			end := strings.LastIndexByte(line, '}')
			if end < open {
				continue
			}
			name, value, ok = line[:open], strings.TrimSpace(line[end+1:]), true
		}
		value, _, _ = strings.Cut(value, " ") // a time stamp may follow
		if number, err := strconv.ParseFloat(value, 64); ok && err == nil {
			m[name] += number
		}
	}
	return m
}

// need is a value that must be there.
func (m metrics) need(name string) (float64, error) {
	value, ok := m[name]
	if !ok {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return value, nil
}
