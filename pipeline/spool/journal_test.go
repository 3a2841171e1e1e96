package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func journalOptions(t testing.TB) JournalOptions {
	return JournalOptions{
		Dir: memoryDir(t), SegmentBytes: segmentBytesMin, DiskBytesMax: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}
}

func mustOpenJournal(t testing.TB, opts JournalOptions) *Journal {
	t.Helper()
	j, err := OpenJournal(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// crash gives up the directory as SIGKILL would: nothing more is saved.
func (j *Journal) crash() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	<-j.done
	j.segments.close()
	j.lock.Close()
}

func journal(t testing.TB, j *Journal, payloads ...string) {
	t.Helper()
	var all [][]byte
	for _, p := range payloads {
		all = append(all, []byte(p))
	}
	if err := j.Append(context.Background(), all...); err != nil {
		t.Fatal(err)
	}
}

func TestJournal(t *testing.T) {
	opts := journalOptions(t)
	j := mustOpenJournal(t, opts)
	journal(t, j, "a", "b")
	journal(t, j)
	journal(t, j, "c")
	got, _ := readFrom(t, j, j.Acked())
	if payloads(got) != "a b c" || got[2].ordinal != 3 {
		t.Errorf("read %v", got)
	}
	if _, err := OpenJournal(opts); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	j.Ack(80)
	j.Close()
	if err := j.Append(context.Background(), []byte("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	j = mustOpenJournal(t, opts)
	journal(t, j, "d")
	got, end := readFrom(t, j, j.Acked())
	if payloads(got) != "c d" || got[1].ordinal != 4 || end != 160 {
		t.Errorf("after a restart read %v to %d", got, end)
	}
	j.Ack(end)
	j.Close()
	if left := segmentFiles(t, opts.Dir, "segment*"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	j = mustOpenJournal(t, opts)
	journal(t, j, "e")
	if got, _ := readFrom(t, j, j.Acked()); payloads(got) != "e" || got[0].ordinal != 5 {
		t.Errorf("after a restart without files read %v", got)
	}
}

// TestJournalCrash: what was confirmed is there after a crash; what a crash left unfinished is not, and is written over.
func TestJournalCrash(t *testing.T) {
	tests := []struct {
		name    string
		corrupt func([]byte) []byte
		want    string
		damaged uint64
	}{
		{"untouched", func(b []byte) []byte { return b }, "a b c", 0},
		{"unfinished record", func(b []byte) []byte { return append(b, encode(testIdentity, 120, "torn")[:35]...) }, "a b c", 0},
		{"zeros behind", func(b []byte) []byte { return append(b, make([]byte, 1000)...) }, "a b c", 0},
		{"cut in the last record", cut(segmentHeaderBytes + 100), "a b", 0},
		{"first record flipped", flip(segmentHeaderBytes + 32), "b c", 40},
		{"header flipped", flip(3), "a b c", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := journalOptions(t)
			j := mustOpenJournal(t, opts)
			journal(t, j, "a", "b", "c")
			j.crash()
			edit(t, segmentPath(opts.Dir, 0), test.corrupt)
			for range 2 { // the second start finds two files
				j = mustOpenJournal(t, opts)
				journal(t, j, "new")
				test.want += " new"
				if got, _ := readFrom(t, j, j.Acked()); payloads(got) != test.want {
					t.Errorf("read %q, want %q", payloads(got), test.want)
				}
				j.crash()
			}
			j = mustOpenJournal(t, opts)
			got, _ := readFrom(t, j, j.Acked())
			if payloads(got) != test.want || j.Stats().CorruptBytes != test.damaged {
				t.Errorf("read %q, %+v, want %q, damaged %d", payloads(got), j.Stats(), test.want, test.damaged)
			}
		})
	}
}

// TestJournalConcurrent: each caller's records are on disk when it is told so, next to each other.
func TestJournalConcurrent(t *testing.T) {
	opts := journalOptions(t)
	opts.DiskBytesMax = 64 << 20
	j := mustOpenJournal(t, opts)
	const callers, each = 16, 50
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				p := fmt.Appendf(nil, "%d %d %s", c, i, strings.Repeat("j", 200))
				if err := j.Append(context.Background(), p, p); err != nil {
					t.Error(err)
				}
				clear(p) // the caller's own again
			}
		})
	}
	wg.Wait()
	j.crash()
	j = mustOpenJournal(t, opts)
	got, _ := readFrom(t, j, j.Acked())
	if len(got) != 2*callers*each {
		t.Fatalf("read %d records", len(got))
	}
	var last [callers]int
	for i := 0; i < len(got); i += 2 {
		var c, n int
		if _, err := fmt.Sscanf(got[i].payload, "%d %d", &c, &n); err != nil || n != last[c] || got[i].payload != got[i+1].payload {
			t.Fatalf("record %d is %.10q, then %.10q", i, got[i].payload, got[i+1].payload)
		}
		last[c]++
	}
}

