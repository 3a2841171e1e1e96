package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// segments are the files of one stream in order of position. Writing (write, publish, abandon, drop, load) is for one
// goroutine at a time, which the owner ensures; reading and counting may run beside it.
type segments struct {
	dir          string
	segmentBytes int64
	log          *slog.Logger
	create       func(path string) (file, error)

	active  *segment // being written, or nil
	written Position // end of what was written to active; beyond active.end it is not yet published

	mu    sync.Mutex
	list  []*segment // published, by base, not overlapping
	bytes int64      // of all files, those set aside included
}

func newSegments(dir string, segmentBytes int64, log *slog.Logger) *segments {
	return &segments{dir: dir, segmentBytes: segmentBytes, log: log, create: createFile}
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

// load finds the files in the directory. Those with a damaged header count as fallback's.
func (s *segments) load(fallback source) error {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, name := range names { // sorted by name, that is by base
		path := filepath.Join(s.dir, name.Name())
		if strings.HasSuffix(path, segmentSuffix+corruptSuffix) {
			if info, err := name.Info(); err == nil {
				s.bytes += info.Size()
			}
			continue
		}
		base, ok := segmentBase(name.Name())
		if !ok {
			continue
		}
		g, err := statSegment(path, base, fallback)
		if corrupt := (*CorruptError)(nil); err != nil && !errors.As(err, &corrupt) {
			return err
		}
		if g.end == g.base { // its writer died before the first frame
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove empty segment: %w", err)
			}
			continue
		}
		if err != nil {
			s.log.Warn("segment header is damaged, reading its frames all the same", "error", err)
		}
		if last := s.last(); last != nil {
			last.end = min(last.end, base) // what lies behind was never published
		}
		s.list = append(s.list, g)
		s.bytes += g.fileBytes
	}
	return nil
}

// endAt cuts the stream where the ring takes over: files hold bytes beyond head when the process died before it could move the
// head, and the ring has the same bytes. tail is the ring's.
func (s *segments) endAt(head, tail Position) error {
	for last := s.last(); last != nil && last.base >= head; last = s.last() {
		s.list = s.list[:len(s.list)-1]
		if last.base > tail {
			s.log.Error("segment lies beyond the end of the stream, renaming it aside", "file", last.path)
			last.damaged = true
		}
		if err := s.discard(last); err != nil {
			return err
		}
	}
	if last := s.last(); last != nil {
		last.end = min(last.end, head)
	}
	return nil
}

// markGaps flags the files behind which the stream goes on later than they end: they were cut. to is the end of the stream on
// disk.
func (s *segments) markGaps(acked, to Position) {
	for i, g := range s.list {
		next := to
		if i+1 < len(s.list) {
			next = s.list[i+1].base
		}
		if g.end < next && next > acked {
			g.damaged = true
			s.log.Error("spool segment is too short", "file", g.path, "missing_bytes", next-g.end)
		}
	}
}

func (s *segments) last() *segment {
	if len(s.list) == 0 {
		return nil
	}
	return s.list[len(s.list)-1]
}

// end is where the last file ends, 0 without files.
func (s *segments) end() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.last(); last != nil {
		return last.end
	}
	return 0
}

// write appends chunk, whole frames that begin at position at, to the active file or a new one. It is not durable and not
// readable before publish. ErrFull when the files would exceed bytesMax. After any other error call abandon.
func (s *segments) write(chunk []byte, at Position, src source, bytesMax int64) error {
	if a := s.active; a != nil {
		full := a.offset(at)+int64(len(chunk)) > s.segmentBytes
		if full || s.written != at || a.source != src {
			if err := s.publish(); err != nil {
				return err
			}
			s.active = nil
		}
	}
	grow := int64(len(chunk))
	if s.active == nil {
		grow += segmentHeaderBytes
	}
	if s.diskBytes()+grow > bytesMax {
		return ErrFull
	}
	if s.active == nil {
		if err := s.begin(at, src); err != nil {
			return err
		}
	}
	if _, err := s.active.f.WriteAt(chunk, s.active.offset(at)); err != nil {
		return fmt.Errorf("write segment %s: %w", s.active.path, err)
	}
	s.written = at + Position(len(chunk))
	s.resize(s.active, s.active.offset(s.written))
	return nil
}

func (s *segments) begin(base Position, src source) error {
	path := segmentPath(s.dir, base)
	f, err := s.create(path)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	s.active = &segment{path: path, base: base, end: base, source: src, f: f}
	s.written = base
	var header [segmentHeaderBytes]byte
	putSegmentHeader(header[:], src, base)
	if _, err := f.WriteAt(header[:], 0); err != nil {
		return fmt.Errorf("write segment header of %s: %w", path, err)
	}
	s.resize(s.active, segmentHeaderBytes)
	return nil
}

