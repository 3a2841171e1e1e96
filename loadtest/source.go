package loadtest

import (
	"time"

	"waymark/loadtest/ledger"
)

// kind tells requests apart in the result.
type kind uint8

// exchange is one request and what belongs to it until its answer is read. It
// belongs to a connection, which uses it again.
type exchange struct {
	kind   kind
	toHead bool          // it is a HEAD request
	due    time.Duration // from the start of the run
	sent   time.Duration

	// What the source notes for itself.
	target  int   // of the connection: which of the targets it leads to
	visitor int32 // -1 for none
	code    int32
	scan    bool
	actions []ledger.Entry // that the request reports
	body    []byte         // that they were posted in
	sentMS  uint64         // Unix milliseconds
}

// source decides what a loop sends. Each loop has one of its own, whose methods
// it calls from its thread alone.
type source interface {
	// kinds names the kinds of requests, in order.
	kinds() []string
	// next appends a request to dst and describes it in x.
	next(dst []byte, x *exchange) []byte
	// answered reads an answer and reports whether it is a good one. The error
	// is one that ends the run: the ledger could not be written.
	answered(x *exchange, r *response) (good bool, err error)
	// cut says that a request was sent and its answer never came.
	cut(x *exchange) error
	// flush makes the ledger durable against the end of the process.
	flush() error
}
