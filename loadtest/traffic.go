package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"

	"waymark/loadtest/ledger"
)

// Traffic is what visitors of Waymark do. Shares are fractions of one.
type Traffic struct {
	Visitors int     // that are remembered, with their cookies, of all threads
	Zipf     float64 // exponent of the popularity of links, above 1

	Actions float64 // share of requests that report an action
	Unknown float64 // share of requests that ask for a code which does not exist

	// Shares of the clicks.
	Returning, Scans, Bots, Heads, Prefetches, OptOuts, Queries float64
}

// DefaultTraffic is a mix as a link service sees it.
func DefaultTraffic() Traffic {
	return Traffic{
		Visitors: 20_000, Zipf: 1.1, Actions: 0.05, Unknown: 0.02,
		Returning: 0.3, Scans: 0.15, Bots: 0.06, Heads: 0.01, Prefetches: 0.02, OptOuts: 0.04, Queries: 0.15,
	}
}

// Check names the first setting that cannot be.
func (t *Traffic) Check() error {
	for _, share := range []struct {
		name  string
		value float64
	}{
		{"actions", t.Actions}, {"unknown", t.Unknown}, {"returning", t.Returning}, {"scans", t.Scans}, {"bots", t.Bots},
		{"heads", t.Heads}, {"prefetches", t.Prefetches}, {"opt-outs", t.OptOuts}, {"queries", t.Queries},
		{"actions and unknown together", t.Actions + t.Unknown},
	} {
		if !(share.value >= 0 && share.value <= 1) {
			return fmt.Errorf("the share of %s must lie between 0 and 1, it is %v", share.name, share.value)
		}
	}
	if !(t.Zipf > 1) {
		return fmt.Errorf("--zipf must be above 1, it is %v", t.Zipf)
	}
	if t.Visitors < 1 {
		return errors.New("--visitors must be at least 1")
	}
	return nil
}

// Kinds of requests.
const (
	kindClick kind = iota
	kindUnknown
	kindEvents
	kindPostback
	kindPixel
)

var (
	eventClick = []byte("click")
	eventScan  = []byte("scan")
	methodGet  = []byte("GET")
	methodHead = []byte("HEAD")
)

// trafficSource draws requests of visitors.
type trafficSource struct {
	*Campaign
	traffic  Traffic
	random   *rand.Rand
	zipf     *rand.Zipf
	hosts    []string // by endpoint
	visitors []visitor
	users    []int32 // visitors whose signup was accepted, unless others took their place since
	stranger visitor // of a click that nobody will be remembered for
	thread   int
	made     uint64         // ids made so far
	ledger   *ledger.Buffer // nil for none
	entry    ledger.Entry
	code     []byte
}

func newTrafficSource(c *Campaign, t Traffic, w *ledger.Writer, thread, visitors int, random *rand.Rand) *trafficSource {
	s := &trafficSource{Campaign: c, traffic: t, random: random, thread: thread, visitors: make([]visitor, visitors)}
	if c.Links > 1 {
		s.zipf = rand.NewZipf(random, t.Zipf, 1, uint64(c.Links-1))
	}
	for _, base := range c.public {
		u, err := url.Parse(base)
		if err != nil {
			panic("BUG: " + err.Error()) // endpoints has read it before
		}
		s.hosts = append(s.hosts, u.Host)
	}
	if w != nil {
		s.ledger = w.Buffer()
	}
	return s
}

func (s *trafficSource) kinds() []string {
	return []string{kindClick: "clicks", kindUnknown: "unknown codes", kindEvents: "events", kindPostback: "postbacks", kindPixel: "pixels"}
}

func (s *trafficSource) next(dst []byte, x *exchange) []byte {
	x.visitor, x.toHead, x.actions, x.sentMS = -1, false, x.actions[:0], nowMS()
	draw := s.random.Float64()
	if draw < s.traffic.Actions {
		if request, ok := s.report(dst, x); ok {
			return request
		}
	} else if draw < s.traffic.Actions+s.traffic.Unknown {
		x.kind = kindUnknown
		s.stranger.renew(s.random, &s.traffic)
		dst = append(append(append(dst, "GET /"...), s.Run...), "-x"...)
		dst = strconv.AppendUint(dst, s.random.Uint64(), 36)
		return append(s.headers(dst, x, &s.stranger), "\r\n"...)
	}
	return s.follow(dst, x)
}