// publish makes what was written durable, then readable.
func (s *segments) publish() error {
	a := s.active
	if a == nil || a.end == s.written {
		return nil
	}
	if err := a.f.Sync(); err != nil {
		return fmt.Errorf("sync segment %s: %w", a.path, err)
	}
	isNew := a.end == a.base
	if isNew {
		if err := syncDir(s.dir); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.end = s.written
	if isNew {
		s.list = append(s.list, a)
	}
	return nil
}

// abandon gives up the active file after an error: whatever was not published is cut off and may be written again elsewhere.
// After a failed sync the kernel has dropped the pages, so that writing on in the same file would leave a hole.
func (s *segments) abandon() {
	a := s.active
	if a == nil {
		return
	}
	s.active = nil
	if a.end > a.base {
		if err := a.f.Truncate(a.offset(a.end)); err == nil {
			s.resize(a, a.offset(a.end))
		}
		return
	}
	a.f.Close()
	if err := os.Remove(a.path); err != nil {
		s.log.Warn("can't remove unfinished segment", "file", a.path, "error", err)
		return
	}
	s.resize(a, 0)
}

// read copies from the first file that holds something at or behind from. It returns the bytes, the position where they begin
// and where the readable part of the file may go on; final says that no frame reaches over the end of data. ok is false when
// there is nothing. Bytes that the disk refuses to give are skipped: next is then beyond the end of data.
func (s *segments) read(buf []byte, from Position) (data []byte, at, next Position, src source, final, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.list, from, func(g *segment, from Position) int {
		if g.end <= from {
			return -1
		}
		return 1
	})
	if i == len(s.list) {
		return nil, 0, 0, source{}, false, false
	}
	g := s.list[i]
	at = max(from, g.base)
	want := min(len(buf), int(g.end-at))
	n, err := g.readAt(buf[:want], at)
	next = at + Position(n)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF): // cut while it was open
		next = g.end
	case n == 0: // a bad sector: the next read begins behind its page
		const page = 4096
		next = min(g.end, at+page)
	}
	if err != nil {
		g.damaged = true
		s.log.Error("can't read spool segment, skipping what is unreadable", "file", g.path, "from", at+Position(n), "to", next,
			"error", err)
	}
	return buf[:n], at, next, g.source, err != nil || next == g.end, true
}

func (g *segment) readAt(buf []byte, at Position) (int, error) {
	if g.f == nil {
		f, err := os.Open(g.path)
		if err != nil {
			return 0, err
		}
		g.f = f
	}
	n, err := g.f.ReadAt(buf, g.offset(at))
	if n == len(buf) {
		err = nil
	}
	return n, err
}

// markDamaged flags the files that d overlaps, to be renamed aside when they are done with.
func (s *segments) markDamaged(d span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.list {
		if g.base < d.to && d.from < g.end {
			g.damaged = true
		}
	}
}

// drop deletes the files wholly below acked, and renames aside those that are damaged. With keepActive the file being
// written stays, which spares a quiet journal a new file for every record.
func (s *segments) drop(acked Position, keepActive bool) {
	for {
		s.mu.Lock()
		if len(s.list) == 0 || s.list[0].end > acked || keepActive && s.list[0] == s.active {
			s.mu.Unlock()
			return
		}
		g := s.list[0]
		s.list = slices.Delete(s.list, 0, 1)
		s.mu.Unlock()
		if g == s.active {
			s.active = nil
		}
		if err := s.discard(g); err != nil {
			s.log.Warn("acknowledged segment stays on disk until the next start", "error", err)
		}
	}
}

// discard deletes a file that is no longer in the list, or renames it aside if it is damaged: its readable frames were delivered,
// what remains is for people to look at.
func (s *segments) discard(g *segment) error {
	if g.f != nil {
		g.f.Close()
	}
	if g.damaged {
		s.log.Error("spool segment was damaged, renamed aside", "file", g.path+corruptSuffix)
		if err := os.Rename(g.path, g.path+corruptSuffix); err != nil {
			return fmt.Errorf("rename damaged segment aside: %w", err)
		}
		return nil
	}
	if err := os.Remove(g.path); err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	s.resize(g, 0)
	return nil
}

func (s *segments) resize(g *segment, fileBytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += fileBytes - g.fileBytes
	g.fileBytes = fileBytes
}

// diskBytes is the size of all files, those set aside as corrupt included.
func (s *segments) diskBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func (s *segments) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

func (s *segments) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.list {
		if g.f != nil {
			g.f.Close()
		}
	}
	s.list, s.active = nil, nil
}

// peek reads what lies at position at, without counting damage.
func (s *segments) peek(buf []byte, at Position) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.list {
		if g.base <= at && at < g.end {
			n, _ := g.readAt(buf[:min(len(buf), int(g.end-at))], at)
			return n
		}
	}
	return 0
}
