package admin

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
	"waymark/tracker/rewards/accountant"
)

type recomputeInput struct {
	ProgramPath
	DryRun      bool   `query:"dry_run" doc:"Only show what would change."`
	From        string `query:"from" doc:"Show only rewards of facts from this time on (RFC 3339, or a date)."`
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"application/json" required:"false"`
}

type recomputeOutput struct{ Body recomputed }

// recomputed is what a recomputation changes.
type recomputed struct {
	Program string           `json:"program"`
	DryRun  bool             `json:"dry_run"`
	Rewards int              `json:"rewards" doc:"Rewards that were compared."`
	Before  string           `json:"before" doc:"What the ledger has of them, before payouts."`
	After   string           `json:"after" doc:"What they are worth by the rules."`
	Parties []recomputedSum  `json:"parties" doc:"Those for whom something changes."`
	Changes []recomputedItem `json:"changes" doc:"The first thousand rewards that change."`
}

type recomputedSum struct {
	Party   string `json:"party"`
	Rewards int    `json:"rewards" doc:"How many of its rewards change."`
	Before  string `json:"before" doc:"What these are worth in the ledger."`
	After   string `json:"after"`
}

type recomputedItem struct {
	Reward string `json:"reward"`
	Party  string `json:"party"`
	Rule   string `json:"rule"`
	Fact   string `json:"fact"`
	Before string `json:"before"`
	After  string `json:"after"`
	Reason string `json:"reason" doc:"Why it earns nothing, where it does not."`
}

func (s *server) registerRecompute() {
	op := operation("POST", "/v1/programs/{name}/rewards/recompute", "recompute-rewards", "Compare the ledger with the facts, and correct it", keeper, 400, 404, 413, 503)
	op.SkipValidateBody = true
	op.MaxBodyBytes = programBodyMax
	op.Description = "The ledger follows the facts and the versions of the programme by itself, within seconds; this does it at once and says what changed. " +
		"With dry_run it only says what would. A body, with dry_run, is a document of the programme that is not written yet: " +
		"so the effect of a changed rule, from its effective_from on, is seen before it is put."
	route(s, op, "query", s.recompute)
	s.describeBody(op, &huma.Schema{Ref: "#/components/schemas/ProgramInput"})
	operationAt(s.api.OpenAPI().Paths[op.Path], op.Method).RequestBody.Required = false
}

func (s *server) recompute(ctx context.Context, in *recomputeInput) (*recomputeOutput, error) {
	if _, ok := s.Links.Program(in.Name); !ok || !sees(caller(ctx), in.Name) {
		return nil, fieldProblem(http.StatusNotFound, "path", "name", "there is no programme "+strconv.Quote(in.Name))
	}
	from, err := periodEnd("from", in.From, time.UTC)
	if err != nil {
		return nil, err
	}
	draft, err := s.draft(in)
	if err != nil {
		return nil, err
	}
	preview, err := s.RewardKeeper.Preview(ctx, in.Name, draft, from)
	if err == nil && !in.DryRun {
		_, err = s.RewardKeeper.Reconcile(ctx, in.Name)
	}
	if err != nil {
		return nil, rewardProblem(err)
	}
	return &recomputeOutput{Body: recomputedOf(preview, in.DryRun)}, nil
}

// draft is the document that the body holds, nil for none.
func (s *server) draft(in *recomputeInput) (*tracker.Program, error) {
	if len(bytes.TrimSpace(in.RawBody)) == 0 {
		return nil, nil
	}
	if !in.DryRun {
		return nil, fieldProblem(http.StatusBadRequest, "body", "", "a document goes with dry_run=true only; write it with PUT /v1/programs/"+in.Name)
	}
	before, _ := s.Links.Program(in.Name)
	draft, err := readProgram(&putProgramInput{ProgramPath: in.ProgramPath, ContentType: in.ContentType, RawBody: in.RawBody}, before)
	return &draft, err
}

func recomputedOf(p *accountant.Preview, dryRun bool) recomputed {
	out := recomputed{
		Program: p.Program, DryRun: dryRun, Rewards: p.Rewards, Before: p.Before.String(), After: p.After.String(), Parties: []recomputedSum{}, Changes: []recomputedItem{},
	}
	for _, d := range p.Parties {
		out.Parties = append(out.Parties, recomputedSum{d.Party, d.Rewards, d.Before.String(), d.After.String()})
	}
	for _, d := range p.Changes {
		out.Changes = append(out.Changes, recomputedItem{d.Reward, d.Party, d.Rule, d.Fact, d.Before.String(), d.After.String(), d.Reason})
	}
	return out
}
