package admin

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"waymark/tracker"
	"waymark/tracker/fraud"
)

// FraudKeeper reads the log of fraud and enters decisions; *fraud.Assessor does.
type FraudKeeper interface {
	Chain(ctx context.Context, id string) ([]*fraud.Entry, error)
	Decide(ctx context.Context, id, decision, actor, reason string) error
}

// FraudReader reads what the views say of referrals, columns named as theirs.
type FraudReader interface {
	FraudReferrals(ctx context.Context, query tracker.FraudQuery) (*tracker.Report, error)
	FraudEvidence(ctx context.Context, referral fraud.Referral, signals []string, limit int) ([]fraud.Evidence, error)
}

const (
	fraudEvidenceMax = 200 // rows of one signal
	fraudBodyMax     = 16 << 10
	fraudReasonMax   = 255
)

type listFraudInput struct {
	Program  string `query:"program" doc:"Only this programme. Default: all that the key is good for."`
	Referrer string `query:"referrer" doc:"Only referrals by this party."`
	Risk     string `query:"risk" enum:"low,medium,high" doc:"Only referrals of this risk."`
	Action   string `query:"action" enum:"approve,review,hold,reject" doc:"Only referrals with this action: what was decided, else what was assessed."`
	Cursor   string `query:"cursor" doc:"The cursor of the page before."`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Referrals on a page."`
	Format   string `query:"format" enum:"json,csv" default:"json" doc:"csv has the rows only."`
}

type fraudPath struct {
	ID string `path:"id" doc:"Id of the referral."`
}

type decideInput struct {
	ID      string `path:"id" doc:"Id of the referral."`
	RawBody []byte `contentType:"application/json"`
}

// fraudDecision is what a POST asks for.
type fraudDecision struct {
	Decision string `json:"decision" enum:"approve,reject,withdraw" doc:"approve lets the referral earn, reject takes back what it earned; withdraw lets the assessment hold again."`
	Reason   string `json:"reason,omitempty" doc:"Why, in at most 255 bytes; it is kept with the decision."`
}

type fraudOutput struct{ Body fraudReferral }

// fraudReferral is a referral with all that is held against it.
type fraudReferral struct {
	ID           string           `json:"id"`
	Program      string           `json:"program"`
	Referrer     string           `json:"referrer"`
	ReferrerType string           `json:"referrer_type"`
	Referee      string           `json:"referee"`
	ReferredAt   time.Time        `json:"referred_at"`
	Score        float64          `json:"score" doc:"Sum of the weights of the triggered signals, 1 at most."`
	Risk         string           `json:"risk" doc:"low, medium or high; empty where later facts credit somebody else with the referee."`
	Action       string           `json:"action" doc:"What was decided, else what was assessed."`
	Decision     string           `json:"decision" doc:"approve or reject, empty for none."`
	Signals      []measuredSignal `json:"signals" doc:"What was measured at the last assessment."`
	Evidence     []fraudEvidence  `json:"evidence" doc:"The events behind the triggered signals, as they are now; 200 of each at most."`
	Log          []fraudEntry     `json:"log" doc:"Assessments and decisions, in the order of time."`
}

type measuredSignal struct {
	Signal    string  `json:"signal"`
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	Weight    float64 `json:"weight"`
	Triggered bool    `json:"triggered"`
}

type fraudEvidence struct {
	Signal string    `json:"signal"`
	Time   time.Time `json:"time"`
	Party  string    `json:"party"`
	Event  string    `json:"event"`
	Action string    `json:"action" doc:"The event's identity: o: and the order, i: and the id, or that of a click."`
	Detail string    `json:"detail"`
}

type fraudEntry struct {
	Entry    string    `json:"entry" enum:"assessment,decision"`
	N        int       `json:"n" doc:"Place in the chain of the referral's entries of this kind."`
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor" doc:"system, or the id of a key."`
	Score    float64   `json:"score"`
	Risk     string    `json:"risk"`
	Action   string    `json:"action"`
	Signals  []string  `json:"signals" doc:"Those that were triggered."`
	Version  uint64    `json:"version" doc:"Of the programme whose rules held."`
	Decision string    `json:"decision"`
	Reason   string    `json:"reason"`
}

func (s *server) registerFraud() {
	op := operation("GET", "/v1/fraud", "list-fraud", "List referrals, the highest scores first", reader, 503)
	op.Responses = reportResponses("The rows of the view fraud, and the cursor of the next page, empty on the last one.")
	route(s, op, "query", s.listFraud)
	route(s, operation("GET", "/v1/fraud/{id}", "get-fraud", "What is held against a referral, and the log of it", reader, 404, 503), "path", s.getFraud)
	op = operation("POST", "/v1/fraud/{id}/decision", "decide-fraud", "Decide about a referral", keeper, 400, 404, 409, 413, 503)
	op.Description = "A decision counts instead of the assessments, later ones included, until the next decision. It is kept with the id of the key."
	op.MaxBodyBytes, op.SkipValidateBody = fraudBodyMax, true
	route(s, op, "body", s.decideFraud)
	s.describeBody(op, s.schema(reflect.TypeFor[fraudDecision]()))
}

