package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Files of a snapshot. Links have a format of their own, made to be mapped;
// the rest is small.
const (
	linksSnapshotFile   = "links.snapshot"
	catalogSnapshotFile = "catalog.json"
)

// catalogSnapshot is the content of catalog.json. Programmes and keys have no
// position: they are read from the start whenever Kafka is there.
type catalogSnapshot struct {
	LinksAsOf time.Time         `json:"links_as_of"` // when the links were known to be complete
	AsOf      time.Time         `json:"as_of"`       // the same for the others
	Programs  map[string][]byte `json:"programs"`
	Keys      map[string][]byte `json:"keys"` // with hashes of their secrets
}

// savedState is what the last snapshot of the links was of.
type savedState struct {
	id   [16]byte
	next int64
}

// load takes the snapshot. Damaged files are reported and left alone; the
// topics are read from their start then.
func (c *Catalog) load() error {
	path := filepath.Join(c.options.SnapshotDir, catalogSnapshotFile)
	encoded, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load the catalogue's snapshot: %w", err)
	}
	var s catalogSnapshot
	if err := json.Unmarshal(encoded, &s); err != nil {
		c.log.Error("the catalogue's snapshot is damaged; reading the topics from their start", "file", path, "error", err)
		return nil
	}
	c.programs.restore(s.Programs)
	c.followPrograms.state = followerState{complete: true, asOf: s.AsOf}
	c.keys.restore(s.Keys)
	c.followKeys.state = followerState{complete: true, asOf: s.AsOf}

	id, err := c.options.Links.LoadSnapshot(filepath.Join(c.options.SnapshotDir, linksSnapshotFile))
	if err != nil {
		c.log.Error("the snapshot of links can't be used; reading the topic from its start", "error", err)
		return nil
	}
	next := c.options.Links.Offset()
	c.followLinks.resume(id, next, s.LinksAsOf)
	c.saved = savedState{id, next}
	return nil
}

// save writes the snapshot, links only if they changed. Nothing is saved of a
// topic that was never read to its end: an older snapshot is better than half
// a new one.
func (c *Catalog) save() error {
	if c.options.SnapshotDir == "" {
		return nil
	}
	links, programs, keys := c.followLinks.snapshot(), c.followPrograms.snapshot(), c.followKeys.snapshot()
	if !links.complete || !programs.complete || !keys.complete {
		return nil
	}
	if state := (savedState{links.id, c.options.Links.Offset()}); state != c.saved {
		if err := c.links.save(filepath.Join(c.options.SnapshotDir, linksSnapshotFile), links.id); err != nil {
			return err
		}
		c.saved = state
	}
	asOf := programs.asOf
	if keys.asOf.Before(asOf) {
		asOf = keys.asOf
	}
	encoded, err := json.Marshal(catalogSnapshot{LinksAsOf: links.asOf, AsOf: asOf, Programs: c.programs.all(), Keys: c.keys.all()})
	if err != nil {
		panic("BUG: encode the catalogue's snapshot: " + err.Error())
	}
	return replaceFile(filepath.Join(c.options.SnapshotDir, catalogSnapshotFile), encoded, 0o600)
}

// replaceFile puts content in the place of a file, at once and durably.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}

// syncDir makes renames and new names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
