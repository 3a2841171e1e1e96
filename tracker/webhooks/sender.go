package webhooks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
)

// Store knows what is to be told. ClickHouse implements it.
type Store interface {
	// PendingChanges returns the oldest changes of a programme that the log does
	// not have as delivered to a hook, those of one referral in their order.
	// events are names, or what stands before their full stop; none asks for all.
	PendingChanges(ctx context.Context, program, hook string, events []string, limit int) ([]Change, error)
}

// Options is what New needs; the last group may be left out.
type Options struct {
	Store    Store
	Sink     tracker.ActionSink
	Programs func() []tracker.Program // with the secrets of their webhooks

	Interval   time.Duration // between two looks for news, 2 s
	Backoff    time.Duration // after a first failure, 1 s; it doubles up to backoffMax
	Timeout    time.Duration // of one request, 10 s
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	backoffMax = 5 * time.Minute
	// roundMax bounds the changes that are read at once, besides those that are
	// held up; the rest waits in ClickHouse.
	roundMax = 500
	// strikes are failures in a row after which a receiver is taken to be down.
	strikes   = 3
	restShare = 4 // rest so many times as long as a look took: it reads all referrals
)

// Sender sends. Run it once in each admin.
type Sender struct {
	Options
	client     http.Client
	hooks      map[string]*hookState // by programme and hook
	deliveries *prometheus.CounterVec
}

// hookState is what a sender remembers of a hook. A sender that starts anew
// learns it again.
type hookState struct {
	told     map[string]bool // delivered, and not yet seen in the log
	failures int             // in a row, of rounds
	resume   time.Time
	refusals refusals
}

// New returns a sender that sends nothing before Run.
func New(o Options) *Sender {
	orDuration := func(d *time.Duration, other time.Duration) {
		if *d == 0 {
			*d = other
		}
	}
	orDuration(&o.Interval, 2*time.Second)
	orDuration(&o.Backoff, time.Second)
	orDuration(&o.Timeout, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Sender{Options: o, hooks: map[string]*hookState{}, deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "waymark_webhooks_deliveries_total", Help: "Changes sent to webhooks, by whether the receiver took them (delivered), would not have them (refused) or could not answer (failed).",
	}, []string{"outcome"})}
	s.client = http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // what is signed for one address goes to no other
	}}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.deliveries)
	}
	return s
}

// Run sends what there is to tell until its context ends. What fails is tried
// again, ever more seldom.
func (s *Sender) Run(ctx context.Context) error {
	for {
		began := time.Now()
		for _, program := range s.Programs() {
			for i := range program.Webhooks {
				s.round(ctx, program.Name, &program.Webhooks[i])
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(s.Interval, min(restShare*time.Since(began), time.Minute))):
		}
	}
}

// round tells a hook what it has not been told.
func (s *Sender) round(ctx context.Context, program string, hook *tracker.Webhook) {
	key := program + "\x00" + HookID(hook)
	state := s.hooks[key]
	if state == nil {
		state = &hookState{told: map[string]bool{}, refusals: refusals{of: map[referral]refusal{}}}
		s.hooks[key] = state
	}
	if s.Now().Before(state.resume) || ctx.Err() != nil {
		return
	}
	pending, err := s.Store.PendingChanges(ctx, program, HookID(hook), hook.Events, roundMax+state.refusals.held)
	if err == nil {
		err = s.deliver(ctx, hook, state, pending)
	}
	if err == nil || ctx.Err() != nil {
		state.failures = 0
		return
	}
	wait := min(s.Backoff<<min(state.failures, 20), backoffMax)
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1)) // so that hooks of one receiver do not come together
	state.failures++
	state.resume = s.Now().Add(wait)
	s.Logger.Warn("a webhook could not be told everything; it is tried again", "program", program, "url", hook.URL, "after", wait, "error", err)
}

// deliver sends changes in their order. One that fails holds up those after it
// of the same referral: in this round where the receiver could not answer, and
// all others, too, after a few such failures in a row; where it answered that it
// will not have this one, until the referral's own time has come.
func (s *Sender) deliver(ctx context.Context, hook *tracker.Webhook, state *hookState, pending []Change) error {
	told, failed, inRow := map[string]bool{}, map[referral]bool{}, 0
	var first error
	state.refusals.begin(s.Now())
	for i := range pending {
		c := &pending[i]
		if state.told[c.ID] {
			told[c.ID] = true
			continue
		}
		if state.refusals.holds(c.referral()) || failed[c.referral()] || inRow == strikes {
			continue
		}
		if err := s.send(ctx, hook, c); err != nil {
			first = cmp.Or(first, err)
			if errors.Is(err, errRefused) {
				state.refusals.add(c.referral(), s.Backoff)
				s.deliveries.WithLabelValues("refused").Inc()
				inRow = 0
				continue
			}
			failed[c.referral()] = true
			s.deliveries.WithLabelValues("failed").Inc()
			inRow++
			continue
		}
		inRow = 0
		state.refusals.forget(c.referral())
		s.deliveries.WithLabelValues("delivered").Inc()
		told[c.ID] = true
		if err := s.log(ctx, hook, c); err != nil {
			state.told = told
			return err
		}
	}
	state.told = told // what is no longer pending is in the log
	state.refusals.end()
	if len(failed) == 0 && first != nil {
		s.Logger.Warn("a webhook refused changes; each is tried again, and others of its referral wait", "program", pending[0].Program, "url", hook.URL, "held", state.refusals.held, "error", first)
		return nil
	}
	return first
}

// log writes down that a hook was told of a change.
func (s *Sender) log(ctx context.Context, hook *tracker.Webhook, c *Change) error {
	payload, err := delivered(hook, c, s.Now()).MarshalVT()
	if err == nil {
		err = s.Sink.Append(ctx, payload)
	}
	if err != nil {
		return fmt.Errorf("log that %s was told of %s: %w", hook.URL, c.ID, err)
	}
	return nil
}

// send sends one change. Any answer but a success is an error, errRefused where
// it is about this change and not about the receiver.
func (s *Sender) send(ctx context.Context, hook *tracker.Webhook, c *Change) error {
	body := c.body()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("tell %s of %s: %w", hook.URL, c.ID, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "waymark")
	request.Header.Set("Waymark-Event-Id", c.ID)
	request.Header.Set("Waymark-Signature", Sign(hook.Secret, s.Now(), body))
	answer, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("tell of %s: %w", c.ID, err)
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, 4<<10) // so that the connection can be used again
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("tell %s of %s: it answered %s", hook.URL, c.ID, answer.Status)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("tell %s of %s: %w: it answered %s", hook.URL, c.ID, errRefused, answer.Status)
	}
	return nil
}
