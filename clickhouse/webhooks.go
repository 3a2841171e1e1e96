package clickhouse

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"waymark/tracker/webhooks"
)

// PendingChanges returns the oldest changes of a programme's referrals and
// rewards that the audit log does not have as delivered to a hook. events are
// names such as referral.accepted, or referral for all of those; none asks for
// all.
func (db *DB) PendingChanges(ctx context.Context, program, hook string, events []string, limit int) ([]webhooks.Change, error) {
	chosen := ""
	if len(events) > 0 {
		names := quoteTexts(events)
		chosen = "AND (event IN (" + names + ") OR splitByChar('.', event)[1] IN (" + names + "))"
	}
	var changes []webhooks.Change
	err := db.scan(ctx, `
SELECT id, event, program, time, referrer, referee, source, reward, party, amount
FROM waymark.webhook_changes AS c
WHERE program = {program:String} `+chosen+`
    AND concat({hook:String}, '/', id) NOT IN (SELECT id FROM waymark.audit_entries WHERE program = {program:String} AND action = {action:String})
ORDER BY time, position, id
LIMIT {limit:UInt32}`, []any{
		clickhouse.Named("program", program), clickhouse.Named("hook", hook), clickhouse.Named("action", webhooks.ActionDelivered), clickhouse.Named("limit", strconv.Itoa(limit)),
	}, func(rows driver.Rows) error {
		var c webhooks.Change
		var amount decimal.Decimal
		err := rows.Scan(&c.ID, &c.Event, &c.Program, &c.Time, &c.Referrer, &c.Referee, &c.Source, &c.Reward, &c.Party, &amount)
		if c.Reward != "" {
			c.Amount = amount.String()
		}
		changes = append(changes, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for what a webhook of the programme %s is to be told: %w", program, err)
	}
	return changes, nil
}
