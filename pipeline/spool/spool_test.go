package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// options are for a small spool, on tmpfs where there is one: what is tested here is the order of things, which a slow disk that
// others use as well would only draw out.
func options(t testing.TB) Options {
	return Options{
		Dir: memoryDir(t), RingDir: memoryDir(t), RingBytes: ringBytesMin, SegmentBytes: segmentBytesMin, DiskBytesMax: 64 << 20,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "waymark-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func mustOpen(t testing.TB, opts Options) *Spool {
	t.Helper()
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// kill drops a spool as SIGKILL would: nothing is written, only the mapping and the locks go.
func (s *Spool) kill() {
	s.stop()
	s.spiller.Wait()
	s.appendMu.Lock()
	s.closed = true
	s.appendMu.Unlock()
	s.readMu.Lock()
	s.gone = true
	s.ring.close()
	s.readMu.Unlock()
	s.segments.close()
	s.lock.Close()
}

func mustAppend(t testing.TB, s *Spool, payload string) uint64 {
	t.Helper()
	ordinal, err := s.Append([]byte(payload), 1)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return ordinal
}

// stream is what Spool and Journal have in common.
type stream interface {
	Next(ctx context.Context, from Position, buf []byte) (Batch, error)
	Acked() Position
}

// record is a frame as it was delivered.
type record struct {
	Identity
	ordinal uint64
	payload string
}

// readFrom reads from position from to the end of the stream.
func readFrom(t testing.TB, s stream, from Position) (got []record, end Position) {
	t.Helper()
	buf := make([]byte, FrameBytesMax)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		b, err := s.Next(cancelled, from, buf) // gives what is there, and doesn't wait
		if errors.Is(err, context.Canceled) {
			return got, from
		}
		if err != nil {
			t.Fatalf("next: %v", err)
		}
		for _, f := range b.Frames {
			got = append(got, record{b.Identity, f.Ordinal, string(f.Payload)})
		}
		from = b.End
	}
}

func payloads(got []record) string {
	var all []string
	for _, r := range got {
		all = append(all, r.payload)
	}
	return strings.Join(all, " ")
}

func segmentFiles(t testing.TB, dir, suffix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAppendNextAck(t *testing.T) {
	s := mustOpen(t, options(t))
	for i, p := range []string{"one", "", "three"} {
		if got := mustAppend(t, s, p); got != uint64(i+1) {
			t.Errorf("ordinal %d, want %d", got, i+1)
		}
	}
	got, end := readFrom(t, s, s.Acked())
	if payloads(got) != "one  three" || got[0].Identity != s.Identity() || got[2].ordinal != 3 {
		t.Errorf("read %v", got)
	}
	if want := Position(40 + 32 + 40); end != want {
		t.Errorf("end %d, want %d", end, want)
	}
	again, _ := readFrom(t, s, 0)
	if payloads(again) != "one  three" {
		t.Errorf("what was not acknowledged was read again as %v", again)
	}
	s.Ack(end)
	if again, _ := readFrom(t, s, 0); len(again) != 0 {
		t.Errorf("what was acknowledged was read again: %v", again)
	}
	if st := s.Stats(); st.UnackedBytes != 0 || st.RingBytes != 0 || st.Appended != 3 {
		t.Errorf("stats %+v", st)
	}
}

func TestNextWaits(t *testing.T) {
	s := mustOpen(t, options(t))
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan string)
	go func() {
		b, err := s.Next(ctx, 0, make([]byte, FrameBytesMax))
		result <- fmt.Sprint(len(b.Frames), err)
		_, err = s.Next(ctx, b.End, make([]byte, FrameBytesMax))
		result <- fmt.Sprint(err)
	}()
	mustAppend(t, s, "late")
	if got := <-result; got != "1 <nil>" {
		t.Errorf("next gave %s", got)
	}
	cancel()
	if got := <-result; got != "context canceled" {
		t.Errorf("cancelled next gave %s", got)
	}
}

// TestHealthyTouchesNoDisk: with prompt acknowledgements many laps of the ring leave nothing on disk.
func TestHealthyTouchesNoDisk(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	buf := make([]byte, FrameBytesMax)
	payload := bytes.Repeat([]byte("x"), 1000)
	at, next := Position(0), uint64(1)
	for range 50 * ringBytesMin / 1032 {
		if _, err := s.Append(payload, 1); err != nil {
			t.Fatal(err)
		}
		b, err := s.Next(context.Background(), at, buf)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Frames {
			if f.Ordinal != next || !bytes.Equal(f.Payload, payload) {
				t.Fatalf("frame %d at %d, want ordinal %d", f.Ordinal, f.Position, next)
			}
			next++
		}
		at = b.End
		s.Ack(at)
	}
	if st := s.Stats(); st.SpilledBytes != 0 || len(segmentFiles(t, opts.Dir, "segment*")) != 0 {
		t.Errorf("disk was touched: %+v", st)
	}
	if st := s.Stats(); st.CorruptSpans != 0 || uint64(at) < 45*ringBytesMin {
		t.Errorf("went to %d, %+v", at, st)
	}
}

func TestSpillsAndReadsBoth(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	const n = 1000
	for i := range n {
		mustAppend(t, s, fmt.Sprintf("%04d%s", i, strings.Repeat(".", 1000)))
	}
	if len(segmentFiles(t, opts.Dir, segmentSuffix)) < 10 {
		t.Fatal("a megabyte in a small ring should be in many segments")
	}
	got, end := readFrom(t, s, 0)
	if len(got) != n {
		t.Fatalf("read %d frames, want %d", len(got), n)
	}
	for i, r := range got {
		if r.ordinal != uint64(i+1) || r.payload[:4] != fmt.Sprintf("%04d", i) {
			t.Fatalf("frame %d is %d %s", i, r.ordinal, r.payload[:4])
		}
	}
	s.Ack(end)
	s.relieve(context.Background())
	if files := segmentFiles(t, opts.Dir, segmentSuffix); len(files) != 0 {
		t.Errorf("acknowledged segments remain: %v", files)
	}
	if st := s.Stats(); st.SegmentBytes != 0 || st.CorruptSpans != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestRestart(t *testing.T) {
	tests := []struct {
		name     string
		stop     func(t *testing.T, s *Spool)
		wipeRing bool
		want     string
		next     uint64 // ordinal of the first append after the restart
		lost     bool
	}{
		{"closed", func(t *testing.T, s *Spool) { s.Close() }, false, "b c d", 5, false},
		{"killed", func(t *testing.T, s *Spool) { s.kill() }, false, "b c d", 5, false},
		{"flushed and closed, ring wiped", func(t *testing.T, s *Spool) { mustFlush(t, s); s.Close() }, true, "b c d", 5, false},
		{"flushed and killed", func(t *testing.T, s *Spool) { mustFlush(t, s); s.kill() }, false, "b c d", 5, false},
		{"flushed and killed, ring wiped", func(t *testing.T, s *Spool) { mustFlush(t, s); s.kill() }, true, "a b c d", 1, true},
		{"killed, ring wiped", func(t *testing.T, s *Spool) { s.kill() }, true, "", 1, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := options(t)
			s := mustOpen(t, opts)
			if err := s.SetNode(513); err != nil {
				t.Fatal(err)
			}
			first := s.Identity()
			mustAppend(t, s, "a")
			if test.want != "a b c d" { // without the ring the acknowledgement is forgotten, the frame with its ordinal is not
				s.Ack(40)
			}
			for _, p := range []string{"b", "c", "d"} {
				mustAppend(t, s, p)
			}
			test.stop(t, s)
			if test.wipeRing {
				os.RemoveAll(opts.RingDir)
				os.Mkdir(opts.RingDir, 0o700)
			}
			s = mustOpen(t, opts)
			if s.Opening().RingLost != test.lost || (s.Identity() == first) == test.lost {
				t.Errorf("ring lost %v, identity kept %v, want lost %v", s.Opening().RingLost, s.Identity() == first, test.lost)
			}
			if want := (Node{Number: 513, Known: true}); !test.lost && s.Node() != want || test.lost && s.Node().Known {
				t.Errorf("node %v", s.Node())
			}
			if got := mustAppend(t, s, "new"); got != test.next {
				t.Errorf("ordinal after restart %d, want %d", got, test.next)
			}
			got, end := readFrom(t, s, s.Acked())
			if want := strings.TrimSpace(test.want + " new"); payloads(got) != want {
				t.Errorf("read %q, want %q", payloads(got), want)
			}
			for _, r := range got[:len(got)-1] {
				if r.Identity != first {
					t.Errorf("%s is sent as %s, want the identity that it was appended under", r.payload, r.Identity)
				}
			}
			if st := s.Stats(); st.CorruptSpans != 0 {
				t.Errorf("a restart is no corruption: %+v", st)
			}
			s.Ack(end)
		})
	}
}

func mustFlush(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestLostRingAfterAcks: with the ring goes the acknowledged position. Reading begins with the oldest file, and that the
// files before it are deleted is no corruption.
func TestLostRingAfterAcks(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	const n = 500
	for i := range n {
		mustAppend(t, s, fmt.Sprintf("%01000d", i))
	}
	mustFlush(t, s)
	b, err := s.Next(context.Background(), 0, make([]byte, 2*FrameBytesMax))
	if err != nil {
		t.Fatal(err)
	}
	s.Ack(b.End)
	s.relieve(context.Background())
	s.kill()
	os.RemoveAll(opts.RingDir)
	os.Mkdir(opts.RingDir, 0o700)
	s = mustOpen(t, opts)
	got, _ := readFrom(t, s, s.Acked())
	if len(got) == n || len(got) < n-len(b.Frames) || got[len(got)-1].ordinal != n {
		t.Errorf("read %d frames, %d of %d were acknowledged", len(got), len(b.Frames), n)
	}
	for i := range got {
		if want := uint64(n - len(got) + i + 1); got[i].ordinal != want {
			t.Fatalf("ordinal %d, want %d", got[i].ordinal, want)
		}
	}
	if st := s.Stats(); st.CorruptSpans != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestOldIdentityKeepsItsNode: segments from before a lost ring are sent under the number they had.
func TestOldIdentityKeepsItsNode(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	if err := s.SetNode(7); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "old")
	mustFlush(t, s)
	s.kill()
	os.RemoveAll(opts.RingDir)
	os.Mkdir(opts.RingDir, 0o700)

	s = mustOpen(t, opts)
	if err := s.SetNode(8); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "new")
	for _, want := range []string{"7 old", "8 new"} {
		b, err := s.Next(context.Background(), s.Acked(), make([]byte, FrameBytesMax))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %s", b.Node.Number, b.Frames[0].Payload); len(b.Frames) != 1 || got != want {
			t.Errorf("batch of %d, first %q, want %q", len(b.Frames), got, want)
		}
		s.Ack(b.End)
	}
}

