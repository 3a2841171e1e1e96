package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

// AuditLog returns a page of the audit log, the latest entries first. Where
// there may be more, Extra has the cursor of the next page, else "".
func (db *DB) AuditLog(ctx context.Context, query tracker.AuditQuery) (*tracker.Report, error) {
	from, to := query.From, query.To
	if from.IsZero() {
		from = time.Unix(0, 0)
	}
	if to.IsZero() {
		to = lastDay
	}
	page, err := db.table(ctx, `
SELECT
    time, program, actor, role, action, subject, before, after, id,
    concat(leftPad(toString(toUnixTimestamp64Milli(time)), 15, '0'), '-', id) AS cursor
FROM waymark.audit_log
WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AND ({program:String} = '' OR program = {program:String})
    AND ({actor:String} = '' OR actor = {actor:String}) AND ({action:String} = '' OR action = {action:String}) AND ({cursor:String} = '' OR cursor < {cursor:String})
ORDER BY cursor DESC
LIMIT {limit:UInt32}`,
		clickhouse.Named("from", utc(from)), clickhouse.Named("to", utc(to)), clickhouse.Named("program", query.Program), clickhouse.Named("actor", query.Actor),
		clickhouse.Named("action", query.Action), clickhouse.Named("cursor", query.Cursor), clickhouse.Named("limit", strconv.Itoa(query.Limit)))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	endPage(page, query.Limit, "cursor")
	return page, nil
}
