package tracker

import "context"

// HitSink takes encoded hits; pipeline/spool implements it. Append copies the
// payload, never blocks on disk or network, and is safe for concurrent use.
// takenMS is the time of the hit by the node's Clock, which a restart of the
// node must not fall behind. An error means that the hit was shed and counted.
type HitSink interface {
	Append(payload []byte, takenMS uint64) (ordinal uint64, err error)
}

// ActionSink takes encoded actions; pipeline/spool implements it. Append
// returns nil only once all payloads are on disk or acknowledged by Kafka.
type ActionSink interface {
	Append(ctx context.Context, payloads ...[]byte) error
}
