package tracker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// resolver is what the edge needs of *Links.
type resolver interface {
	Resolve(host, code []byte) *Prepared
}

// EdgeOptions are the settings of an Edge. Links, Hits, ClickIDs, Cookies and
// Clock are required.
type EdgeOptions struct {
	Links    resolver
	Hits     HitSink
	ClickIDs *ClickIDs
	Cookies  *Cookies
	Clock    *Clock

	Proxies      *TrustedProxies // nil: nobody is trusted
	CookieDomain string          // Domain of the cookie; empty: the host alone
	RootURL      string          // where / leads; empty: 404
	NotFoundURL  string          // where unknown codes lead; empty: 404

	// IsAdmin reports whether a secret is that of an admin key, which the
	// simulated time of a hit needs. Nil: there are none.
	IsAdmin func(secret []byte) bool
	// Ready gives the reasons why the node should get no traffic; nil or none:
	// it should.
	Ready func() []string
	// Notes gives what an operator should know although the node serves, for
	// /readyz: that Kafka is away, say, and since when. Nil: nothing.
	Notes func() []string

	// Outdated reports whether there may be links that the node does not know
	// yet: it started from a snapshot, and Kafka has been away since. Unknown
	// codes get 503 then, not 404. Nil: never.
	Outdated func() bool

	// What answers below /v1; nil: 404. They check the method themselves.
	EventsHandler, PostbackHandler, PixelHandler fasthttp.RequestHandler

	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: slog.Default
	Now        func() time.Time      // nil: the time of day
}

// Edge answers the public listener. Its Handle is safe for concurrent use; on
// the redirect path it neither allocates nor waits for anything but memory.
type Edge struct {
	EdgeOptions
	simulated *SimulatedClock
	routes    map[string]fasthttp.RequestHandler // by path as written
	metrics   *edgeMetrics
	visits    sync.Pool // *visit
	cookie    [2][]byte // attributes after Max-Age: plain, and for https
	server    *fasthttp.Server
	patience  patience    // with clients of Serve's connections
	closed    atomic.Bool // after Shutdown

	rootURL, notFoundURL []byte
}

