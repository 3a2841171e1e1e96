package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/rewards/accountant"
)

// RewardKeeper moves rewards and pays parties; *accountant.Accountant does.
type RewardKeeper interface {
	Reward(ctx context.Context, id string) (program string, entries []rewards.Entry, err error)
	Approve(ctx context.Context, id, actor, reason string) error
	Reject(ctx context.Context, id, actor, reason string) error
	Pay(ctx context.Context, request accountant.PayoutRequest) (*accountant.Batch, error)
	Batch(ctx context.Context, id string) (*accountant.Batch, error)
	Preview(ctx context.Context, program string, draft *tracker.Program, from time.Time) (*accountant.Preview, error)
	Reconcile(ctx context.Context, program string) (wake time.Time, err error)
}

// RewardReader reads what the views say of rewards, columns named as theirs.
type RewardReader interface {
	Rewards(ctx context.Context, query tracker.RewardQuery) (*tracker.Report, error)
	Payouts(ctx context.Context, query tracker.RewardQuery) (*tracker.Report, error)
	RewardEntries(ctx context.Context, program string, parties []string, yield func(*rewards.Entry) error) error
}

type listRewardsInput struct {
	Program string `query:"program" doc:"Only this programme. Default: all that the key is good for."`
	Party   string `query:"party" doc:"Only rewards of this party."`
	State   string `query:"state" enum:"pending,calculated,eligible,paid,expired,cancelled" doc:"Only rewards in this state."`
	Cursor  string `query:"cursor" doc:"The cursor of the page before."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Rewards on a page."`
	Format  string `query:"format" enum:"json,csv" default:"json" doc:"csv has the rows only."`
}

type rewardPath struct {
	ID string `path:"id" doc:"Id of the reward."`
}

type decisionInput struct {
	ID     string `path:"id" doc:"Id of the reward."`
	Reason string `query:"reason" maxLength:"255" doc:"Why; it is kept with the entry."`
}

// rewardEntry is an entry of the ledger as the API shows it.
type rewardEntry struct {
	ID          string    `json:"id" doc:"The chain and the place in it."`
	Time        time.Time `json:"time" doc:"When it takes effect."`
	Entry       string    `json:"entry" enum:"earn,adjust,reverse,move,expire,payout" doc:"What it does."`
	State       string    `json:"state" doc:"Of the reward after it."`
	Value       string    `json:"value" doc:"What the party's account gains by it."`
	Reward      string    `json:"reward"`
	Rule        string    `json:"rule"`
	Fact        string    `json:"fact"`
	Referee     string    `json:"referee"`
	Base        string    `json:"base" doc:"Amount before the multipliers; empty where the entry changes none."`
	Multipliers string    `json:"multipliers"`
	Cap         string    `json:"cap" doc:"What cut the amount: cap, cap_monthly or budget."`
	Version     uint64    `json:"version" doc:"Of the programme."`
	Actor       string    `json:"actor" doc:"system, or the id of a key."`
	Reason      string    `json:"reason"`
	Batch       string    `json:"batch"`
	RecordedAt  time.Time `json:"recorded_at"`
}

type rewardOutput struct{ Body rewardReport }

type rewardReport struct {
	Reward  string        `json:"reward"`
	Program string        `json:"program"`
	Party   string        `json:"party"`
	State   string        `json:"state"`
	Balance string        `json:"balance" doc:"What it is worth now."`
	Entries []rewardEntry `json:"entries"`
}

func (s *server) registerRewards() {
	op := operation("GET", "/v1/rewards", "list-rewards", "List rewards in the order of their ids", reader, 503)
	op.Responses = reportResponses("The rows of the view rewards, and the cursor of the next page, empty on the last one.")
	route(s, op, "query", s.listRewards)
	route(s, operation("GET", "/v1/rewards/{id}", "get-reward", "Read a reward with its entries", reader, 404, 503), "path", s.getReward)
	s.registerDecision("approve", "Approve a calculated reward", "It is eligible then, and the next payout pays it.", RewardKeeper.Approve)
	s.registerDecision("reject", "Cancel a reward that was not paid yet", "It is cancelled for good, whatever happens to the fact.", RewardKeeper.Reject)

	op = operation("POST", "/v1/rewards/{id}/claim", "claim-reward", "Pay an eligible reward by itself", keeper, 404, 409, 503)
	op.Description = "A payout of this one reward, less what its party owes."
	route(s, op, "path", s.claimReward)
}

