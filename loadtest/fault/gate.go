package fault

import (
	"fmt"
	"net"
	"sync"
)

// gate is a listener whose connections can be cut and turned away. Its methods
// may be called from several goroutines.
//
// It goes on listening while it turns connections away, because a port that is
// given up may be gone when it is wanted again: a client on the same machine
// that tries it often enough is given it as its own.
type gate struct {
	*net.TCPListener

	mu       sync.Mutex
	refusing bool
	conns    map[*gateConn]struct{}
}

func newGate(listen string) (*gate, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", listen, err)
	}
	return &gate{TCPListener: listener.(*net.TCPListener), conns: make(map[*gateConn]struct{})}, nil
}

// Accept returns the next connection that is let in.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if admitted := g.admit(conn); admitted != nil {
			return admitted, nil
		}
		reset(conn)
	}
}

func (g *gate) admit(conn *net.TCPConn) *gateConn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusing {
		return nil
	}
	c := &gateConn{TCPConn: conn, gate: g, gone: make(chan struct{})}
	g.conns[c] = struct{}{}
	return c
}

// refuse turns new connections away, and cuts those there are, until it is
// called with false.
func (g *gate) refuse(on bool) {
	g.mu.Lock()
	g.refusing = on
	g.mu.Unlock()
	if on {
		g.cutAll()
	}
}

// cutAll resets every connection.
func (g *gate) cutAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		reset(c.TCPConn)
		c.leaveLocked()
	}
}

// gateConn is a connection that its gate can cut.
type gateConn struct {
	*net.TCPConn
	gate *gate
	gone chan struct{} // closed once it is closed or cut
}

func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	c.leaveLocked()
	c.gate.mu.Unlock()
	return c.TCPConn.Close()
}

func (c *gateConn) leaveLocked() {
	if _, ok := c.gate.conns[c]; ok {
		delete(c.gate.conns, c)
		close(c.gone)
	}
}

// reset closes a connection the way a process that dies does: what was not yet
// sent is dropped, and the peer sees an error instead of an orderly end.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}
