package tracker

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// HeaderTime carries the simulated time of a hit: RFC 3339 with milliseconds.
// It counts only together with an admin key.
const HeaderTime = "X-Waymark-Time"

var headerTime = []byte(HeaderTime)

// SimulatedClock gives identities to hits whose time was given, which may be
// any, in any order. They never meet those of a Clock, because they use the
// upper half of the sequence. It is safe for concurrent use.
type SimulatedClock struct {
	node uint16

	// The milliseconds seen lately. When recent is full, it takes the place of
	// older, which is forgotten: 12 MB at most. Two hits of one millisecond
	// that are more than simulatedTimesMax others apart may then share an
	// identity, once in 8,192 times, since a millisecond starts at a random
	// sequence.
	mu            sync.Mutex
	recent, older map[uint64]sequences
}

// simulatedTimesMax bounds each of the two generations of milliseconds.
const simulatedTimesMax = 1 << 18

// sequences are those of one millisecond: the next one and how many are left.
type sequences struct{ next, left uint16 }

// NewSimulatedClock returns the clock for simulated times of a node.
func NewSimulatedClock(node uint16) *SimulatedClock {
	return &SimulatedClock{node: node, recent: make(map[uint64]sequences)}
}

// Next returns the identity of a hit at a simulated time (Unix milliseconds).
// Its time is later than that if the millisecond's sequences are used up.
func (c *SimulatedClock) Next(timeMS uint64) Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; ; timeMS++ {
		s, ok := c.recent[timeMS]
		if !ok {
			s, ok = c.older[timeMS]
		}
		if !ok {
			s = sequences{next: uint16(rand.Uint32N(simulatedSequence)), left: simulatedSequence}
		}
		if s.left == 0 {
			continue
		}
		id := Identity{TimeMS: timeMS, Node: c.node, Sequence: simulatedSequence | s.next}
		if len(c.recent) >= simulatedTimesMax {
			c.older, c.recent = c.recent, make(map[uint64]sequences)
		}
		c.recent[timeMS] = sequences{next: (s.next + 1) % simulatedSequence, left: s.left - 1}
		return id
	}
}

// simulatedTime returns the time that a request asks for by HeaderTime, in
// Unix milliseconds, or 0 if it asks for none or does not bring an admin key,
// which isAdmin tells. The error is a *FieldError.
func simulatedTime(h *fasthttp.RequestHeader, now time.Time, isAdmin func(secret []byte) bool) (uint64, error) {
	text := h.PeekCanonical(headerTime)
	if len(text) == 0 || isAdmin == nil || !isAdmin(Bearer(h.Peek(fasthttp.HeaderAuthorization))) {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil || t.UnixMilli() < 0 || !saneHitTime(uint64(t.UnixMilli()), now) {
		return 0, fieldErrorf(HeaderTime, "must be RFC 3339, such as 2026-11-20T10:00:00.000Z, after the year 2000 and not in the future")
	}
	return uint64(t.UnixMilli()), nil
}
