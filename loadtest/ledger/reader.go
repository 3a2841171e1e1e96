package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// lineBytesMax bounds a line. The longest that a load test writes has a few
// hundred bytes.
const lineBytesMax = 64 << 10

// CorruptError says which line of a ledger is none.
type CorruptError struct {
	Line   uint64 // from 1
	Detail string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("read the ledger: line %d %s", e.Line, e.Detail)
}

// Reader reads a ledger.
type Reader struct {
	Header
	lines *bufio.Reader
	line  uint64 // last that was read
	ended bool
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	reader := &Reader{lines: bufio.NewReaderSize(r, lineBytesMax)}
	line, err := reader.next()
	if errors.Is(err, io.EOF) {
		return nil, reader.corrupt("is missing: this is no ledger of a load test")
	}
	if err != nil {
		return nil, err
	}
	fields := bytes.Split(line, []byte{'\t'})
	if string(fields[0]) != wordHeader || len(fields) < 2 {
		return nil, reader.corrupt("is no header: this is no ledger of a load test")
	}
	if string(fields[1]) != fmt.Sprint(version) {
		return nil, reader.corrupt(fmt.Sprintf("says version %.20q, this program reads version %d", fields[1], version))
	}
	var started uint64
	if len(fields) == 5 {
		reader.Run, reader.Program = string(fields[2]), string(fields[3])
	}
	if len(fields) != 5 || !reader.valid() || !number(fields[4], &started) {
		return nil, reader.corrupt("is no header of version 1")
	}
	reader.Started = time.UnixMilli(int64(started))
	return reader, nil
}

// Next reads the next entry, whose slices are valid until the call after it.
// After the last one the error is io.EOF; a line that is none is a
// *CorruptError, after which reading cannot go on.
func (r *Reader) Next(e *Entry) error {
	if r.ended {
		return io.EOF
	}
	line, err := r.next()
	if err != nil {
		return err
	}
	if rest, ok := bytes.CutPrefix(line, []byte(wordEnd+"\t")); ok {
		return r.end(rest)
	}
	if !e.parse(line) {
		return r.corrupt(fmt.Sprintf("is no entry: %.100q", line))
	}
	return nil
}

// Ended reports whether the ledger was read to its last line. Where it is false
// at io.EOF, the generator died.
func (r *Reader) Ended() bool { return r.ended }

func (r *Reader) end(count []byte) error {
	var lines uint64
	if !number(count, &lines) {
		return r.corrupt(fmt.Sprintf("is no end: %.100q", count))
	}
	if lines != r.line-2 {
		return r.corrupt(fmt.Sprintf("says that there are %d entries, but there are %d", lines, r.line-2))
	}
	if _, err := r.lines.ReadByte(); !errors.Is(err, io.EOF) {
		return r.corrupt("is the end, but something follows it")
	}
	r.ended = true
	return io.EOF
}

// next is the next whole line. A last line without line feed is one that the
// generator died over: it is left out.
func (r *Reader) next() ([]byte, error) {
	line, err := r.lines.ReadSlice('\n')
	r.line++
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, r.corrupt(fmt.Sprintf("is longer than %d bytes", lineBytesMax))
	case err != nil:
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return line[:len(line)-1], nil
}

func (r *Reader) corrupt(detail string) error { return &CorruptError{r.line, detail} }
