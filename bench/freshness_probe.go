package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// probeEvery is how often the report is asked, and so how exact a time is.
const probeEvery = 50 * time.Millisecond

// probes are links on which nobody else clicks: a click is in the report when
// the count of its link says so.
type probes struct {
	up    *installation
	links []probe
}

type probe struct {
	clicks   int // answered so far
	seen     int // of them in the report
	answered time.Time
}

const probeProgram = "freshness"

func newProbes(ctx context.Context, up *installation, n int) (*probes, error) {
	if _, err := up.call(ctx, "PUT", up.admin+"/v1/programs/"+probeProgram, `{}`); err != nil {
		return nil, fmt.Errorf("create the programme of the probes: %w", err)
	}
	var links []string
	for i := range n {
		links = append(links, fmt.Sprintf(`{"code":"probe-%d","url":"https://shop.example/","program":"%s"}`, i, probeProgram))
	}
	if _, err := up.call(ctx, "POST", up.admin+"/v1/links", "["+strings.Join(links, ",")+"]"); err != nil {
		return nil, fmt.Errorf("create the links of the probes: %w", err)
	}
	return &probes{up: up, links: make([]probe, n)}, nil
}

// run clicks on each link again as soon as the report has seen its last click,
// until ctx ends. It returns the seconds that each took, those of clicks that
// were never seen in time included, as long as they were waited for.
func (p *probes) run(ctx context.Context) ([]float64, error) {
	var seconds []float64
	for ctx.Err() == nil {
		for i := range p.links {
			if p.links[i].seen == p.links[i].clicks {
				if err := p.click(ctx, i); err != nil && ctx.Err() == nil {
					return nil, err
				}
			}
		}
		wait := time.NewTimer(probeEvery)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		took, err := p.look(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		seconds = append(seconds, took...)
	}
	for _, link := range p.links {
		if waited := time.Since(link.answered).Seconds(); link.seen < link.clicks && waited > quantile(seconds, 0.5) {
			seconds = append(seconds, waited)
		}
	}
	return seconds, nil
}

// drain waits until the report has seen every click.
func (p *probes) drain(ctx context.Context) error {
	return eventually(ctx, func() error {
		if _, err := p.look(ctx); err != nil {
			return err
		}
		for i, link := range p.links {
			if link.seen < link.clicks {
				return fmt.Errorf("the report shows %d of %d clicks on probe-%d", link.seen, link.clicks, i)
			}
		}
		return nil
	})
}

func (p *probes) click(ctx context.Context, i int) error {
	request, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/probe-%d", p.up.public, i), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", trafficBrowsers[0])
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("click on a probe: %w", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusFound {
		return fmt.Errorf("click on a probe: %s", response.Status)
	}
	p.links[i].clicks, p.links[i].answered = p.links[i].clicks+1, time.Now()
	return nil
}

// look asks the report and returns how long the clicks took that are new in it.
func (p *probes) look(ctx context.Context) ([]float64, error) {
	answer, err := p.up.call(ctx, "GET", p.up.admin+"/v1/reports/clicks?by=link&hits=gross&limit=1000&program="+probeProgram, "")
	if err != nil {
		return nil, fmt.Errorf("ask for the report: %w", err)
	}
	now := time.Now()
	var report struct {
		Rows []struct {
			Key    string `json:"key"`
			Clicks int    `json:"clicks"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(answer, &report); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	var took []float64
	for _, row := range report.Rows {
		var i int
		if _, err := fmt.Sscanf(row.Key, "probe-%d", &i); err != nil || i < 0 || i >= len(p.links) {
			return nil, fmt.Errorf("read the report: it has a row for %q", row.Key)
		}
		link := &p.links[i]
		if row.Clicks > link.clicks {
			return nil, fmt.Errorf("the report counts %d clicks on %s, %d were answered", row.Clicks, row.Key, link.clicks)
		}
		if row.Clicks > link.seen {
			link.seen = row.Clicks
			took = append(took, now.Sub(link.answered).Seconds())
		}
	}
	return took, nil
}

// call makes a request with the admin key; an answer that is no success is an
// error.
func (up *installation) call(ctx context.Context, method, url, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+up.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, errors.New(response.Status + ": " + string(answer[:min(len(answer), 500)]))
	}
	return answer, nil
}

// quantile of values in any order, the nearest rank; 0 for none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}