func (s *server) listFraud(ctx context.Context, in *listFraudInput) (*bytesOutput, error) {
	program, err := chooseProgram(caller(ctx), "query", in.Program)
	if err != nil {
		return nil, err
	}
	report, err := s.FraudReader.FraudReferrals(ctx, tracker.FraudQuery{
		Program: program, Referrer: in.Referrer, Risk: in.Risk, Action: in.Action, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	return reportOutput(report, in.Format)
}

// fraudChain reads the log of a referral that the caller may see.
func (s *server) fraudChain(ctx context.Context, id string) ([]*fraud.Entry, error) {
	entries, err := s.FraudKeeper.Chain(ctx, id)
	if err == nil && !sees(caller(ctx), entries[0].Program) {
		err = tracker.ErrNotFound
	}
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, fieldProblem(http.StatusNotFound, "path", "id", "no referral of this id was assessed")
	}
	return entries, err
}

func (s *server) getFraud(ctx context.Context, in *fraudPath) (*fraudOutput, error) {
	entries, err := s.fraudChain(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &fraudOutput{Body: fraudReferralOf(entries)}
	var triggered []string
	for _, signal := range out.Body.Signals {
		if signal.Triggered {
			triggered = append(triggered, signal.Signal)
		}
	}
	evidence, err := s.FraudReader.FraudEvidence(ctx, entries[0].Referral, triggered, fraudEvidenceMax)
	if err != nil {
		return nil, err
	}
	for _, e := range evidence {
		out.Body.Evidence = append(out.Body.Evidence, fraudEvidence(e))
	}
	return out, nil
}

// fraudReferralOf shows a referral as its log has it. Entries are assessments,
// then decisions.
func fraudReferralOf(entries []*fraud.Entry) fraudReferral {
	out := fraudReferral{
		ID: entries[0].ID, Program: entries[0].Program, Referrer: entries[0].Referrer, Referee: entries[0].Referee,
		Signals: []measuredSignal{}, Evidence: []fraudEvidence{}, Log: []fraudEntry{},
	}
	for _, e := range entries {
		shown := fraudEntry{
			Entry: string(e.Kind), N: e.N, Time: e.Time, Actor: e.Actor, Score: e.Score, Risk: e.Risk, Action: e.Action, Signals: []string{},
			Version: e.Version, Decision: e.Decision, Reason: e.Reason,
		}
		if e.Kind == fraud.Decision {
			out.Decision = e.Decision
			out.Log = append(out.Log, shown)
			continue
		}
		out.ReferrerType, out.ReferredAt, out.Score, out.Risk, out.Action, out.Signals = e.ReferrerType, e.ReferredAt, e.Score, e.Risk, e.Action, []measuredSignal{}
		for _, signal := range e.Signals {
			out.Signals = append(out.Signals, measuredSignal{signal.Name, signal.Value, signal.Threshold, signal.Weight, signal.Triggered})
			if signal.Triggered {
				shown.Signals = append(shown.Signals, signal.Name)
			}
		}
		out.Log = append(out.Log, shown)
	}
	switch out.Decision {
	case fraud.Withdraw:
		out.Decision = ""
	case fraud.Approve, fraud.Reject:
		out.Action = out.Decision
	}
	slices.SortStableFunc(out.Log, func(a, b fraudEntry) int { return a.Time.Compare(b.Time) })
	return out
}

func (s *server) decideFraud(ctx context.Context, in *decideInput) (*fraudOutput, error) {
	body, err := jsonBody(in.RawBody)
	if err != nil {
		return nil, err
	}
	var asked fraudDecision
	if err := decodeStrict(body, &asked); err != nil {
		return nil, err
	}
	switch asked.Decision {
	case fraud.Approve, fraud.Reject, fraud.Withdraw:
	default:
		return nil, &tracker.FieldError{Field: "decision", Detail: "must be approve, reject or withdraw"}
	}
	if err := tracker.CheckText("reason", asked.Reason, fraudReasonMax); err != nil {
		return nil, err
	}
	if _, err := s.fraudChain(ctx, in.ID); err != nil {
		return nil, err
	}
	err = s.FraudKeeper.Decide(ctx, in.ID, asked.Decision, caller(ctx).ID, asked.Reason)
	if errors.Is(err, fraud.ErrLost) || errors.Is(err, fraud.ErrNothing) {
		return nil, newProblem(http.StatusConflict, err.Error())
	}
	if err != nil {
		return nil, err
	}
	return s.getFraud(ctx, &fraudPath{in.ID})
}
