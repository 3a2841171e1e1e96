package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_TEST_WRITER"); dir != "" {
		writeUntilKilled(dir, os.Getenv("SPOOL_TEST_RING"))
		return
	}
	os.Exit(m.Run())
}

func killOptions(dir, ringDir string) Options {
	return Options{Dir: dir, RingDir: ringDir, RingBytes: ringBytesMin, SegmentBytes: segmentBytesMin, DiskBytesMax: 1 << 30,
		Logger: slog.New(slog.DiscardHandler)}
}

// writeUntilKilled appends from several goroutines and confirms every frame on standard output after Append returned, as
// "a life.run.writer.number". Beside it a reader ships: it writes "s identity ordinal payload" for each frame, and acknowledges
// only then. The ring is so small that much goes through segments. In every third life the spool is also flushed, closed and
// opened again all the time, so that the kill finds it there.
func writeUntilKilled(dir, ringDir string) {
	var life int
	fmt.Sscan(os.Getenv("SPOOL_TEST_LIFE"), &life)
	var mu sync.Mutex // a line in one write; the pipe is what survives
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	for run := 0; ; run++ {
		s, err := Open(killOptions(dir, ringDir))
		if err != nil {
			say("e %v", err)
			return
		}
		for w := range 4 {
			go func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("%d.%d.%d.%d", life, run, w, i)
					_, err := s.Append([]byte(name+strings.Repeat("-", i%700)), 1)
					if errors.Is(err, ErrClosed) {
						return
					}
					if err == nil {
						say("a %s", name)
					}
				}
			}()
		}
		batches := -1
		if life%3 == 2 {
			batches = 3
		}
		err = shipSaying(s, batches, say)
		if err == nil {
			err = s.Flush(context.Background())
		}
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			say("e %v", err)
			return
		}
	}
}

// shipSaying ships so many batches, for ever if negative.
func shipSaying(s *Spool, batches int, say func(string, ...any)) error {
	buf := make([]byte, FrameBytesMax)
	for ; batches != 0; batches-- {
		b, err := s.Next(context.Background(), s.Acked(), buf)
		if err != nil {
			return err
		}
		for _, f := range b.Frames {
			say("s %s %d %s", b.Identity, f.Ordinal, strings.TrimRight(string(f.Payload), "-"))
		}
		time.Sleep(2 * time.Millisecond) // slower than the writers
		s.Ack(b.End)
	}
	return nil
}

// TestKill kills the process again and again, on the same spool. Whatever was confirmed must have been shipped or be there in the
// end; each ordinal is of one record only, each record has one ordinal, and none is missing between the first and the last.
func TestKill(t *testing.T) {
	lives := 25
	if testing.Short() {
		lives = 5
	}
	dir, ringDir := memoryDir(t), memoryDir(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	confirmed := map[string]bool{}
	byOrdinal, byName := map[uint64]string{}, map[string]uint64{}
	var identity string
	ship := func(id string, ordinal uint64, name string) {
		if identity == "" {
			identity = id
		}
		if id != identity {
			t.Fatalf("identity changed from %s to %s without a lost ring", identity, id)
		}
		if had, again := byOrdinal[ordinal]; again && had != name {
			t.Fatalf("ordinal %d is of %s and of %s", ordinal, had, name)
		}
		if had, again := byName[name]; again && had != ordinal {
			t.Fatalf("%s has ordinals %d and %d", name, had, ordinal)
		}
		byOrdinal[ordinal], byName[name] = name, ordinal
	}
	for life := range lives {
		lines := liveAndDie(t, dir, ringDir, life, time.Duration(random.IntN(60_000))*time.Microsecond)
		for line := range strings.Lines(lines) {
			if !strings.HasSuffix(line, "\n") {
				break // cut in the middle by the kill
			}
			fields := strings.Fields(line)
			switch fields[0] {
			case "a":
				confirmed[fields[1]] = true
			case "s":
				var ordinal uint64
				fmt.Sscan(fields[2], &ordinal)
				ship(fields[1], ordinal, fields[3])
			default:
				t.Fatalf("life %d: %s", life, line)
			}
		}
	}
	s := mustOpen(t, killOptions(dir, ringDir))
	left, _ := readFrom(t, s, s.Acked())
	for _, r := range left {
		ship(r.Identity.String(), r.ordinal, strings.TrimRight(r.payload, "-"))
	}
	for name := range confirmed {
		if _, ok := byName[name]; !ok {
			t.Errorf("%s was confirmed and is lost", name)
		}
	}
	for ordinal := uint64(1); ordinal <= uint64(len(byOrdinal)); ordinal++ {
		if _, ok := byOrdinal[ordinal]; !ok {
			t.Fatalf("ordinal %d of %d is missing", ordinal, len(byOrdinal))
		}
	}
	if s.Stats().CorruptBytes != 0 || len(confirmed) < lives/2 {
		t.Errorf("%d confirmed, %+v", len(confirmed), s.Stats())
	}
	t.Logf("%d lives, %d confirmed, %d kept, %d left at the end", lives, len(confirmed), len(byOrdinal), len(left))
}

// liveAndDie runs a writer, kills it after a while, and returns what it said. Every second one is killed early, often before
// the spool is open.
func liveAndDie(t *testing.T, dir, ringDir string, life int, after time.Duration) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_WRITER="+dir, "SPOOL_TEST_RING="+ringDir, fmt.Sprintf("SPOOL_TEST_LIFE=%d", life))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	first := ""
	if life%2 == 0 {
		if first, err = said.ReadString('\n'); err != nil {
			t.Fatalf("writer said nothing: %v", err)
		}
	} else {
		after /= 4
	}
	time.AfterFunc(after, func() { cmd.Process.Kill() })
	rest, err := io.ReadAll(said)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	return first + string(rest)
}
