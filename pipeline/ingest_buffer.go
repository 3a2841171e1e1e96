package pipeline

import (
	"sync"

	"waymark/tracker/wire"
)

// rowBuffer holds the events of a plan, kept for the next one: they are half
// of what a plan allocates, some 60 MB for 100,000 rows.
type rowBuffer struct{ events []wire.Event }

// No more are in use than inserts are made at a time.
var rowBuffers = sync.Pool{New: func() any { return new(rowBuffer) }}

// take returns n empty events, which are the caller's until free.
func (b *rowBuffer) take(n int) []wire.Event {
	if cap(b.events) < n {
		b.events = make([]wire.Event, n)
	}
	b.events = b.events[:n]
	return b.events
}

// free takes the events back and drops what they point to.
func (b *rowBuffer) free() {
	clear(b.events)
	rowBuffers.Put(b)
}
