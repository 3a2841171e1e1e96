package admin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// AuditReader reads the audit log, the latest entries first.
type AuditReader interface {
	AuditLog(ctx context.Context, query tracker.AuditQuery) (*tracker.Report, error)
}

const (
	// auditPatience is how long a write that has succeeded waits for its entry.
	// Waiting for good was rejected: what was done is done, and must be answered.
	auditPatience = 2 * time.Second
	// auditQueueMax bounds the entries that the log would not take at once. What
	// comes when as many wait is in the program's log only, and counted.
	auditQueueMax = 1000
	auditRetry    = time.Second
	// auditAnswerMax is how much of an answer is read for what it is about.
	auditAnswerMax = 64 << 10
)

// Auditor writes an entry for every request that changed something. It is safe
// for concurrent use.
type Auditor struct {
	sink   tracker.ActionSink
	queue  chan []byte
	behind atomic.Int64 // entries that wait, the one that Run has in hand among them
	logger *slog.Logger
	lost   prometheus.Counter
}

// NewAuditor returns one that keeps what the log will not take at once until
// Run brings it there.
func NewAuditor(sink tracker.ActionSink, registerer prometheus.Registerer, logger *slog.Logger) *Auditor {
	a := &Auditor{sink: sink, queue: make(chan []byte, auditQueueMax), logger: logger, lost: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "waymark_admin_audit_lost_total", Help: "Entries of the audit log that were given up; the program's log has them.",
	})}
	registerer.MustRegister(a.lost)
	return a
}

// Run writes what waits, in order, until its context ends.
func (a *Auditor) Run(ctx context.Context) error {
	for {
		var payload []byte
		select {
		case <-ctx.Done():
			return nil
		case payload = <-a.queue:
		}
		for a.sink.Append(ctx, payload) != nil {
			select {
			case <-ctx.Done():
				a.logger.Error("the audit log lacks entries: it could not be written until the end", "entries", a.behind.Load())
				return nil
			case <-time.After(auditRetry):
			}
		}
		a.behind.Add(-1)
	}
}

// auditEntry is what the audit log says of a request.
type auditEntry struct {
	program, actor, role, action, subject, before, after string
	time                                                 time.Time
	nothing                                              bool // was changed
}

type auditEntryKey struct{}

// noted is the entry of the request, for the handler to say what the path and
// the answer do not. Where nothing is audited, nobody reads it.
func noted(ctx context.Context) *auditEntry {
	if e, ok := ctx.Value(auditEntryKey{}).(*auditEntry); ok {
		return e
	}
	return new(auditEntry)
}

// digestOf is the SHA-256 of a record as JSON, "" if it cannot be written so.
func digestOf(record any) string {
	text, err := json.Marshal(record)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// write writes an entry, or leaves it to Run.
func (a *Auditor) write(ctx context.Context, e *auditEntry) {
	event := wire.Event{
		Event: tracker.EventAuditEntry, Program: e.program, Id: rand.Text(), TimeMs: uint64(e.time.UnixMilli()),
		Properties: map[string]string{"actor": e.actor, "role": e.role, "action": e.action, "subject": e.subject, "before": e.before, "after": e.after},
	}
	payload, err := event.MarshalVT()
	if err != nil {
		panic("BUG: encode an entry of the audit log: " + err.Error())
	}
	// Where others wait already, Kafka is known not to take it: nobody waits for
	// it once more, and the entries stay in order.
	if a.behind.Load() == 0 {
		// Whoever asked may be gone; what he did stays.
		waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditPatience)
		defer cancel()
		if err = a.sink.Append(waiting, payload); err == nil {
			return
		}
	}
	a.behind.Add(1)
	select {
	case a.queue <- payload:
	default:
		a.behind.Add(-1)
		a.lost.Inc()
		a.logger.Error("an entry of the audit log is lost: too many wait for Kafka", "actor", e.actor, "action", e.action, "subject", e.subject, "program", e.program,
			"before", e.before, "after", e.after, "error", err)
	}
}

// answering is a huma.Context, which cannot be embedded under its own name: it
// has a method of that name.
type answering = huma.Context

// audited is a request whose answer is read along.
type audited struct {
	answering
	digest hash.Hash
	start  bytes.Buffer // of the answer
}

