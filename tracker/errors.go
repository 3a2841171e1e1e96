package tracker

import (
	"errors"
	"fmt"
)

// What can go wrong with a link, programme or key besides its content. The
// API maps them to 404, 409 and 503.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrUnavailable = errors.New("temporarily unavailable, try again")
)

// FieldError says which field of an input is at fault and what to do about it.
// The API maps it to 422 (or to an entry of `failed` or `rejected`).
type FieldError struct {
	Field  string // as in the JSON, with dots and indexes: referrer.type
	Detail string // what is wrong and the remedy
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// fieldErrorf is a FieldError with a formatted detail.
func fieldErrorf(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Detail: fmt.Sprintf(format, args...)}
}
