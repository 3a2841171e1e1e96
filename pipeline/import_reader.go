package pipeline

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// ImportFormat is how rows are written.
type ImportFormat string

const (
	ImportCSV    ImportFormat = "csv"    // a header line with the fields' names; commas, semicolons or tabs between
	ImportNDJSON ImportFormat = "ndjson" // an object a line
)

// importRowReader reads the rows of a file, in their order. After a *RowError
// it goes on with the next row; io.EOF is the end. A row is valid until the
// next call.
type importRowReader interface {
	next() (*importRow, error)
}

// RowError is a row that is not taken, and why.
type RowError struct {
	Line   int    `json:"line"`  // where the row begins, from 1
	Field  string `json:"field"` // "" where it is the whole row
	Detail string `json:"detail"`
	Row    string `json:"row"` // as it was written; of CSV, as it was understood

	end int64 // of the row
}

func (e *RowError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Detail)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Field, e.Detail)
}

// importBufferBytes is what is read from a file at a time.
const importBufferBytes = 1 << 18

// newImportRowReader reads input in a format, "" for the one that its first
// byte tells.
func newImportRowReader(input io.Reader, format ImportFormat, mapper *importMapper) (importRowReader, error) {
	text := &countingReader{Reader: bufio.NewReaderSize(input, importBufferBytes)}
	// Spreadsheets write a byte order mark.
	if mark, _ := text.Peek(3); string(mark) == "\ufeff" {
		text.Discard(3)
		text.skipped = 3
	}
	if format == "" {
		format = ImportCSV
		start, _ := text.Peek(1024)
		switch start = bytes.TrimLeft(start, " \t\r\n"); {
		case bytes.HasPrefix(start, []byte("{")):
			format = ImportNDJSON
		case bytes.HasPrefix(start, []byte("[")):
			return nil, errors.New("it is a JSON array; write one object a line, as `jq -c '.[]'` does")
		}
	}
	if format == ImportNDJSON {
		return &ndjsonRows{text: text.Reader, mapper: mapper, end: text.skipped}, nil
	}
	return newCSVRows(text, mapper)
}

// countingReader is a buffered reader whose byte order mark was passed over.
type countingReader struct {
	*bufio.Reader
	skipped int64
}

// csvRows reads CSV (RFC 4180) with a header line.
type csvRows struct {
	csv     *csv.Reader
	skipped int64
	columns [][]importColumn
	row     importRow
}

func newCSVRows(text *countingReader, mapper *importMapper) (*csvRows, error) {
	rows := &csvRows{csv: csv.NewReader(text), skipped: text.skipped}
	rows.csv.Comma = separatorOf(text.Reader)
	header, err := rows.csv.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header line: %w; the first line names the fields", err)
	}
	var unknown []error
	found := map[string]bool{}
	for _, name := range header {
		name = strings.TrimSpace(name)
		found[name] = true
		columns, err := mapper.columns(name)
		if err != nil {
			unknown = append(unknown, fmt.Errorf("column %q: %w", name, err))
		}
		rows.columns = append(rows.columns, columns)
	}
	for field, column := range mapper.Columns {
		if column != "" && !found[column] {
			unknown = append(unknown, fmt.Errorf("column %q, which field %s is mapped from, is not in the header", column, field))
		}
	}
	rows.csv.ReuseRecord = true
	return rows, errors.Join(unknown...)
}

// separatorOf is the separator that the first line has most of.
func separatorOf(text *bufio.Reader) rune {
	line, _ := text.Peek(1 << 14)
	line, _, _ = bytes.Cut(line, []byte("\n"))
	best := ','
	for _, separator := range ";\t" {
		if bytes.Count(line, []byte(string(separator))) > bytes.Count(line, []byte(string(best))) {
			best = separator
		}
	}
	return best
}

func (c *csvRows) next() (*importRow, error) {
	record, err := c.csv.Read()
	c.row = importRow{end: c.csv.InputOffset() + c.skipped, cells: record}
	if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
		c.row.line = parse.StartLine
		return nil, c.row.refuse(parse.Err)
	}
	if err != nil {
		return nil, err
	}
	c.row.line, _ = c.csv.FieldPos(0)
	for i, text := range record {
		if !utf8.ValidString(text) {
			return nil, c.row.refuse(errors.New("it is not valid UTF-8; convert the file, with iconv for example"))
		}
		for _, column := range c.columns[i] {
			if err := c.row.set(column, text); err != nil {
				return nil, c.row.refuse(err)
			}
		}
	}
	return &c.row, nil
}

// ndjsonRows reads an object a line.
type ndjsonRows struct {
	text   *bufio.Reader
	mapper *importMapper
	line   int
	end    int64
	buf    []byte // of a line that is longer than the buffer
	row    importRow
}

// importLineMax bounds a line of NDJSON; a longer one is refused.
const importLineMax = 1 << 20

func (n *ndjsonRows) next() (*importRow, error) {
	for {
		line, err := n.readLine()
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		n.row = importRow{line: n.line, end: n.end, json: line}
		if err := n.parse(line); err != nil {
			return nil, n.row.refuse(err)
		}
		return &n.row, nil
	}
}

// readLine returns the next line. Of one that is too long it returns a part
// that is, too.
func (n *ndjsonRows) readLine() ([]byte, error) {
	n.buf = n.buf[:0]
	n.line++
	for {
		part, err := n.text.ReadSlice('\n')
		n.end += int64(len(part))
		if err == nil && len(n.buf) == 0 {
			return part, nil // fast path
		}
		if len(n.buf) <= importLineMax {
			n.buf = append(n.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(n.buf) > 0, err == nil:
			return n.buf, nil
		default:
			return nil, err
		}
	}
}

func (n *ndjsonRows) parse(line []byte) error {
	if len(line) > importLineMax {
		return fmt.Errorf("the line has more than %d bytes", importLineMax)
	}
	return eachJSONText(line, func(name, text string) error {
		columns, err := n.mapper.columns(name)
		if err != nil {
			return err
		}
		for _, column := range columns {
			if err := n.row.set(column, text); err != nil {
				return err
			}
		}
		return nil
	})
}
