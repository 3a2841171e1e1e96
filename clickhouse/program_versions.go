package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

// insertProgramVersions keeps versions of programmes. Secrets stay out:
// whoever may read the database must not be able to sign what webhooks get.
func (db *DB) insertProgramVersions(ctx context.Context, rows []tracker.ProgramRow) error {
	documents := make([]string, len(rows))
	for i := range rows {
		masked := rows[i].Program.Masked()
		document, err := json.Marshal(masked)
		if err != nil {
			return fmt.Errorf("encode version %d of the programme %s: %w", rows[i].Version, masked.Name, err)
		}
		documents[i] = string(document)
	}
	return db.insertRows(ctx, "versions of programmes", `INSERT INTO waymark.program_versions (name, version, effective_from, written_at, document)`,
		len(rows), func(i int) []any {
			return []any{rows[i].Program.Name, rows[i].Version, storedTime(rows[i].Program.EffectiveFrom), storedTime(rows[i].WrittenAt), documents[i]}
		})
}

// storedTime is the time, or the start of Unix time for none: the year 1 is
// none that ClickHouse has.
func storedTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.UnixMilli(0).UTC()
	}
	return t
}

// ProgramVersions returns all versions of a programme that have arrived, in the
// order in which they were written; none for a programme that was never
// written. Secrets of webhooks are masked.
func (db *DB) ProgramVersions(ctx context.Context, name string) ([]tracker.ProgramRow, error) {
	rows, err := db.conn.Query(ctx, "SELECT version, effective_from, written_at, document FROM waymark.program_versions FINAL WHERE name = {name:String} ORDER BY version",
		clickhouse.Named("name", name))
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the versions of the programme %s: %w", name, err)
	}
	defer rows.Close()
	var versions []tracker.ProgramRow
	for rows.Next() {
		version := tracker.ProgramRow{Program: tracker.NewProgram(name)}
		var effectiveFrom time.Time
		var document string
		if err := rows.Scan(&version.Version, &effectiveFrom, &version.WrittenAt, &document); err != nil {
			return nil, fmt.Errorf("read a version of the programme %s: %w", name, err)
		}
		if err := json.Unmarshal([]byte(document), &version.Program); err != nil {
			return nil, fmt.Errorf("decode version %d of the programme %s: %w", version.Version, name, err)
		}
		version.Program.EffectiveFrom = effectiveFrom
		versions = append(versions, version)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the versions of the programme %s: %w", name, err)
	}
	return versions, nil
}
