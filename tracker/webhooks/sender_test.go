package webhooks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// desk is what Kafka, ingest and ClickHouse are together: changes, and which of
// them the log has as delivered. Its log may lag.
type desk struct {
	mu      sync.Mutex
	changes []Change
	logged  map[string]bool
	lag     []string // delivered, and not visible yet
}

func (d *desk) Append(_ context.Context, payloads ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, payload := range payloads {
		var event wire.Event
		if err := event.UnmarshalVT(payload); err != nil {
			return err
		}
		if event.Event != tracker.EventAuditEntry || event.Properties["action"] != ActionDelivered {
			return fmt.Errorf("no delivery: %v", &event)
		}
		d.lag = append(d.lag, event.Id)
	}
	return nil
}

// PendingChanges shows deliveries one call late.
func (d *desk) PendingChanges(_ context.Context, _, hook string, _ []string, limit int) ([]Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var pending []Change
	for _, c := range d.changes {
		if !d.logged[hook+"/"+c.ID] && len(pending) < limit {
			pending = append(pending, c)
		}
	}
	for _, id := range d.lag {
		d.logged[id] = true
	}
	d.lag = nil
	return pending, nil
}

// receiver takes what is signed well, and answers what it is told to.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []string
	answer func(n int, c Change) int
	calls  int
	t      *testing.T
}

const secret = "nobody can guess this"

