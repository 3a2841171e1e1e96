package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker"
)

// Repairs build a partition anew in a table of its own, which then takes the
// place of the damaged one in a single step (REPLACE PARTITION; a table without
// months is one partition). Until then readers see the old one, a repair that
// dies changes nothing, and no other partition or table is touched. EXCHANGE
// TABLES was rejected: it takes the months with it that were right, and the
// deduplication window, and needs rights on the whole database.
//
// What ingest inserts between the building and the step would be lost or stand
// there twice. So each is watched; where something came, it is built again.

// errRestless is a repair that ingest came between every time.
var errRestless = errors.New("events keep arriving; stop ingest, or what sends events, and audit again")

// RebuildView makes the part of a view target that a result names anew from
// events: whole months, or all of it where it has no months. It returns the
// partitions that it replaced.
func (db *DB) RebuildView(ctx context.Context, name string, of tracker.AuditRange, still Stillness) ([]string, error) {
	t, err := db.viewTarget(ctx, name)
	if err != nil {
		return nil, err
	}
	if t.time == "" {
		parts, err := db.slices(ctx, t, time.Time{})
		if err != nil {
			return nil, err
		}
		return []string{"all"}, db.rebuildView(ctx, t, "all", parts, still)
	}
	from, errFrom := time.Parse(time.RFC3339, of.From)
	to, errTo := time.Parse(time.RFC3339, of.To)
	if err := errors.Join(errFrom, errTo); err != nil {
		return nil, fmt.Errorf("rebuild %s: read the range %s: %w", name, of, err)
	}
	var replaced []string
	for month := monthOf(from); month.Before(to); month = month.AddDate(0, 1, 0) {
		parts, err := db.partsOf(ctx, t, month)
		if err != nil {
			return replaced, err
		}
		partition := month.Format("200601")
		if err := db.rebuildView(ctx, t, partition, parts, still); err != nil {
			return replaced, err
		}
		replaced = append(replaced, partition)
	}
	return replaced, nil
}