// TestJournalSharesSync: all who come while a sync is under way share the next one.
// A reader sees a record once it is on disk, and may be through with it before the
// writer has done anything else.
func TestJournalAcknowledgedAtOnce(t *testing.T) {
	opts := journalOptions(t)
	opts.DiskBytesMax = 64 << 20
	j := mustOpenJournal(t, opts)
	const records = 10_000
	read := make(chan uint64)
	go func() {
		count, buf := uint64(0), make([]byte, FrameBytesMax)
		for position := Position(0); count < records; {
			b, err := j.read(position, buf)
			if err != nil {
				break
			}
			for _, f := range b.Frames {
				count = f.Ordinal
			}
			position = b.End
			j.Ack(position)
		}
		read <- count
	}()
	for i := range records {
		journal(t, j, fmt.Sprint(i))
	}
	if got := <-read; got != records {
		t.Errorf("read up to record %d of %d", got, records)
	}
}

func TestJournalSharesSync(t *testing.T) {
	j := mustOpenJournal(t, journalOptions(t))
	begun, proceed := make(chan struct{}, 10), make(chan struct{})
	j.segments.create = func(path string) (file, error) {
		f, err := createFile(path)
		return gatedFile{f, begun, proceed}, err
	}
	var wg sync.WaitGroup
	add := func() {
		if err := j.Append(context.Background(), []byte("x")); err != nil {
			t.Error(err)
		}
	}
	wg.Go(add)
	<-begun
	const others = 20
	for range others {
		wg.Go(add)
	}
	for joined := 0; joined < others; time.Sleep(time.Millisecond) {
		j.mu.Lock()
		joined = len(j.pending.payloads)
		j.mu.Unlock()
	}
	close(proceed)
	wg.Wait()
	if n := 1 + len(begun); n != 2 {
		t.Errorf("%d syncs for one append and %d during its sync, want 2", n, others)
	}
}

// gatedFile says that a sync has begun, and then waits for leave to go on.
type gatedFile struct {
	file
	begun   chan<- struct{}
	proceed <-chan struct{}
}

func (f gatedFile) Sync() error {
	f.begun <- struct{}{}
	<-f.proceed
	return f.file.Sync()
}

func TestJournalBudget(t *testing.T) {
	opts := journalOptions(t)
	opts.DiskBytesMax = 4 * opts.SegmentBytes
	j := mustOpenJournal(t, opts)
	payload := make([]byte, 10_000)
	n := 0
	var err error
	for ; err == nil && n < 100; n++ {
		err = j.Append(context.Background(), payload)
	}
	if !errors.Is(err, ErrFull) || n < 20 {
		t.Fatalf("after %d records: %v", n, err)
	}
	if st := j.Stats(); st.Shed != 1 || !st.Shedding || st.SegmentBytes > opts.DiskBytesMax || st.Appended != uint64(n-1) {
		t.Errorf("stats %+v", st)
	}
	got, end := readFrom(t, j, 0)
	if len(got) != n-1 {
		t.Errorf("read %d of %d", len(got), n-1)
	}
	j.Ack(end)
	if err := j.Append(context.Background(), payload); err != nil {
		t.Errorf("with everything acknowledged: %v", err)
	}
	if err := j.Append(context.Background(), []byte("fits"), make([]byte, PayloadBytesMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// TestJournalFailingDisk: a refused append leaves nothing that a reader sees, and does not harm those before and after.
func TestJournalFailingDisk(t *testing.T) {
	for room := -1; room < 300; room += 20 {
		opts := journalOptions(t)
		j := mustOpenJournal(t, opts)
		left, syncErr := 1<<20, error(nil)
		j.segments.create = failAfter(&left, &syncErr)
		if room%40 == 0 { // otherwise the failing file is the first
			journal(t, j, "a")
		}
		left = room
		if room < 0 {
			left, syncErr = 1<<20, fs.ErrInvalid
		}
		err := j.Append(context.Background(), []byte("b"), []byte("c"))
		want := "d"
		if err == nil {
			want = "b c d"
		}
		if room%40 == 0 {
			want = "a " + want
		}
		if err == nil && (room < 80 || room%40 != 0 && room < 80+segmentHeaderBytes) {
			t.Fatalf("room %d: append succeeded", room)
		}
		left, syncErr = 1<<20, nil
		journal(t, j, "d")
		if got, _ := readFrom(t, j, 0); payloads(got) != want {
			t.Errorf("room %d: read %q, want %q", room, payloads(got), want)
		}
		j.crash()
		j = mustOpenJournal(t, opts)
		if got, _ := readFrom(t, j, 0); payloads(got) != want || j.Stats().CorruptBytes != 0 {
			t.Errorf("room %d: after a restart read %q, want %q, %+v", room, payloads(got), want, j.Stats())
		}
	}
}

func TestJournalContext(t *testing.T) {
	j := mustOpenJournal(t, journalOptions(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Append(ctx, []byte("x")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	if _, err := j.Next(ctx, 1<<20, make([]byte, FrameBytesMax)); !errors.Is(err, context.Canceled) {
		t.Errorf("next: %v", err)
	}
}

// TestJournalStateDamage: without its state a journal is read from the start.
func TestJournalStateDamage(t *testing.T) {
	opts := journalOptions(t)
	j := mustOpenJournal(t, opts)
	journal(t, j, "a", "b")
	j.Ack(40)
	j.Close()
	edit(t, opts.Dir+"/"+stateFile, flip(5))
	j = mustOpenJournal(t, opts)
	journal(t, j, "c")
	if got, _ := readFrom(t, j, j.Acked()); payloads(got) != "a b c" {
		t.Errorf("read %v", got)
	}
	if _, err := os.Stat(opts.Dir + "/" + stateFile + corruptSuffix); err != nil {
		t.Error(err)
	}
}
