package tracker

import (
	"sync/atomic"
	"time"
)

// Clock gives every hit of a node its identity. Its time never runs backwards,
// also when the machine's does: it then stands still until that has caught up,
// or moves on by a millisecond whenever the sequence is used up. It is safe for
// concurrent use.
//
// The upper half of the sequence belongs to simulated times, see SimulatedClock.
type Clock struct {
	node uint16
	last atomic.Uint64 // time ms << clockSequenceBits | sequence
}

const (
	clockSequenceBits = sequenceBits - 1
	simulatedSequence = 1 << clockSequenceBits
)

// NewClock returns the clock of a node. No identity it gives is at or before
// floorMS, the time (Unix milliseconds) of the last hit that the node is known
// to have taken, or 0.
func NewClock(node uint16, floorMS uint64) *Clock {
	c := &Clock{node: node}
	c.last.Store(floorMS<<clockSequenceBits | (simulatedSequence - 1))
	return c
}

// Node is the number of the node.
func (c *Clock) Node() uint16 { return c.node }

// Next returns the identity of a hit that is taken now.
func (c *Clock) Next(now time.Time) Identity {
	wall := uint64(now.UnixMilli()) << clockSequenceBits
	for {
		last := c.last.Load()
		next := max(wall, last+1)
		if c.last.CompareAndSwap(last, next) {
			return Identity{
				TimeMS:   next >> clockSequenceBits,
				Node:     c.node,
				Sequence: uint16(next & (simulatedSequence - 1)),
			}
		}
	}
}
