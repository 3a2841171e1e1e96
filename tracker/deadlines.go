package tracker

import (
	"net"
	"time"
)

// deadlineSlack is how much earlier than asked a connection may time out.
const deadlineSlack = time.Second

// lazyListener accepts connections that set deadlines lazily.
type lazyListener struct{ net.Listener }

func (l lazyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lazyConn{Conn: conn}, nil
}

// lazyConn notes deadlines and sets them only when a Read or Write follows, and
// only if the one that is set is more than deadlineSlack too early or not early
// enough. fasthttp sets three a request, idle, reading, writing, and each moves
// a timer of the runtime: together 3 % of the samples of a profile. Doing
// without was rejected: slow clients would hold their connections for ever.
//
// Like its deadlines it is for one goroutine, but for Close.
type lazyConn struct {
	net.Conn
	read, write lazyDeadline
}

func (c *lazyConn) SetReadDeadline(t time.Time) error  { c.read.want = t; return nil }
func (c *lazyConn) SetWriteDeadline(t time.Time) error { c.write.want = t; return nil }

func (c *lazyConn) SetDeadline(t time.Time) error {
	c.read.want, c.write.want = t, t
	return nil
}

func (c *lazyConn) Read(b []byte) (int, error) {
	if !c.read.holds() {
		if err := c.read.apply(c.Conn.SetReadDeadline); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *lazyConn) Write(b []byte) (int, error) {
	if !c.write.holds() {
		if err := c.write.apply(c.Conn.SetWriteDeadline); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// lazyDeadline is one that is asked for, and the one that is set.
type lazyDeadline struct{ want, set time.Time }

// holds reports whether what is set does for what is asked for.
func (d *lazyDeadline) holds() bool {
	if d.want.IsZero() || d.set.IsZero() {
		return d.want.Equal(d.set)
	}
	early := d.want.Sub(d.set)
	return early >= 0 && early <= deadlineSlack
}

func (d *lazyDeadline) apply(set func(time.Time) error) error {
	if err := set(d.want); err != nil {
		return err
	}
	d.set = d.want
	return nil
}