// registerDecision adds a route by which a person moves a reward.
func (s *server) registerDecision(name, summary, doc string, decide func(k RewardKeeper, ctx context.Context, id, actor, reason string) error) {
	op := operation("POST", "/v1/rewards/{id}/"+name, name+"-reward", summary, keeper, 404, 409, 503)
	op.Description = doc
	route(s, op, "path", func(ctx context.Context, in *decisionInput) (*rewardOutput, error) {
		if _, err := s.getReward(ctx, &rewardPath{in.ID}); err != nil {
			return nil, err
		}
		if err := decide(s.RewardKeeper, ctx, in.ID, caller(ctx).ID, in.Reason); err != nil {
			return nil, rewardProblem(err)
		}
		return s.getReward(ctx, &rewardPath{in.ID})
	})
}

// reportResponses describes an answer with rows, as JSON or CSV.
func reportResponses(doc string) map[string]*huma.Response {
	rows := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"rows"}, AdditionalProperties: true, Description: doc,
		Properties: map[string]*huma.Schema{"rows": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}},
	}
	return map[string]*huma.Response{"200": contentResponse(doc, map[string]*huma.Schema{"application/json": rows, "text/csv": {Type: huma.TypeString}})}
}

// rewardProblem makes the errors of a RewardKeeper that are the caller's into
// problems.
func rewardProblem(err error) error {
	switch {
	case errors.Is(err, rewards.ErrState), errors.Is(err, accountant.ErrLost):
		return newProblem(http.StatusConflict, err.Error())
	case errors.Is(err, accountant.ErrNoBatch):
		return newProblem(http.StatusNotFound, err.Error())
	}
	return err
}

func (s *server) listRewards(ctx context.Context, in *listRewardsInput) (*bytesOutput, error) {
	program, err := chooseProgram(caller(ctx), "query", in.Program)
	if err != nil {
		return nil, err
	}
	report, err := s.RewardReader.Rewards(ctx, tracker.RewardQuery{Program: program, Party: in.Party, State: in.State, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return reportOutput(report, in.Format)
}

func (s *server) getReward(ctx context.Context, in *rewardPath) (*rewardOutput, error) {
	program, entries, err := s.RewardKeeper.Reward(ctx, in.ID)
	if err == nil && !sees(caller(ctx), program) {
		err = tracker.ErrNotFound
	}
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, fieldProblem(http.StatusNotFound, "path", "id", "there is no reward of this id")
	}
	if err != nil {
		return nil, err
	}
	var chain rewards.Chain
	out := &rewardOutput{Body: rewardReport{Reward: in.ID, Program: program, Party: entries[0].Party}}
	for i := range entries {
		chain.Add(&entries[i])
		out.Body.Entries = append(out.Body.Entries, entryOf(&entries[i]))
	}
	out.Body.State, out.Body.Balance = string(chain.State), chain.Balance.String()
	return out, nil
}

func entryOf(e *rewards.Entry) rewardEntry {
	return rewardEntry{
		ID: e.ID(), Time: e.Time, Entry: string(e.Kind), State: string(e.State), Value: e.Value.String(), Reward: e.Chain, Rule: e.Rule, Fact: e.Fact,
		Referee: e.Referee, Base: e.Base, Multipliers: e.Multipliers, Cap: e.Cap, Version: e.Version, Actor: e.Actor, Reason: e.Reason, Batch: e.Batch, RecordedAt: e.RecordedAt,
	}
}

// claimReward pays one reward.
func (s *server) claimReward(ctx context.Context, in *rewardPath) (*rewardOutput, error) {
	before, err := s.getReward(ctx, in)
	if err != nil {
		return nil, err
	}
	batch, err := s.RewardKeeper.Pay(ctx, accountant.PayoutRequest{
		Program: before.Body.Program, Parties: []string{before.Body.Party}, Rewards: []string{in.ID}, Actor: caller(ctx).ID,
	})
	if err != nil {
		return nil, rewardProblem(err)
	}
	if len(batch.Payments) == 0 {
		return nil, newProblem(http.StatusConflict, "nothing can be paid for this reward: only one that is eligible and was not paid yet can")
	}
	return s.getReward(ctx, in)
}
