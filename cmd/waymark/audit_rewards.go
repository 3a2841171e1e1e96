package main

import (
	"context"
	"fmt"
	"time"

	"waymark/clickhouse"
	"waymark/pipeline"
	"waymark/tracker"
	"waymark/tracker/rewards/accountant"
)

// rewardAudit compares the ledger of each programme with a recount from the
// facts.
type rewardAudit struct {
	database *clickhouse.DB
	accounts *accountant.Accountant
	writer   *pipeline.DecisionWriter
}

func newRewardAudit(kafka pipeline.ClientOptions, database *clickhouse.DB) (*rewardAudit, error) {
	writer, err := pipeline.NewDecisionWriter(kafka)
	if err != nil {
		return nil, err
	}
	programs := func() []tracker.Program { return nil } // nothing is paid here
	return &rewardAudit{database, accountant.New(accountant.Options{Store: database, Sink: writer, Programs: programs}), writer}, nil
}

func (a *rewardAudit) close() { a.writer.Close() }

// An accountant that runs writes within seconds what a new fact is worth, so
// what differs is looked at again before it is called a difference.
const (
	rewardAuditAttempts = 5
	rewardAuditPause    = 3 * time.Second
)

// check gives a line for each programme that rewards anybody. patient looks
// again at what differs; where the tables themselves are damaged, that is vain.
func (a *rewardAudit) check(ctx context.Context, patient bool) ([]tracker.AuditResult, error) {
	programs, err := a.database.RewardPrograms(ctx)
	if err != nil {
		return nil, err
	}
	var results []tracker.AuditResult
	for _, program := range programs {
		attempts := 1
		if patient {
			attempts = rewardAuditAttempts
		}
		result, err := a.checkProgram(ctx, program, attempts)
		if err != nil {
			return nil, fmt.Errorf("recount the rewards of %s: %w", program, err)
		}
		if result.Expected > 0 {
			results = append(results, result)
		}
	}
	return results, nil
}

func (a *rewardAudit) checkProgram(ctx context.Context, program string, attempts int) (result tracker.AuditResult, err error) {
	for attempt := 1; ; attempt++ {
		mark, err := a.database.RewardsMark(ctx)
		if err != nil {
			return result, err
		}
		p, err := a.accounts.Preview(ctx, program, nil, time.Time{})
		if err != nil {
			return result, err
		}
		wrong := 0
		for _, party := range p.Parties {
			wrong += party.Rewards
		}
		result = tracker.AuditResult{
			What: "rewards/" + program, Range: tracker.AuditRange{Unit: "key"}, Expected: int64(p.Rewards), Found: int64(p.Rewards - wrong), Verdict: tracker.AuditOK,
			Detail: fmt.Sprintf("the ledger sums to %s, the facts are worth %s", p.Before, p.After),
		}
		if wrong == 0 {
			return result, nil
		}
		first := p.Changes[0]
		result.Verdict, result.Repair = tracker.AuditDiffers, "waymark rewards recompute --program "+program
		result.Detail += fmt.Sprintf("; %d rewards differ, the first, %s of %s, is %s, should be %s", wrong, first.Reward, first.Party, first.Before, first.After)
		if attempt == attempts {
			if now, err := a.database.RewardsMark(ctx); err == nil && now != mark {
				result.Verdict, result.Repair = tracker.AuditUnproven, ""
			}
			return result, nil
		}
		select {
		case <-ctx.Done():
			return result, ctx.Err()
		case <-time.After(rewardAuditPause):
		}
	}
}

// repair writes into a ledger what it lacks. Ingest must run.
func (a *rewardAudit) repair(ctx context.Context, program string) error {
	_, err := a.accounts.Reconcile(ctx, program)
	return err
}
