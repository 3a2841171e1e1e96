package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Offline compaction of the embedded broker's catalogue topics, but for
// programmes, of which every version stays.
//
// A million records cost the broker 0.3 s and 30 to 200 MB of disk, and a node
// without a snapshot 2 s, so nothing is gained below some hundred thousand
// superseded ones. A log is compacted before the broker starts when more than
// half of its records are superseded, which is looked for only when it is
// large and has doubled since the last look.
//
// Records keep their offsets and the last one always stays, so positions stay
// good and no offset is given out twice. The topic keeps its identity. The new
// log is written beside the old one, DIR, and takes its place by renaming:
//
//	DIR.compacting   being written; dropped when found at a start
//	DIR.compacted    whole and synced; from here on the old log may go
//	DIR.old          the old log, between the two renames and its deletion
const (
	compactingSuffix = ".compacting"
	compactedSuffix  = ".compacted"
	oldSuffix        = ".old"

	// compactMinBytes is the size below which a log is left alone.
	compactMinBytes = 64 << 20
	// compactionFile remembers the size of each log when it was last looked
	// at, less what was superseded.
	compactionFile = "compaction.json"
)

// compactLogs finishes a compaction that was cut short, and compacts what is
// worth it. Nothing may use the broker's directory meanwhile.
func compactLogs(dir string, log *slog.Logger) error {
	c := &compaction{dir: dir, minBytes: compactMinBytes, log: log, step: func(string) error { return nil }}
	return c.run()
}

type compaction struct {
	dir      string
	minBytes int64
	log      *slog.Logger
	step     func(name string) error // called between steps; tests stop there
}

func (c *compaction) run() error {
	live, err := c.readLive()
	if err != nil {
		return err
	}
	for _, topic := range []string{TopicLinks, TopicKeys} {
		dir := filepath.Join(c.dir, "partitions", topic+"-0")
		if err := c.recover(dir); err != nil {
			return fmt.Errorf("finish the compaction of %s: %w", topic, err)
		}
		bytes, err := c.compact(topic, dir, live[topic])
		var damaged *logError
		if errors.As(err, &damaged) {
			// The broker decides what to make of it; nothing was touched.
			c.log.Warn("left a log as it is instead of compacting it", "topic", topic, "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("compact %s: %w", topic, err)
		}
		live[topic] = bytes
	}
	return c.writeLive(live)
}

func (c *compaction) readLive() (map[string]int64, error) {
	live := make(map[string]int64)
	encoded, err := os.ReadFile(filepath.Join(c.dir, compactionFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read when logs were compacted: %w", err)
	}
	if len(encoded) > 0 && json.Unmarshal(encoded, &live) != nil {
		clear(live) // it saves time only
	}
	return live, nil
}

func (c *compaction) writeLive(live map[string]int64) error {
	encoded, err := json.Marshal(live)
	if err != nil {
		panic("BUG: encode the sizes of logs: " + err.Error())
	}
	return replaceFile(filepath.Join(c.dir, compactionFile), encoded, 0o644)
}

// recover brings the directory of a partition back to one log.
func (c *compaction) recover(dir string) error {
	if err := os.RemoveAll(dir + compactingSuffix); err != nil {
		return err
	}
	if exists(dir + compactedSuffix) {
		return c.swap(dir)
	}
	if exists(dir) {
		return os.RemoveAll(dir + oldSuffix)
	}
	if exists(dir + oldSuffix) {
		return os.Rename(dir+oldSuffix, dir)
	}
	return nil
}

// swap puts the compacted log in place of the old one. It may be stopped
// anywhere and called again.
func (c *compaction) swap(dir string) error {
	if !exists(dir + oldSuffix) {
		if err := os.Rename(dir, dir+oldSuffix); err != nil {
			return err
		}
	}
	if err := c.step("moved the old log away"); err != nil {
		return err
	}
	if err := os.Rename(dir+compactedSuffix, dir); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := c.step("moved the new log into place"); err != nil {
		return err
	}
	return os.RemoveAll(dir + oldSuffix)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// compact compacts the log in dir if that is worth it, and returns the bytes
// of it that are not superseded.
func (c *compaction) compact(topic, dir string, live int64) (int64, error) {
	segments, size, err := logSegments(dir)
	if err != nil || size < max(c.minBytes, 2*live) {
		return live, err
	}
	found, err := findSurvivors(topic, segments)
	if err != nil {
		return 0, err
	}
	if found.count*2 > found.records {
		return size * found.count / max(found.records, 1), nil
	}
	if err := os.Mkdir(dir+compactingSuffix, 0o755); err != nil {
		return 0, err
	}
	written, err := writeSurvivors(dir+compactingSuffix, segments, found, func() error { return c.step("wrote a batch") })
	if err != nil {
		return 0, err
	}
	if err := c.step("wrote the new log"); err != nil {
		return 0, err
	}
	if err := os.Rename(dir+compactingSuffix, dir+compactedSuffix); err != nil {
		return 0, err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return 0, err
	}
	if err := c.step("finished the new log"); err != nil {
		return 0, err
	}
	c.log.Info("compacted a log", "topic", topic, "records_before", found.records, "records_after", found.count,
		"bytes_before", size, "bytes_after", written)
	return written, c.swap(dir)
}

// logSegments lists the segment files of a partition in the order of their
// offsets, and the sum of their sizes. There are none where there is no log.
func logSegments(dir string) (paths []string, size int64, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	bases := make(map[string]int64)
	for _, entry := range entries {
		name, isSegment := strings.CutSuffix(entry.Name(), ".dat")
		if !isSegment {
			continue
		}
		var base int64
		if _, err := fmt.Sscanf(name, "%d", &base); err != nil {
			return nil, 0, &logError{Path: filepath.Join(dir, entry.Name()), Detail: "its name is no offset"}
		}
		info, err := entry.Info()
		if err != nil {
			return nil, 0, err
		}
		path := filepath.Join(dir, entry.Name())
		paths, bases[path] = append(paths, path), base
		size += info.Size()
	}
	sortByBase(paths, bases)
	return paths, size, nil
}
