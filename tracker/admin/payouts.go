package admin

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/rewards"
	"waymark/tracker/rewards/accountant"
)

const (
	payoutBodyMax    = 1 << 20
	payoutPartiesMax = 500 // named in one request; without, all are paid
	payoutKeyMax     = 255
)

type payInput struct {
	RawBody []byte `contentType:"application/json"`
}

// payout is what a POST asks for.
type payout struct {
	Program string   `json:"program,omitempty" doc:"The programme that pays; may be left out with a key that is good for one only."`
	Key     string   `json:"key,omitempty" doc:"A name of your own for this batch. Asking again with it completes the batch, and never begins another."`
	Parties []string `json:"parties,omitempty" doc:"Only these parties; all without."`
	Until   string   `json:"until,omitempty" doc:"Only what was eligible by then (RFC 3339, or a date). Default: now."`
	Minimum string   `json:"minimum,omitempty" doc:"Parties that would get less get nothing yet: a decimal." example:"25"`
}

type batchPath struct {
	Batch  string `path:"batch" doc:"Id of the batch."`
	Format string `query:"format" enum:"json,csv" default:"json" doc:"csv is a journal for accounting."`
}

type batchOutput struct{ Body payoutBatch }

// payoutBatch is a batch as the ledger has it.
type payoutBatch struct {
	Batch    string          `json:"batch"`
	Program  string          `json:"program"`
	Currency string          `json:"currency"`
	OpenedAt time.Time       `json:"opened_at"`
	Until    time.Time       `json:"until" doc:"What was eligible by then was paid."`
	Closed   bool            `json:"closed" doc:"False for a batch that was interrupted: asking again with its key completes it."`
	Actor    string          `json:"actor" doc:"Id of the key that asked for it."`
	Total    string          `json:"total"`
	Payments []payoutPayment `json:"payments"`
}

type payoutPayment struct {
	Party  string       `json:"party"`
	Amount string       `json:"amount"`
	Time   time.Time    `json:"time"`
	Lines  []payoutLine `json:"lines" doc:"The rewards that it settles."`
}

type payoutLine struct {
	Reward string `json:"reward"`
	Amount string `json:"amount" doc:"Negative where too much was paid before."`
}

type listPayoutsInput struct {
	Program string `query:"program" doc:"Only this programme. Default: all that the key is good for."`
	Party   string `query:"party" doc:"Only batches that paid this party."`
	Cursor  string `query:"cursor" doc:"The cursor of the page before."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Batches on a page."`
	Format  string `query:"format" enum:"json,csv" default:"json" doc:"csv has the rows only."`
}

func (s *server) registerPayouts() {
	op := operation("POST", "/v1/payouts", "pay", "Pay what is eligible", keeper, 400, 403, 413, 503)
	op.SkipValidateBody = true
	op.MaxBodyBytes = payoutBodyMax
	op.DefaultStatus = http.StatusCreated
	op.Description = "Every eligible reward becomes paid, and what a party owes is deducted. Nothing is ever paid twice, whoever asks at the same time or is interrupted. " +
		"After an interruption ask again with the same key."
	route(s, op, "body", s.pay)
	s.describeBody(op, s.schema(reflect.TypeFor[payout]()))

	op = operation("GET", "/v1/payouts", "list-payouts", "List the batches of payouts, the latest first", reader, 503)
	op.Responses = reportResponses("A batch a row, and the cursor of the next page, empty on the last one.")
	route(s, op, "query", s.listPayouts)

	op = operation("GET", "/v1/payouts/{batch}", "get-payout", "Read a batch of payouts", reader, 404, 503)
	op.Responses = map[string]*huma.Response{"200": contentResponse("The batch", map[string]*huma.Schema{
		"application/json": s.schema(reflect.TypeFor[payoutBatch]()), "text/csv": {Type: "string"},
	})}
	route(s, op, "path", s.getPayout)
}

func (s *server) pay(ctx context.Context, in *payInput) (*batchOutput, error) {
	body, err := jsonBody(in.RawBody)
	if err != nil {
		return nil, err
	}
	var asked payout
	if err := decodeStrict(body, &asked); err != nil {
		return nil, err
	}
	request, err := s.payoutRequest(ctx, &asked)
	if err != nil {
		return nil, err
	}
	batch, err := s.RewardKeeper.Pay(ctx, request)
	if err != nil {
		return nil, rewardProblem(err)
	}
	return &batchOutput{Body: batchOf(batch)}, nil
}

