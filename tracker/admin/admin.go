package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
)

// LinkWriter writes links to waymark.links. The links it is given are valid.
// It returns once its own reader has seen what was written.
type LinkWriter interface {
	// CreateLinks returns one error for each link, nil for those that it
	// created; these it completes in place (code, number, times). A code that is
	// taken is ErrExists.
	CreateLinks(ctx context.Context, links []tracker.Link) []error
	// UpdateLink changes the link as it is when the change is written; an error
	// of change is returned as it is and nothing is written.
	UpdateLink(ctx context.Context, domain, code string, change func(*tracker.Link) error) (tracker.Link, error)
	DeleteLink(ctx context.Context, domain, code string) error
}

// ProgramWriter writes programmes to waymark.programs.
type ProgramWriter interface {
	PutProgram(ctx context.Context, program tracker.Program) error
}

// ProgramHistory knows the versions of a programme, in the order in which they
// were written.
type ProgramHistory interface {
	ProgramVersions(ctx context.Context, name string) ([]tracker.ProgramRow, error)
}

// KeyWriter writes keys to waymark.keys.
type KeyWriter interface {
	PutKey(ctx context.Context, key tracker.APIKey) error
}

// Reporter answers reports. What it finds wrong with a query is a
// *tracker.FieldError that names the parameter.
type Reporter interface {
	Reports() []tracker.ReportInfo
	Report(ctx context.Context, query tracker.ReportQuery) (*tracker.Report, error)
}

// ClickFinder looks a click up where events end.
type ClickFinder interface {
	ClickHistory(ctx context.Context, click tracker.Click) (*tracker.ClickHistory, error)
}

// ValueFinder knows whether any action of a programme has a value.
type ValueFinder interface {
	HasValue(ctx context.Context, program string) (bool, error)
}

// Options is what New needs; the last group may be left out.
type Options struct {
	Links    *tracker.Links
	Keys     *tracker.Keys
	ClickIDs *tracker.ClickIDs

	LinkWriter     LinkWriter
	ProgramWriter  ProgramWriter
	ProgramHistory ProgramHistory
	KeyWriter      KeyWriter
	Reporter       Reporter
	ClickFinder    ClickFinder
	ValueFinder    ValueFinder
	RewardKeeper   RewardKeeper
	RewardReader   RewardReader
	FraudKeeper    FraudKeeper
	FraudReader    FraudReader
	PartnerKeeper  PartnerKeeper
	PartnerReader  PartnerReader
	AuditReader    AuditReader

	// PublicURL is where the edge answers, without a slash at its end; QR codes
	// of links without a domain of their own lead there.
	PublicURL string
	// Ready returns the reasons for not being ready, none if it is.
	Ready func() []string

	Auditor  *Auditor // nil for no audit log
	Gatherer prometheus.Gatherer
	Logger   *slog.Logger
	Version  string
	Now      func() time.Time
}

type server struct {
	Options
	api huma.API
	mux *http.ServeMux
}

// New returns the handler of the admin listener.
func New(o Options) http.Handler {
	if o.Ready == nil {
		o.Ready = func() []string { return nil }
	}
	if o.Gatherer == nil {
		o.Gatherer = prometheus.DefaultGatherer
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &server{Options: o, mux: http.NewServeMux()}
	config := huma.DefaultConfig("Waymark admin API", o.Version)
	// No route that the document does not show, no $schema in the bodies.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "http", Scheme: "bearer", Description: "An API key. Role read reads, role admin also writes."},
	}
	s.api = humago.New(s.mux, config)
	s.api.UseMiddleware(s.authorize, s.refuseRepeats, s.audit)
	s.registerLinks()
	s.registerQR()
	s.registerPrograms()
	s.registerKeys()
	s.registerClicks()
	s.registerReports()
	s.registerRewards()
	s.registerPayouts()
	s.registerStatements()
	s.registerRecompute()
	s.registerFraud()
	s.registerPartners()
	s.registerAuditLog()
	s.registerHealth()
	s.registerDocument()
	s.mux.HandleFunc("/", s.noRoute)
	return escapeCodes(s.mux)
}

// operation describes a route. The statuses are those of its problems, besides
// the ones that every route has.
func operation(method, path, id, summary string, needs access, problems ...int) huma.Operation {
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		Metadata:        map[string]any{accessKey: needs},
		Errors:          problems,
		BodyReadTimeout: 30 * time.Second,
	}
	if needs != public {
		op.Security = []map[string][]string{{"key": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	// The parameters are checked, and be it that there should be none.
	op.Errors = append(op.Errors, http.StatusUnprocessableEntity, http.StatusInternalServerError)
	return op
}

// route registers a handler whose errors become problems. in says where the
// fields of its *tracker.FieldErrors stand.
func route[I, O any](s *server, op huma.Operation, in string, handle func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, op, func(ctx context.Context, input *I) (*O, error) {
		output, err := handle(ctx, input)
		if err == nil {
			return output, nil
		}
		p := problemOf(err, in)
		if p.Status == http.StatusInternalServerError {
			s.Logger.Error("an admin request failed", "operation", op.OperationID, "error", errors.Unwrap(p))
		}
		return nil, p
	})
}

// noRoute answers what no route matches: 405 if another method would.
func (s *server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		other := *r
		other.Method = method
		if _, pattern := s.mux.Handler(&other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	p := newProblem(http.StatusNotFound, "there is nothing at "+r.URL.Path+"; see /openapi.json")
	if len(allowed) > 0 {
		p = newProblem(http.StatusMethodNotAllowed, fmt.Sprintf("%s is not allowed here, but %s", r.Method, strings.Join(allowed, ", ")))
		w.Header().Set("Allow", strings.Join(allowed, ", "))
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	s.api.Marshal(w, "application/json", p)
}

// escapeCodes lets the code in the path of a link hold plain slashes, which
// the routes would take for the end of it: /v1/links/a/b/qr.svg is read as
// /v1/links/a%2Fb/qr.svg. A code that itself ends in /qr.svg must be escaped.
func escapeCodes(next http.Handler) http.Handler {
	const prefix = "/v1/links/"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
		if ok && strings.Contains(code, "/") {
			image := ""
			for _, suffix := range []string{"/qr.svg", "/qr.png"} {
				if rest, ok := strings.CutSuffix(code, suffix); ok {
					code, image = rest, suffix
				}
			}
			u := *r.URL
			u.RawPath = prefix + strings.ReplaceAll(code, "/", "%2F") + image
			r = r.Clone(r.Context())
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}
