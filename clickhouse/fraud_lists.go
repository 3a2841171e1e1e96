package clickhouse

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker"
	"waymark/tracker/fraud"
)

// FraudReferrals returns a page of the view fraud, the highest scores first.
// See endPage for the next page.
func (db *DB) FraudReferrals(ctx context.Context, query tracker.FraudQuery) (*tracker.Report, error) {
	page, err := db.table(ctx, `
SELECT
    program, id, referrer, referrer_type, referee, referred_at, score, risk, action, assessed, decision, decider, decision_reason,
    signals, assessed_at, decided_at, version, assessments, decisions, concat(leftPad(toString(toUInt32(1000000 - round(score * 1000000))), 7, '0'), id) AS cursor
FROM waymark.fraud AS f
WHERE cursor > {cursor:String} AND ({program:String} = '' OR program = {program:String}) AND ({risk:String} = '' OR risk = {risk:String})
    AND ({action:String} = '' OR action = {action:String}) AND ({referrer:String} = '' OR referrer = {referrer:String})
ORDER BY cursor
LIMIT {limit:UInt32}`,
		clickhouse.Named("program", query.Program), clickhouse.Named("risk", query.Risk), clickhouse.Named("action", query.Action),
		clickhouse.Named("referrer", query.Referrer), clickhouse.Named("cursor", query.Cursor), clickhouse.Named("limit", strconv.Itoa(query.Limit)))
	if err != nil {
		return nil, fmt.Errorf("list referrals by fraud: %w", err)
	}
	endPage(page, query.Limit, "cursor")
	return page, nil
}

// FraudEvidence returns the events behind some signals of a referral in the
// order of time, limit of each signal at most.
func (db *DB) FraudEvidence(ctx context.Context, referral fraud.Referral, signals []string, limit int) (evidence []fraud.Evidence, err error) {
	if len(signals) == 0 {
		return nil, nil
	}
	args := []any{
		clickhouse.Named("program", referral.Program), clickhouse.Named("referrer", referral.Referrer), clickhouse.Named("referee", referral.Referee),
		clickhouse.Named("limit", strconv.Itoa(limit)),
	}
	err = db.scan(ctx, fmt.Sprintf(`
SELECT signal, time, party, event, action, detail
FROM waymark.fraud_evidence(program = {program:String}, referrer = {referrer:String}, referee = {referee:String}) AS e
WHERE signal IN (%s)
ORDER BY signal, time, party, action
LIMIT {limit:UInt32} BY signal`, quoteTexts(signals)), args, func(rows driver.Rows) error {
		var e fraud.Evidence
		err := rows.Scan(&e.Signal, &e.Time, &e.Party, &e.Event, &e.Action, &e.Detail)
		evidence = append(evidence, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the evidence against the referral %s: %w", referral.ID, err)
	}
	return evidence, nil
}