func TestRenew(t *testing.T) {
	opts := options(t)
	opts.Renew = true
	s := mustOpen(t, opts)
	first := s.Identity()
	if err := s.SetNode(7); err != nil {
		t.Fatal(err)
	}
	if err := s.SetNode(8); err == nil {
		t.Error("an identity was given a second number")
	}
	mustAppend(t, s, "old")
	s.kill()
	s = mustOpen(t, opts)
	if s.Identity() == first || s.Node().Known || s.Opening().RingLost {
		t.Errorf("identity not renewed: node %v, %+v", s.Node(), s.Opening())
	}
	if got := mustAppend(t, s, "new"); got != 1 {
		t.Errorf("first ordinal of the new identity is %d", got)
	}
	got, _ := readFrom(t, s, s.Acked())
	if payloads(got) != "old new" || got[0].Identity != first || got[1].Identity != s.Identity() {
		t.Errorf("read %v", got)
	}
	if rings := segmentFiles(t, opts.RingDir, ".ring"); len(rings) != 1 {
		t.Errorf("rings %v, want the new one only", rings)
	}
}

func TestLocked(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	_, err := Open(opts)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("%s: in use by another process (pid %d)", opts.Dir, os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	// A copy of the directory is another directory, but names the same ring.
	twin := opts
	twin.Dir = filepath.Join(t.TempDir(), "twin")
	if err := os.CopyFS(twin.Dir, os.DirFS(opts.Dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(twin); !errors.Is(err, ErrLocked) {
		t.Errorf("open of a copied directory: %v", err)
	}
	s.Close()
	again, err := Open(opts)
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	again.Close()
}

// TestRingKeepsPlaceWhileInUse: another place or size for the ring takes effect at the first start with an empty one.
func TestRingKeepsPlaceWhileInUse(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	mustAppend(t, s, "a")
	s.kill()
	moved := opts
	moved.RingDir, moved.RingBytes = memoryDir(t), 4*ringBytesMin
	s = mustOpen(t, moved)
	if got := s.Opening(); got.RingPath != ringPath(opts.RingDir, s.Identity()) || got.Recovered != 1 || got.RingBytes != ringBytesMin {
		t.Errorf("opening %+v", got)
	}
	got, end := readFrom(t, s, 0)
	if payloads(got) != "a" {
		t.Errorf("read %v", got)
	}
	s.Ack(end)
	s.kill()
	s = mustOpen(t, moved)
	if got := s.Opening(); got.RingPath != ringPath(moved.RingDir, s.Identity()) || got.RingBytes != moved.RingBytes {
		t.Errorf("opening %+v", got)
	}
	if left := segmentFiles(t, opts.RingDir, ""); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := mustAppend(t, s, "b"); got != 2 {
		t.Errorf("ordinal %d, want 2", got)
	}
	s.Ack(80)
	s.Close()
	if left := segmentFiles(t, moved.RingDir, ""); len(left) != 0 {
		t.Errorf("an empty ring remains in memory: %v", left)
	}
}

func TestRingFallsBackToDir(t *testing.T) {
	opts := options(t)
	opts.RingDir = filepath.Join(t.TempDir(), "missing")
	s := mustOpen(t, opts)
	mustAppend(t, s, "a")
	if got := s.Opening().RingPath; filepath.Dir(got) != opts.Dir {
		t.Errorf("ring is at %s", got)
	}
	s.kill()
	s = mustOpen(t, opts)
	if got, _ := readFrom(t, s, 0); payloads(got) != "a" {
		t.Errorf("read %v", got)
	}
}

// TestBudget: when ring and disk are full records are shed and counted, what was accepted stays, and space that is
// acknowledged is used again.
func TestBudget(t *testing.T) {
	opts := options(t)
	opts.DiskBytesMax = 4 * opts.SegmentBytes
	registry := prometheus.NewRegistry()
	opts.Registerer = registry
	s := mustOpen(t, opts)
	payload := strings.Repeat("x", 1000)
	accepted := 0
	var err error
	for err == nil && accepted < 10_000 {
		if _, err = s.Append([]byte(payload), 1); err == nil {
			accepted++
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d: %v", accepted, err)
	}
	if total := accepted * frameBytes(1000); total < ringBytesMin+2*int(opts.SegmentBytes) || total > ringBytesMin+int(opts.DiskBytesMax) {
		t.Errorf("accepted %d bytes", total)
	}
	st := s.Stats()
	if st.Shed != 1 || !st.Shedding || !errors.Is(st.DiskErr, ErrFull) || st.SegmentBytes > opts.DiskBytesMax || st.OldestAge <= 0 {
		t.Errorf("stats %+v", st)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		values[f.GetName()] = f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
	}
	if values["waymark_spool_shed_frames_total"] != 1 || values["waymark_spool_shedding_state"] != 1 ||
		values["waymark_spool_appended_frames_total"] != float64(accepted) {
		t.Errorf("metrics %v", values)
	}
	got, end := readFrom(t, s, s.Acked())
	if len(got) != accepted || got[accepted-1].ordinal != uint64(accepted) {
		t.Fatalf("read %d frames of %d accepted", len(got), accepted)
	}
	s.Ack(end)
	for range 10 {
		mustAppend(t, s, "again")
	}
	if st := s.Stats(); st.Shedding {
		t.Errorf("still shedding: %+v", st)
	}
	got, _ = readFrom(t, s, end)
	if len(got) != 10 || got[0].ordinal != uint64(accepted+1) {
		t.Errorf("shedding used up an ordinal: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	opts := options(t)
	s := mustOpen(t, opts)
	if _, err := s.Append(make([]byte, PayloadBytesMax+1), 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	largest := strings.Repeat("z", PayloadBytesMax)
	for range 5 {
		mustAppend(t, s, largest)
	}
	if got, _ := readFrom(t, s, 0); len(got) != 5 || got[4].payload != largest {
		t.Errorf("read %d of the largest frames", len(got))
	}
	s.Close()
	if _, err := s.Append(nil, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := s.Next(context.Background(), 0, make([]byte, FrameBytesMax)); !errors.Is(err, ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	if err := s.Flush(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("flush after close: %v", err)
	}
	s.Ack(1)
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	_, err := Open(Options{RingBytes: 1, DiskBytesMax: 1})
	for _, want := range []string{"no spool directory", "ring of 1 bytes", "disk budget of 1 bytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bad options: %v, want all of them named: %s", err, want)
		}
	}
}

// TestConcurrent: many writers, one reader, an acknowledgement now and then, a ring so small that it spills all the time.
func TestConcurrent(t *testing.T) {
	s := mustOpen(t, options(t))
	const writers, each = 8, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				p := fmt.Appendf(nil, "%d %d %s", w, i, strings.Repeat("p", i%300))
				for {
					_, err := s.Append(p, 1)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrFull) { // a slow disk may shed; the writer of this test insists
						t.Error(err)
						return
					}
				}
			}
		})
	}
	next, last := uint64(1), [writers]int{}
	buf := make([]byte, FrameBytesMax)
	for at := Position(0); next <= writers*each; {
		b, err := s.Next(context.Background(), at, buf)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Frames {
			var w, i int
			if _, err := fmt.Sscanf(string(f.Payload), "%d %d", &w, &i); err != nil || f.Ordinal != next || i != last[w] {
				t.Fatalf("frame %d %.10q, want ordinal %d, writer %d at %d (%v)", f.Ordinal, f.Payload, next, w, last[w], err)
			}
			last[w]++
			next++
		}
		at = b.End
		if next%7 < 3 {
			s.Ack(at)
		}
		s.Stats()
	}
	wg.Wait()
	if st := s.Stats(); st.CorruptSpans != 0 || st.Appended != writers*each {
		t.Errorf("stats %+v", st)
	}
}

// TestWaitsForSpiller: an append that finds the ring full while the disk has room waits, and is not shed.
func TestWaitsForSpiller(t *testing.T) {
	s := mustOpen(t, options(t))
	s.spillMu.Lock() // the spiller can't move
	for s.ring.fits(frameBytes(1000)) {
		mustAppend(t, s, strings.Repeat("x", 1000))
	}
	result := make(chan error)
	go func() {
		_, err := s.Append(make([]byte, 1000), 1)
		result <- err
	}()
	for waiting := false; !waiting; time.Sleep(time.Millisecond) {
		s.appendMu.Lock()
		waiting = s.waiters == 1
		s.appendMu.Unlock()
	}
	s.spillMu.Unlock()
	if err := <-result; err != nil && !errors.Is(err, ErrFull) { // ErrFull on a machine that stalls for 250 ms
		t.Error(err)
	}
	s.spillMu.Lock()
	for s.ring.fits(frameBytes(1000)) {
		mustAppend(t, s, strings.Repeat("x", 1000))
	}
	if _, err := s.Append(make([]byte, 1000), 1); !errors.Is(err, ErrFull) {
		t.Errorf("append without a spiller: %v", err)
	}
	s.appendMu.Lock()
	refusing := s.refusing
	s.appendMu.Unlock()
	if !refusing {
		t.Error("after one wait in vain the others should not wait")
	}
	s.spillMu.Unlock()
}
