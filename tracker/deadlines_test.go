package tracker

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// clockedConn remembers the deadlines that are set, and reads n bytes at once.
type clockedConn struct {
	net.Conn
	n             int
	reads, writes []time.Time
}

func (c *clockedConn) Read([]byte) (int, error)             { return c.n, nil }
func (c *clockedConn) Write([]byte) (int, error)            { return 0, nil }
func (c *clockedConn) SetReadDeadline(t time.Time) error    { c.reads = append(c.reads, t); return nil }
func (c *clockedConn) SetWriteDeadline(t time.Time) error   { c.writes = append(c.writes, t); return nil }
func (c *clockedConn) last(deadlines []time.Time) time.Time { return deadlines[len(deadlines)-1] }

// standingClock is one that the test moves, and how to.
func standingClock() (clock *coarseClock, pass func(time.Duration)) {
	clock = newCoarseClock()
	return clock, func(d time.Duration) { clock.elapsed.Add(int64(d)) }
}

var testPatience = &patience{idle: 75 * time.Second, request: 10 * time.Second, answer: 5 * time.Second}

// lateness is how much later than now + allowed a deadline is.
func lateness(clock *coarseClock, deadline time.Time, allowed time.Duration) time.Duration {
	return deadline.Sub(clock.made.Add(time.Duration(clock.elapsed.Load()) + allowed))
}

// Requests that come a millisecond apart set a deadline a second, and at every
// Read and Write the one that is set is right but for a second.
func TestDeadlinesAreLazy(t *testing.T) {
	under := &clockedConn{n: 1}
	clock, pass := standingClock()
	conn := newImpatientConn(under, clock, testPatience)
	near := func(what string, deadline time.Time, allowed time.Duration) {
		t.Helper()
		if late := lateness(clock, deadline, allowed); late < -time.Second || late > clockStep {
			t.Fatalf("%s is cut off %v after its time", what, late)
		}
	}
	conn.Read(nil)
	near("the first request", under.last(under.reads), testPatience.request)
	conn.Write(nil)
	const requests = 10_000
	for range requests {
		pass(time.Millisecond)
		conn.Read(nil)
		near("an idle connection", under.last(under.reads), testPatience.idle)
		conn.Write(nil)
		near("an answer", under.last(under.writes), testPatience.answer)
	}
	if len(under.reads) > requests/1000+2 || len(under.writes) > requests/1000+2 {
		t.Errorf("%d read and %d write deadlines were set in %d s", len(under.reads), len(under.writes), requests/1000)
	}
}

// A request has its time from its first byte, however often it sends another;
// an interim answer gives it no more.
func TestDeadlineOfARequestStands(t *testing.T) {
	under := &clockedConn{n: 1}
	clock, pass := standingClock()
	conn := newImpatientConn(under, clock, testPatience)
	conn.Write([]byte("HTTP/1.1 302 Found\r\n")) // from now on idle
	conn.Read(nil)                               // the first byte
	for range 9 {
		pass(time.Second)
		conn.Read(nil)
		conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
	if late := lateness(clock, under.last(under.reads), time.Second); late < 0 || late > clockStep {
		t.Errorf("after nine of ten seconds the request is cut off in a second and %v", late)
	}
	longer := clock.made.Add(time.Minute)
	conn.SetReadDeadline(longer)
	conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	conn.Read(nil)
	if got := under.last(under.reads); !got.Equal(longer) {
		t.Errorf("reading until %v, expected %v", got, longer)
	}
	conn.Write([]byte("HTTP/1.1 302 Found\r\n"))
	conn.Read(nil)
	if late := lateness(clock, under.last(under.reads), testPatience.idle); late < -time.Second || late > clockStep {
		t.Errorf("after the answer the connection is cut off %v after its time", late)
	}
}

// socketPair is a client, and a connection as the public listener accepts it.
func socketPair(t testing.TB, p *patience) (client *net.TCPConn, conn net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	clock, stop := newCoarseClock(), make(chan struct{})
	go clock.run(stop)
	t.Cleanup(func() { close(stop) })
	conn, err = impatientListener{listener, clock, p}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); conn.Close() })
	return dialled.(*net.TCPConn), conn
}

// On real connections: a client that says nothing, and one that takes nothing.
func TestSlowClientsTimeOut(t *testing.T) {
	_, silent := socketPair(t, &patience{request: 20 * time.Millisecond})
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading from a silent client: %v", err)
	}
	_, deaf := socketPair(t, &patience{answer: 20 * time.Millisecond})
	answer := []byte(strings.Repeat("a", 64<<20))
	n, err := deaf.Write(answer)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == len(answer) {
		t.Errorf("writing %d bytes to a deaf client: %v", n, err)
	}
}