func (s *server) payoutRequest(ctx context.Context, asked *payout) (request accountant.PayoutRequest, err error) {
	request = accountant.PayoutRequest{Key: asked.Key, Parties: asked.Parties, Actor: caller(ctx).ID}
	if request.Program, err = chooseProgram(caller(ctx), "body", asked.Program); err != nil {
		return request, err
	}
	if _, ok := s.Links.Program(request.Program); !ok {
		return request, &tracker.FieldError{Field: "program", Detail: "there is no programme " + strconv.Quote(request.Program)}
	}
	if err := tracker.CheckText("key", asked.Key, payoutKeyMax); err != nil {
		return request, err
	}
	if len(asked.Parties) > payoutPartiesMax {
		return request, &tracker.FieldError{Field: "parties", Detail: "has more than " + strconv.Itoa(payoutPartiesMax) + " entries; leave it out to pay all"}
	}
	if asked.Until != "" {
		if request.Until, err = periodEnd("until", asked.Until, time.UTC); err != nil {
			return request, &tracker.FieldError{Field: "until", Detail: "must be RFC 3339, such as 2026-11-20T10:00:00Z, or a date"}
		}
		if request.Until.After(s.Now()) {
			return request, &tracker.FieldError{Field: "until", Detail: "lies in the future; nobody knows yet what is eligible then"}
		}
	}
	if asked.Minimum != "" {
		request.Minimum, err = decimal.NewFromString(asked.Minimum)
		if err != nil || request.Minimum.IsNegative() || len(asked.Minimum) > 30 {
			return request, &tracker.FieldError{Field: "minimum", Detail: "must be a decimal such as 25 or 19.90"}
		}
	}
	return request, nil
}

func batchOf(b *accountant.Batch) payoutBatch {
	out := payoutBatch{
		Batch: b.ID, Program: b.Program, Currency: b.Currency, OpenedAt: b.OpenedAt, Until: b.Until, Closed: b.Closed, Actor: b.Actor,
		Total: b.Total.String(), Payments: []payoutPayment{},
	}
	for _, p := range b.Payments {
		payment := payoutPayment{Party: p.Party, Amount: p.Amount.String(), Time: p.Time, Lines: []payoutLine{}}
		for _, line := range p.Lines {
			payment.Lines = append(payment.Lines, payoutLine{line.Reward, line.Amount.String()})
		}
		out.Payments = append(out.Payments, payment)
	}
	return out
}

func (s *server) listPayouts(ctx context.Context, in *listPayoutsInput) (*bytesOutput, error) {
	program, err := chooseProgram(caller(ctx), "query", in.Program)
	if err != nil {
		return nil, err
	}
	report, err := s.RewardReader.Payouts(ctx, tracker.RewardQuery{Program: program, Party: in.Party, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return reportOutput(report, in.Format)
}

func (s *server) getPayout(ctx context.Context, in *batchPath) (*bytesOutput, error) {
	batch, err := s.RewardKeeper.Batch(ctx, in.Batch)
	if err == nil && !sees(caller(ctx), batch.Program) {
		err = accountant.ErrNoBatch
	}
	if err != nil {
		return nil, rewardProblem(err)
	}
	if in.Format == "csv" {
		var entries []rewards.Entry
		for _, p := range batch.Payments {
			entries = append(entries, rewards.Entry{Time: p.Time, Party: p.Party, Value: p.Amount.Neg(), Kind: rewards.Payout, Batch: batch.ID})
		}
		return reportOutput(journal(entries, batch.Currency), "csv")
	}
	return jsonOutput(batchOf(batch))
}

// reportOutput is a report as JSON or CSV.
func reportOutput(report *tracker.Report, format string) (*bytesOutput, error) {
	out := &bytesOutput{Status: http.StatusOK, CacheControl: "no-store"}
	var err error
	if format == "csv" {
		var b bytes.Buffer
		err = writeCSV(&b, report)
		out.ContentType, out.Body = "text/csv; charset=utf-8; header=present", b.Bytes()
		return out, err
	}
	out.ContentType = "application/json"
	out.Body, err = appendReport(nil, report)
	return out, err
}
