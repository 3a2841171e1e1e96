package loadtest

import (
	"bytes"
	"fmt"
	"strconv"

	"waymark/loadtest/ledger"
)

const (
	// batchMax is the most actions in one request.
	batchMax = 5
	// usersShare is how many of the actions are by somebody who has signed up.
	usersShare = 0.6
	// usersMax bounds the list of those; more act only when they are drawn from
	// all visitors.
	usersMax = 4096
)

// Actions all bring an id that begins with the run's name: by it verification
// finds them whatever programme they were counted in. The time of one is the
// moment of sending, so that what ClickHouse says about when is known here too.

// report lets a visitor do something after its click. It reports false when the
// one that was drawn can do nothing now; a click takes the place then.
func (s *trafficSource) report(dst []byte, x *exchange) ([]byte, bool) {
	i := int32(s.random.IntN(len(s.visitors)))
	if len(s.users) > 0 && s.random.Float64() < usersShare {
		i = s.user()
	}
	v := &s.visitors[i]
	if v.busy || len(v.click) == 0 {
		return dst, false
	}
	v.busy, x.visitor = true, i
	switch draw := s.random.IntN(100); {
	case len(v.reports) > 0 && draw < 5:
		x.kind, x.actions = kindEvents, append(x.actions, v.reports...)
		return s.post(dst, x, v.body), true
	case draw < 20 && len(v.cookie) > 0:
		return s.pixel(dst, x, v), true
	case draw < 35:
		return s.postback(dst, x, v), true
	case !v.signed:
		return s.signup(dst, x, v), true
	}
	return s.purchases(dst, x, v), true
}

// user draws one of those who signed up, and forgets one whose place somebody
// else has taken.
func (s *trafficSource) user() int32 {
	n := s.random.IntN(len(s.users))
	i := s.users[n]
	if !s.visitors[i].signed {
		s.users[n] = s.users[len(s.users)-1]
		s.users = s.users[:len(s.users)-1]
	}
	return i
}

// id makes a name that nothing else in this run has.
func (s *trafficSource) id(kind string) []byte {
	s.made++
	return fmt.Appendf(nil, "%s-%s%d-%d", s.Run, kind, s.thread, s.made)
}

func (s *trafficSource) signup(dst []byte, x *exchange, v *visitor) []byte {
	if v.user == "" {
		v.user = string(s.id("u"))
	}
	x.actions = append(x.actions, ledger.Entry{
		Kind: ledger.Action, Event: []byte("signup"), Way: wayEvents, ID: s.id("a"), UserID: []byte(v.user),
		ClickID: bytes.Clone(v.click), HappenedMS: x.sentMS,
	})
	return s.events(dst, x)
}

// laterEvents are what users do after the signup, purchases most of all.
var laterEvents = [...]string{"purchase", "purchase", "purchase", "activate", "retain", "refund", "review"}

// purchases are one to batchMax actions by the user alone, without click or
// programme: both are those of the signup.
func (s *trafficSource) purchases(dst []byte, x *exchange, v *visitor) []byte {
	count := 1
	if s.random.IntN(10) == 0 {
		count = 2 + s.random.IntN(batchMax-1)
	}
	for range count {
		e := ledger.Entry{
			Kind: ledger.Action, Event: []byte(laterEvents[s.random.IntN(len(laterEvents))]), Way: wayEvents,
			ID: s.id("a"), UserID: []byte(v.user), HappenedMS: x.sentMS,
		}
		if event := string(e.Event); event == "purchase" || event == "refund" {
			cents := 100 + s.random.IntN(50_000)
			e.OrderID, e.Value = s.id("o"), fmt.Appendf(nil, "%d.%02d", cents/100, cents%100)
		}
		x.actions = append(x.actions, e)
	}
	return s.events(dst, x)
}

var (
	wayEvents   = []byte("events")
	wayPostback = []byte("postback")
	wayPixel    = []byte("pixel")
)

// events posts the exchange's actions: one as an object, several as an array.
func (s *trafficSource) events(dst []byte, x *exchange) []byte {
	x.kind = kindEvents
	var body []byte
	for i := range x.actions {
		e := &x.actions[i]
		body = append(body, ',')
		// None of the values needs escaping: all are made here.
		body = fmt.Appendf(body, `{"event":"%s","id":"%s","time":"%d","user_id":"%s"`, e.Event, e.ID, e.HappenedMS, e.UserID)
		for _, field := range [...]struct {
			name  string
			value []byte
		}{{"click_id", e.ClickID}, {"order_id", e.OrderID}, {"value", e.Value}} {
			if len(field.value) > 0 {
				body = fmt.Appendf(body, `,"%s":"%s"`, field.name, field.value)
			}
		}
		body = append(body, '}')
	}
	body = body[1:]
	if len(x.actions) > 1 {
		body = append(append([]byte{'['}, body...), ']')
	}
	x.body = body
	return s.post(dst, x, body)
}

func (s *trafficSource) post(dst []byte, x *exchange, body []byte) []byte {
	x.body = body
	dst = fmt.Appendf(dst, "POST /v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		s.hosts[x.target], s.key, len(body))
	return append(dst, body...)
}

// postback is what an affiliate network sends about a click.
func (s *trafficSource) postback(dst []byte, x *exchange, v *visitor) []byte {
	x.kind = kindPostback
	e := ledger.Entry{
		Kind: ledger.Action, Event: []byte("lead"), Way: wayPostback, ID: s.id("a"), ClickID: bytes.Clone(v.click), HappenedMS: x.sentMS,
	}
	x.actions = append(x.actions, e)
	return fmt.Appendf(dst, "GET /v1/postback?event=%s&id=%s&click_id=%s&time=%d&key=%s HTTP/1.1\r\nHost: %s\r\n\r\n",
		e.Event, e.ID, e.ClickID, e.HappenedMS, s.key, s.hosts[x.target])
}

// pixel is what the landing page sends: the visitor is known by its cookie.
func (s *trafficSource) pixel(dst []byte, x *exchange, v *visitor) []byte {
	x.kind = kindPixel
	e := ledger.Entry{Kind: ledger.Action, Event: []byte("view"), Way: wayPixel, ID: s.id("a")}
	x.actions = append(x.actions, e)
	dst = fmt.Appendf(dst, "GET /v1/pixel.gif?event=%s&id=%s", e.Event, e.ID)
	return append(s.headers(dst, x, v), "\r\n"...)
}

var accepted = []byte(`{"accepted":`)

// reported reads the answer to actions.
func (s *trafficSource) reported(x *exchange, r *response, v *visitor) (good bool, err error) {
	switch x.kind {
	case kindPixel:
		good = r.status == 200 && len(r.fault) == 0
	case kindPostback:
		good = r.status == 200
	default:
		count, _, _ := bytes.Cut(bytes.TrimPrefix(r.body, accepted), []byte{','})
		n, _ := strconv.Atoi(string(count))
		good = r.status == 202 && n == len(x.actions)
		if r.status == 202 && n > 0 && !good {
			return false, s.writeOpen(x) // some of them
		}
	}
	if !good {
		return false, nil
	}
	for i := range x.actions {
		e := &x.actions[i]
		e.Open, e.Status, e.TimeMS = false, r.status, nowMS()
		if err := s.write(e); err != nil {
			return true, err
		}
	}
	if x.kind == kindEvents && v != nil {
		if !v.signed && len(s.users) < usersMax {
			s.users = append(s.users, x.visitor)
		}
		v.signed = true
		v.body, v.reports = x.body, append(v.reports[:0], x.actions...)
	}
	return true, nil
}
