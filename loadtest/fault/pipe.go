package fault

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// pipeChunk is how many bytes a pipe moves at a time.
const pipeChunk = 32 << 10

// Pipe passes the bytes of TCP connections to a server and back until it is
// told to do otherwise. Its methods may be called from several goroutines.
//
// A client that follows addresses which the server hands out, as Kafka's do,
// leaves the pipe unless the server hands out the pipe's (StartBrokerBehind).
type Pipe struct {
	gate   *gate
	served sync.WaitGroup

	mu       sync.Mutex
	upstream string
	latency  time.Duration
	cutAfter int64         // bytes a new connection may send, negative for any number
	flow     chan struct{} // closed while bytes flow
	links    map[*link]struct{}
}

// NewPipe starts a pipe from listen (host:port, port 0 takes a free one) to
// upstream, which is dialled anew for each connection and may be "" until
// SetUpstream is called.
func NewPipe(listen, upstream string) (*Pipe, error) {
	gate, err := newGate(listen)
	if err != nil {
		return nil, err
	}
	p := &Pipe{gate: gate, upstream: upstream, cutAfter: -1, flow: make(chan struct{}), links: make(map[*link]struct{})}
	close(p.flow)
	p.served.Go(p.accept)
	return p, nil
}

// Addr is the host:port that clients connect to.
func (p *Pipe) Addr() string { return p.gate.Addr().String() }

// SetUpstream sends connections elsewhere from now on. Those there are stay.
func (p *Pipe) SetUpstream(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = addr
}

// Refuse cuts every connection and turns new ones away until it is called with
// false.
func (p *Pipe) Refuse(on bool) { p.gate.refuse(on) }

// CutAll cuts every connection there is.
func (p *Pipe) CutAll() { p.gate.cutAll() }

// Stall stops the bytes in both directions; connections stay, and new ones are
// taken. Called with false it lets them flow again, none missing.
func (p *Pipe) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
		if on {
			p.flow = make(chan struct{})
		}
	default:
		if !on {
			close(p.flow)
		}
	}
}

// Latency makes each chunk of up to 32 KB wait in each direction, which limits
// the throughput of a connection as well. 0 ends it.
func (p *Pipe) Latency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// CutAfter cuts each connection, those there are and new ones, when it has sent
// that many more bytes towards the server, which still gets to read them unless
// it is sending itself at that moment. A negative number ends it.
func (p *Pipe) CutAfter(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAfter = bytes
	for l := range p.links {
		l.left = bytes
	}
}

// Close cuts every connection and stops listening.
func (p *Pipe) Close() error {
	err := p.gate.Close()
	p.gate.refuse(true)
	p.served.Wait()
	return err
}

func (p *Pipe) accept() {
	for {
		conn, err := p.gate.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of file descriptors, say
			continue
		}
		p.served.Go(func() { p.serve(conn.(*gateConn)) })
	}
}

// serve follows one connection to its end.
func (p *Pipe) serve(client *gateConn) {
	defer client.Close()
	p.mu.Lock()
	upstream := p.upstream
	p.mu.Unlock()
	dialled, err := net.DialTimeout("tcp", upstream, 10*time.Second)
	if err != nil {
		reset(client.TCPConn)
		return
	}
	server := dialled.(*net.TCPConn)
	defer server.Close()

	l := &link{pipe: p, client: client.TCPConn, server: server, ended: make(chan struct{})}
	p.mu.Lock()
	l.left = p.cutAfter
	p.links[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	go func() {
		<-client.gone
		l.cut()
	}()
	var both sync.WaitGroup
	both.Go(func() { l.pump(server, l.client, true) })
	both.Go(func() { l.pump(l.client, server, false) })
	both.Wait()
}

// link is a client's connection and the one to the server that belongs to it.
type link struct {
	pipe           *Pipe
	client, server *net.TCPConn
	left           int64 // bytes towards the server before the cut, negative for any number; guarded by pipe.mu

	ending sync.Once
	ended  chan struct{}
}

// cut ends both connections at once: the client's by a reset, the server's by an
// end, so that what was written to it is not dropped.
func (l *link) cut() {
	l.ending.Do(func() {
		close(l.ended)
		reset(l.client)
		l.server.Close()
	})
}

// pump moves bytes one way until there are no more. An orderly end of one
// direction leaves the other open, as TCP does.
func (l *link) pump(to, from *net.TCPConn, upstream bool) {
	buf := make([]byte, pipeChunk)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.pass(to, buf[:n], upstream) {
			l.cut()
			return
		}
		if errors.Is(err, io.EOF) {
			to.CloseWrite()
			return
		}
		if err != nil {
			l.cut()
			return
		}
	}
}

// pass writes a chunk when the pipe allows it and reports whether the
// connection is to go on.
func (l *link) pass(to *net.TCPConn, chunk []byte, upstream bool) bool {
	if !l.wait() {
		return false
	}
	whole := true
	if upstream {
		chunk, whole = l.spend(chunk)
	}
	_, err := to.Write(chunk)
	return err == nil && whole
}

// wait holds a chunk for as long as the pipe is slow or stalled. It reports
// false when the connection ended meanwhile.
func (l *link) wait() bool {
	l.pipe.mu.Lock()
	latency := l.pipe.latency
	l.pipe.mu.Unlock()
	if latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.ended:
			return false
		}
	}
	l.pipe.mu.Lock()
	flow := l.pipe.flow
	l.pipe.mu.Unlock()
	select {
	case <-flow:
		return true
	case <-l.ended:
		return false
	}
}

// spend returns what may still be sent of a chunk, and whether the connection
// survives it.
func (l *link) spend(chunk []byte) ([]byte, bool) {
	l.pipe.mu.Lock()
	defer l.pipe.mu.Unlock()
	if l.left < 0 {
		return chunk, true
	}
	if int64(len(chunk)) >= l.left {
		return chunk[:l.left], false
	}
	l.left -= int64(len(chunk))
	return chunk, true
}
