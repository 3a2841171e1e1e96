package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
)

const (
	demoBrowsers  = 16  // journeys under way at once
	demoBatch     = 500 // actions in one request
	demoLinkBatch = 1000
)

// driver sends a world's journeys to the public endpoints, as browsers and a
// customer's back end would.
type driver struct {
	edge, key string
	program   string // named in every action; "" lets Waymark find it out
	admin     *apiClient
	client    fasthttp.Client
	progress  func(steps int)
}

// demoAction is an action as it is posted.
type demoAction struct {
	ID         string            `json:"id"`
	Event      string            `json:"event"`
	Time       string            `json:"time"`
	Program    string            `json:"program,omitempty"`
	ClickID    string            `json:"click_id,omitempty"`
	UserID     string            `json:"user_id,omitempty"`
	Code       string            `json:"code,omitempty"`
	OrderID    string            `json:"order_id,omitempty"`
	Value      string            `json:"value,omitempty"`
	Currency   string            `json:"currency,omitempty"`
	Plan       string            `json:"plan,omitempty"`
	Channel    string            `json:"channel,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

func formatMS(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

func cents(n int64) string { return fmt.Sprintf("%d.%02d", n/100, n%100) }

// drive creates the links, then sends invitations and journeys.
func (d *driver) drive(ctx context.Context, w *world) error {
	if err := d.createLinks(ctx, w); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	actions := make(chan demoAction, demoBatch)
	group.Go(func() error { return d.sendActions(ctx, actions) })
	group.Go(func() error {
		defer close(actions)
		senders, ctx := errgroup.WithContext(ctx)
		senders.SetLimit(demoBrowsers)
		senders.Go(func() error { return sendInvitations(ctx, w, actions) })
		senders.Go(func() error {
			for _, report := range w.reports {
				if err := send(ctx, actions, report); err != nil {
					return err
				}
			}
			return nil
		})
		for _, j := range w.journeys {
			if ctx.Err() != nil {
				break
			}
			senders.Go(func() error { return d.travel(ctx, j, actions) })
		}
		return senders.Wait()
	})
	return group.Wait()
}

func (d *driver) createLinks(ctx context.Context, w *world) error {
	for start := 0; start < len(w.links); start += demoLinkBatch {
		batch := make([]map[string]any, 0, demoLinkBatch)
		for _, link := range w.links[start:min(start+demoLinkBatch, len(w.links))] {
			entry := map[string]any{
				"code": link.code, "url": "https://shop.example/landing", "program": w.program, "campaign": cmp.Or(link.campaign, w.campaign), "channel": link.channel,
				"referee_type": link.refereeType, "tags": append([]string{}, link.tags...),
			}
			if link.referrer != "" {
				entry["referrer"] = map[string]string{"id": link.referrer, "type": link.referrerType}
			}
			batch = append(batch, entry)
		}
		var answer struct {
			Created int               `json:"created"`
			Failed  []json.RawMessage `json:"failed"`
		}
		if err := d.admin.call(ctx, "POST", "/v1/links", batch, &answer); err != nil {
			return fmt.Errorf("create the links of the simulation: %w", err)
		}
		if answer.Created != len(batch) {
			return fmt.Errorf("create the links of the simulation: %d of %d were refused, the first because of %s", len(answer.Failed), len(batch), answer.Failed[0])
		}
		d.progress(len(batch))
	}
	return nil
}

func sendInvitations(ctx context.Context, w *world, actions chan<- demoAction) error {
	for _, link := range w.links {
		for i, at := range link.invitations {
			invitation := demoAction{ID: fmt.Sprintf("%s-i%d", link.code, i), Event: "invite", Time: formatMS(at), Code: link.code}
			if err := send(ctx, actions, invitation); err != nil {
				return err
			}
		}
	}
	return nil
}

func send(ctx context.Context, actions chan<- demoAction, action demoAction) error {
	select {
	case actions <- action:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// travel follows the link as often as the journey says, with one browser's
// cookie, and reports what the user then does: the first by the click
// id, the rest by the user's id. Journeys of others in that browser follow.
func (d *driver) travel(ctx context.Context, j *journey, actions chan<- demoAction) error {
	cookie := ""
	for _, j := range append([]*journey{j}, j.after...) {
		clickID := ""
		for _, hit := range j.hits {
			var err error
			if cookie, clickID, err = d.follow(j, hit, cookie); err != nil {
				return err
			}
			d.progress(1)
		}
		for i, action := range j.actions {
			post := action.post(d.program, j.user, i)
			switch {
			case i > 0:
			case clickID != "":
				post.ClickID = clickID
			default: // who came without a click told the code, on the phone or to another system
				post.Code = j.link.code
			}
			if err := send(ctx, actions, post); err != nil {
				return err
			}
		}
	}
	return nil
}

// post is the i-th action of a user as it is posted.
func (a *worldAction) post(program, user string, i int) demoAction {
	post := demoAction{
		ID: fmt.Sprintf("%s-%d", user, i), Event: a.event, Time: formatMS(a.at), Program: program, UserID: user, Plan: a.plan, Properties: a.properties,
	}
	if a.cents > 0 {
		post.OrderID, post.Value = cmp.Or(a.order, post.ID), cents(a.cents)
		if program == "" {
			post.Currency = "EUR"
		}
	}
	return post
}

// follow requests the link once and returns the cookie and the click id of the
// answer.
func (d *driver) follow(j *journey, hit worldHit, cookie string) (newCookie, clickID string, err error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	target := d.edge + "/" + j.link.code
	if hit.scan {
		target += "?qr=1"
	}
	if hit.content != "" {
		target += "?utm_content=" + url.QueryEscape(hit.content)
	}
	request.SetRequestURI(target)
	request.Header.SetUserAgent(j.userAgent)
	request.Header.Set("Authorization", "Bearer "+d.key)
	request.Header.Set("X-Waymark-Time", formatMS(hit.at))
	if j.address != "" {
		request.Header.Set("X-Forwarded-For", j.address)
	}
	if hit.prefetch {
		request.Header.Set("Sec-Purpose", "prefetch")
	}
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	if err := d.client.DoTimeout(request, response, 30*time.Second); err != nil {
		return "", "", fmt.Errorf("follow %s: %w", target, err)
	}
	location, err := url.Parse(string(response.Header.Peek("Location")))
	if response.StatusCode() != fasthttp.StatusFound || err != nil {
		return "", "", fmt.Errorf("follow %s: the answer is %d with Location %q, expected a redirect", target, response.StatusCode(), response.Header.Peek("Location"))
	}
	if set := response.Header.Peek("Set-Cookie"); len(set) > 0 {
		cookie, _, _ = strings.Cut(string(set), ";")
	}
	return cookie, location.Query().Get("wm_click"), nil
}

// sendActions posts actions in batches until the channel is closed.
func (d *driver) sendActions(ctx context.Context, actions <-chan demoAction) error {
	batch := make([]demoAction, 0, demoBatch)
	for action := range actions {
		if batch = append(batch, action); len(batch) == demoBatch {
			if err := d.post(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	return d.post(ctx, batch)
}

func (d *driver) post(ctx context.Context, batch []demoAction) error {
	body, err := json.Marshal(batch)
	if err != nil {
		return fmt.Errorf("encode actions: %w", err)
	}
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.SetRequestURI(d.edge + "/v1/events")
	request.Header.SetMethod("POST")
	request.Header.Set("Authorization", "Bearer "+d.key)
	request.Header.SetContentType("application/json")
	request.SetBodyRaw(body)
	if err := d.client.DoTimeout(request, response, 30*time.Second); err != nil {
		return fmt.Errorf("post %d actions: %w", len(batch), err)
	}
	var answer struct {
		Accepted int               `json:"accepted"`
		Rejected []json.RawMessage `json:"rejected"`
	}
	err = json.NewDecoder(bytes.NewReader(response.Body())).Decode(&answer)
	if response.StatusCode() != fasthttp.StatusAccepted || err != nil || answer.Accepted != len(batch) {
		return fmt.Errorf("post %d actions: the answer is %d %.300s", len(batch), response.StatusCode(), response.Body())
	}
	d.progress(len(batch))
	return ctx.Err()
}
