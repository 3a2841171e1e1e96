package tracker

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// Header names and values as bytes in canonical form, so that fasthttp neither
// converts nor normalises them for each request.
var (
	headerCacheControl   = []byte("Cache-Control")
	headerLocation       = []byte("Location")
	headerSetCookie      = []byte("Set-Cookie")
	headerRobotsTag      = []byte("X-Robots-Tag")
	headerDNT            = []byte("Dnt")
	headerGPC            = []byte("Sec-Gpc")
	headerSecPurpose     = []byte("Sec-Purpose")
	headerPurpose        = []byte("Purpose")
	headerMoz            = []byte("X-Moz")
	headerXPurpose       = []byte("X-Purpose")
	headerReferer        = []byte("Referer")
	headerAcceptLanguage = []byte("Accept-Language")

	noStore = []byte("private, no-store")
	noIndex = []byte("noindex")
)

// visit is what one request needs besides its context; visits are pooled.
type visit struct {
	hit
	visitor  Visitor
	nonce    Identity // of the cookie
	code     []byte
	location []byte
	cookie   []byte
	event    []byte
}

// redirect answers a request for a code.
func (e *Edge) redirect(ctx *fasthttp.RequestCtx, path, query, host []byte) {
	v := e.visits.Get().(*visit)
	defer e.visits.Put(v)
	var ok bool
	if v.code, ok = appendCode(v.code[:0], path[1:]); !ok {
		e.fail(ctx, resultMalformed, fasthttp.StatusBadRequest, "malformed code\n")
		return
	}
	p := e.Links.Resolve(host, v.code)
	if p == nil {
		e.notFound(ctx)
		return
	}
	if err := e.read(v, ctx, query); err != nil {
		e.fail(ctx, resultMalformed, fasthttp.StatusBadRequest, err.Error()+"\n")
		return
	}
	if state := p.state(v.TimeMS); state != 0 {
		v.reasons |= state
		if v.reasons&GPC == 0 && e.Cookies.Find(&ctx.Request.Header, v.TimeMS, &v.visitor) {
			v.visitorID = v.visitor.ID
		}
		e.keep(v, p)
		e.unavailable(ctx, p, state)
		return
	}
	if v.reasons&GPC == 0 {
		e.attribute(v, ctx, p)
	}
	e.keep(v, p)
	v.location = p.appendLocation(v.location[:0], query, e.ClickIDs, Click{Identity: v.Identity, Link: p.number})
	if !p.index {
		ctx.Response.Header.SetCanonical(headerRobotsTag, noIndex)
	}
	sendTo(ctx, int(p.status), v.location)
	e.metrics.count(resultRedirect)
}

// appendCode appends the code that a path (without its first slash) stands for.
// It reports false for what cannot be one: a malformed escape, a control
// character, invalid UTF-8.
func appendCode(dst, path []byte) ([]byte, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) {
				return dst, false
			}
			high, low := unhex(path[i+1]), unhex(path[i+2])
			if high|low > 15 {
				return dst, false
			}
			c = high<<4 | low
			i += 2
		}
		if c < ' ' || c == 0x7f {
			return dst, false
		}
		dst = append(dst, c)
	}
	return dst, utf8.Valid(dst)
}

// read fills v with what the request says of itself. The error is a
// *FieldError, of a simulated time.
func (e *Edge) read(v *visit, ctx *fasthttp.RequestCtx, query []byte) error {
	now := ctx.Time()
	if e.Now != nil {
		now = e.Now()
	}
	header := &ctx.Request.Header
	v.hit = hit{
		scan:      hasScan(query),
		address:   e.Proxies.Client(ctx),
		userAgent: header.UserAgent(),
		query:     query,
		referer:   header.PeekCanonical(headerReferer),
		language:  header.PeekCanonical(headerAcceptLanguage),
	}
	v.nonce = e.Clock.Next(now)
	v.Identity = v.nonce
	simulated, err := simulatedTime(header, now, e.IsAdmin)
	if err != nil {
		return err
	}
	if simulated != 0 {
		v.Identity = e.simulated.Next(simulated)
		v.reasons |= Simulated
	}
	if ctx.IsHead() {
		v.reasons |= Head
	}
	if isPrefetch(header) {
		v.reasons |= Prefetch
	}
	if optedOut(header) {
		v.reasons |= GPC
	}
	return nil
}

// optedOut reports whether the visitor asks not to be tracked: DNT: 1 or
// Sec-GPC: 1.
func optedOut(h *fasthttp.RequestHeader) bool {
	return string(h.PeekCanonical(headerGPC)) == "1" || string(h.PeekCanonical(headerDNT)) == "1"
}