// partsOf cuts a month between its days into as few parts as one query each
// can take. They leave no gap, not even of days without events: what arrives
// on such a day meanwhile must be seen.
func (db *DB) partsOf(ctx context.Context, t *viewTarget, month time.Time) ([]slice, error) {
	all, err := db.slices(ctx, t, month)
	if err != nil {
		return nil, err
	}
	whole := slice{from: month, to: month.AddDate(0, 1, 0)}
	rest := slices.DeleteFunc(all, func(s slice) bool { return !s.from.Before(whole.to) })
	var parts []slice
	for part := whole; part.from.Before(whole.to); part = (slice{from: part.to, to: whole.to}) {
		if len(rest) > 0 {
			_, rest = t.span(rest)
		}
		if len(rest) > 0 {
			part.to = rest[0].from
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

func (db *DB) rebuildView(ctx context.Context, t *viewTarget, partition string, parts []slice, still Stillness) error {
	columns := strings.Join(t.columns, ", ")
	var fill []string
	for _, s := range parts {
		fill = append(fill, "SELECT "+columns+" FROM ("+t.query()+")"+t.ofShare(s)+t.settings(s))
	}
	return db.replacePartition(ctx, t.name, columns, partition, fill, func(ctx context.Context) (func(context.Context) (bool, error), error) {
		return db.watch(ctx, t, parts, still)
	})
}

// replacePartition puts the rows of some queries in the place of a partition.
func (db *DB) replacePartition(ctx context.Context, table, columns, partition string, queries []string,
	watch func(context.Context) (moved func(context.Context) (bool, error), err error),
) error {
	for range stillAttempts {
		moved, err := watch(ctx)
		if err != nil {
			return fmt.Errorf("rebuild partition %s of %s: %w", partition, table, err)
		}
		replaced, err := db.tryReplace(ctx, table, columns, partition, queries, moved)
		if err != nil {
			return fmt.Errorf("rebuild partition %s of %s: %w", partition, table, err)
		}
		if replaced {
			return nil
		}
	}
	return fmt.Errorf("rebuild partition %s of %s: %w", partition, table, errRestless)
}

// tryReplace reports whether nothing was inserted while it worked.
func (db *DB) tryReplace(ctx context.Context, table, columns, partition string, queries []string, moved func(context.Context) (bool, error)) (undisturbed bool, err error) {
	// A name of its own: of two repairs at once, one must not empty what the
	// other is about to put in place.
	scratch := "waymark.audit_" + table + "_" + strings.ToLower(rand.Text()[:8])
	if err := db.conn.Exec(ctx, "CREATE TABLE "+scratch+" AS waymark."+table); err != nil {
		return false, fmt.Errorf("create a table to build it in: %w", err)
	}
	defer func() {
		// Also when the repair was interrupted.
		dropping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if dropErr := db.conn.Exec(dropping, "DROP TABLE IF EXISTS "+scratch+" SYNC"); dropErr != nil && err == nil {
			err = fmt.Errorf("drop table %s, which is not needed any more: %w", scratch, dropErr)
		}
	}()
	for _, query := range queries {
		if err := db.conn.Exec(repairContext(ctx), "INSERT INTO "+scratch+" ("+columns+") "+query); err != nil {
			return false, fmt.Errorf("build it from events: %w", err)
		}
	}
	if disturbed, err := moved(ctx); err != nil || disturbed {
		return false, err
	}
	if err := db.conn.Exec(ctx, "ALTER TABLE waymark."+table+" REPLACE PARTITION ID '"+partition+"' FROM "+scratch); err != nil {
		return false, fmt.Errorf("put it in place: %w", err)
	}
	disturbed, err := moved(ctx)
	return !disturbed, err
}

// RemoveRows takes rows out of the raw tables that stand there too often. The view
// targets stay as they are: what they counted twice, the audit of the views
// finds.
func (db *DB) RemoveRows(ctx context.Context, surplus []tracker.SurplusRows, still Stillness) error {
	doubled, gone := []string{"0"}, []string{"0"} // never true
	for _, s := range surplus {
		condition := fmt.Sprintf("(source = %d AND partition = %d AND offset >= %d AND offset < %d)", s.Source, s.Partition, s.From, s.To)
		if s.Keep {
			doubled = append(doubled, condition)
		} else {
			gone = append(gone, condition)
		}
	}
	isDoubled, isGone := "("+strings.Join(doubled, " OR ")+")", "("+strings.Join(gone, " OR ")+")"
	for _, table := range rawTables {
		if err := db.removeRows(ctx, table.name, isDoubled, isGone, still); err != nil {
			return err
		}
	}
	return nil
}

// removeRows takes rows out of one table: all but one of each offset that is
// doubled, and all that should be gone.
func (db *DB) removeRows(ctx context.Context, table, isDoubled, isGone string, still Stillness) error {
	var months []uint32
	err := db.scan(repairContext(ctx), "SELECT DISTINCT toYYYYMM(time) FROM waymark."+table+" WHERE "+isDoubled+" OR "+isGone, nil, func(rows driver.Rows) error {
		var month uint32
		err := rows.Scan(&month)
		months = append(months, month)
		return err
	})
	if err != nil {
		return fmt.Errorf("look up the months of repeated rows in %s: %w", table, err)
	}
	names, err := db.storedColumns(ctx, table)
	if err != nil {
		return err
	}
	columns := strings.Join(names, ", ")
	for _, month := range months {
		ofMonth := fmt.Sprintf("SELECT %s FROM waymark.%s WHERE toYYYYMM(time) = %d AND NOT %s AND ", columns, table, month, isGone)
		if err := db.replacePartition(ctx, table, columns, fmt.Sprint(month), []string{
			ofMonth + "NOT " + isDoubled,
			ofMonth + isDoubled + " LIMIT 1 BY source, partition, offset SETTINGS " + auditSettings,
		}, still.Watch); err != nil {
			return err
		}
	}
	return nil
}

// storedColumns are the columns of a table as it is in this database, which
// may have more of them than this program writes.
func (db *DB) storedColumns(ctx context.Context, table string) ([]string, error) {
	var names []string
	err := db.scan(ctx, "SELECT name FROM system.columns WHERE database = 'waymark' AND table = {table:String} AND default_kind IN ('', 'DEFAULT') ORDER BY position",
		[]any{clickhouse.Named("table", table)}, func(rows driver.Rows) error {
			var name string
			err := rows.Scan(&name)
			names = append(names, "`"+name+"`")
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the columns of %s: %w", table, err)
	}
	return names, nil
}

// repairContext allows for queries that list a thousand ranges.
func repairContext(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplicate": 0, "max_query_size": 4 << 20, "max_partitions_per_insert_block": 0,
	}))
}
