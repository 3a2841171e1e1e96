package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layTable lays out a table of an Atomic database: its part directories, and its logs by name.
func layTable(t testing.TB, path string, parts []string, logs map[string]string) string {
	t.Helper()
	dir := filepath.Join(path, "store", "abc", "abc01234-0000-0000-0000-000000000000")
	for _, part := range append(parts, logDirName) {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range logs {
		if err := os.WriteFile(filepath.Join(dir, logDirName, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const log1, log2 = "deduplication_log_1.txt", "deduplication_log_2.txt"

func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

var repairCases = []struct {
	name   string
	parts  []string
	logs   map[string]string
	want   map[string]string // logs that change
	report repairReport
}{
	{
		name:  "nothing wrong",
		parts: []string{"all_1_1_0", "all_2_2_0"},
		logs:  map[string]string{log1: lines("1\tall_1_1_0\ta", "1\tall_2_2_0\tb")},
	},
	{
		name:   "part never committed",
		parts:  []string{"all_1_1_0", "tmp_insert_all_2_2_0"},
		logs:   map[string]string{log1: lines("1\tall_1_1_0\ta", "1\tall_2_2_0\tb")},
		want:   map[string]string{log1: lines("1\tall_1_1_0\ta", "1\tall_2_2_0\tb", "2\tall_2_2_0\tb")},
		report: repairReport{Forgotten: 1},
	},
	{
		name:  "merged and mutated since",
		parts: []string{"all_1_3_1", "all_4_4_0_9"},
		logs:  map[string]string{log1: lines("1\tall_1_1_0\ta", "1\tall_2_2_0\tb", "1\tall_3_3_0\tc", "1\tall_4_4_0\td")},
	},
	{
		name:   "same numbers in another partition",
		parts:  []string{"202601_1_1_0"},
		logs:   map[string]string{log1: lines("1\t202602_1_1_0\ta")},
		want:   map[string]string{log1: lines("1\t202602_1_1_0\ta", "2\t202602_1_1_0\ta")},
		report: repairReport{Forgotten: 1},
	},
	{
		name:   "torn last line",
		parts:  []string{"all_1_1_0"},
		logs:   map[string]string{log1: lines("1\tall_1_1_0\ta") + "1\tall_2_2"},
		want:   map[string]string{log1: lines("1\tall_1_1_0\ta")},
		report: repairReport{TornLines: 1},
	},
	{
		name:   "torn last line that looks whole",
		parts:  []string{"all_1_1_0", "all_2_2_0"},
		logs:   map[string]string{log1: lines("1\tall_1_1_0\ta") + "1\tall_2_2_0\tb"},
		want:   map[string]string{log1: lines("1\tall_1_1_0\ta")},
		report: repairReport{TornLines: 1},
	},
	{
		name:   "torn line and lost part",
		parts:  nil,
		logs:   map[string]string{log1: lines("1\tall_1_1_0\ta") + "2"},
		want:   map[string]string{log1: lines("1\tall_1_1_0\ta", "2\tall_1_1_0\ta")},
		report: repairReport{TornLines: 1, Forgotten: 1},
	},
	{
		name:  "already forgotten",
		parts: nil,
		logs:  map[string]string{log1: lines("1\tall_1_1_0\ta", "2\tall_1_1_0\ta")},
	},
	{
		name:  "forgotten and inserted again",
		parts: []string{"all_2_2_0"},
		logs:  map[string]string{log1: lines("1\tall_1_1_0\ta", "2\tall_1_1_0\ta", "1\tall_2_2_0\ta")},
	},
	{
		name:   "two logs, the drop goes to the newer",
		parts:  []string{"all_2_2_0"},
		logs:   map[string]string{log1: lines("1\tall_1_1_0\ta"), log2: lines("1\tall_2_2_0\tb")},
		want:   map[string]string{log2: lines("1\tall_2_2_0\tb", "2\tall_1_1_0\ta")},
		report: repairReport{Forgotten: 1},
	},
	{
		name:   "logs are ordered by number, not by name",
		parts:  nil,
		logs:   map[string]string{"deduplication_log_9.txt": lines("1\tall_1_1_0\ta"), "deduplication_log_10.txt": lines("2\tall_1_1_0\ta")},
		report: repairReport{},
	},
	{
		name:   "damaged line in the middle",
		parts:  []string{"all_1_1_0", "all_3_3_0"},
		logs:   map[string]string{log1: lines("1\tall_1_1_0\ta", "1\tall_2_1\tall_3", "\x00\x00", "1\tall_3_3_0\tc")},
		want:   map[string]string{log1: lines("1\tall_1_1_0\ta", "1\tall_3_3_0\tc")},
		report: repairReport{SetAside: 1},
	},
	{name: "empty log", logs: map[string]string{log1: ""}},
	{name: "no log at all", parts: []string{"all_1_1_0"}, logs: nil},
}

func TestRepair(t *testing.T) {
	for _, c := range repairCases {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			dir := layTable(t, path, c.parts, c.logs)
			report, err := repair(path)
			if err != nil {
				t.Fatal(err)
			}
			c.report.Tables = 1
			if report != c.report {
				t.Errorf("reported %+v, want %+v", report, c.report)
			}
			for name, text := range c.logs {
				if want, changes := c.want[name]; changes {
					text = want
				}
				got, err := os.ReadFile(filepath.Join(dir, logDirName, name))
				if err != nil || string(got) != text {
					t.Errorf("%s holds %q, %v; want %q", name, got, err, text)
				}
			}
			if left, _ := os.ReadDir(filepath.Join(dir, logDirName)); len(left) != len(c.logs) {
				t.Errorf("%d files beside the logs", len(left)-len(c.logs))
			}
			again, err := repair(path)
			if err != nil || again != (repairReport{Tables: 1}) {
				t.Errorf("the second repair did %+v, %v", again, err)
			}
		})
	}
}

func TestRepairKeepsDamagedLogs(t *testing.T) {
	path := t.TempDir()
	damaged := "garbage\n1\tall_1_1_0\ta\n"
	layTable(t, path, []string{"all_1_1_0"}, map[string]string{"deduplication_log_1.txt": damaged})
	if _, err := repair(path); err != nil {
		t.Fatal(err)
	}
	kept, _ := filepath.Glob(filepath.Join(path, asideDir, "*", "deduplication_log_1.txt.*"))
	if len(kept) != 1 {
		t.Fatalf("kept %v", kept)
	}
	if got, err := os.ReadFile(kept[0]); err != nil || string(got) != damaged {
		t.Errorf("kept %q, %v", got, err)
	}
}

// The databases under data/ are links to store/: a table is repaired once, by either way.
func TestRepairFindsTablesOnce(t *testing.T) {
	path := t.TempDir()
	dir := layTable(t, path, nil, map[string]string{"deduplication_log_1.txt": "1\tall_1_1_0\ta\n"})
	if err := os.MkdirAll(filepath.Join(path, "data", "waymark"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(path, "data", "waymark", "events")); err != nil {
		t.Fatal(err)
	}
	if report, err := repair(path); err != nil || report != (repairReport{Tables: 1, Forgotten: 1}) {
		t.Errorf("%+v, %v", report, err)
	}
	if report, err := repair(filepath.Join(t.TempDir(), "nothing")); err != nil || report != (repairReport{}) {
		t.Errorf("a new data directory: %+v, %v", report, err)
	}
}

func FuzzRepair(f *testing.F) {
	f.Add("1\tall_1_1_0\ta\n2\tall_1_1_0\ta\n1\tall_2_2_0", "all_1_2_1")
	f.Add("1\t202601_1_1_0\ta b\n\n1\tx\ty\n", "202601_1_1_0_3")
	f.Fuzz(func(t *testing.T, log, partName string) {
		records, good, torn := parseLog([]byte(log))
		again, goodAgain, tornAgain := parseLog(good)
		if torn > len(log) || tornAgain != 0 || string(goodAgain) != string(good) || !slices.Equal(again, records) {
			t.Fatalf("%q keeps %q, which keeps %q", log, good, goodAgain)
		}
		var parts []part
		if p, ok := parsePart(partName); ok {
			parts = append(parts, p)
		}
		// Whatever the log said, after the repair every block that it still holds has a part.
		lost := uncommitted(records, parts)
		if still := uncommitted(append(records, lost...), parts); len(still) > 0 {
			t.Fatalf("%q with %q: %v remain after %v", log, partName, still, lost)
		}
	})
}
