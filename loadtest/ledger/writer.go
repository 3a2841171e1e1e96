package ledger

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"
)

const version = 1

// bufferBytes is when a buffer is written out without waiting for Flush.
const bufferBytes = 64 << 10

// Header is the first line.
type Header struct {
	Run     string // of lower-case letters and digits
	Program string
	Started time.Time // to the millisecond
}

var names = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

var programNames = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

func (h *Header) valid() bool { return names.MatchString(h.Run) && programNames.MatchString(h.Program) }

// Writer writes a ledger. Several threads share it, each with a Buffer of its
// own.
type Writer struct {
	mu    sync.Mutex
	file  *os.File
	lines uint64
	err   error // the first, after which nothing is written
}

// Create makes a new ledger. It refuses to replace a file: what stands in a
// ledger cannot be had again.
func Create(path string, h Header) (*Writer, error) {
	if !h.valid() {
		panic(fmt.Sprintf("BUG: bad ledger header %+v", h))
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("create the ledger %s: there is a file of this name; move it away or choose another with --ledger", path)
	}
	if err != nil {
		return nil, fmt.Errorf("create the ledger: %w", err)
	}
	w := &Writer{file: file}
	line := fmt.Appendf(nil, "%s\t%d\t%s\t%s\t%d\n", wordHeader, version, h.Run, h.Program, h.Started.UnixMilli())
	if _, err := file.Write(line); err != nil {
		file.Close()
		return nil, fmt.Errorf("write the header of the ledger: %w", err)
	}
	return w, nil
}

// Buffer returns a buffer for one thread.
func (w *Writer) Buffer() *Buffer {
	return &Buffer{w: w, lines: make([]byte, 0, bufferBytes+4<<10)}
}

// write appends whole lines to the file.
func (w *Writer) write(lines []byte, count uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if _, err := w.file.Write(lines); err != nil {
		w.err = fmt.Errorf("write the ledger: %w; what it lacks cannot be verified", err)
		return w.err
	}
	w.lines += count
	return nil
}

// Close writes the last line and returns the first error of all. All buffers must
// have been flushed.
func (w *Writer) Close() error {
	w.write(fmt.Appendf(nil, "%s\t%d\n", wordEnd, w.lines), 0) // its error is kept
	if err := w.file.Close(); err != nil && w.err == nil {
		w.err = fmt.Errorf("close the ledger: %w", err)
	}
	return w.err
}

// Buffer collects lines of one thread. What is in it is lost when the process
// dies, so it should be flushed several times a second. A system call a line
// was rejected: it would add to every request that is timed.
type Buffer struct {
	w     *Writer
	lines []byte
	count uint64
}

// Add appends an entry. The error is that of the file, now or before.
func (b *Buffer) Add(e *Entry) error {
	b.lines = e.AppendTo(b.lines)
	if b.count++; len(b.lines) < bufferBytes {
		return nil
	}
	return b.Flush()
}

// Flush hands the lines to the operating system.
func (b *Buffer) Flush() error {
	if b.count == 0 {
		return nil
	}
	err := b.w.write(b.lines, b.count)
	b.lines, b.count = b.lines[:0], 0
	return err
}
