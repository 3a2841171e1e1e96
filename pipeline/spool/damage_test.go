package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// letters is a spool with frames a to e of 40 bytes each, and f of 48 at position 200.
func letters(t *testing.T, opts Options) *Spool {
	s := mustOpen(t, opts)
	if err := s.SetNode(3); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"a", "b", "c", "d", "e", "ffffffffff"} {
		mustAppend(t, s, p)
	}
	return s
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRingDamage: the process was killed, and the ring file is not what it was. Offsets are those of the stream.
func TestRingDamage(t *testing.T) {
	at := func(offset int, change func(int) func([]byte) []byte) func([]byte) []byte {
		return change(ringHeaderBytes + offset)
	}
	word := func(offset int, value byte) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[offset : offset+8]); b[offset] = value; return b }
	}
	unpublished := word(wordTail, 200)
	whole := func(b []byte) []byte { return b }
	tests := []struct {
		name    string
		corrupt func([]byte) []byte
		want    string
		ordinal uint64 // of the next append
		damaged uint64
		lost    bool
	}{
		{"untouched", whole, "a b c d e f", 7, 0, false},
		{"payload flipped", at(80+32, flip), "a b d e f", 7, 40, false},
		{"length flipped", at(44, flip), "a c d e f", 7, 40, false},
		{"hole over three", zero(ringHeaderBytes+44, ringHeaderBytes+150), "a e f", 7, 120, false},
		{"last frame", at(200+32, flip), "a b c d e", 7, 48, false},
		{"last two", both(at(160+32, flip), at(200+32, flip)), "a b c d", 7, 88, false},
		{"killed between frame and tail", unpublished, "a b c d e f", 7, 0, false},
		{"killed between frame and ordinal", both(unpublished, word(wordOrdinal, 6)), "a b c d e f", 7, 0, false},
		{"killed in the middle of a frame", both(both(unpublished, word(wordOrdinal, 6)), at(200+32, flip)), "a b c d e", 6, 0, false},
		{"unfinished frame before a whole one", both(word(wordTail, 160), at(160+32, flip)), "a b c d f", 7, 40, false},
		{"tail far behind", word(wordTail, 0), "a b c d e f", 7, 0, false},
		{"all zeros", zero(ringHeaderBytes, ringHeaderBytes+248), "", 7, 248, false},
		{"header flipped", flip(20), "", 1, 0, true},
		{"tail impossible", word(wordTail, 13), "", 1, 0, true},
		{"cut", cut(ringHeaderBytes + 100), "", 1, 0, true},
		{"emptied", cut(0), "", 1, 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := options(t)
			s := letters(t, opts)
			path := s.ring.path
			s.kill()
			edit(t, path, test.corrupt)
			s = mustOpen(t, opts)
			if o := s.Opening(); o.RingLost != test.lost || o.DamagedBytes != test.damaged {
				t.Errorf("opening %+v, want lost %v, damaged %d", o, test.lost, test.damaged)
			}
			if got := mustAppend(t, s, "new"); got != test.ordinal {
				t.Errorf("next ordinal %d, want %d", got, test.ordinal)
			}
			got, end := readFrom(t, s, s.Acked())
			have := strings.ReplaceAll(payloads(got), "ffffffffff", "f")
			if want := strings.TrimSpace(test.want + " new"); have != want {
				t.Errorf("survivors %q, want %q", have, want)
			}
			readFrom(t, s, s.Acked()) // reading again counts no damage twice
			if st := s.Stats(); st.CorruptBytes != test.damaged {
				t.Errorf("%d bytes reported corrupt, want %d", st.CorruptBytes, test.damaged)
			}
			if aside := segmentFiles(t, opts.RingDir, corruptSuffix); (len(aside) == 1) != test.lost {
				t.Errorf("renamed aside: %v", aside)
			}
			s.Ack(end)
		})
	}
}

