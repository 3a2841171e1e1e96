package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"waymark/clickhouse/engine"
)

// testAddress is where the engine of this process listens; "" when there is
// no library. The engine runs once in a process, so all tests share it.
var testAddress string

const testUser, testPassword = "waymark", "s3cret'pass"

func TestMain(m *testing.M) { os.Exit(withEngine(m)) }

func withEngine(m *testing.M) int {
	if _, err := engine.FindLibrary(); err != nil {
		fmt.Fprintln(os.Stderr, "tests that need the engine are skipped:", err)
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "waymark-clickhouse-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() {
		served <- engine.Serve(ctx, engine.Options{
			Path: dir, Listen: "127.0.0.1:0", Users: append(testReaders(), engine.User{Name: testUser, Password: testPassword}),
			Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
			Ready:  func(address string) { ready <- address },
		})
	}()
	select {
	case testAddress = <-ready:
	case err := <-served:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	stop()
	if err := <-served; err != nil {
		fmt.Fprintln(os.Stderr, "the engine did not stop in order:", err)
		return 1
	}
	return code
}

// openTestDB gives a test the schema in a database without rows. Tests of this
// package do not run in parallel: the schema names its database.
func openTestDB(t *testing.T) *DB {
	t.Helper()
	if testAddress == "" {
		t.Skip("needs libchdb: run make test, or set CHDB_LIB_PATH")
	}
	db, err := Open("http://"+testAddress, testUser, testPassword)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	// To create the schema takes twenty times as long as to empty it. It is
	// created anew where the last test changed it, or where a refresh is under
	// way, which would bring rows back.
	if migrated != "" && schemaOf(db) == migrated {
		exec(t, db, "TRUNCATE TABLES FROM waymark NOT LIKE 'migrations'")
		return db
	}
	exec(t, db, "DROP DATABASE IF EXISTS waymark SYNC")
	if err := db.Migrate(testContext(t), MigrateOptions{Embedded: true, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	migrated = schemaOf(db)
	return db
}

// migrated is what schemaOf said after the last migration.
var migrated string

// schemaOf is a checksum of the statements that made the schema, and of what it
// says of itself; "" while a view is being refreshed, or without a schema.
func schemaOf(db *DB) string {
	var sum string
	err := db.conn.QueryRow(context.Background(), `
SELECT if(
    (SELECT count() FROM system.view_refreshes WHERE database = 'waymark' AND status = 'Running') > 0,
    '',
    toString(cityHash64(
        (SELECT arraySort(groupArray((name, create_table_query))) FROM system.tables WHERE database = 'waymark'),
        (SELECT arraySort(groupArray((number, digest))) FROM waymark.migrations))))`).Scan(&sum)
	if err != nil {
		return ""
	}
	return sum
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func exec(t *testing.T, db *DB, sql string) {
	t.Helper()
	if err := db.conn.Exec(testContext(t), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask runs a query and returns its rows as text, for comparing and printing.
func ask(t *testing.T, db *DB, sql string) []string {
	t.Helper()
	answer, err := db.table(testContext(t), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	lines := make([]string, len(answer.Rows))
	for i, row := range answer.Rows {
		lines[i] = strings.TrimSuffix(fmt.Sprintln(row...), "\n")
	}
	return lines
}
