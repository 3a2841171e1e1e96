package loadtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// errAgain is what a socket says that has nothing to read now. It is temporary,
// so that crypto/tls goes on after it.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// writeWait is how long a server may leave a request unread in its socket.
const writeWait = time.Second

// socket is a connected socket outside of Go's poller. A Read that would wait
// returns errAgain; a Write waits, since a request only fails to fit into the
// socket's buffer when the server has stopped reading.
type socket struct {
	fd int
	net.Conn
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == nil && n == 0 && len(b) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, errAgain
		case !errors.Is(err, unix.EINTR):
			return 0, err
		}
	}
}

func (s *socket) Write(b []byte) (int, error) {
	for written := 0; ; {
		n, err := unix.Write(s.fd, b[written:])
		if n > 0 {
			written += n
		}
		switch {
		case written == len(b):
			return written, nil
		case errors.Is(err, unix.EAGAIN):
			ready := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
			if n, _ := unix.Poll(ready, int(writeWait.Milliseconds())); n == 0 {
				return written, fmt.Errorf("the server has not read for %v", writeWait)
			}
		case err != nil && !errors.Is(err, unix.EINTR):
			return written, err
		}
	}
}

func (s *socket) Close() error { return unix.Close(s.fd) }

// Deadlines are the loop's business; crypto/tls sets one when it closes.
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// switchable lets the handshake wait in Go's poller and everything after it not.
type switchable struct{ net.Conn }

// endpoint is where a target listens.
type endpoint struct {
	address string      // host:port
	tls     *tls.Config // nil for plain
}

// dial connects and, where asked, shakes hands. It waits, so it runs on a
// goroutine of its own. The descriptor is that of the stream.
func (e endpoint) dial(ctx context.Context) (io.ReadWriteCloser, int, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, 0, err
	}
	under := &switchable{conn}
	var secured *tls.Conn
	if e.tls != nil {
		secured = tls.Client(under, e.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, 0, fmt.Errorf("shake hands with %s: %w", e.address, err)
		}
	}
	fd, err := detach(conn)
	if err != nil {
		return nil, 0, fmt.Errorf("take over the connection to %s: %w", e.address, err)
	}
	plain := &socket{fd: fd, Conn: conn}
	if secured == nil {
		return plain, fd, nil
	}
	under.Conn = plain
	return secured, fd, nil
}

// detach takes a socket out of Go's poller: a copy of the descriptor lives on
// when the connection is closed, and stays non-blocking.
func detach(conn net.Conn) (fd int, err error) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if controlErr := raw.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); controlErr != nil {
		return 0, controlErr
	}
	return fd, err
}

// States of a connection.
type state uint8

const (
	dialing state = iota
	idle
	busy
	down // to be dialled again at redialAt
)

// connection is one keep-alive connection of a loop.
type connection struct {
	id       int32
	state    state
	endpoint endpoint
	stream   io.ReadWriteCloser // a socket, or TLS on one
	in, out  []byte             // in is what has arrived and the parser could not use yet
	parser   parser
	exchange
	redialAt time.Duration
}

// send writes the request in out.
func (c *connection) send() error {
	_, err := c.stream.Write(c.out)
	return err
}

// receive reads what there is. It reports true once the answer is complete, and
// an error when the connection is of no more use.
func (c *connection) receive(buffer []byte) (complete bool, err error) {
	for {
		n, err := c.stream.Read(buffer)
		if n > 0 {
			data := buffer[:n]
			if len(c.in) > 0 {
				c.in = append(c.in, data...)
				data = c.in
			}
			rest, err := c.parser.feed(data)
			if err != nil {
				return false, err
			}
			if c.parser.phase == done {
				c.in = c.in[:0]
				c.parser.close = c.parser.close || len(rest) > 0 // an answer that nobody asked for
				return true, nil
			}
			c.in = append(c.in[:0], rest...)
		}
		switch {
		case errors.Is(err, errAgain):
			return false, nil
		case errors.Is(err, io.EOF) && c.parser.eof():
			return true, nil
		case err != nil:
			return false, err
		}
	}
}