// TestSegmentDamage: the same on disk. The segment is flushed; new frames follow in the ring.
func TestSegmentDamage(t *testing.T) {
	in := func(offset int, change func(int) func([]byte) []byte) func([]byte) []byte {
		return change(segmentHeaderBytes + offset)
	}
	tests := []struct {
		name    string
		corrupt func([]byte) []byte
		want    string
		damaged uint64
		aside   bool
	}{
		{"untouched", func(b []byte) []byte { return b }, "a b c d e f", 0, false},
		{"payload flipped", in(80+32, flip), "a b d e f", 40, true},
		{"length flipped", in(44, flip), "a c d e f", 40, true},
		{"position flipped", in(50, flip), "a c d e f", 40, true},
		{"hole over three", zero(segmentHeaderBytes+44, segmentHeaderBytes+150), "a e f", 120, true},
		{"last frame", in(200+32, flip), "a b c d e", 48, true},
		{"cut in a frame", in(190, cut), "a b c d", 30 + 58, true},
		{"cut between frames", in(160, cut), "a b c d", 88, true},
		{"cut to the header", in(0, cut), "", 248, false},
		{"cut in the header", cut(7), "", 248, false},
		{"emptied", cut(0), "", 248, false},
		{"bytes behind", func(b []byte) []byte { return append(b, "garbage!garbage!"...) }, "a b c d e f", 0, false},
		{"header flipped", flip(3), "a b c d e f", 0, true},
		{"identity in the header flipped", flip(17), "a b c d e f", 0, true},
		{"all zeros", zero(0, segmentHeaderBytes+248), "", 248, true},
		{"deleted", nil, "", 248, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := options(t)
			s := letters(t, opts)
			mustFlush(t, s)
			s.kill()
			path := segmentPath(opts.Dir, 0)
			if test.corrupt == nil {
				os.Remove(path)
			} else {
				edit(t, path, test.corrupt)
			}
			s = mustOpen(t, opts)
			if got := mustAppend(t, s, "new"); got != 7 {
				t.Errorf("next ordinal %d, want 7", got)
			}
			got, end := readFrom(t, s, s.Acked())
			have := strings.ReplaceAll(payloads(got), "ffffffffff", "f")
			if want := strings.TrimSpace(test.want + " new"); have != want {
				t.Errorf("survivors %q, want %q", have, want)
			}
			if st := s.Stats(); st.CorruptBytes != test.damaged {
				t.Errorf("%d bytes reported corrupt, want %d", st.CorruptBytes, test.damaged)
			}
			s.Ack(end)
			s.relieve(context.Background())
			if aside := segmentFiles(t, opts.Dir, segmentSuffix+corruptSuffix); (len(aside) == 1) != test.aside {
				t.Errorf("renamed aside: %v", aside)
			}
			if left := segmentFiles(t, opts.Dir, segmentSuffix); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestSegmentCutWhileOpen: a file that shrinks under a running spool.
func TestSegmentCutWhileOpen(t *testing.T) {
	opts := options(t)
	s := letters(t, opts)
	mustFlush(t, s)
	if err := os.Truncate(segmentPath(opts.Dir, 0), segmentHeaderBytes+90); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "new")
	got, _ := readFrom(t, s, 0)
	if payloads(got) != "a b new" {
		t.Errorf("survivors %q", payloads(got))
	}
	if st := s.Stats(); st.CorruptBytes != 248-80 {
		t.Errorf("stats %+v", st)
	}
}

// TestSegmentAheadOfRing: killed after the segment was written and before the head moved, the spool reads every frame once.
func TestSegmentAheadOfRing(t *testing.T) {
	for _, keep := range []int{248, 100, 0} { // bytes that reached the file
		opts := options(t)
		s := letters(t, opts)
		id := s.Identity()
		s.kill()
		ring, err := os.ReadFile(ringPath(opts.RingDir, id))
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, segmentHeaderBytes, segmentHeaderBytes+keep)
		putSegmentHeader(data, source{id, Node{3, true}}, 0)
		data = append(data, ring[ringHeaderBytes:ringHeaderBytes+keep]...)
		if err := os.WriteFile(segmentPath(opts.Dir, 0), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, opts)
		mustFlush(t, s)
		got, _ := readFrom(t, s, 0)
		if len(got) != 6 || s.Stats().CorruptBytes != 0 {
			t.Errorf("with %d bytes ahead: read %v, %+v", keep, got, s.Stats())
		}
	}
}

// TestDiesInMidCopy: the writer dies while it copies the payload (here of a fault in the payload's second page). Nothing of the
// frame may be visible, neither to the reader nor after a restart, and it uses up no ordinal.
func TestDiesInMidCopy(t *testing.T) {
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	if err := unix.Mprotect(memory[page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	opts := options(t)
	s := letters(t, opts)
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Error("the copy went through")
			}
		}()
		s.ring.append(memory, 0, 0)
	}()
	for range 2 {
		if got, _ := readFrom(t, s, 0); len(got) != 6 || s.Stats().CorruptBytes != 0 {
			t.Errorf("read %v, %+v", got, s.Stats())
		}
		s.kill()
		s = mustOpen(t, opts)
	}
	if got := mustAppend(t, s, "new"); got != 7 {
		t.Errorf("next ordinal %d, want 7", got)
	}
}

