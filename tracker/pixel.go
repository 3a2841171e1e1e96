package tracker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"waymark/tracker/wire"
)

// pixelsMax bounds the pixels that wait for the disk at once. Anybody can call
// the pixel, and each call costs a place in a group of synced writes: when all
// are taken, further pixels are refused at once, so that a flood of them
// leaves the sink to those who have a key.
const pixelsMax = 256

// Bounds of what the pixel keeps of a request's headers, in bytes.
const (
	pixelHeaderMax   = 512
	pixelLanguageMax = 64
)

// pixelGIF is a transparent image of 1×1 pixel.
var pixelGIF = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00" +
	"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// pixelFields are the parameters of a pixel. Others are ignored: pages append
// what defeats a cache.
var pixelFields = []string{
	"event", "value", "currency", "order_id", "id", "plan", "user_id", "click_id", "channel",
}

var errPixelsBusy = errors.New("too many pixels at once, this one was dropped")

// Pixel answers GET /v1/pixel.gif, the call of a page in a visitor's browser.
// The action is the visitor's by cookie, or by a click id that the page kept,
// and it is marked unverified: whoever opens the page can call it with any
// value. The image comes with 200 even when the action is refused, so that no
// page shows a broken image; X-Waymark-Error says why.
func (a *Actions) Pixel(ctx *fasthttp.RequestCtx) {
	allowOrigin(ctx)
	switch {
	case ctx.IsOptions():
		ctx.Response.Header.Set("Access-Control-Allow-Methods", "GET")
		ctx.Response.Header.Set("Access-Control-Max-Age", "86400")
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	case ctx.IsHead(): // asks for the headers of an image and reports nothing
	case ctx.IsGet():
		if err := a.pixel(ctx); errors.Is(err, ErrUnavailable) {
			ctx.Response.Header.Set("X-Waymark-Error", ErrUnavailable.Error())
		} else if err != nil {
			a.rejected(wayPixel)
			ctx.Response.Header.Set("X-Waymark-Error", oneLine(err.Error()))
		}
	default:
		ctx.Response.Header.Set("Allow", "GET, HEAD, OPTIONS")
		writeLine(ctx, fasthttp.StatusMethodNotAllowed, "pixels are fetched with GET")
		return
	}
	ctx.SetContentType("image/gif")
	ctx.Response.Header.Set("Cache-Control", "private, no-store")
	ctx.SetBody(pixelGIF)
}

// allowOrigin lets any page read the answer and send its cookie with the
// request. The answer holds nothing about the visitor.
func allowOrigin(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Add("Vary", "Origin")
	if origin := ctx.Request.Header.Peek("Origin"); len(origin) > 0 && len(origin) <= pixelHeaderMax {
		h.SetBytesV("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "X-Waymark-Error")
	}
}

func (a *Actions) pixel(ctx *fasthttp.RequestCtx) error {
	select {
	case a.pixels <- struct{}{}:
		defer func() { <-a.pixels }()
	default:
		return errPixelsBusy
	}
	act, err := parsePixel(ctx.QueryArgs())
	if err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(context.Background(), actionLinkWait)
	defer cancel()
	src := actionSource{way: wayPixel, host: ctx.Host(), now: a.Now(), reasons: Unverified, patience: patience}
	simulated, err := simulatedTime(&ctx.Request.Header, src.now, a.Keys.IsAdmin)
	if err != nil {
		return err
	}
	if simulated != 0 {
		src.now = time.UnixMilli(int64(simulated))
		src.reasons |= Simulated
	}
	if optedOut(&ctx.Request.Header) {
		src.reasons |= GPC
	} else if v := new(Visitor); a.Cookies.Find(&ctx.Request.Header, uint64(src.now.UnixMilli()), v) {
		src.visitor, src.touches = v.ID, v.Touches()
	}
	e, err := a.event(&act, &src)
	if err != nil && a.Outdated() {
		return ErrUnavailable
	}
	if err != nil {
		return err
	}
	e.Address = a.Proxies.Client(ctx).AsSlice()
	e.UserAgent = clipText(ctx.Request.Header.UserAgent(), pixelHeaderMax)
	e.Referer = clipText(ctx.Request.Header.Referer(), pixelHeaderMax)
	e.AcceptLanguage = clipText(ctx.Request.Header.Peek("Accept-Language"), pixelLanguageMax)
	return a.store(wayPixel, []*wire.Event{e})
}

// parsePixel reads an action from query parameters. Of a parameter that is
// given twice the first counts. The error is a *FieldError.
func parsePixel(args *fasthttp.Args) (Action, error) {
	var act Action
	for _, field := range pixelFields {
		if err := act.Set(field, string(args.Peek(field))); err != nil {
			return act, err
		}
	}
	return act, nil
}

// clipText is the valid UTF-8 among the first bytesMax bytes of a header.
func clipText(header []byte, bytesMax int) string {
	return strings.ToValidUTF8(string(header[:min(len(header), bytesMax)]), "")
}
