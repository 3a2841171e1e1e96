package tracker

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// clockedConn remembers the deadlines that are set.
type clockedConn struct {
	net.Conn
	reads, writes []time.Time
}

func (c *clockedConn) Read([]byte) (int, error)             { return 0, nil }
func (c *clockedConn) Write([]byte) (int, error)            { return 0, nil }
func (c *clockedConn) SetReadDeadline(t time.Time) error    { c.reads = append(c.reads, t); return nil }
func (c *clockedConn) SetWriteDeadline(t time.Time) error   { c.writes = append(c.writes, t); return nil }
func (c *clockedConn) last(deadlines []time.Time) time.Time { return deadlines[len(deadlines)-1] }

// TestDeadlinesAreLazy: requests that come a millisecond apart set a deadline a
// second, and at every Read and Write the one that is set is at most a second
// earlier than asked, never later.
func TestDeadlinesAreLazy(t *testing.T) {
	under := &clockedConn{}
	conn := &lazyConn{Conn: under}
	now := time.Now()
	const requests = 10_000
	for range requests {
		now = now.Add(time.Millisecond)
		for _, timeout := range []time.Duration{75 * time.Second, 10 * time.Second} { // idle, then reading
			conn.SetReadDeadline(now.Add(timeout))
			if timeout > 10*time.Second {
				conn.Read(nil)
				if early := now.Add(timeout).Sub(under.last(under.reads)); early < 0 || early > time.Second {
					t.Fatalf("a read is cut off %v before its time", early)
				}
			}
		}
		conn.SetWriteDeadline(now.Add(10 * time.Second))
		conn.Write(nil)
		if early := now.Add(10 * time.Second).Sub(under.last(under.writes)); early < 0 || early > time.Second {
			t.Fatalf("a write is cut off %v before its time", early)
		}
	}
	if len(under.reads) > requests/1000+1 || len(under.writes) > requests/1000+1 {
		t.Errorf("%d read and %d write deadlines were set in %d s", len(under.reads), len(under.writes), requests/1000)
	}
}

// TestDeadlinesChange: one that comes nearer is set, however little, and none
// means none.
func TestDeadlinesChange(t *testing.T) {
	under := &clockedConn{}
	conn := &lazyConn{Conn: under}
	start := time.Now()
	conn.Read(nil)
	if len(under.reads) != 0 {
		t.Error("a deadline was set that nobody asked for")
	}
	for _, want := range []time.Time{start.Add(10 * time.Second), start.Add(9 * time.Second), {}, start.Add(time.Second)} {
		conn.SetDeadline(want)
		conn.Read(nil)
		conn.Write(nil)
		if got := under.last(under.reads); !got.Equal(want) {
			t.Errorf("reading until %v, expected %v", got, want)
		}
		if got := under.last(under.writes); !got.Equal(want) {
			t.Errorf("writing until %v, expected %v", got, want)
		}
	}
}

// TestSilentConnectionTimesOut on a real connection.
func TestSilentConnectionTimesOut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := lazyListener{listener}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading from a silent client: %v", err)
	}
}