func newReceiver(t *testing.T, answer func(n int, c Change) int) *receiver {
	r := &receiver{answer: answer, t: t}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	seconds, sum, _ := strings.Cut(strings.TrimPrefix(q.Header.Get("Waymark-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "." + string(body)))
	var c Change
	if err := json.Unmarshal(body, &c); err != nil || hex.EncodeToString(mac.Sum(nil)) != sum || q.Header.Get("Waymark-Event-Id") != c.ID {
		r.t.Errorf("a request with signature %q, body %s, %v", q.Header.Get("Waymark-Signature"), body, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.answer(r.calls, c)
	r.calls++
	if status < 300 {
		r.got = append(r.got, c.ID)
	}
	w.WriteHeader(status)
}

func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func changes(ids ...string) (all []Change) {
	for _, id := range ids { // the referral, then its number
		all = append(all, Change{ID: id, Event: "referral.accepted", Program: "p", Referrer: "s", Referee: id[:1], Time: time.Unix(1, 0).UTC()})
	}
	return all
}

func start(t *testing.T, d *desk, url string) (stop func()) {
	p := tracker.NewProgram("p")
	p.Webhooks = []tracker.Webhook{{URL: url, Secret: secret}}
	s := New(Options{Store: d, Sink: d, Programs: func() []tracker.Program { return []tracker.Program{p} }, Interval: time.Millisecond, Backoff: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (r *receiver) wait(n int) []string {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if got := r.taken(); len(got) >= n {
			return got
		} else if time.Now().After(deadline) {
			r.t.Fatalf("got %v", got)
		}
	}
}

func newDesk(ids ...string) *desk { return &desk{changes: changes(ids...), logged: map[string]bool{}} }

// A receiver that is down at first gets everything once, in order.
func TestSendAfterFailures(t *testing.T) {
	d := newDesk("a1", "b1", "a2", "c1", "b2", "d1", "e1")
	r := newReceiver(t, func(n int, _ Change) int {
		if n < 7 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	stop := start(t, d, r.URL)
	r.wait(7)
	time.Sleep(20 * time.Millisecond) // rounds in which nothing must come again
	stop()
	got := r.taken()
	if len(got) != 7 || slices.Index(got, "a1") > slices.Index(got, "a2") || slices.Index(got, "b1") > slices.Index(got, "b2") {
		t.Errorf("got %v", got)
	}
	// Another sender, as after a restart, knows what was told from the log, once
	// that has all of it.
	if _, err := d.PendingChanges(t.Context(), "p", "", nil, 1); err != nil {
		t.Fatal(err)
	}
	stop = start(t, d, r.URL)
	d.mu.Lock()
	d.changes = append(d.changes, changes("a3")...)
	d.mu.Unlock()
	got = r.wait(8)
	stop()
	if len(got) != 8 || got[7] != "a3" {
		t.Errorf("after a restart: %v", got)
	}
}

// What a receiver never takes holds up its own referral only.
func TestSendAroundPoison(t *testing.T) {
	d := newDesk("a1", "b1", "a2", "c1", "c2")
	r := newReceiver(t, func(_ int, c Change) int {
		if c.ID == "a1" {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	stop := start(t, d, r.URL)
	r.wait(3)
	time.Sleep(20 * time.Millisecond)
	stop()
	if got := r.taken(); strings.Join(got, " ") != "b1 c1 c2" {
		t.Errorf("got %v", got)
	}
}

// More refused referrals than a round reads do not hide the others. Each is asked
// for again when its time has come, and once it is taken, what waited behind it
// follows in order.
func TestSendPastRefusals(t *testing.T) {
	var all []Change
	for i := range roundMax + 100 {
		all = append(all, Change{ID: fmt.Sprint("bad", i), Program: "p", Referee: fmt.Sprint("bad", i)}, Change{ID: fmt.Sprint("next", i), Program: "p", Referee: fmt.Sprint("bad", i)})
	}
	all = append(all, changes("a1", "b1", "a2")...)
	d := &desk{changes: all, logged: map[string]bool{}}
	var mended atomic.Bool
	r := newReceiver(t, func(_ int, c Change) int {
		if strings.HasPrefix(c.ID, "bad") && !mended.Load() {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	now := time.Unix(1_790_000_000, 0)
	s := New(Options{Store: d, Sink: d, Backoff: time.Second, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	hook := &tracker.Webhook{URL: r.URL, Secret: secret}
	for range 8 {
		s.round(t.Context(), "p", hook)
	}
	if got := r.taken(); strings.Join(got, " ") != "a1 b1 a2" || r.calls != roundMax+100+3 {
		t.Fatalf("took %v of %d requests", got, r.calls)
	}
	for _, wait := range []time.Duration{time.Second, time.Second, time.Second} { // the second wait is of two seconds
		now = now.Add(wait)
		s.round(t.Context(), "p", hook)
	}
	if want := 3*(roundMax+100) + 3; r.calls != want {
		t.Fatalf("asked %d times, want %d", r.calls, want)
	}
	mended.Store(true)
	now = now.Add(time.Hour)
	for range 8 {
		s.round(t.Context(), "p", hook)
	}
	got := r.taken()
	if len(got) != len(all) || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Compact(slices.Sorted(slices.Values(got)))) {
		t.Fatalf("took %d of %d", len(got), len(all))
	}
	for i := range roundMax + 100 {
		if slices.Index(got, fmt.Sprint("bad", i)) > slices.Index(got, fmt.Sprint("next", i)) {
			t.Fatalf("next%d came before bad%d", i, i)
		}
	}
}

// A receiver that is down is not asked for every change that waits.
func TestSendToNobody(t *testing.T) {
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprintf("%c1", 'A'+i))
	}
	r := newReceiver(t, func(int, Change) int { return http.StatusBadGateway })
	p := tracker.NewProgram("p")
	s := New(Options{Store: newDesk(ids...), Sink: &desk{}, Backoff: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	hook := &tracker.Webhook{URL: r.URL, Secret: secret}
	for range 3 {
		s.round(t.Context(), p.Name, hook)
	}
	if r.calls != strikes {
		t.Errorf("asked %d times", r.calls)
	}
}

// A redirect is no success, and is not followed with the signed body.
func TestSendNoRedirect(t *testing.T) {
	other := newReceiver(t, func(int, Change) int { return http.StatusOK })
	r := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer r.Close()
	s := New(Options{Store: newDesk(), Sink: &desk{}})
	if err := s.send(t.Context(), &tracker.Webhook{URL: r.URL, Secret: secret}, &changes("a1")[0]); err == nil || other.calls > 0 {
		t.Errorf("sent: %v, to the other %d times", err, other.calls)
	}
}

// The signature of a body, computed with openssl dgst -sha256 -hmac.
func TestSign(t *testing.T) {
	got := Sign("nobody can guess this", time.Unix(1_790_000_000, 5), []byte(`{"id":"1"}`))
	if want := "t=1790000000,v1=4b449af43f1d58d2c9f97e6b392288a994d4ce6e1e970c45d81e32a4bc1c8e3c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
