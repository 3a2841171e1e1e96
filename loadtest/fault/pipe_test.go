package fault

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// recorder is a server that hands over all that a connection brought when it
// ends, and sends it back where it is an echo.
func recorder(t *testing.T, echo bool) (addr string, got <-chan []byte) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	connections := make(chan []byte, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var all bytes.Buffer
				var answers io.Writer = io.Discard
				if echo {
					answers = conn
				}
				_, _ = io.Copy(answers, io.TeeReader(conn, &all))
				connections <- all.Bytes()
			}()
		}
	}()
	return listener.Addr().String(), connections
}

func startPipe(t *testing.T, upstream string) *Pipe {
	t.Helper()
	p, err := NewPipe("127.0.0.1:0", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *Pipe) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// roundTrip sends bytes and returns whether they came back.
func roundTrip(conn net.Conn, text string) error {
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(conn, back); err != nil {
		return err
	}
	if string(back) != text {
		return errors.New("other bytes came back: " + string(back))
	}
	return nil
}

// exchange is roundTrip on a connection of its own.
func exchange(p *Pipe, text string) error {
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	return roundTrip(conn, text)
}

// some are bytes that no two chunks have alike.
func some(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16 ^ i>>8*7 ^ i*13)
	}
	return b
}

// An orderly end of one direction leaves the other open.
func TestPipePassesEverything(t *testing.T) {
	addr, got := recorder(t, true)
	conn := dial(t, startPipe(t, addr))
	sent := some(1 << 20)
	go func() {
		conn.Write(sent)
		conn.CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(back, sent) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(back), err, len(sent))
	}
	if arrived := <-got; !bytes.Equal(arrived, sent) {
		t.Errorf("%d bytes arrived, want the %d that were sent", len(arrived), len(sent))
	}
}

func TestPipeCutsAfterSoManyBytes(t *testing.T) {
	sent := some(200_000)
	for _, after := range []int64{0, 1, 70_001, 200_000} {
		addr, got := recorder(t, false)
		p := startPipe(t, addr)
		p.CutAfter(after)
		conn := dial(t, p)
		go conn.Write(sent)
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %d bytes: the connection stays open", after)
		}
		if arrived := <-got; !bytes.Equal(arrived, sent[:after]) {
			t.Errorf("after %d bytes: %d arrived", after, len(arrived))
		}
	}
	// One that is there is cut, too, and one after the end of it is not.
	addr, _ := recorder(t, true)
	p := startPipe(t, addr)
	conn := dial(t, p)
	if err := roundTrip(conn, "before"); err != nil {
		t.Fatal(err)
	}
	p.CutAfter(3)
	if err := roundTrip(conn, "abcdef"); err == nil {
		t.Error("6 bytes came back, want the connection cut after 3")
	}
	p.CutAfter(-1)
	if err := exchange(p, "abcdef"); err != nil {
		t.Error(err)
	}
}

func TestPipeRefuses(t *testing.T) {
	addr, _ := recorder(t, true)
	p := startPipe(t, addr)
	conn := dial(t, p)
	if err := roundTrip(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	if err := roundTrip(conn, "hello"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that was there: %v, want it cut", err)
	}
	if err := exchange(p, "hello"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection: %v, want it turned away", err)
	}
	p.Refuse(false)
	conn = dial(t, p)
	if err := roundTrip(conn, "hello"); err != nil {
		t.Error(err)
	}
	p.CutAll()
	if err := roundTrip(conn, "hello"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want it cut", err)
	}
	if err := exchange(p, "hello"); err != nil {
		t.Error(err)
	}
}

func TestPipeStalls(t *testing.T) {
	addr, got := recorder(t, true)
	p := startPipe(t, addr)
	conn, cut := dial(t, p), dial(t, p)
	for _, c := range []net.Conn{conn, cut} {
		if err := roundTrip(c, "before"); err != nil {
			t.Fatal(err)
		}
	}
	p.Stall(true)
	for _, c := range []net.Conn{conn, cut} {
		if _, err := c.Write([]byte("during")); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // long enough on a machine that isn't busy
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes came back, %v; want none", n, err)
	}
	cut.SetLinger(0)
	cut.Close()
	p.gate.cutAll() // also of connections that wait: what they sent never arrives
	for range 2 {
		if arrived := string(<-got); arrived != "before" {
			t.Errorf("%q arrived, want what was sent before the stall", arrived)
		}
	}
	conn = dial(t, p)
	if _, err := conn.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	p.Stall(false)
	back := make([]byte, 4)
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != "held" {
		t.Errorf("%q came back, %v", back, err)
	}
}

func TestPipeIsLate(t *testing.T) {
	addr, _ := recorder(t, true)
	p := startPipe(t, addr)
	p.Latency(30 * time.Millisecond)
	conn := dial(t, p)
	began := time.Now()
	if err := roundTrip(conn, "there and back"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("there and back took %v, want 60 ms at least", took)
	}
}

func TestPipeFollowsItsUpstream(t *testing.T) {
	p := startPipe(t, "127.0.0.1:1") // where nobody listens
	if err := exchange(p, "hello"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the connection cut", err)
	}
	addr, _ := recorder(t, true)
	p.SetUpstream(addr)
	if err := exchange(p, "hello"); err != nil {
		t.Error(err)
	}
}
