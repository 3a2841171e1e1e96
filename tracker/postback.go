package tracker

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"waymark/tracker/wire"
)

// postbackFields are the parameters of a postback and the fields they fill. An
// affiliate network appends parameters of its own that nobody can switch off,
// so unlike in JSON, any other parameter is ignored.
var postbackFields = []struct{ param, field string }{
	{"id", "id"}, {"event", "event"}, {"time", "time"}, {"program", "program"}, {"click_id", "click_id"},
	{"visitor_id", "visitor_id"}, {"user_id", "user_id"}, {"code", "code"},
	{"referrer_id", "referrer.id"}, {"referrer_type", "referrer.type"}, {"order_id", "order_id"},
	{"value", "value"}, {"currency", "currency"}, {"plan", "plan"}, {"channel", "channel"},
}

// Postback answers GET and POST /v1/postback, the call of an affiliate
// network's server: 200 "ok", or one line of text that names the parameter at
// fault. The key stands in the parameter key, since networks send no headers;
// it ends up in their logs, so it should be of role event.
func (a *Actions) Postback(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsPost() {
		ctx.Response.Header.Set("Allow", "GET, POST")
		writeLine(ctx, fasthttp.StatusMethodNotAllowed, "postbacks are sent with GET or POST")
		return
	}
	args := ctx.QueryArgs()
	if ctx.IsPost() {
		for name, value := range ctx.PostArgs().All() {
			args.AddBytesKV(name, value) // after the query's, which count first
		}
	}
	status, line := a.postback(args, ctx.Host())
	switch status {
	case fasthttp.StatusServiceUnavailable:
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(actionRetryAfter))
	case fasthttp.StatusOK:
	default:
		a.rejected(wayPostback)
	}
	writeLine(ctx, status, line)
}

func (a *Actions) postback(args *fasthttp.Args, host []byte) (status int, line string) {
	key, ok := a.Keys.Check(args.Peek("key"))
	if !ok && a.Outdated() {
		return fasthttp.StatusServiceUnavailable, outdatedLine
	}
	if !ok {
		return fasthttp.StatusUnauthorized, "key: must be an API key of role event"
	}
	if !mayReport(key) {
		return fasthttp.StatusForbidden, "key: may only read; use one of role event"
	}
	act, err := parsePostback(args)
	if err != nil {
		return fasthttp.StatusBadRequest, err.Error()
	}
	patience, cancel := context.WithTimeout(context.Background(), actionLinkWait)
	defer cancel()
	e, err := a.event(&act, &actionSource{way: wayPostback, key: key, host: host, now: a.Now(), patience: patience})
	if err != nil && a.Outdated() {
		return fasthttp.StatusServiceUnavailable, outdatedLine
	}
	if err != nil {
		return fasthttp.StatusBadRequest, err.Error()
	}
	if err := a.store(wayPostback, []*wire.Event{e}); err != nil {
		return fasthttp.StatusServiceUnavailable, "the action could not be stored safely; send it again"
	}
	return fasthttp.StatusOK, "ok"
}

// parsePostback reads an action from query parameters. Of a parameter that is
// given twice the first counts. The error is a *FieldError.
func parsePostback(args *fasthttp.Args) (Action, error) {
	var act Action
	for _, p := range postbackFields {
		if err := act.Set(p.field, string(args.Peek(p.param))); err != nil {
			if fault, ok := errors.AsType[*FieldError](err); ok {
				fault.Field = p.param
			}
			return act, err
		}
	}
	return act, nil
}

// writeLine answers with one line of text, whatever the text holds.
func writeLine(ctx *fasthttp.RequestCtx, status int, line string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetBodyString(oneLine(line))
}

// oneLine replaces what would end a line or a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
