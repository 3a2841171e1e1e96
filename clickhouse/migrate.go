package clickhouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"text/template"

	"github.com/ClickHouse/clickhouse-go/v2"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// MigrateOptions say what kind of ClickHouse is migrated.
type MigrateOptions struct {
	// Embedded: it is the engine of `waymark up`, which has no Keeper and
	// mends its tables itself. Anything else gets Replicated tables where a
	// Keeper is configured.
	Embedded bool
	Logger   *slog.Logger // default slog.Default()
}

// migration is one file of migrations/: forward only, and idempotent in every
// statement, since ClickHouse has no transaction around several.
type migration struct {
	number     uint32
	name       string // of the file
	digest     string // hex SHA-256 of the file
	statements []string
}

// Migrate brings the schema up to date. It may be interrupted and repeated,
// and two may run at once: every statement is idempotent, so no lock is
// needed, which would outlive a holder that was killed.
func (db *DB) Migrate(ctx context.Context, options MigrateOptions) error {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	replicated, err := db.replicated(ctx, options)
	if err != nil {
		return err
	}
	all, err := loadMigrations(replicated)
	if err != nil {
		return err
	}
	for _, statement := range []string{"CREATE DATABASE IF NOT EXISTS waymark", migrationsTable(replicated)} {
		if err := db.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("prepare the ClickHouse database waymark: %w", err)
		}
	}
	applied, err := db.appliedMigrations(ctx)
	if err != nil {
		return err
	}
	if err := checkApplied(all, applied); err != nil {
		return err
	}
	for _, m := range all {
		if _, done := applied[m.number]; done {
			continue
		}
		if err := db.apply(ctx, m); err != nil {
			return err
		}
		options.Logger.Info("applied migration", "file", m.name)
	}
	return nil
}

// replicated decides between Replicated and plain tables.
func (db *DB) replicated(ctx context.Context, options MigrateOptions) (bool, error) {
	if options.Embedded {
		return false, nil
	}
	var macros uint64
	if err := db.conn.QueryRow(ctx, "SELECT uniq(macro) FROM system.macros WHERE macro IN ('shard', 'replica')").Scan(&macros); err != nil {
		return false, fmt.Errorf("ask ClickHouse for its macros: %w", err)
	}
	keeper := db.conn.Exec(ctx, "SELECT count() FROM system.zookeeper WHERE path = '/'") == nil
	if macros == 2 && keeper {
		return true, nil
	}
	options.Logger.Warn("ClickHouse has no Keeper, or lacks the macros shard and replica: its tables are not replicated, "+
		"and a crash of the server in mid-insert may lose the block; configure a Keeper (one in the server itself will do) before the first migration",
		"keeper", keeper, "macros", macros)
	return false, nil
}

func migrationsTable(replicated bool) string {
	return `CREATE TABLE IF NOT EXISTS waymark.migrations (
		number      UInt32,
		name        String,
		digest      String                COMMENT 'hex SHA-256 of the file',
		applied_at  DateTime DEFAULT now()
	) ENGINE = ` + tableEngine(replicated, "ReplacingMergeTree") + ` ORDER BY number COMMENT 'Migrations that have been applied'`
}

// appliedMigrations returns the digests of what the database has, by number.
func (db *DB) appliedMigrations(ctx context.Context) (map[uint32]string, error) {
	rows, err := db.conn.Query(ctx, "SELECT number, digest FROM waymark.migrations FINAL")
	if err != nil {
		return nil, fmt.Errorf("read which migrations are applied: %w", err)
	}
	defer rows.Close()
	applied := map[uint32]string{}
	for rows.Next() {
		var number uint32
		var digest string
		if err := rows.Scan(&number, &digest); err != nil {
			return nil, fmt.Errorf("read which migrations are applied: %w", err)
		}
		applied[number] = digest
	}
	return applied, rows.Err()
}

// checkApplied refuses a database that this program cannot know.
func checkApplied(all []migration, applied map[uint32]string) error {
	latest := all[len(all)-1].number
	for number := range applied {
		if number > latest {
			return fmt.Errorf("migrate ClickHouse: it is at migration %04d, this waymark knows %04d; use the newer waymark that migrated it", number, latest)
		}
	}
	for _, m := range all {
		if digest, done := applied[m.number]; done && digest != m.digest {
			return fmt.Errorf("migrate ClickHouse: %s was applied in another wording; migrations are never edited: use the waymark that applied it, or a new database", m.name)
		}
	}
	return nil
}

func (db *DB) apply(ctx context.Context, m migration) error {
	for i, statement := range m.statements {
		if err := db.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("apply statement %d of %s: %w", i+1, m.name, err)
		}
	}
	err := db.conn.Exec(ctx, "INSERT INTO waymark.migrations (number, name, digest) SELECT {number:UInt32}, {name:String}, {digest:String}",
		clickhouse.Named("number", strconv.Itoa(int(m.number))), clickhouse.Named("name", m.name), clickhouse.Named("digest", m.digest))
	if err != nil {
		return fmt.Errorf("record that %s is applied: %w", m.name, err)
	}
	return nil
}

// loadMigrations reads and renders the embedded files, in order of number.
// They are templates of one set: what a file defines, a query that several
// views are made of, those after it may use.
func loadMigrations(replicated bool) ([]migration, error) {
	set, err := template.New("").Funcs(template.FuncMap{
		"engine": func(engine string, args ...string) string { return tableEngine(replicated, engine, args...) },
		"window": func() string { return dedupWindow(replicated) },
	}).ParseFS(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var all []migration
	for _, file := range files {
		text, err := migrationFiles.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		name := strings.TrimPrefix(file, "migrations/")
		number, err := strconv.ParseUint(name[:4], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: its name must start with four digits", name)
		}
		var rendered strings.Builder
		if err := set.ExecuteTemplate(&rendered, name, nil); err != nil {
			return nil, fmt.Errorf("render migration %s: %w", name, err)
		}
		digest := sha256.Sum256(text)
		all = append(all, migration{uint32(number), name, hex.EncodeToString(digest[:]), splitStatements(rendered.String())})
	}
	return all, nil
}

// tableEngine names an engine of the MergeTree family. Replicated ones take
// path and replica name from the server's defaults.
func tableEngine(replicated bool, engine string, args ...string) string {
	if replicated {
		engine = "Replicated" + engine
	}
	return engine + "(" + strings.Join(args, ", ") + ")"
}

// dedupWindow is how many blocks back (and on replicated tables how long, 30
// days) a token is known: longer than any replay can be late. At four blocks a
// second 100,000 of them are 7 hours of the busiest partition.
func dedupWindow(replicated bool) string {
	if replicated {
		return "replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 2592000"
	}
	return "non_replicated_deduplication_window = 100000"
}

// splitStatements cuts a file into statements. One ends with a semicolon at
// the end of a line; lines of comment are dropped.
func splitStatements(text string) []string {
	var statements []string
	var current strings.Builder
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "--") {
			continue
		}
		current.WriteString(line)
		if strings.HasSuffix(trimmed, ";") {
			statements = append(statements, strings.TrimSuffix(strings.TrimSpace(current.String()), ";"))
			current.Reset()
		}
	}
	if rest := strings.TrimSpace(current.String()); rest != "" {
		statements = append(statements, rest)
	}
	return statements
}