// follow clicks on a link.
func (s *trafficSource) follow(dst []byte, x *exchange) []byte {
	x.kind, x.code, x.scan = kindClick, 0, s.random.Float64() < s.traffic.Scans
	if s.zipf != nil {
		x.code = int32(s.zipf.Uint64())
	}
	v := s.who(x)
	x.toHead = s.random.Float64() < s.traffic.Heads
	if x.toHead {
		dst = append(dst, "HEAD /"...)
	} else {
		dst = append(dst, "GET /"...)
	}
	dst = append(append(dst, s.Run...), '-')
	dst = strconv.AppendInt(dst, int64(x.code), 10)
	separator := byte('?')
	if s.random.Float64() < s.traffic.Queries {
		dst = append(append(dst, separator), pick(s.random, queries)...)
		separator = '&'
	}
	if x.scan {
		dst = append(append(dst, separator), "qr=1"...)
	}
	dst = s.headers(dst, x, v)
	if s.random.Float64() < s.traffic.Prefetches {
		dst = append(dst, "Sec-Purpose: prefetch\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// who draws the visitor of a click: one that comes back, a new one that takes
// the place of another, or a robot.
func (s *trafficSource) who(x *exchange) *visitor {
	if s.random.Float64() < s.traffic.Bots {
		s.stranger.renew(s.random, &s.traffic)
		s.stranger.agent, s.stranger.optsOut = pick(s.random, bots), false
		return &s.stranger
	}
	i := s.random.IntN(len(s.visitors))
	v := &s.visitors[i]
	if v.busy { // a browser of its own for once
		s.stranger.renew(s.random, &s.traffic)
		return &s.stranger
	}
	if v.agent == "" || s.random.Float64() >= s.traffic.Returning {
		v.renew(s.random, &s.traffic)
	}
	v.busy, x.visitor = true, int32(i)
	return v
}

// headers ends the request line and appends what a browser sends.
func (s *trafficSource) headers(dst []byte, x *exchange, v *visitor) []byte {
	dst = append(append(dst, " HTTP/1.1\r\nHost: "...), s.hosts[x.target]...)
	header := func(name, value string) {
		if value != "" {
			dst = append(append(append(append(dst, "\r\n"...), name...), ": "...), value...)
		}
	}
	header("User-Agent", v.agent)
	header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	header("Accept-Language", v.language)
	header("Accept-Encoding", "gzip, deflate, br")
	header("Referer", v.referer)
	header("X-Forwarded-For", v.address)
	if v.optsOut {
		header("Sec-GPC", "1")
	}
	if len(v.cookie) > 0 {
		dst = append(append(dst, "\r\nCookie: "...), v.cookie...)
	}
	return append(dst, "\r\n"...)
}

// answered notes what the answer promises.
func (s *trafficSource) answered(x *exchange, r *response) (good bool, err error) {
	v := s.free(x)
	switch {
	case r.status == 503 && x.kind == kindClick:
		// The server starts or stops and has not looked at it. Open clicks are
		// told from foreign ones by their looks alone, so there should be few.
		return false, nil
	case r.status >= 500: // whatever it says, it may have happened
		return false, s.writeOpen(x)
	case x.kind == kindUnknown:
		return r.status == 404, nil
	case x.kind != kindClick:
		return s.reported(x, r, v)
	}
	id := clickID(r.location)
	if r.status < 300 || r.status > 399 || len(id) == 0 {
		return false, nil
	}
	if v != nil {
		v.click = append(v.click[:0], id...)
		if len(r.cookie) > 0 {
			v.cookie = append(v.cookie[:0], r.cookie...)
		}
	}
	s.clicked(x, id)
	s.entry.Status, s.entry.TimeMS = r.status, nowMS()
	return true, s.write(&s.entry)
}

// free returns the visitor of an exchange, nil for none, for its next request.
func (s *trafficSource) free(x *exchange) *visitor {
	if x.visitor < 0 {
		return nil
	}
	v := &s.visitors[x.visitor]
	v.busy = false
	return v
}

// clicked fills entry with a click.
func (s *trafficSource) clicked(x *exchange, id []byte) {
	s.code = append(append(s.code[:0], s.Run...), '-')
	s.code = strconv.AppendInt(s.code, int64(x.code), 10)
	s.entry = ledger.Entry{Kind: ledger.Click, Event: eventClick, Method: methodGet, Code: s.code, ClickID: id}
	if x.scan {
		s.entry.Event = eventScan
	}
	if x.toHead {
		s.entry.Method = methodHead
	}
}

func (s *trafficSource) cut(x *exchange) error {
	s.free(x)
	return s.writeOpen(x)
}

// writeOpen notes a request of which nobody knows what became.
func (s *trafficSource) writeOpen(x *exchange) error {
	if x.kind == kindClick {
		s.clicked(x, nil)
		s.entry.Open, s.entry.TimeMS = true, x.sentMS
		return s.write(&s.entry)
	}
	for i := range x.actions {
		e := &x.actions[i]
		e.Open, e.TimeMS, e.Status = true, x.sentMS, 0
		if err := s.write(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *trafficSource) write(e *ledger.Entry) error {
	if s.ledger == nil {
		return nil
	}
	return s.ledger.Add(e)
}

func (s *trafficSource) flush() error {
	if s.ledger == nil {
		return nil
	}
	return s.ledger.Flush()
}

// clickID is the value of wm_click in a Location, nil if there is none.
func clickID(location []byte) []byte {
	_, id, ok := bytes.Cut(location, []byte("wm_click="))
	if !ok {
		return nil
	}
	for i, c := range id {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			continue
		}
		if c != '&' && c != '#' {
			return nil
		}
		id = id[:i]
		break
	}
	if len(id) == 0 || len(id) > 64 {
		return nil
	}
	return id
}
