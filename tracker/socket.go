package tracker

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket reads and writes a TCP connection by recvfrom and sendto, called
// without telling the scheduler: neither waits, so that there is nothing to
// tell. read and write, which package net uses, go through the layer of files
// as well, and each call gives up the processor and takes it back; together
// they made a redirect an eighth dearer.
//
// Like any connection it takes one reader and one writer at a time.
type socket struct {
	net.Conn
	raw      syscall.RawConn
	in, out  transfer
	receives func(fd uintptr) bool // in.receive, made once
	sends    func(fd uintptr) bool // out.send, made once
}

// transfer is one Read or Write at work.
type transfer struct {
	rest  []byte
	done  int
	errno syscall.Errno
}

// newSocket returns the connection itself if it is not TCP, as a Unix socket or
// a connection in memory.
func newSocket(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: conn, raw: raw}
	s.receives, s.sends = s.in.receive, s.out.send
	return s
}

func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.in = transfer{rest: b}
	n, err := s.in.end("recvfrom", s.raw.Read(s.receives))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (s *socket) Write(b []byte) (int, error) {
	s.out = transfer{rest: b}
	return s.out.end("sendto", s.raw.Write(s.sends))
}

// receive takes what is there, and reports false where there is nothing.
func (t *transfer) receive(fd uintptr) bool {
	t.done, t.errno = receive(fd, t.rest)
	return t.errno != syscall.EAGAIN
}

// send hands over as much as the socket's buffer takes, and reports false where
// that is not all.
func (t *transfer) send(fd uintptr) bool {
	for len(t.rest) > 0 {
		n, errno := send(fd, t.rest)
		if t.errno = errno; errno != 0 {
			return errno != syscall.EAGAIN
		}
		t.rest = t.rest[n:]
		t.done += n
	}
	return true
}

// end gives the buffer back and says how the transfer ended; err is what kept
// the runtime from calling or waiting: a deadline, or that the connection is closed.
func (t *transfer) end(call string, err error) (int, error) {
	done, errno := t.done, t.errno
	t.rest = nil
	if err == nil && errno != 0 {
		err = os.NewSyscallError(call, errno)
	}
	return done, err
}
