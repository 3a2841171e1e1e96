package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// linkColumns are the columns of the CSV form, in the order of export.
var linkColumns = []string{
	"code", "domain", "url", "program", "campaign", "channel", "referrer_id", "referrer_type", "referee_type", "tags", "status", "active",
	"starts_at", "expires_at", "expired_url", "forward_query", "click_param", "noindex",
	"utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content",
}

// lineError is a line of an import that is no link.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// linkReader reads links one by one from CSV or NDJSON.
type linkReader struct {
	csv     *csv.Reader
	columns []string
	lines   *bufio.Scanner // of NDJSON, nil for CSV
	line    int
}

func newLinkReader(input io.Reader, format string) (*linkReader, error) {
	if format == "ndjson" {
		lines := bufio.NewScanner(input)
		lines.Buffer(nil, 1<<20)
		return &linkReader{lines: lines}, nil
	}
	// Spreadsheets write a byte order mark, which the CSV reader takes for text.
	text := bufio.NewReader(input)
	if mark, _ := text.Peek(3); string(mark) == "\ufeff" {
		text.Discard(3)
	}
	reader := &linkReader{csv: csv.NewReader(text)}
	header, err := reader.csv.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header line: %w; the first line names the columns, of which `url` is needed", err)
	}
	known := make(map[string]bool, len(linkColumns))
	for _, column := range linkColumns {
		known[column] = true
	}
	for i, column := range header {
		header[i] = strings.TrimSpace(column)
		if !known[header[i]] {
			return nil, fmt.Errorf("line 1: there is no column %q; the columns are %s", header[i], strings.Join(linkColumns, ", "))
		}
	}
	reader.columns = header
	return reader, nil
}

// next is the next link as JSON fields, with the number of its line. After a
// *lineError reading goes on.
func (r *linkReader) next() (map[string]any, int, error) {
	if r.lines != nil {
		return r.nextNDJSON()
	}
	record, err := r.csv.Read()
	if err != nil {
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return nil, 0, &lineError{parse.StartLine, parse.Err}
		}
		return nil, 0, err
	}
	line, _ := r.csv.FieldPos(0)
	link, err := linkOfRecord(r.columns, record)
	if err != nil {
		return nil, 0, &lineError{line, err}
	}
	return link, line, nil
}

func (r *linkReader) nextNDJSON() (map[string]any, int, error) {
	for r.lines.Scan() {
		r.line++
		text := bytes.TrimSpace(r.lines.Bytes())
		if len(text) == 0 {
			continue
		}
		link := map[string]any{}
		if err := json.Unmarshal(text, &link); err != nil {
			return nil, 0, &lineError{r.line, err}
		}
		return link, r.line, nil
	}
	if err := r.lines.Err(); err != nil {
		return nil, 0, fmt.Errorf("line %d: %w", r.line+1, err)
	}
	return nil, 0, io.EOF
}

// linkOfRecord turns the cells of a CSV line into JSON fields; an empty cell
// leaves the default.
func linkOfRecord(columns, record []string) (map[string]any, error) {
	link, referrer, utm := map[string]any{}, map[string]any{}, map[string]any{}
	for i, column := range columns {
		cell := record[i]
		// An empty click_param is a setting of its own: no click id. Export
		// writes "-" for it, so that an empty cell can be the default.
		if cell == "" {
			continue
		}
		switch column {
		case "tags":
			link[column] = strings.Split(cell, ";")
		case "status":
			number, err := strconv.Atoi(cell)
			if err != nil {
				return nil, fmt.Errorf("status: %q is no number; use 301, 302, 307 or 308", cell)
			}
			link[column] = number
		case "active", "forward_query", "noindex":
			flag, err := strconv.ParseBool(cell)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is neither true nor false", column, cell)
			}
			link[column] = flag
		case "click_param":
			link[column] = strings.TrimPrefix(cell, "-")
		case "referrer_id", "referrer_type":
			referrer[strings.TrimPrefix(column, "referrer_")] = cell
		case "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content":
			utm[strings.TrimPrefix(column, "utm_")] = cell
		default:
			link[column] = cell
		}
	}
	if len(referrer) > 0 {
		link["referrer"] = referrer
	}
	if len(utm) > 0 {
		link["utm"] = utm
	}
	return link, nil
}

// recordOfLink is the inverse of linkOfRecord.
func recordOfLink(link map[string]any) []string {
	cell := func(value any) string {
		switch value := value.(type) {
		case nil:
			return ""
		case []any:
			parts := make([]string, len(value))
			for i, part := range value {
				parts[i] = fmt.Sprint(part)
			}
			return strings.Join(parts, ";")
		}
		return fmt.Sprint(value)
	}
	referrer, _ := link["referrer"].(map[string]any)
	utm, _ := link["utm"].(map[string]any)
	record := make([]string, len(linkColumns))
	for i, column := range linkColumns {
		switch {
		case strings.HasPrefix(column, "referrer_"):
			record[i] = cell(referrer[strings.TrimPrefix(column, "referrer_")])
		case strings.HasPrefix(column, "utm_"):
			record[i] = cell(utm[strings.TrimPrefix(column, "utm_")])
		case column == "click_param" && link[column] == "":
			record[i] = "-"
		default:
			record[i] = cell(link[column])
		}
	}
	return record
}
