package fault

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestBytesMax bounds a Kafka request, as socket.request.max.bytes does.
const requestBytesMax = 100 << 20

// The ends of a connection.
var (
	errNotKafka = errors.New("not a Kafka request")
	errInjected = errors.New("closed by a fault")
)

// brokerListener gives kfake connections that meet the faults, and the address
// to send clients to.
type brokerListener struct {
	net.Listener
	advertised string // "" for its own
	faults     *brokerFaults
}

func (l *brokerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &brokerConn{Conn: conn, faults: l.faults}, nil
}

func (l *brokerListener) Addr() net.Addr {
	if l.advertised == "" {
		return l.Listener.Addr()
	}
	return advertisedAddr(l.advertised)
}

type advertisedAddr string

func (advertisedAddr) Network() string  { return "tcp" }
func (a advertisedAddr) String() string { return string(a) }

// brokerConn hands requests to kfake one by one, each whole and checked: one
// that is none would take the process down. kfake reads from one goroutine and
// writes from another, an answer at a time.
//
//	request  0      4      6        8             12
//	         │ size │ kind │ version │ correlation │ the rest
//	answer   0      4             8
//	         │ size │ correlation │ the rest
type brokerConn struct {
	net.Conn
	faults  *brokerFaults
	pending []byte // of the request that kfake is reading

	mu     sync.Mutex
	unsaid map[uint32]string // correlation → ending, of requests whose answers are not sent
}

func (c *brokerConn) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// next reads a request and lets it meet the faults.
func (c *brokerConn) next() error {
	request, err := readRequest(c.Conn)
	if err != nil {
		return err
	}
	switch ending := c.faults.meet(kmsg.Key(binary.BigEndian.Uint16(request[4:]))); ending {
	case CloseBefore:
		c.Conn.Close()
		return errInjected
	case CloseAfter, CloseKill:
		c.mu.Lock()
		if c.unsaid == nil {
			c.unsaid = make(map[uint32]string)
		}
		c.unsaid[binary.BigEndian.Uint32(request[8:])] = ending
		c.mu.Unlock()
	}
	c.pending = request
	return nil
}

// Write sends an answer, unless a fault keeps it.
func (c *brokerConn) Write(answer []byte) (int, error) {
	c.mu.Lock()
	ending := ""
	if len(answer) >= 8 {
		ending = c.unsaid[binary.BigEndian.Uint32(answer[4:])]
	}
	c.mu.Unlock()
	switch ending {
	case CloseAfter:
		c.Conn.Close()
		return 0, errInjected
	case CloseKill:
		die()
	}
	return c.Conn.Write(answer)
}

// readRequest reads one request with its size. The error is that of the reader,
// or errNotKafka.
func readRequest(r io.Reader) ([]byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 8 || size > requestBytesMax {
		return nil, errNotKafka
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return nil, err
	}
	kind, version := int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:]))
	if version < 0 || kmsg.RequestForKey(kind) == nil {
		return nil, errNotKafka
	}
	request := make([]byte, 4+size)
	copy(request, head[:])
	if _, err := io.ReadFull(r, request[len(head):]); err != nil {
		return nil, err
	}
	return request, nil
}
