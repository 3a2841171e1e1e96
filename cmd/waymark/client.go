package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// adminFlags say where the admin API is and which key opens it.
type adminFlags struct {
	Data  string `help:"Directory of a local installation, whose admin key is used unless WAYMARK_ADMIN_KEY is set." default:"waymark-data" type:"path"`
	Admin string `help:"Address of the admin API." default:"127.0.0.1:8081"`
}

// apiClient calls the admin API as any program of a customer would.
type apiClient struct {
	base, key string
	http      http.Client
}

func (f *adminFlags) client() (*apiClient, error) {
	key, err := dataDir(f.Data).adminKey(false)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, fmt.Errorf("find an admin key: there is none in %s; name the directory of the installation with --data, or set WAYMARK_ADMIN_KEY", f.Data)
	}
	base := f.Admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return &apiClient{base: strings.TrimRight(base, "/"), key: key, http: http.Client{Timeout: 2 * time.Minute}}, nil
}

// isLocal reports whether the installation is on this machine.
func (c *apiClient) isLocal() bool {
	base, err := url.Parse(c.base)
	if err != nil {
		return false
	}
	ip, _ := netip.ParseAddr(base.Hostname())
	return base.Hostname() == "localhost" || ip.IsLoopback()
}

// problem is an RFC 9457 answer.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
}

func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Field != "" && !strings.HasPrefix(text, p.Field) {
		text = p.Field + ": " + text
	}
	return text
}

// call sends a request and decodes the answer into out, unless that is nil. An
// answer outside 2xx becomes a *problem.
func (c *apiClient) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("make a request to %s: %w", c.base, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the admin API: %w; is `waymark up` running, and is --admin its address?", err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		failure := &problem{Status: response.StatusCode, Title: response.Status}
		if content, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)); json.Unmarshal(content, failure) != nil && len(content) > 0 {
			failure.Detail = strings.TrimSpace(string(content))
		}
		if response.StatusCode == http.StatusUnauthorized {
			return fmt.Errorf("%s does not know the key; name the directory of its installation with --data, or set WAYMARK_ADMIN_KEY", c.base)
		}
		return failure
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("decode the answer to %s %s: %w", method, path, err)
	}
	return nil
}

const (
	listLimit   = "1000"   // rows of a page, the most that the API gives
	reportLimit = "100000" // rows of a report, which has one page
)

// listAll yields what a list of the admin API has, page after page, or the
// error that ends it. member is how a page names its rows; filters that are
// empty are left out, since to ask for the state "" is a mistake.
func listAll[Row any](ctx context.Context, client *apiClient, path, member string, filters url.Values) iter.Seq2[Row, error] {
	query := url.Values{"limit": {listLimit}}
	for name, values := range filters {
		if values[0] != "" {
			query[name] = values
		}
	}
	return func(yield func(Row, error) bool) {
		var none Row
		for {
			var page map[string]json.RawMessage
			if err := client.call(ctx, "GET", path+"?"+query.Encode(), nil, &page); err != nil {
				yield(none, err)
				return
			}
			var rows []Row
			var cursor string
			if err := errors.Join(decodeMember(page, member, &rows), decodeMember(page, "cursor", &cursor)); err != nil {
				yield(none, fmt.Errorf("decode the answer to GET %s: %w", path, err))
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if cursor == "" {
				return
			}
			query.Set("cursor", cursor)
		}
	}
}

// decodeMember decodes one member of an answer; where it is absent, to stays.
func decodeMember(answer map[string]json.RawMessage, name string, to any) error {
	if len(answer[name]) == 0 {
		return nil
	}
	return json.Unmarshal(answer[name], to)
}
