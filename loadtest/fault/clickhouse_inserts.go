package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// cutWithin is the part of an upload that CutUploads cuts in: it has to be held
// in memory, and even a large insert must be sure to be cut.
const cutWithin = 1 << 20

// Refuse answers inserts with an exception in place of carrying them out, as
// ClickHouse does when it can't take more: with status 500, and the code in a
// header. text is its message, such as "Too many parts (3000). Merges are
// processing significantly slower than inserts. (TOO_MANY_PARTS)".
func (c *ClickHouse) Refuse(code int, text string) (lift func()) {
	return c.add(func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		c.struck.Add(1)
		// Read to its end first: a client in the middle of an upload would see
		// a broken connection and never the answer.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "Code: %d. DB::Exception: %s\n", code, text)
	})
}

// Slow makes every insert wait: one before it is carried out, the next before it
// is answered, and so on.
func (c *ClickHouse) Slow(d time.Duration) (lift func()) {
	lifted := make(chan struct{})
	wait := func(r *http.Request) {
		c.struck.Add(1)
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-lifted:
		case <-r.Context().Done():
		}
	}
	var inserts atomic.Int64
	remove := c.add(func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		if inserts.Add(1)%2 == 1 {
			wait(r)
			next(w, r)
			return
		}
		next(&heldWriter{ResponseWriter: w, hold: func(int) { wait(r) }}, r)
	})
	return sync.OnceFunc(func() {
		remove()
		close(lifted)
	})
}

// LoseAnswers closes the connection in place of the answer to a share (0 to 1)
// of the inserts. They are carried out.
func (c *ClickHouse) LoseAnswers(share float64, seed uint64) (lift func()) {
	luck := newChance(share, seed)
	return c.add(func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		if !luck.hits() {
			next(w, r)
			return
		}
		c.struck.Add(1)
		next(nowhere{}, r)
		panic(http.ErrAbortHandler)
	})
}

// CutUploads cuts off a share (0 to 1) of the inserts that have a body, somewhere
// in its first megabyte and before its end: the server sees its connection end
// in mid-upload, and so does the client.
func (c *ClickHouse) CutUploads(share float64, seed uint64) (lift func()) {
	luck := newChance(share, seed)
	return c.add(func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		if r.ContentLength == 0 || !luck.hits() {
			next(w, r)
			return
		}
		c.struck.Add(1)
		start, err := io.ReadAll(io.LimitReader(r.Body, cutWithin))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if len(start) > 0 {
			start = start[:luck.below(len(start))]
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(start), failing{}))
		next(nowhere{}, r)
		panic(http.ErrAbortHandler)
	})
}

// OnInsert calls f, once, as soon as the server has the whole of an insert. The
// server's answer, should there be one already, waits until f has returned.
func (c *ClickHouse) OnInsert(f func()) (lift func()) {
	var once sync.Once
	return c.add(func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		over, sending := make(chan struct{}), false
		sent := func() {
			chosen := false
			once.Do(func() { chosen = true })
			if !chosen {
				close(over)
				return
			}
			c.struck.Add(1)
			go func() { // the transport waits for what is called from here
				defer close(over)
				f()
			}()
		}
		var ending sync.Once
		trace := &httptrace.ClientTrace{
			GetConn: func(string) { sending = true },
			WroteRequest: func(info httptrace.WroteRequestInfo) {
				if info.Err == nil {
					ending.Do(sent)
				} else {
					ending.Do(func() { close(over) })
				}
			},
		}
		hold := func(int) {
			if !sending {
				return // the answer is another fault's, and over will never close
			}
			select {
			case <-over:
			case <-r.Context().Done():
			}
		}
		next(&heldWriter{ResponseWriter: w, hold: hold}, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	})
}

// AtInsert calls f, once, for an insert into a table, named as in the query. Where
// made is set, the server has carried it out and its answer waits until f has
// returned; else the server never gets it.
func (c *ClickHouse) AtInsert(table string, made bool, f func()) (lift func()) {
	var once sync.Once
	strike := func() (struck bool) {
		once.Do(func() {
			c.struck.Add(1)
			struck = true
			f()
		})
		return struck
	}
	return c.add(func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		switch {
		case !insertsInto(r, table):
			next(w, r)
		case made:
			next(&heldWriter{ResponseWriter: w, hold: func(status int) {
				if status == http.StatusOK {
					strike()
				}
			}}, r)
		case strike():
			panic(http.ErrAbortHandler)
		default:
			next(w, r)
		}
	})
}

// heldWriter calls hold before it lets an answer begin.
type heldWriter struct {
	http.ResponseWriter
	hold func(status int)
}

func (w *heldWriter) WriteHeader(status int) {
	if status >= http.StatusOK { // what comes before is no answer
		w.hold(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush.
func (w *heldWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// nowhere takes an answer and loses it.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

// failing is where an upload is cut: the transport then closes the connection.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

var errCut = errors.New("cut by a fault")
