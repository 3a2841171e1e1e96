package spool

import "errors"

var (
	// ErrLocked: another process has the spool directory or its ring open.
	ErrLocked = errors.New("in use by another process")
	// ErrFull: the record was shed. Ring and disk budget are used up, or the disk fails or is too slow. It clears by itself when
	// acknowledgements free space.
	ErrFull = errors.New("spool is full")
	// ErrTooLarge: the payload has more than PayloadBytesMax bytes.
	ErrTooLarge = errors.New("payload is larger than a frame can hold")
	// ErrClosed: the spool or journal was closed.
	ErrClosed = errors.New("spool is closed")
)

// CorruptError: a file's content is not what was written to it.
type CorruptError struct {
	File string
	Err  error
}

func (e *CorruptError) Error() string { return "corrupt " + e.File + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *CorruptError) Unwrap() error { return e.Err }
