package tracker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"

	"waymark/tracker/wire"
)

// The ways that an action can come.
const (
	wayEvents   = "events"
	wayPostback = "postback"
	wayPixel    = "pixel"
)

// ActionBodyMax is the largest body of POST /v1/events in bytes, also after
// decompression. The server that calls Events must allow as much.
const ActionBodyMax = 8 << 20

// actionRetryAfter is the Retry-After in seconds of an answer 503.
const actionRetryAfter = 2

// eventsAnswer is the body of an answer 202.
type eventsAnswer struct {
	Accepted int             `json:"accepted"`
	Rejected []rejectedEvent `json:"rejected"`
}

type rejectedEvent struct {
	Index  int    `json:"index"` // of the item in the request, from 0
	Field  string `json:"field"` // "" when the item as a whole is at fault
	Detail string `json:"detail"`
}

// Events answers POST /v1/events. It accepts one action, an array, or one a
// line, and keeps the good ones of a batch when others are bad.
func (a *Actions) Events(ctx *fasthttp.RequestCtx) {
	if !ctx.IsPost() {
		ctx.Response.Header.Set("Allow", "POST")
		writeProblem(ctx, fasthttp.StatusMethodNotAllowed, "actions are sent with POST")
		return
	}
	key, ok := a.Keys.Check(Bearer(ctx.Request.Header.Peek("Authorization")))
	if !ok && a.Outdated() {
		writeOutdated(ctx)
		return
	}
	if !ok {
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="waymark"`)
		writeProblem(ctx, fasthttp.StatusUnauthorized, "send an API key of role event or admin as Authorization: Bearer")
		return
	}
	if !mayReport(key) {
		writeProblem(ctx, fasthttp.StatusForbidden, "this API key may only read; use one of role event or admin")
		return
	}
	body, status, err := actionBody(&ctx.Request)
	if err != nil {
		writeProblem(ctx, status, err.Error())
		return
	}
	items, err := splitActions(body)
	if errors.Is(err, errTooManyItems) {
		writeProblem(ctx, fasthttp.StatusRequestEntityTooLarge, err.Error())
		return
	}
	if err != nil {
		writeProblem(ctx, fasthttp.StatusBadRequest, err.Error())
		return
	}
	events, answer := a.eventsOf(items, key, ctx.Host())
	if len(answer.Rejected) > 0 && a.Outdated() {
		writeOutdated(ctx)
		return
	}
	if err := a.store(wayEvents, events); err != nil {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(actionRetryAfter))
		writeProblem(ctx, fasthttp.StatusServiceUnavailable, "the actions could not be stored safely; send them again")
		return
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		panic("BUG: encode the answer to a batch of actions: " + err.Error())
	}
	ctx.SetStatusCode(fasthttp.StatusAccepted)
	ctx.SetContentType("application/json")
	ctx.SetBody(encoded)
}

func writeOutdated(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Retry-After", strconv.Itoa(actionRetryAfter))
	writeProblem(ctx, fasthttp.StatusServiceUnavailable, outdatedLine)
}

const outdatedLine = "the links and keys of this node are not up to date, nothing was kept; send it again"

// eventsOf reads the items of a batch: the events of the good ones, and the
// answer that will be true once those are stored.
func (a *Actions) eventsOf(items []json.RawMessage, key *APIKey, host []byte) ([]*wire.Event, eventsAnswer) {
	patience, cancel := context.WithTimeout(context.Background(), actionLinkWait)
	defer cancel()
	src := actionSource{way: wayEvents, key: key, host: host, now: a.Now(), patience: patience}
	answer := eventsAnswer{Rejected: []rejectedEvent{}}
	events := make([]*wire.Event, 0, len(items))
	for i, item := range items {
		act, err := ParseAction(item)
		var e *wire.Event
		if err == nil {
			e, err = a.event(&act, &src)
		}
		if err != nil {
			rejected := rejectedEvent{Index: i, Detail: err.Error()}
			if fault, ok := errors.AsType[*FieldError](err); ok {
				rejected.Field, rejected.Detail = fault.Field, fault.Detail
			}
			answer.Rejected = append(answer.Rejected, rejected)
			a.rejected(wayEvents)
			continue
		}
		events = append(events, e)
	}
	answer.Accepted = len(events)
	return events, answer
}

// actionBody is the body as it was before compression. The status goes with
// the error.
func actionBody(req *fasthttp.Request) (body []byte, status int, err error) {
	switch encoding := string(bytes.ToLower(bytes.TrimSpace(req.Header.ContentEncoding()))); encoding {
	case "", "identity":
		body = req.Body()
		if len(body) > ActionBodyMax {
			return nil, fasthttp.StatusRequestEntityTooLarge, errActionBodyTooLarge
		}
		return body, 0, nil
	case "gzip", "x-gzip":
		body, err = req.BodyGunzipWithLimit(ActionBodyMax)
		if errors.Is(err, fasthttp.ErrBodyTooLarge) {
			return nil, fasthttp.StatusRequestEntityTooLarge, errActionBodyTooLarge
		}
		if err != nil {
			return nil, fasthttp.StatusBadRequest, errors.New("the body is no gzip, though Content-Encoding says so")
		}
		return body, 0, nil
	default:
		return nil, fasthttp.StatusUnsupportedMediaType, errors.New("the body may be sent as it is or with Content-Encoding: gzip")
	}
}

var errActionBodyTooLarge = errors.New("the body is larger than 8 MiB: split it")

// mayReport reports whether a key is good for actions.
func mayReport(key *APIKey) bool { return key.Role == RoleEvent || key.Role == RoleAdmin }

// writeProblem answers with problem details (RFC 9457).
func writeProblem(ctx *fasthttp.RequestCtx, status int, detail string) {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", fasthttp.StatusMessage(status), status, detail})
	if err != nil {
		panic("BUG: encode problem details: " + err.Error())
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/problem+json")
	ctx.SetBody(body)
}
