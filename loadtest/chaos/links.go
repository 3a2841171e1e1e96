package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"waymark/loadtest/ledger"
)

// linkWriter creates and changes links while a round lasts. What the admin has
// acknowledged must be what every edge serves in the end.
type linkWriter struct {
	*round
	run   string
	book  *ledger.Writer
	links []*writtenLink
}

// writtenLink is a link and the versions of its destination.
type writtenLink struct {
	code      string
	confirmed int  // the last version that was acknowledged, from 1; 0: not even created
	tried     int  // the last version that was asked for
	settled   bool // no answer is missing
}

const (
	linkEvery   = 50 * time.Millisecond
	linksOpened = 8 // the latest, which are still changed
)

func newLinkWriter(r *round, run string, book *ledger.Writer) *linkWriter {
	return &linkWriter{round: r, run: run, book: book}
}

// work writes until the context ends.
func (w *linkWriter) work(ctx context.Context) {
	for n := 0; pause(ctx, linkEvery) == nil; n++ {
		if n%2 == 0 || len(w.links) == 0 {
			l := &writtenLink{code: fmt.Sprintf("chaos-%s-%d", w.run, n), tried: 1, settled: true}
			w.links = append(w.links, l)
			w.write(ctx, l, "POST", "/v1/links", map[string]any{"code": l.code, "url": destination(1)}, http.StatusCreated)
			continue
		}
		latest := w.links[max(0, len(w.links)-linksOpened):]
		l := latest[n/2%len(latest)]
		// After an answer that is missing, the change may still come: what it then
		// says would depend on the order of the two.
		if l.settled && l.confirmed > 0 {
			l.tried++
			w.write(ctx, l, "PATCH", "/v1/links/"+l.code, map[string]any{"url": destination(l.tried)}, http.StatusOK)
		}
	}
}

func destination(version int) string { return fmt.Sprintf("https://shop.example/?version=%d", version) }

func (w *linkWriter) write(ctx context.Context, l *writtenLink, method, path string, in any, want int) {
	a, err := call(ctx, method, w.adminURL+path, w.key, in)
	if err != nil || a.status != want {
		l.settled = false
		return
	}
	l.confirmed = l.tried
}

// check follows every link on every edge.
func (w *linkWriter) check(ctx context.Context) error {
	for _, e := range w.edges {
		for _, l := range w.links {
			if l.confirmed == 0 {
				continue
			}
			if err := await(ctx, "a link on "+e.name, 10*time.Second, func(ctx context.Context) error { return w.follow(ctx, e, l) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *linkWriter) follow(ctx context.Context, e *edge, l *writtenLink) error {
	a, err := get(ctx, "http://"+e.listens[e.current]+"/"+l.code)
	if err != nil {
		return err
	}
	location, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return fmt.Errorf("%s leads to an address that is none: %w", l.code, err)
	}
	version := 0
	fmt.Sscan(location.Query().Get("version"), &version)
	if a.status != http.StatusFound || version < l.confirmed || version > l.tried {
		return fmt.Errorf("%s answers %s with status %d and version %d; version %d was acknowledged, %d asked for", e.name, l.code, a.status, version, l.confirmed, l.tried)
	}
	return nil
}
