package tracker

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"
)

// patience is how long the public listener waits for a client.
type patience struct {
	idle    time.Duration // for the first byte of another request
	request time.Duration // for a whole request, from its first byte; for the first one from the start of the connection
	answer  time.Duration // for an answer to be taken
}

// coarseClock is the time since it was made, in steps of clockStep: asking the
// time of day costs as much as resolving a link. Once it has stopped, deadlines
// come too early, which ends connections that a shutdown has left.
type coarseClock struct {
	made    time.Time
	elapsed atomic.Int64 // nanoseconds
}

const clockStep = 250 * time.Millisecond

func newCoarseClock() *coarseClock { return &coarseClock{made: time.Now()} }

// run moves the clock until stop is closed.
func (c *coarseClock) run(stop <-chan struct{}) {
	ticker := time.NewTicker(clockStep)
	defer ticker.Stop()
	for {
		c.elapsed.Store(int64(time.Since(c.made)))
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// after is when so much time will have passed, never too early.
func (c *coarseClock) after(d time.Duration) time.Duration {
	return time.Duration(c.elapsed.Load()) + clockStep + d
}

func (c *coarseClock) time(elapsed time.Duration) time.Time { return c.made.Add(elapsed) }

// impatientListener accepts connections that end when their client is slow.
type impatientListener struct {
	net.Listener
	clock    *coarseClock
	patience *patience
}

func (l impatientListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newImpatientConn(newSocket(conn), l.clock, l.patience), nil
}

// impatientConn ends when its client is slow. fasthttp could see to that, but
// would ask the time of day and set a deadline three times a request, when the
// client becomes idle, when its request begins and when it is answered, and each
// moves a timer of the runtime: together some 3 % of a redirect. Here a
// deadline is set only when a Read or Write follows, and only if the one that is
// set is more than deadlineSlack too early or not early enough. Doing without
// was rejected: slow clients would hold their connections for ever.
//
// Like its deadlines it is for one goroutine, but for Close.
type impatientConn struct {
	net.Conn
	clock    *coarseClock
	patience *patience

	asking      bool          // a request has begun and is not answered
	until       time.Duration // by when it must be there, while asking
	read, write lazyDeadline
}

func newImpatientConn(conn net.Conn, clock *coarseClock, p *patience) *impatientConn {
	return &impatientConn{Conn: conn, clock: clock, patience: p, asking: true, until: clock.after(p.request)}
}

func (c *impatientConn) Read(b []byte) (int, error) {
	until := c.until
	if !c.asking {
		until = c.clock.after(c.patience.idle)
	}
	if !c.read.holds(until) {
		if err := c.Conn.SetReadDeadline(c.clock.time(until)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if n > 0 && !c.asking {
		c.asking, c.until = true, c.clock.after(c.patience.request)
	}
	return n, err
}

// interim is how an answer begins that another one follows (RFC 9110, 15.2),
// such as the one that asks for the body.
var interim = []byte("HTTP/1.1 1")

func (c *impatientConn) Write(b []byte) (int, error) {
	if until := c.clock.after(c.patience.answer); !c.write.holds(until) {
		if err := c.Conn.SetWriteDeadline(c.clock.time(until)); err != nil {
			return 0, err
		}
	}
	if !bytes.HasPrefix(b, interim) {
		c.asking = false
	}
	return c.Conn.Write(b)
}

// SetReadDeadline changes by when the request that has begun must be there.
func (c *impatientConn) SetReadDeadline(t time.Time) error {
	c.asking, c.until = true, t.Sub(c.clock.made)
	return nil
}

// lazyDeadline is the one that is set, by the clock; 0 for none.
type lazyDeadline time.Duration

// deadlineSlack is how much earlier than asked a connection may time out.
const deadlineSlack = time.Second

// holds reports whether what is set does for what is asked for. Where it does
// not, the caller sets that.
func (d *lazyDeadline) holds(want time.Duration) bool {
	if early := want - time.Duration(*d); *d != 0 && early >= 0 && early <= deadlineSlack {
		return true
	}
	*d = lazyDeadline(want)
	return false
}