func (c *audited) BodyWriter() io.Writer {
	return io.MultiWriter(c.answering.BodyWriter(), c.digest, writerFunc(func(p []byte) (int, error) {
		c.start.Write(p[:min(len(p), auditAnswerMax-c.start.Len())])
		return len(p), nil
	}))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// audit writes an entry for a request that changed something.
func (s *server) audit(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if s.Auditor == nil || op.Metadata[accessKey] != keeper || op.Method == http.MethodGet || ctx.Query("dry_run") == "true" {
		next(ctx)
		return
	}
	key := caller(ctx.Context())
	e := &auditEntry{actor: key.ID, role: string(key.Role), action: op.OperationID, subject: cutText(requestURI(ctx)), time: s.Now().UTC()}
	program, before := s.recordBefore(ctx)
	e.before = before
	seen := &audited{answering: huma.WithValue(ctx, auditEntryKey{}, e), digest: sha256.New()}
	next(seen)
	if seen.Status() >= 300 || e.nothing {
		return
	}
	var about struct {
		Program string `json:"program"`
	}
	if json.Unmarshal(seen.start.Bytes(), &about) != nil {
		about.Program = ""
	}
	e.program = cmp.Or(e.program, program, about.Program, key.Program)
	if e.after == "" && seen.start.Len() > 0 {
		e.after = hex.EncodeToString(seen.digest.Sum(nil))
	}
	s.Auditor.write(ctx.Context(), e)
}

const auditTextMax = 1024 // bytes of a property

func requestURI(ctx huma.Context) string {
	u := ctx.URL()
	return u.RequestURI()
}

func cutText(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), auditTextMax)], "")
}

// recordBefore is the programme that a request names, and the digest of it as
// it is. Links and keys are noted by their handlers. Rewards, referrals and
// partners need none: their chains keep all that they ever were.
func (s *server) recordBefore(ctx huma.Context) (program, digest string) {
	if !strings.HasPrefix(ctx.Operation().Path, "/v1/programs/") {
		return "", ""
	}
	program = ctx.Param("name")
	p, ok := s.Links.Program(program)
	if !ok {
		return program, ""
	}
	return program, digestOf(p.Masked())
}

type auditLogInput struct {
	Program string `query:"program" doc:"Only this programme. Default: all that the key is good for."`
	Actor   string `query:"actor" doc:"Only what this key did, by its id."`
	Action  string `query:"action" doc:"Only this operation, as the document names it." example:"put-program"`
	From    string `query:"from" doc:"RFC 3339, or a date." example:"2026-11-01"`
	To      string `query:"to" doc:"Not included: RFC 3339, or a date."`
	Cursor  string `query:"cursor" doc:"The cursor of the page before."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Entries on a page."`
	Format  string `query:"format" enum:"json,csv" default:"json" doc:"csv has the rows only."`
}

func (s *server) registerAuditLog() {
	op := operation("GET", "/v1/audit-log", "audit-log", "Who changed what, the latest first", keeper, 503)
	op.Description = "An entry for each request that changed a programme, link, key, partner, reward or payout, or decided about a referral; one for all links that were created at once, with their number. actor is the id of the key, action the operation, subject path and parameters, before and after SHA-256 digests of the programme, link or key as it was, and of the answer (of a key: without its secret)."
	op.Responses = reportResponses("An entry a row, and the cursor of the next page, empty on the last one.")
	route(s, op, "query", s.auditLog)
}

func (s *server) auditLog(ctx context.Context, in *auditLogInput) (*bytesOutput, error) {
	query := tracker.AuditQuery{Actor: in.Actor, Action: in.Action, Cursor: in.Cursor, Limit: in.Limit}
	var err error
	if query.Program, err = chooseProgram(caller(ctx), "query", in.Program); err != nil {
		return nil, err
	}
	if query.From, err = periodEnd("from", in.From, time.UTC); err != nil {
		return nil, err
	}
	if query.To, err = periodEnd("to", in.To, time.UTC); err != nil {
		return nil, err
	}
	report, err := s.AuditReader.AuditLog(ctx, query)
	if err != nil {
		return nil, err
	}
	return reportOutput(report, in.Format)
}
