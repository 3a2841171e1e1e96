package clickhouse

import (
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestMigrateIsIdempotentAndConcurrent(t *testing.T) {
	db := openTestDB(t)
	exec(t, db, "DROP DATABASE waymark SYNC")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := db.Migrate(testContext(t), MigrateOptions{Embedded: true, Logger: slog.New(slog.DiscardHandler)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	all, err := loadMigrations(false)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := db.appliedMigrations(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(applied) != len(all) {
		t.Errorf("%d migrations are recorded, there are %d", len(applied), len(all))
	}
}

func TestMigrateRefusesAnUnknownSchema(t *testing.T) {
	db := openTestDB(t)
	exec(t, db, "INSERT INTO waymark.migrations (number, name, digest) SETTINGS async_insert = 0 VALUES (3, 'x', 'edited')")
	err := db.Migrate(testContext(t), MigrateOptions{Embedded: true})
	if err == nil || !strings.Contains(err.Error(), "0003_referrals.sql was applied in another wording") {
		t.Errorf("edited migration: %v", err)
	}
	exec(t, db, "INSERT INTO waymark.migrations (number, name, digest) SETTINGS async_insert = 0 VALUES (9999, 'x', 'y')")
	err = db.Migrate(testContext(t), MigrateOptions{Embedded: true})
	if err == nil || !strings.Contains(err.Error(), "is at migration 9999") {
		t.Errorf("newer schema: %v", err)
	}
}

// Numbers follow each other, statements are idempotent, and tables are
// replicated where a server is, but for those that each server fills itself.
func TestMigrationFiles(t *testing.T) {
	local := regexp.MustCompile(`waymark\.(settling|settled(_journeys|_paths|_until)?)\s`)
	idempotent := regexp.MustCompile(`^CREATE (OR REPLACE VIEW|TABLE IF NOT EXISTS|MATERIALIZED VIEW IF NOT EXISTS) waymark\.\w+`)
	for _, replicated := range []bool{false, true} {
		all, err := loadMigrations(replicated)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range all {
			if int(m.number) != i+1 {
				t.Errorf("%s is number %d of the folder", m.name, i+1)
			}
			for _, statement := range m.statements {
				if !idempotent.MatchString(statement) {
					t.Errorf("%s: not idempotent: %.80s", m.name, statement)
				}
				if strings.Contains(statement, "ENGINE") && !local.MatchString(statement) && strings.Contains(statement, "ENGINE = Replicated") != replicated {
					t.Errorf("%s: replicated %v: %.80s", m.name, replicated, statement)
				}
			}
		}
	}
}

func TestEverythingHasAComment(t *testing.T) {
	db := openTestDB(t)
	without := ask(t, db, "SELECT name FROM system.tables WHERE database = 'waymark' AND comment = '' AND engine != 'MaterializedView'")
	if len(without) > 0 {
		t.Errorf("without a comment: %v", without)
	}
}

// Every table that a replay reaches must know tokens.
func TestEveryViewTargetKnowsTokens(t *testing.T) {
	db := openTestDB(t)
	without := ask(t, db, `SELECT name FROM system.tables
		WHERE database = 'waymark' AND engine LIKE '%MergeTree' AND name NOT IN ('links', 'programs', 'program_versions', 'migrations', 'left_out', 'settled', 'settled_journeys', 'settled_paths', 'settled_until', 'settling')
			AND engine_full NOT LIKE '%non_replicated_deduplication_window = 100000%'`)
	if len(without) > 0 {
		t.Errorf("without a deduplication window: %v", without)
	}
}

func TestOpenRefusesBadAddresses(t *testing.T) {
	for _, address := range []string{"", "localhost:9000", "ftp://host", "http://", "http://u:sekret@host:port"} {
		if _, err := Open(address, "", ""); err == nil {
			t.Errorf("Open(%q) took it", address)
		} else if strings.Contains(err.Error(), "sekret") {
			t.Errorf("Open(%q) shows the password: %v", address, err)
		}
	}
	for _, address := range []string{"clickhouse://h:9000", "http://h:8123", "https://u:p@h/waymark"} {
		db, err := Open(address, "waymark", "p")
		if err != nil {
			t.Errorf("Open(%q): %v", address, err)
			continue
		}
		db.Close()
	}
}
