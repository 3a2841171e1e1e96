package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
)

// Problem is the body of every answer that is no success (RFC 9457).
type Problem struct {
	Type   string              `json:"type" doc:"Always about:blank: the status says what kind of problem it is."`
	Title  string              `json:"title" doc:"Name of the status." example:"Unprocessable Entity"`
	Status int                 `json:"status" doc:"Status of the answer." example:"422"`
	Detail string              `json:"detail" doc:"What is wrong and what to do about it."`
	Field  string              `json:"field,omitempty" doc:"The field or parameter at fault, if it is one." example:"url"`
	Errors []*huma.ErrorDetail `json:"errors,omitempty" doc:"Each fault with its place, where there may be several."`

	cause error // of a status 500, for the log
}

func (p *Problem) Error() string {
	if p.Field == "" {
		return p.Detail
	}
	return p.Field + ": " + p.Detail
}

func (p *Problem) Unwrap() error { return p.cause }

// GetStatus and ContentType make huma write the problem as what it is.
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are the headers that belong to the status.
func (p *Problem) GetHeaders() http.Header {
	switch p.Status {
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="waymark"`}}
	case http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {"2"}}
	}
	return nil
}

func newProblem(status int, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// fieldProblem is a problem with one field; in says where it stands: body,
// query or path.
func fieldProblem(status int, in, field, detail string) *Problem {
	p := newProblem(status, detail)
	p.Field = field
	p.Errors = []*huma.ErrorDetail{{Location: strings.TrimSuffix(in+"."+field, "."), Message: detail}}
	return p
}

// queryProblem refuses a query parameter.
func queryProblem(name, format string, args ...any) *Problem {
	return fieldProblem(http.StatusUnprocessableEntity, "query", name, fmt.Sprintf(format, args...))
}

// problemOf is the one place where errors become statuses; in says where the
// field of a *tracker.FieldError stands.
func problemOf(err error, in string) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if fault, ok := errors.AsType[*tracker.FieldError](err); ok {
		return fieldProblem(http.StatusUnprocessableEntity, in, fault.Field, fault.Detail)
	}
	switch {
	case errors.Is(err, tracker.ErrExists):
		return fieldProblem(http.StatusConflict, "body", "code", "a link with this code already exists; choose another one or leave it out")
	case errors.Is(err, tracker.ErrNotFound):
		return newProblem(http.StatusNotFound, "there is no such thing here")
	case errors.Is(err, tracker.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), isAway(err):
		return newProblem(http.StatusServiceUnavailable, "temporarily unavailable; try again")
	}
	p := newProblem(http.StatusInternalServerError, "something went wrong; the log of this server says what")
	p.cause = err
	return p
}

// isAway reports whether another system could not be reached, or went away
// before it had answered.
func isAway(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// humaProblem is a problem that huma found by itself: a parameter against its
// schema, a body that is too large.
func humaProblem(status int, detail string, errs ...error) huma.StatusError {
	p := newProblem(status, detail)
	for _, err := range errs {
		fault, ok := err.(huma.ErrorDetailer)
		if !ok {
			continue
		}
		d := fault.ErrorDetail()
		p.Errors = append(p.Errors, &huma.ErrorDetail{Location: d.Location, Message: d.Message})
		if p.Field == "" {
			_, p.Field, _ = strings.Cut(d.Location, ".")
			p.Detail = d.Message
		}
	}
	return p
}

func init() {
	// huma has no other way to choose the type of its errors, and no other
	// package of this program uses it.
	huma.NewError = humaProblem
	// An empty list is [] here, never null.
	huma.DefaultArrayNullable = false
}