// NewEdge returns the edge with these settings. The error is of a URL that is
// none.
func NewEdge(o EdgeOptions) (*Edge, error) {
	if o.Links == nil || o.Hits == nil || o.ClickIDs == nil || o.Cookies == nil || o.Clock == nil {
		panic("BUG: an edge needs links, hits, click ids, cookies and a clock")
	}
	if err := errors.Join(CheckTarget(o.RootURL), CheckTarget(o.NotFoundURL)); err != nil {
		return nil, fmt.Errorf("open the edge: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	e := &Edge{EdgeOptions: o, simulated: NewSimulatedClock(o.Clock.Node()), metrics: newEdgeMetrics(o.Registerer)}
	e.rootURL, e.notFoundURL = appendURL(nil, []byte(o.RootURL)), appendURL(nil, []byte(o.NotFoundURL))
	e.visits.New = func() any { return new(visit) }
	attributes := "; Path=/"
	if o.CookieDomain != "" {
		attributes += "; Domain=" + o.CookieDomain
	}
	attributes += "; HttpOnly; SameSite=Lax"
	e.cookie = [2][]byte{[]byte(attributes), []byte(attributes + "; Secure")}
	e.routes = map[string]fasthttp.RequestHandler{
		"/":             readOnly(e.root),
		"/healthz":      readOnly(e.healthz),
		"/readyz":       readOnly(e.readyz),
		"/robots.txt":   readOnly(e.robots),
		"/favicon.ico":  readOnly(e.favicon),
		"/v1/events":    o.EventsHandler,
		"/v1/postback":  o.PostbackHandler,
		"/v1/pixel.gif": o.PixelHandler,
	}
	e.server = newServer(e)
	e.patience = patience{idle: idleMax, request: requestReadMax, answer: responseWriteMax}
	return e, nil
}

// CheckTarget returns an error unless the target is an absolute URL, or empty.
func CheckTarget(target string) error {
	if u, err := url.Parse(target); target != "" && (err != nil || !u.IsAbs() || u.Host == "") {
		return fmt.Errorf("%q is no URL to redirect to, such as https://example.com/", target)
	}
	return nil
}

// CheckCookieDomain returns an error unless the domain is one that a cookie can
// have, or empty.
func CheckCookieDomain(domain string) error {
	if domain == "" {
		return nil
	}
	return checkDomain("cookie domain", strings.TrimPrefix(domain, "."))
}

// Handle answers one request.
func (e *Edge) Handle(ctx *fasthttp.RequestCtx) {
	// One bad request must not take the node down, whatever it found.
	defer e.rescue(ctx)
	path, query, host, ok := splitTarget(&ctx.Request.Header)
	if !ok {
		e.fail(ctx, resultMalformed, fasthttp.StatusBadRequest, "malformed request\n")
		return
	}
	if handler := e.routes[string(path)]; handler != nil {
		e.metrics.count(resultOther)
		handler(ctx)
		return
	}
	if !ctx.IsGet() && !ctx.IsHead() {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
		e.fail(ctx, resultMethod, fasthttp.StatusMethodNotAllowed, "method not allowed\n")
		return
	}
	e.redirect(ctx, path, query, host)
}

// splitTarget takes a request target apart: path and query as written, and the
// host, which an absolute target (RFC 9112, 3.2.2) has itself. A fragment has no
// place in a target; it is cut off, or it would swallow the click id.
func splitTarget(h *fasthttp.RequestHeader) (path, query, host []byte, ok bool) {
	target, host := h.RequestURI(), h.Host()
	if i := bytes.IndexByte(target, '#'); i >= 0 {
		target = target[:i]
	}
	if len(target) > 0 && target[0] != '/' {
		_, rest, absolute := bytes.Cut(target, []byte("://"))
		if !absolute {
			return nil, nil, nil, false
		}
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, nil, nil, false // RFC 9110, 4.2.1: no empty host
		}
		host, target = rest[:end], rest[end:]
	}
	path, query, _ = bytes.Cut(target, []byte{'?'})
	if len(path) == 0 { // http://host?query
		path = []byte{'/'}
	}
	return path, query, host, true
}

// rescue answers 500 where a handler panicked.
func (e *Edge) rescue(ctx *fasthttp.RequestCtx) {
	if p := recover(); p != nil {
		e.Logger.Error("a request made a handler panic", "panic", p, "stack", string(debug.Stack()))
		ctx.Response.Reset()
		e.fail(ctx, resultPanic, fasthttp.StatusInternalServerError, "internal error\n")
	}
}

// fail answers with a line of text.
func (e *Edge) fail(ctx *fasthttp.RequestCtx, r result, status int, line string) {
	e.metrics.count(r)
	answer(ctx, status, "text/plain; charset=utf-8", []byte(line))
}

// answer answers with a body that must not be kept by anybody.
func answer(ctx *fasthttp.RequestCtx, status int, contentType string, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(contentType)
	ctx.Response.Header.SetCanonical(headerCacheControl, noStore)
	ctx.Response.SetBody(body)
}

// readOnly refuses all but GET and HEAD.
func readOnly(handler fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if !ctx.IsGet() && !ctx.IsHead() {
			ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD")
			answer(ctx, fasthttp.StatusMethodNotAllowed, "text/plain; charset=utf-8", []byte("method not allowed\n"))
			return
		}
		handler(ctx)
	}
}

func (e *Edge) root(ctx *fasthttp.RequestCtx) {
	if len(e.rootURL) == 0 {
		answer(ctx, fasthttp.StatusNotFound, "text/plain; charset=utf-8", []byte("not found\n"))
		return
	}
	sendTo(ctx, fasthttp.StatusFound, e.rootURL)
}

func (e *Edge) healthz(ctx *fasthttp.RequestCtx) {
	answer(ctx, fasthttp.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (e *Edge) readyz(ctx *fasthttp.RequestCtx) {
	state := struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
		Notes   []string `json:"notes,omitempty"`
	}{Reasons: []string{}}
	if e.Ready != nil {
		state.Reasons = append(state.Reasons, e.Ready()...)
	}
	if e.Notes != nil {
		state.Notes = e.Notes()
	}
	state.Ready = len(state.Reasons) == 0
	status := fasthttp.StatusOK
	if !state.Ready {
		status = fasthttp.StatusServiceUnavailable
	}
	body, err := json.Marshal(state)
	if err != nil {
		panic("BUG: encode the readiness: " + err.Error())
	}
	answer(ctx, status, "application/json", append(body, '\n'))
}

func (e *Edge) robots(ctx *fasthttp.RequestCtx) {
	answer(ctx, fasthttp.StatusOK, "text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /\n"))
}

func (e *Edge) favicon(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent) }
