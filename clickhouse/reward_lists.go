package clickhouse

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

// Rewards returns a page of the view rewards in the order of ids. Where there
// may be more, Extra has the cursor of the next page, else "".
func (db *DB) Rewards(ctx context.Context, query tracker.RewardQuery) (*tracker.Report, error) {
	return db.rewardPage(ctx, query, "reward", `
SELECT
    program, reward, party, rule, fact, referrer, referrer_type, referee, campaign, state, amount, balance, settled, currency,
    base, multipliers, cap, version, earned_at, eligible_at, paid_at, updated_at, actor, reason, batch, entries
FROM waymark.rewards AS r
WHERE reward > {cursor:String} AND ({program:String} = '' OR program = {program:String}) AND ({party:String} = '' OR party = {party:String})
    AND ({state:String} = '' OR state = {state:String})
ORDER BY reward
LIMIT {limit:UInt32}`)
}

// Payouts returns a page of batches of payouts, the latest first, with cursor
// as Rewards has it.
func (db *DB) Payouts(ctx context.Context, query tracker.RewardQuery) (*tracker.Report, error) {
	return db.rewardPage(ctx, query, "cursor", `
SELECT
    b.program AS program, b.reward AS batch, b.opened_at AS opened_at, b.until AS until, b.closed AS closed, b.actor AS actor,
    p.parties AS parties, p.total AS total, p.currency AS currency,
    concat(leftPad(toString(toUnixTimestamp64Milli(b.opened_at)), 15, '0'), '-', b.reward) AS cursor
FROM
(
    SELECT program, reward, argMin(e.recorded_at, e.n) AS opened_at, argMin(e.time, e.n) AS until, toBool(max(e.n) > 0) AS closed, argMin(e.actor, e.n) AS actor
    FROM waymark.reward_entries AS e
    WHERE e.entry IN ('open', 'close')
    GROUP BY program, reward
) AS b
LEFT JOIN
(
    SELECT batch, uniqExact(e.party) AS parties, -sum(e.value) AS total, any(e.currency) AS currency, groupUniqArray(e.party) AS paid
    FROM waymark.reward_entries AS e
    WHERE e.entry = 'payout'
    GROUP BY batch
) AS p ON p.batch = b.reward
WHERE ({cursor:String} = '' OR cursor < {cursor:String}) AND ({program:String} = '' OR program = {program:String})
    AND ({party:String} = '' OR has(p.paid, {party:String}))
ORDER BY cursor DESC
LIMIT {limit:UInt32}`)
}

// rewardPage answers a query whose pages continue after the last value of a
// column.
func (db *DB) rewardPage(ctx context.Context, query tracker.RewardQuery, column, sql string) (*tracker.Report, error) {
	page, err := db.table(ctx, sql,
		clickhouse.Named("program", query.Program), clickhouse.Named("party", query.Party), clickhouse.Named("state", query.State),
		clickhouse.Named("cursor", query.Cursor), clickhouse.Named("limit", strconv.Itoa(query.Limit)))
	if err != nil {
		return nil, fmt.Errorf("list rewards or payouts: %w", err)
	}
	endPage(page, query.Limit, column)
	return page, nil
}
