package tracker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Limits of the public listener.
const (
	// requestHeadBytesMax bounds request line and headers together; more is 431.
	requestHeadBytesMax = 16 << 10
	// requestReadMax is the time to send a whole request, from its first byte:
	// what is slower than that holds a connection hostage.
	requestReadMax = 10 * time.Second
	// actionReadMax is the same for a request that brings a batch of actions.
	actionReadMax = time.Minute
	// plainBodyBytesMax bounds the bodies of requests that need none.
	plainBodyBytesMax = 64 << 10
	// actionBodyBytesMax is a little above what POST /v1/events accepts, so
	// that its own answer is the one that is seen.
	actionBodyBytesMax = ActionBodyMax + 1<<10
	responseWriteMax   = 10 * time.Second
	idleMax            = 75 * time.Second
)

// newServer returns the server of the public listener. It has no timeouts of its
// own: Serve gives it connections that have, see impatientConn.
func newServer(e *Edge) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      e.serve,
		HeaderReceived:               limitsOf,
		ErrorHandler:                 e.refuse,
		ReadBufferSize:               requestHeadBytesMax,
		WriteBufferSize:              4 << 10,
		MaxRequestBodySize:           plainBodyBytesMax,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		Logger:                       serverLogger{e.Logger},
	}
}

// limitsOf gives the one request that may be large the room and time it needs.
func limitsOf(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if h.IsPost() && isEvents(h.RequestURI()) {
		return fasthttp.RequestConfig{ReadTimeout: actionReadMax, MaxRequestBodySize: actionBodyBytesMax}
	}
	return fasthttp.RequestConfig{}
}

// isEvents reports whether a request line is about actions.
func isEvents(uri []byte) bool { return bytes.HasPrefix(uri, []byte("/v1/events")) }

// Serve answers the connections of a listener until Shutdown is called.
func (e *Edge) Serve(listener net.Listener) error {
	clock, stop := newCoarseClock(), make(chan struct{})
	go clock.run(stop)
	defer close(stop)
	if err := e.server.Serve(impatientListener{listener, clock, &e.patience}); err != nil {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting connections and waits until the requests at work are
// answered, at most until the context ends. What comes after it has returned is
// answered 503; what was still at work when the context ended may yet hand over
// its hit.
func (e *Edge) Shutdown(ctx context.Context) error {
	err := e.server.ShutdownWithContext(ctx)
	e.closed.Store(true) // fasthttp goes on with connections that outlived the context
	if err != nil {
		return fmt.Errorf("shut the public listener down: %w", err)
	}
	return nil
}

// serve is Handle until the edge is shut down.
func (e *Edge) serve(ctx *fasthttp.RequestCtx) {
	if e.closed.Load() {
		ctx.SetConnectionClose()
		answer(ctx, fasthttp.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("shutting down\n"))
		return
	}
	// RFC 9112, 6.3: a message with both lengths may be an attempt to smuggle
	// another one in. fasthttp keeps no trace of the first, so no connection
	// outlives a chunked body.
	if ctx.Request.Header.ContentLength() == -1 {
		ctx.SetConnectionClose()
	}
	e.Handle(ctx)
}

// refuse answers what is no HTTP request, or too large or slow to be read.
func (e *Edge) refuse(ctx *fasthttp.RequestCtx, err error) {
	status, line := fasthttp.StatusBadRequest, "malformed request\n"
	var netErr net.Error
	var tooLarge *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &tooLarge):
		status, line = fasthttp.StatusRequestHeaderFieldsTooLarge, "request line and headers are too large\n"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status, line = fasthttp.StatusRequestEntityTooLarge, "the body is too large\n"
	case errors.As(err, &netErr) && netErr.Timeout():
		status, line = fasthttp.StatusRequestTimeout, "the request took too long\n"
	}
	if isEvents(ctx.RequestURI()) { // like every other error there
		e.metrics.count(resultMalformed)
		writeProblem(ctx, status, strings.TrimSuffix(line, "\n"))
		return
	}
	e.fail(ctx, resultMalformed, status, line)
}

// serverLogger passes what fasthttp has to say on. It is about single
// connections, which clients break all the time.
type serverLogger struct{ *slog.Logger }

func (l serverLogger) Printf(format string, args ...any) {
	l.Debug("public listener: " + fmt.Sprintf(format, args...))
}
