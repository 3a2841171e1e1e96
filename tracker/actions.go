package tracker

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker/wire"
)

const (
	// actionLinkWait is how long one request waits for links that are younger
	// than this node's view of them.
	actionLinkWait = time.Second
	actionLinkPoll = 5 * time.Millisecond

	// actionSinkWait is how long one request waits to become durable before it
	// is answered 503.
	actionSinkWait = 10 * time.Second
)

// actionLinks is what actions need of *Links.
type actionLinks interface {
	Resolve(host, code []byte) *Prepared
	ByNumber(LinkNumber) *Prepared
	MaxNumber() LinkNumber
	Program(name string) (*Program, bool)
	Programs() []Program
}

// ActionsOptions is what NewActions needs; the last group may be left out.
type ActionsOptions struct {
	Keys     *Keys
	Links    actionLinks
	Sink     ActionSink
	ClickIDs *ClickIDs
	Cookies  *Cookies

	// Outdated is that of EdgeOptions: what is refused then, for a key, link or
	// programme that the node does not know, may be right. It gets 503.
	Outdated func() bool

	Proxies    *TrustedProxies // nil: nobody is trusted
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Actions takes what customers report, by POST /v1/events, postback and pixel:
// it checks each action, finds the link that it belongs to, and answers once
// it is durable. Its handlers are safe for concurrent use.
type Actions struct {
	ActionsOptions
	pixels  chan struct{} // bounds the pixels at work, see Pixel
	counted *prometheus.CounterVec
}

// NewActions returns handlers that need no closing.
func NewActions(o ActionsOptions) *Actions {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Outdated == nil {
		o.Outdated = func() bool { return false }
	}
	a := &Actions{
		ActionsOptions: o,
		pixels:         make(chan struct{}, pixelsMax),
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waymark_edge_actions_total",
			Help: "Actions by the way they came (events, postback, pixel) and what became of them (accepted, rejected, unavailable).",
		}, []string{"way", "result"}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(a.counted)
	}
	return a
}

// store makes events durable. The error is ErrUnavailable, wrapped, when the
// sender should try again.
//
// The time-out does not descend from the request: fasthttp ends every request
// context when a shutdown begins, and a shutdown lets requests finish.
func (a *Actions) store(way string, events []*wire.Event) error {
	if len(events) == 0 {
		return nil
	}
	payloads := make([][]byte, len(events))
	for i, e := range events {
		payload, err := e.MarshalVT()
		if err != nil {
			panic("BUG: encode an action: " + err.Error())
		}
		payloads[i] = payload
	}
	ctx, cancel := context.WithTimeout(context.Background(), actionSinkWait)
	defer cancel()
	if err := a.Sink.Append(ctx, payloads...); err != nil {
		a.counted.WithLabelValues(way, "unavailable").Add(float64(len(events)))
		a.Logger.Error("an action could not be made durable", "way", way, "actions", len(events), "error", err)
		return errors.Join(ErrUnavailable, err)
	}
	a.counted.WithLabelValues(way, "accepted").Add(float64(len(events)))
	return nil
}

func (a *Actions) rejected(way string) { a.counted.WithLabelValues(way, "rejected").Inc() }

// link returns the link with this number. One that this node has not heard of
// yet is waited for until patience ends: its click may come from a node that
// is ahead. A number that this node has passed will never come.
func (a *Actions) link(patience context.Context, n LinkNumber) *Prepared {
	for {
		// Asked before the link is, or one that arrives in between is missed.
		seen := a.Links.MaxNumber()
		if link := a.Links.ByNumber(n); link != nil || n <= seen {
			return link
		}
		select {
		case <-patience.Done():
			return nil
		case <-time.After(actionLinkPoll):
		}
	}
}

// randomActionID is the id of an action that can have no repeats.
func randomActionID() string { return rand.Text() }