// isPrefetch reports whether a browser asks ahead of its user. Sec-Purpose is
// the standard (`prefetch`, `prefetch;prerender`); the others are what older
// Chromium, Firefox and Safari send.
func isPrefetch(h *fasthttp.RequestHeader) bool {
	return hasPurpose(h.PeekCanonical(headerSecPurpose)) || hasPurpose(h.PeekCanonical(headerPurpose)) ||
		hasPurpose(h.PeekCanonical(headerMoz)) || hasPurpose(h.PeekCanonical(headerXPurpose))
}

// hasPurpose looks at the first word of a header.
func hasPurpose(value []byte) bool {
	if len(value) == 0 {
		return false // fast path
	}
	if i := bytes.IndexAny(value, ";, "); i >= 0 {
		value = value[:i]
	}
	return bytes.EqualFold(value, []byte("prefetch")) || bytes.EqualFold(value, []byte("prerender")) ||
		bytes.EqualFold(value, []byte("preview"))
}

// attribute recognises the visitor, remembers the click and sets the cookie. A
// hit that is no visit gets the same cookie, but is no touch.
func (e *Edge) attribute(v *visit, ctx *fasthttp.RequestCtx, p *Prepared) {
	visitor, lifetime := &v.visitor, p.Program.CookieLifetime()
	known := e.Cookies.Find(&ctx.Request.Header, v.TimeMS, visitor)
	if lifetime <= 0 { // the programme wants no cookie
		v.visitorID = visitor.ID
		return
	}
	if !known {
		visitor.NewID()
	}
	if v.reasons.Valid() && visitor.Click(p.number, v.TimeMS, p.Program.UniqueWindow()) {
		v.reasons |= Repeat
	}
	visitor.Extend(v.TimeMS, lifetime)
	v.visitorID = visitor.ID

	b := append(v.cookie[:0], CookieName...)
	b = append(b, '=')
	b = e.Cookies.Append(b, v.nonce, visitor)
	b = append(b, "; Max-Age="...)
	b = strconv.AppendUint(b, visitor.ExpiresMS/1000-v.TimeMS/1000, 10)
	secure := 0
	if e.Proxies.Secure(ctx) {
		secure = 1
	}
	v.cookie = append(b, e.cookie[secure]...)
	ctx.Response.Header.SetCanonical(headerSetCookie, v.cookie)
}

// keep hands the hit over. When it is shed, which the sink counts too, the
// visitor is sent on nevertheless.
func (e *Edge) keep(v *visit, p *Prepared) {
	v.event = v.appendTo(v.event[:0], p)
	if _, err := e.Hits.Append(v.event, v.nonce.TimeMS); err != nil {
		e.metrics.shed.Add(1)
	}
}

// sendTo answers with a redirect that nobody keeps.
func sendTo(ctx *fasthttp.RequestCtx, status int, location []byte) {
	header := &ctx.Response.Header
	header.SetStatusCode(status)
	header.SetCanonical(headerLocation, location)
	header.SetCanonical(headerCacheControl, noStore)
	header.SetContentLength(0) // for HEAD, whose answer would not have it otherwise
}

// unavailable answers for a link that leads nowhere now.
func (e *Edge) unavailable(ctx *fasthttp.RequestCtx, p *Prepared, state Reasons) {
	switch {
	case state == Inactive:
		e.fail(ctx, resultInactive, fasthttp.StatusNotFound, "this link is not active\n")
	case state == Early:
		e.fail(ctx, resultEarly, fasthttp.StatusNotFound, "this link has not started yet\n")
	case len(p.expiredURL) > 0:
		e.metrics.count(resultExpired)
		sendTo(ctx, fasthttp.StatusFound, p.expiredURL)
	default:
		e.fail(ctx, resultExpired, fasthttp.StatusGone, "this link has expired\n")
	}
}

// notFound answers for a code that nobody made. There is no event of it: a
// flood of random codes shall cost nothing.
func (e *Edge) notFound(ctx *fasthttp.RequestCtx) {
	if e.Outdated != nil && e.Outdated() {
		ctx.Response.Header.Set("Retry-After", "1")
		e.fail(ctx, resultOutdated, fasthttp.StatusServiceUnavailable, "the links of this node are not up to date, try again\n")
		return
	}
	if len(e.notFoundURL) > 0 {
		e.metrics.count(resultNotFound)
		sendTo(ctx, fasthttp.StatusFound, e.notFoundURL)
		return
	}
	e.fail(ctx, resultNotFound, fasthttp.StatusNotFound, "not found\n")
}
