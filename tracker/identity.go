package tracker

// Identity is what makes a hit unique: the node that took it, the millisecond
// and a sequence within the two. Time never runs backwards on a node, and a
// node whose spool was lost takes a new number, so no two hits share one.
type Identity struct {
	TimeMS   uint64 // Unix milliseconds, 42 bits
	Node     uint16
	Sequence uint16 // 14 bits
}

// IsZero reports whether there is no hit.
func (i Identity) IsZero() bool { return i == Identity{} }

// Click is what a click id says: which hit it was, and on which link.
type Click struct {
	Identity
	Link LinkNumber
}
