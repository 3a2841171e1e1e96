package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/rewards"
)

type statementInput struct {
	Party   string `path:"party" doc:"Id of the party."`
	Program string `query:"program" doc:"The programme; may be left out with a key that is good for one only."`
	Month   string `query:"month" doc:"The month, in UTC. Default: this one." example:"2026-03"`
	Format  string `query:"format" enum:"json,csv" default:"json" doc:"csv is a journal for accounting."`
}

// statement is the account of a party in a month. closing is opening and the
// values of the entries.
type statement struct {
	Party    string            `json:"party"`
	Program  string            `json:"program"`
	Currency string            `json:"currency"`
	Month    string            `json:"month"`
	Opening  string            `json:"opening"`
	Earned   string            `json:"earned"`
	Adjusted string            `json:"adjusted" doc:"What was changed later or taken back."`
	Expired  string            `json:"expired"`
	Paid     string            `json:"paid"`
	Closing  string            `json:"closing"`
	Entries  []rewardEntry     `json:"entries"`
	Balances statementBalances `json:"balances" doc:"As they are now, whatever the month."`
}

type statementBalances struct {
	Pending  string `json:"pending"`
	Eligible string `json:"eligible"`
	Owed     string `json:"owed" doc:"What was paid for rewards that were taken back later; the next payout deducts it."`
	Payable  string `json:"payable"`
	Paid     string `json:"paid"`
	Expired  string `json:"expired"`
}

func (s *server) registerStatements() {
	op := operation("GET", "/v1/statements/{party}", "read-statement", "What a party earned and was paid in a month", reader, 404, 503)
	op.Responses = map[string]*huma.Response{"200": contentResponse("The statement", map[string]*huma.Schema{
		"application/json": s.schema(reflect.TypeFor[statement]()), "text/csv": {Type: huma.TypeString},
	})}
	route(s, op, "query", s.statement)
}

func (s *server) statement(ctx context.Context, in *statementInput) (*bytesOutput, error) {
	name, err := chooseProgram(caller(ctx), "query", in.Program)
	if err != nil {
		return nil, err
	}
	program, ok := s.Links.Program(name)
	if !ok {
		return nil, queryProblem("program", "there is no programme %q", name)
	}
	from, err := time.Parse("2006-01", in.Month)
	if in.Month == "" {
		from, err = time.Date(s.Now().UTC().Year(), s.Now().UTC().Month(), 1, 0, 0, 0, 0, time.UTC), nil
	}
	if err != nil || !sane(from) {
		return nil, queryProblem("month", "must be a month such as 2026-03")
	}
	var entries []rewards.Entry
	ledger := rewards.NewLedger()
	err = s.RewardReader.RewardEntries(ctx, name, []string{in.Party}, func(e *rewards.Entry) error {
		entries = append(entries, *e)
		ledger.Add(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fieldProblem(http.StatusNotFound, "path", "party", "the programme "+strconv.Quote(name)+" has no entry for this party")
	}
	slices.SortStableFunc(entries, func(a, b rewards.Entry) int { return a.Time.Compare(b.Time) })
	out := statement{Party: in.Party, Program: name, Currency: program.Currency, Month: from.Format("2006-01"), Entries: []rewardEntry{}}
	of := out.fill(entries, from)
	out.Balances = balancesOf(ledger.Account(in.Party))
	if in.Format == "csv" {
		return reportOutput(journal(of, program.Currency), "csv")
	}
	return jsonOutput(out)
}

// fill sums the entries up, which come in order of time, and returns those of
// the month.
func (s *statement) fill(entries []rewards.Entry, from time.Time) (of []rewards.Entry) {
	to := from.AddDate(0, 1, 0)
	var opening, earned, adjusted, expired, paid decimal.Decimal
	for i := range entries {
		e := &entries[i]
		if e.Time.Before(from) {
			opening = opening.Add(e.Value)
		}
		if e.Time.Before(from) || !e.Time.Before(to) {
			continue
		}
		s.Entries, of = append(s.Entries, entryOf(e)), append(of, *e)
		switch e.Kind {
		case rewards.Earn:
			earned = earned.Add(e.Value)
		case rewards.Expire:
			expired = expired.Add(e.Value)
		case rewards.Payout:
			paid = paid.Sub(e.Value)
		default:
			adjusted = adjusted.Add(e.Value)
		}
	}
	s.Opening, s.Earned, s.Adjusted, s.Expired, s.Paid = opening.String(), earned.String(), adjusted.String(), expired.String(), paid.String()
	s.Closing = opening.Add(earned).Add(adjusted).Add(expired).Sub(paid).String()
	return of
}

func balancesOf(a *rewards.Account) statementBalances {
	b, expired := a.Balances(), decimal.Zero
	for _, c := range a.Chains {
		expired = expired.Add(c.Lapsed)
	}
	return statementBalances{b.Pending.String(), b.Eligible.String(), b.Owed.String(), b.Payable.String(), b.Paid.String(), expired.String()}
}

// The accounts of the journal. What is earned is an expense and a debt to the
// party; a payout settles the debt.
const (
	accountExpense = "reward_expense"
	accountPayable = "rewards_payable"
	accountPayouts = "payouts"
)

// journal is entries as double-entry bookkeeping has them: two lines each,
// with the same amount as debit and as credit. Those without an amount have
// none.
func journal(entries []rewards.Entry, currency string) *tracker.Report {
	report := &tracker.Report{Columns: []string{"date", "party", "account", "debit", "credit", "currency", "reference", "text"}}
	for i := range entries {
		e := &entries[i]
		debit, credit, amount, reference, text := accountExpense, accountPayable, e.Value, e.ID(), fmt.Sprintf("%s %s %s", e.Kind, e.Rule, e.Fact)
		switch {
		case e.Value.IsZero():
			continue
		case e.Kind == rewards.Payout:
			debit, credit, amount, reference, text = accountPayable, accountPayouts, e.Value.Neg(), e.Batch, "payout"
		case e.Value.IsNegative():
			debit, credit, amount = accountPayable, accountExpense, e.Value.Neg()
		}
		date := e.Time.UTC().Format(time.DateOnly)
		report.Rows = append(report.Rows,
			[]any{date, e.Party, debit, amount, nil, currency, reference, text},
			[]any{date, e.Party, credit, nil, amount, currency, reference, text})
	}
	return report
}

// jsonOutput is a body beside which there are other formats.
func jsonOutput(body any) (*bytesOutput, error) {
	encoded, err := json.Marshal(body)
	return &bytesOutput{ContentType: "application/json", CacheControl: "no-store", Status: http.StatusOK, Body: encoded}, err
}
