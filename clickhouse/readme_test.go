package clickhouse

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every query that the README shows runs, and every view has its section.
func TestReadmeQueries(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	db := openTestDB(t)
	insertAll(t, db, newWorld(5, 500).blocks(1))
	queries := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(queries) < 10 {
		t.Fatalf("found %d queries", len(queries))
	}
	for _, query := range queries {
		ask(t, db, query[1])
	}
	for _, view := range ask(t, db, "SELECT name FROM system.tables WHERE database = 'waymark' AND engine = 'View'") {
		if !strings.Contains(string(text), view) {
			t.Errorf("the README does not mention view %s", view)
		}
	}
}
