package tracker

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"
)

var longPatience = &patience{idle: time.Minute, request: time.Minute, answer: time.Minute}

// More than the buffers of both ends hold comes through unchanged, in both
// directions at once, and then the end.
func TestSocketCarriesBytes(t *testing.T) {
	client, conn := socketPair(t, longPatience)
	if _, ok := conn.(*impatientConn).Conn.(*socket); !ok {
		t.Fatalf("a TCP connection is a %T", conn.(*impatientConn).Conn)
	}
	sent := make([]byte, 32<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(random.Uint32())
	}
	go func() {
		client.Write(sent)
		client.CloseWrite()
	}()
	back := make(chan []byte)
	go func() {
		received, _ := io.ReadAll(client)
		back <- received
	}()
	received := new(bytes.Buffer)
	if _, err := io.Copy(io.MultiWriter(conn, received), onlyReader{conn}); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !bytes.Equal(received.Bytes(), sent) {
		t.Error("the server received something else than was sent")
	}
	if !bytes.Equal(<-back, sent) {
		t.Error("the client received something else than was sent")
	}
}

type onlyReader struct{ io.Reader }

// Errors are those that package net gives.
func TestSocketErrors(t *testing.T) {
	client, conn := socketPair(t, longPatience)
	client.SetLinger(0)
	client.Close() // with a reset
	buf := make([]byte, 1)
	if _, err := conn.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading after a reset: %v", err)
	}
	if _, err := conn.Write(buf); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing after a reset: %v", err)
	}
	conn.Close()
	if _, err := conn.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading from a closed connection: %v", err)
	}

	client, conn = socketPair(t, longPatience)
	closed := make(chan error)
	go func() {
		_, err := conn.Read(buf)
		closed <- err
	}()
	client.Write(nil)
	conn.Close() // while the other waits, or just before
	if err := <-closed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading from a connection that is closed meanwhile: %v", err)
	}
}

// What is no TCP stays what it is.
func TestSocketIsForTCP(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if newSocket(a) != a {
		t.Error("a pipe became a socket")
	}
}
