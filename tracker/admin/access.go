package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
)

// access is what a route asks of the caller's key.
type access string

const (
	public access = "public" // no key
	reader access = "read"   // role read or admin
	keeper access = "admin"  // role admin
)

// accessKey is where an operation's metadata keeps its access.
const accessKey = "access"

type callerKey struct{}

// caller is the key that a request came with.
func caller(ctx context.Context) *tracker.APIKey {
	return ctx.Value(callerKey{}).(*tracker.APIKey)
}

// authorize lets a request pass if its key is good for the route.
func (s *server) authorize(ctx huma.Context, next func(huma.Context)) {
	needed := ctx.Operation().Metadata[accessKey].(access)
	if needed == public {
		next(ctx)
		return
	}
	key, ok := s.Keys.Check(tracker.Bearer([]byte(ctx.Header("Authorization"))))
	switch {
	case !ok:
		s.refuse(ctx, newProblem(http.StatusUnauthorized, "send an API key as Authorization: Bearer"))
	case key.Role == tracker.RoleAdmin, key.Role == tracker.RoleRead && needed == reader:
		next(huma.WithValue(ctx, callerKey{}, key))
	default:
		s.refuse(ctx, newProblem(http.StatusForbidden, "this needs a key of role "+string(needed)+"; yours has the role "+string(key.Role)))
	}
}

// refuseRepeats refuses a query parameter that is given twice. Taking the first
// was rejected: whoever asks for by=a&by=b means both, and would get one.
func (s *server) refuseRepeats(ctx huma.Context, next func(huma.Context)) {
	u := ctx.URL()
	for name, values := range u.Query() {
		if len(values) > 1 {
			s.refuse(ctx, queryProblem(name, "is given %d times; give it once", len(values)))
			return
		}
	}
	next(ctx)
}

// refuse answers with a problem before a route's handler is reached.
func (s *server) refuse(ctx huma.Context, p *Problem) {
	for name, values := range p.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	s.api.Marshal(ctx.BodyWriter(), "application/json", p)
}

// sees reports whether a key may know of what belongs to a programme.
func sees(key *tracker.APIKey, program string) bool {
	return key.Program == "" || key.Program == program
}

// chooseProgram is the programme that a request is about: the one it names, if
// the key is good for it, else the key's own, "" for all.
func chooseProgram(key *tracker.APIKey, in, program string) (string, error) {
	if program == "" {
		return key.Program, nil
	}
	if !sees(key, program) {
		return "", fieldProblem(http.StatusForbidden, in, "program", "this key is good for the programme "+key.Program+" only")
	}
	return program, nil
}
