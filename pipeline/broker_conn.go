package pipeline

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestBytesMax bounds a Kafka request, as socket.request.max.bytes does.
const requestBytesMax = 100 << 20

// errNotKafka ends a connection whose bytes are no Kafka request.
var errNotKafka = errors.New("not a Kafka request")

// brokerListener gives kfake the connections of a listener, checked, and the
// address to send clients to.
type brokerListener struct {
	net.Listener
	advertised string
	log        *slog.Logger
}

func (l brokerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &brokerConn{Conn: conn, log: l.log}, nil
}

func (l brokerListener) Addr() net.Addr { return advertisedAddr(l.advertised) }

type advertisedAddr string

func (advertisedAddr) Network() string  { return "tcp" }
func (a advertisedAddr) String() string { return string(a) }

// brokerConn checks the head of each request before kfake sees it. Unchecked,
// a port scan or an HTTP request on the Kafka port would take the process
// down: kfake allocates whatever size the first four bytes say and uses the
// request type without asking whether there is one.
//
//	0      4      6        8             size+4
//	┌──────┬──────┬─────────┬────────────┐
//	│ size │ type │ version │ the rest   │
//	└──────┴──────┴─────────┴────────────┘
type brokerConn struct {
	net.Conn
	log  *slog.Logger
	head [8]byte
	have int // bytes of head
	rest int // bytes of the request that are still to come
}

func (c *brokerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.check(p[:n]) {
		c.log.Debug("broker: closed a connection that does not speak Kafka", "from", c.RemoteAddr().String())
		return 0, errNotKafka
	}
	return n, err
}

// check follows the bytes of the connection and reports false at the first
// that can't be right.
func (c *brokerConn) check(b []byte) bool {
	for len(b) > 0 {
		if c.rest > 0 {
			n := min(c.rest, len(b))
			c.rest -= n
			b = b[n:]
			continue
		}
		n := copy(c.head[c.have:], b)
		c.have += n
		b = b[n:]
		size := binary.BigEndian.Uint32(c.head[:4])
		if c.have >= 4 && (size < 8 || size > requestBytesMax) {
			return false
		}
		if c.have < len(c.head) {
			continue
		}
		kind, version := int16(binary.BigEndian.Uint16(c.head[4:])), int16(binary.BigEndian.Uint16(c.head[6:]))
		if version < 0 || kmsg.RequestForKey(kind) == nil {
			return false
		}
		c.have, c.rest = 0, int(size)-4
	}
	return true
}