func TestStateDamage(t *testing.T) {
	for name, corrupt := range map[string]func([]byte) []byte{"flipped": flip(30), "cut": cut(20), "emptied": cut(0)} {
		t.Run(name, func(t *testing.T) {
			opts := options(t)
			s := letters(t, opts)
			first := s.Identity()
			mustFlush(t, s)
			s.Close()
			edit(t, filepath.Join(opts.Dir, stateFile), corrupt)
			s = mustOpen(t, opts)
			if s.Identity() == first || !s.Opening().RingLost || s.Node().Known {
				t.Errorf("a spool without state must take a new identity")
			}
			if got, _ := readFrom(t, s, s.Acked()); len(got) != 6 || got[0].Identity != first {
				t.Errorf("read %v", got)
			}
			if _, err := os.Stat(filepath.Join(opts.Dir, stateFile+corruptSuffix)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStaleRing: a ring of an earlier time, put back, is not read.
func TestStaleRing(t *testing.T) {
	opts := options(t)
	s := letters(t, opts)
	path := s.ring.path
	s.kill()
	stale, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, opts)
	s.Ack(248)
	mustAppend(t, s, "later")
	mustFlush(t, s)
	s.Close()
	if err := os.WriteFile(path, stale, 0o600); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(opts.Dir, stateFile), func([]byte) []byte {
		st := s.state
		st.Ring = path
		data, _ := encodeState(st)
		return data
	})
	s = mustOpen(t, opts)
	if got, _ := readFrom(t, s, s.Acked()); payloads(got) != "later" || s.Opening().RingLost {
		t.Errorf("read %v, %+v", got, s.Opening())
	}
	if got := mustAppend(t, s, "new"); got != 8 {
		t.Errorf("ordinal %d, want 8", got)
	}
}

// failingDisk stands in for segment files: it writes until room is used up, and syncs while syncErr is nil. A failed sync
// loses what was written since the one before, as it does on Linux.
type failingDisk struct {
	*os.File
	room    *int
	syncErr *error
	written int64
	synced  int64
}

func (d *failingDisk) WriteAt(b []byte, offset int64) (int, error) {
	n := min(len(b), *d.room)
	*d.room -= n
	written, err := d.File.WriteAt(b[:n], offset)
	d.written = offset + int64(written)
	if err == nil && n < len(b) {
		err = fs.ErrInvalid
	}
	return written, err
}

func (d *failingDisk) Sync() error {
	if *d.syncErr == nil {
		d.synced = d.written
		return nil
	}
	_, err := d.File.WriteAt(make([]byte, d.written-d.synced), d.synced)
	return errors.Join(*d.syncErr, err)
}

func failAfter(room *int, syncErr *error) func(string) (file, error) {
	return func(path string) (file, error) {
		f, err := createFile(path)
		if err != nil {
			return nil, err
		}
		return &failingDisk{File: f.(*os.File), room: room, syncErr: syncErr}, nil
	}
}

// TestFailingDisk: the disk fails at every byte in turn, or at the sync; a later flush moves everything, once.
func TestFailingDisk(t *testing.T) {
	for room := -1; room < 310; room += 13 {
		opts := options(t)
		s := letters(t, opts)
		left, syncErr := room, error(nil)
		if room < 0 {
			left, syncErr = 1<<20, fs.ErrInvalid
		}
		s.segments.create = failAfter(&left, &syncErr)
		err := s.Flush(context.Background())
		if fails := room < segmentHeaderBytes+248; (err != nil) != fails {
			t.Fatalf("flush with room %d: %v", room, err)
		}
		mustAppend(t, s, "new")
		if got, _ := readFrom(t, s, 0); len(got) != 7 {
			t.Fatalf("room %d: read %v", room, got)
		}
		left, syncErr = 1<<20, nil
		mustFlush(t, s)
		got, end := readFrom(t, s, 0)
		if len(got) != 7 || got[6].ordinal != 7 || s.ring.used() != 0 || s.Stats().CorruptBytes != 0 {
			t.Fatalf("room %d: after recovery read %v", room, got)
		}
		s.Ack(end)
		s.Close()
		if left := segmentFiles(t, opts.Dir, "segment*"); len(left) != 0 {
			t.Fatalf("room %d: left %v", room, left)
		}
	}
}

// TestSyncFailsInOpenSegment: what an earlier sync made durable stays, the rest is written again elsewhere.
func TestSyncFailsInOpenSegment(t *testing.T) {
	opts := options(t)
	s := letters(t, opts)
	left, syncErr := 1<<20, error(nil)
	s.segments.create = failAfter(&left, &syncErr)
	mustFlush(t, s)
	mustAppend(t, s, "g")
	syncErr = fs.ErrInvalid
	if err := s.Flush(context.Background()); !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("flush: %v", err)
	}
	syncErr = nil
	mustAppend(t, s, "h")
	mustFlush(t, s)
	if got, _ := readFrom(t, s, 0); len(got) != 8 || s.Stats().CorruptBytes != 0 {
		t.Errorf("read %v, %+v", got, s.Stats())
	}
}

// TestNewSegmentNotInDirectory: without a sync of the directory a new segment may lose its name with the next power cut, so the ring
// keeps everything until there was one. The directory is moved away before that.
func TestNewSegmentNotInDirectory(t *testing.T) {
	opts := options(t)
	s := letters(t, opts)
	away := opts.Dir + ".away"
	s.segments.create = func(path string) (file, error) {
		f, err := createFile(path)
		return f, errors.Join(err, os.Rename(opts.Dir, away))
	}
	used := s.ring.used()
	if err := s.Flush(context.Background()); !errors.Is(err, fs.ErrNotExist) || s.ring.used() != used {
		t.Fatalf("flush: %v, %d of %d bytes left in the ring", err, s.ring.used(), used)
	}
	s.segments.create = createFile
	if err := os.Rename(away, opts.Dir); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, s)
	if got, _ := readFrom(t, s, 0); len(got) != 6 || s.Stats().CorruptBytes != 0 {
		t.Errorf("read %v, %+v", got, s.Stats())
	}
}

// TestFailingDiskUnderLoad: while the disk fails appends are shed at once; nothing accepted is lost; it recovers.
func TestFailingDiskUnderLoad(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	left, syncErr := 200_000, error(nil)
	s.spillMu.Lock()
	s.segments.create = failAfter(&left, &syncErr)
	s.spillMu.Unlock()
	accepted, shed := 0, 0
	for shed < 1000 {
		if _, err := s.Append(fmt.Appendf(nil, "%01000d", accepted), 1); err != nil {
			shed++
			continue
		}
		accepted++
	}
	if st := s.Stats(); st.DiskErr == nil || !st.Shedding || st.Shed != 1000 {
		t.Errorf("stats %+v", st)
	}
	s.spillMu.Lock()
	left = 100 << 20
	s.spillMu.Unlock()
	got, _ := readFrom(t, s, 0)
	for i, r := range got {
		if r.ordinal != uint64(i+1) || r.payload != fmt.Sprintf("%01000d", i) {
			t.Fatalf("record %d is %d", i, r.ordinal)
		}
	}
	if len(got) != accepted {
		t.Errorf("read %d of %d", len(got), accepted)
	}
	mustFlush(t, s)
	mustAppend(t, s, "again")
}
