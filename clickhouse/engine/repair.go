package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A plain MergeTree table with a deduplication window keeps, beside its parts, a log of the blocks it has seen:
//
//	deduplication_logs/deduplication_log_N.txt     1⇥PART⇥BLOCK   the block was inserted as this part
//	                                               2⇥PART⇥BLOCK   the block is forgotten
//
// The engine writes the line before it renames the part into place. Killed in between, it would skip the replay of a block
// that it never stored. And a line cut short by the kill keeps the table from loading, or runs into the next line.
const (
	logDirName = "deduplication_logs"
	logPrefix  = "deduplication_log_"
	logSuffix  = ".txt"
	recordAdd  = "1"
	recordDrop = "2"
	// asideDir, under the data directory, is for what must not lie beside the logs: the engine takes every file there
	// for a log, and a table with a name it cannot read does not load.
	asideDir = "damaged"
)

// repairReport counts what repair has done.
type repairReport struct {
	Tables    int // with a deduplication log
	TornLines int // cut off
	Forgotten int // blocks whose part was never committed
	SetAside  int // logs that were no log, renamed
}

// repair mends the deduplication logs of every table under the engine's data directory. It must run before the engine
// opens it, and never while it is open. Running it again changes nothing.
func repair(path string) (repairReport, error) {
	var report repairReport
	// Atomic databases keep tables under store/abc/uuid, others under data/database/table; data also has links
	// to store, which Glob follows, so each directory is done once.
	done := make(map[string]bool)
	for _, pattern := range []string{"store/*/*", "data/*/*"} {
		tables, err := filepath.Glob(filepath.Join(escapeGlob(path), pattern, logDirName))
		if err != nil {
			return report, fmt.Errorf("look for tables in %s: %w", path, err)
		}
		for _, dir := range tables {
			real, err := filepath.EvalSymlinks(dir)
			if err != nil {
				return report, fmt.Errorf("look for tables in %s: %w", path, err)
			}
			if done[real] {
				continue
			}
			done[real] = true
			aside := filepath.Join(path, asideDir, filepath.Base(filepath.Dir(real)))
			if err := repairTable(filepath.Dir(real), aside, &report); err != nil {
				return report, fmt.Errorf("repair the deduplication log of the table in %s: %w", filepath.Dir(real), err)
			}
		}
	}
	return report, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// repairTable mends the logs of one table. Damaged ones are copied to the directory aside.
func repairTable(table, aside string, report *repairReport) error {
	report.Tables++
	logs, err := deduplicationLogs(filepath.Join(table, logDirName))
	if err != nil || len(logs) == 0 {
		return err
	}
	var all []record
	for _, log := range logs {
		records, err := mendLog(log, aside, report)
		if err != nil {
			return err
		}
		all = append(all, records...)
	}
	parts, err := committedParts(table)
	if err != nil {
		return err
	}
	lost := uncommitted(all, parts)
	report.Forgotten += len(lost)
	return appendDrops(logs[len(logs)-1], lost)
}

// deduplicationLogs gives the log files in the order in which they were written.
func deduplicationLogs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type numbered struct {
		path   string
		number uint64
	}
	var logs []numbered
	for _, entry := range entries {
		digits, isLog := strings.CutPrefix(entry.Name(), logPrefix)
		digits, isText := strings.CutSuffix(digits, logSuffix)
		number, err := strconv.ParseUint(digits, 10, 64)
		if isLog && isText && err == nil && entry.Type().IsRegular() {
			logs = append(logs, numbered{filepath.Join(dir, entry.Name()), number})
		}
	}
	slices.SortFunc(logs, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	paths := make([]string, len(logs))
	for i, log := range logs {
		paths[i] = log.path
	}
	return paths, nil
}

// record is one line of a log.
type record struct{ operation, part, block string }

// mendLog cuts a torn last line off and gives the records. A log with a damaged line elsewhere is copied aside and replaced
// by one of its good lines: such damage is no kill's doing, and nothing of it is thrown away.
func mendLog(path, aside string, report *repairReport) ([]record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	records, good, torn := parseLog(data)
	switch {
	case !bytes.Equal(good, data[:len(data)-torn]):
		report.SetAside++
		return records, replaceLog(path, aside, data, good)
	case torn > 0:
		report.TornLines++
		return records, os.Truncate(path, int64(len(good)))
	}
	return records, nil
}

// parseLog gives the records, the lines they are written in, and the length of a last line that was not finished.
func parseLog(data []byte) (records []record, good []byte, torn int) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			return records, good, len(data)
		}
		line := data[:end]
		data = data[end:]
		fields := strings.Split(string(line[:end-1]), "\t")
		if len(fields) != 3 || fields[0] != recordAdd && fields[0] != recordDrop || fields[2] == "" {
			continue
		}
		if _, ok := parsePart(fields[1]); !ok {
			continue
		}
		records = append(records, record{fields[0], fields[1], fields[2]})
		good = append(good, line...)
	}
	return records, good, 0
}

// replaceLog keeps the old content aside, never over an earlier copy, and puts the new in place in one step.
func replaceLog(path, aside string, old, good []byte) error {
	if err := os.MkdirAll(aside, 0o750); err != nil {
		return err
	}
	kept, err := os.CreateTemp(aside, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if _, err := kept.Write(old); err != nil {
		return errors.Join(err, kept.Close())
	}
	if err := kept.Close(); err != nil {
		return err
	}
	next := kept.Name() + ".next"
	if err := os.WriteFile(next, good, 0o640); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// part is the identity of a MergeTree part: partition_min_max_level or partition_min_max_level_mutation.
type part struct {
	partition string
	min, max  uint64 // block numbers
}

// parsePart reads a part's name.
func parsePart(name string) (part, bool) {
	fields := strings.Split(name, "_")
	if len(fields) != 4 && len(fields) != 5 || fields[0] == "" {
		return part{}, false
	}
	var numbers [4]uint64
	for i, field := range fields[1:] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return part{}, false
		}
		numbers[i] = n
	}
	return part{fields[0], numbers[0], numbers[1]}, numbers[0] <= numbers[1]
}

// committedParts lists the part directories of a table. What is not committed yet has a prefix (tmp_insert_…).
func committedParts(table string) ([]part, error) {
	entries, err := os.ReadDir(table)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, entry := range entries {
		if p, ok := parsePart(entry.Name()); ok && entry.IsDir() {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// uncommitted gives, for each block that the log holds in the end, its record if no part covers its block numbers. What
// was merged is covered by the merged part. What was dropped on purpose has its own drop record, and if it has not, is
// not there either: to forget it is right too.
func uncommitted(records []record, parts []part) []record {
	last := make(map[string]int) // block → index of its record
	for i, r := range records {
		last[r.block] = i
	}
	byPartition := make(map[string][]part)
	for _, p := range parts {
		byPartition[p.partition] = append(byPartition[p.partition], p)
	}
	var lost []record
	for i, r := range records {
		if last[r.block] != i || r.operation == recordDrop {
			continue
		}
		p, _ := parsePart(r.part)
		covered := slices.ContainsFunc(byPartition[p.partition], func(q part) bool { return q.min <= p.min && p.max <= q.max })
		if !covered {
			lost = append(lost, record{recordDrop, r.part, r.block})
		}
	}
	return lost
}

// appendDrops adds records to the end of a log.
func appendDrops(log string, lost []record) error {
	if len(lost) == 0 {
		return nil
	}
	var lines strings.Builder
	for _, r := range lost {
		fmt.Fprintf(&lines, "%s\t%s\t%s\n", r.operation, r.part, r.block)
	}
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(lines.String())
	return errors.Join(err, f.Close())
}
