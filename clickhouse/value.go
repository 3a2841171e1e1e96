package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// HasValue reports whether any action of a programme that has arrived is worth
// something. It asks the view, since an action that named a user only belongs to
// the programme of the user's sign-up.
func (db *DB) HasValue(ctx context.Context, program string) (bool, error) {
	var found uint64
	err := db.conn.QueryRow(ctx, "SELECT count() FROM (SELECT 1 FROM waymark.actions WHERE program = {program:String} AND value != 0 LIMIT 1)",
		clickhouse.Named("program", program)).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("ask ClickHouse for values of the programme %s: %w", program, err)
	}
	return found > 0, nil
}
