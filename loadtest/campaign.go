package loadtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"waymark/loadtest/ledger"
)

const (
	// linksMax bounds the links of a campaign, whose codes are in memory.
	linksMax = 20_000_000
	// linkBatch is the most that the admin API takes in a request.
	linkBatch = 10_000
	// linkWait is how long an edge may take to serve a new link.
	linkWait = time.Minute
)

// Campaign is what a run makes for itself: a programme that has events of nobody
// else, so that every row of it in ClickHouse must be accounted for, and links.
type Campaign struct {
	Run     string // begins every code, user, order and id
	Program string
	Links   int

	public []string // URLs of the edges, without a slash at the end
	key    string
}

// API is the admin listener.
type API struct{ URL, Key string }

// NewCampaign creates the programme and the links and waits until every edge
// serves them. public are the URLs of the edges; created is told how many links
// there are so far.
func NewCampaign(ctx context.Context, api API, public []string, links int, created func(int)) (*Campaign, error) {
	if links < 1 || links > linksMax {
		return nil, fmt.Errorf("--links must lie between 1 and %d, it is %d", linksMax, links)
	}
	// Milliseconds and a random letter or two: unique, short, and in order.
	run := strconv.FormatInt(time.Now().UnixMilli(), 36) + strings.ToLower(rand.Text()[:3])
	c := &Campaign{Run: run, Program: "loadtest-" + run, Links: links, key: api.Key}
	for _, u := range public {
		c.public = append(c.public, strings.TrimRight(u, "/"))
	}
	program := map[string]any{"currency": "EUR", "attribution_window_days": 30, "cookie_lifetime_days": 90, "unique_window_hours": 24}
	if _, err := api.call(ctx, "PUT", "/v1/programs/"+c.Program, program); err != nil {
		return nil, fmt.Errorf("create the programme of the run: %w", err)
	}
	for from := 0; from < links; from += linkBatch {
		if err := c.createLinks(ctx, api, from, min(from+linkBatch, links)); err != nil {
			return nil, fmt.Errorf("create the links of the run: %w", err)
		}
		created(min(from+linkBatch, links))
	}
	return c, nil
}

// At returns the campaign for edges at other URLs, which may be down as yet.
func (c *Campaign) At(public []string) *Campaign {
	at := *c
	at.public = nil
	for _, u := range public {
		at.public = append(at.public, strings.TrimRight(u, "/"))
	}
	return &at
}

// code is the code of a link, by its number from 0.
func (c *Campaign) code(i int) string { return c.Run + "-" + strconv.Itoa(i) }

var channels = [...]string{"link", "qr", "email", "social", "link"}

func (c *Campaign) createLinks(ctx context.Context, api API, from, to int) error {
	batch := make([]map[string]any, 0, to-from)
	for i := from; i < to; i++ {
		batch = append(batch, map[string]any{
			"code": c.code(i), "url": "https://shop.example/landing?item=" + strconv.Itoa(i), "program": c.Program,
			"campaign": "wave-" + strconv.Itoa(i%7), "channel": channels[i%len(channels)],
			"referrer":     map[string]string{"id": c.Run + "-r" + strconv.Itoa(i/3), "type": "user"},
			"referee_type": "user",
		})
	}
	body, err := api.call(ctx, "POST", "/v1/links", batch)
	if err != nil {
		return err
	}
	var answer struct {
		Created int               `json:"created"`
		Failed  []json.RawMessage `json:"failed"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	if answer.Created != len(batch) {
		return fmt.Errorf("%d of %d were made; refused were %.300s", answer.Created, len(batch), answer.Failed)
	}
	return nil
}

// call sends JSON and returns the body of an answer of 2xx.
func (a API) call(ctx context.Context, method, path string, in any) ([]byte, error) {
	encoded, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(a.URL, "/")+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.Key)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s answers %s: %.300s", a.URL, answer.Status, bytes.TrimSpace(body))
	}
	return body, err
}

// Await waits until every edge serves the last link, and with it all before it.
// To ask is to click, so the clicks go into the ledger too; w may be nil.
func (c *Campaign) Await(ctx context.Context, w *ledger.Writer) error {
	client := http.Client{Timeout: linkWait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	deadline := time.Now().Add(linkWait)
	for _, base := range c.public {
		for {
			served, err := c.ask(ctx, &client, base, w)
			if err != nil {
				return fmt.Errorf("follow a new link: %w", err)
			}
			if served {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("follow a new link: %s does not know it after %v; is it an edge of this installation?", base, linkWait)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// ask follows the last link once.
func (c *Campaign) ask(ctx context.Context, client *http.Client, base string, w *ledger.Writer) (served bool, err error) {
	code := c.code(c.Links - 1)
	request, err := http.NewRequestWithContext(ctx, "GET", base+"/"+code, nil)
	if err != nil {
		return false, err
	}
	request.Header.Set("User-Agent", browsers[0])
	entry := ledger.Entry{Kind: ledger.Click, Open: true, TimeMS: nowMS(), Event: eventClick, Method: methodGet, Code: []byte(code)}
	answer, err := client.Do(request)
	if err == nil {
		answer.Body.Close()
		if answer.StatusCode == http.StatusNotFound {
			return false, nil
		}
		entry.ClickID = clickID([]byte(answer.Header.Get("Location")))
		entry.Open, entry.Status, entry.TimeMS = false, answer.StatusCode, nowMS()
		if len(entry.ClickID) == 0 {
			return false, fmt.Errorf("%s answers %s with Location %.100q, expected a redirect with a click id", base, answer.Status, answer.Header.Get("Location"))
		}
	}
	if w == nil {
		return err == nil, err
	}
	b := w.Buffer()
	if err := b.Add(&entry); err != nil {
		return false, err
	}
	if err := b.Flush(); err != nil {
		return false, err
	}
	return err == nil, err
}

// endpoints are the edges, as connections reach them.
func (c *Campaign) endpoints() ([]endpoint, error) {
	var list []endpoint
	for _, base := range c.public {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is no address of an edge, such as 127.0.0.1:8080", base)
		}
		list = append(list, new(Targets).endpoint(u))
	}
	return list, nil
}

func nowMS() uint64 { return uint64(time.Now().UnixMilli()) }
