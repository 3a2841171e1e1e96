package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// storage is the engine booted on its data directory.
type storage struct {
	b    *binding
	args []string
	// root keeps the engine alive: closing the last connection would shut it down.
	root *connection

	displayName, version, timezone string
	functions, tableFunctions      map[string]bool // names in lower case; aggregate functions are not among them

	mu sync.Mutex // connecting boots and registers; the engine's own locking of that is not relied on
}

// openStorage boots the engine on path. There can be one per process.
func openStorage(library, path string) (*storage, error) {
	// A relative path would be taken relative to wherever the library thinks it is; and DROP … SYNC hangs
	// without the metadata directory.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the engine's data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(path, "metadata"), 0o750); err != nil {
		return nil, fmt.Errorf("create the engine's data directory: %w", err)
	}
	b, err := loadBinding(library)
	if err != nil {
		return nil, err
	}
	// The engine reads standard input when a statement's data is missing; it shall find nothing there.
	if err := nullStdin(); err != nil {
		return nil, fmt.Errorf("close the standard input of the engine: %w", err)
	}
	s := &storage{b: b, args: []string{"--path=" + path}}
	keepSignals(func() { s.root, err = b.open(s.args...) })
	if err != nil {
		return nil, fmt.Errorf("open the engine's data in %s: %w", path, err)
	}
	if err := s.describe(); err != nil {
		s.root.close()
		return nil, fmt.Errorf("ask the engine in %s for its version: %w", path, err)
	}
	return s, nil
}

// describe asks the engine what it is.
func (s *storage) describe() error {
	r, err := s.root.run("SELECT displayName(), version(), timezone()", "TSVRaw", nil)
	if err != nil {
		return err
	}
	defer r.free()
	fields := strings.Split(strings.TrimRight(string(r.bytes()), "\n"), "\t")
	if len(fields) != 3 {
		return fmt.Errorf("the engine answered %q", r.bytes())
	}
	s.displayName, s.version, s.timezone = fields[0], fields[1], fields[2]

	if s.functions, err = s.root.words("SELECT lower(name) FROM system.functions WHERE NOT is_aggregate"); err != nil {
		return err
	}
	s.tableFunctions, err = s.root.words("SELECT lower(name) FROM system.table_functions")
	return err
}

// words are the values of a query of one column, which have no white space.
func (c *connection) words(sql string) (map[string]bool, error) {
	r, err := c.run(sql, "TSVRaw", nil)
	if err != nil {
		return nil, err
	}
	defer r.free()
	return wordSet(string(r.bytes())), nil
}

// session opens a connection, a session of its own. The caller closes it.
func (s *storage) session() (*connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.open(s.args...)
}

// do runs a statement of the front itself in a session of its own.
func (s *storage) do(sql string) error {
	c, err := s.session()
	if err != nil {
		return err
	}
	defer c.close()
	r, err := c.run(sql, "Null", nil)
	if err != nil {
		return err
	}
	r.free()
	return nil
}

// kill cancels the statements that carry the tag as their log_comment; one that says `SETTINGS log_comment` itself goes on
// to its end.
func (s *storage) kill(tag string) error {
	return s.do("KILL QUERY WHERE Settings['log_comment'] = " + quoteString(tag) + " ASYNC")
}

// purge gives memory that the engine's allocator keeps back to the system.
func (s *storage) purge() error { return s.do("SYSTEM JEMALLOC PURGE") }

// close shuts the engine down. No session may be open.
func (s *storage) close() {
	keepSignals(s.root.close)
}
