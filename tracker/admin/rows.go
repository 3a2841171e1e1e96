package admin

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

// cell is a value of a report as JSON shows it: decimals as strings, since a
// float would change amounts of money; times in RFC 3339 and UTC; null for
// what cannot be said in JSON.
func cell(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case float32:
		return cell(float64(v))
	case *float64:
		if v == nil {
			return nil
		}
		return cell(*v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case *time.Time:
		if v == nil {
			return nil
		}
		return cell(*v)
	case decimal.Decimal:
		return v.String()
	case *decimal.Decimal:
		if v == nil {
			return nil
		}
		return v.String()
	}
	return v
}

// extra is what a report says beside its rows, with the same rules in depth.
func extra(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = extra(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = extra(value)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = extra(value)
		}
		return out
	}
	return cell(v)
}

// appendRow appends a row as a JSON object whose members stand in the order of
// the columns, which a map would lose.
func appendRow(dst []byte, columns []string, row []any) ([]byte, error) {
	dst = append(dst, '{')
	for i, name := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(cell(row[i]))
		if err != nil {
			return nil, fmt.Errorf("encode the column %s: %w", name, err)
		}
		dst = append(append(append(dst, key...), ':'), value...)
	}
	return append(dst, '}'), nil
}

// appendReport appends a report as one JSON object: the rows, then the rest.
func appendReport(dst []byte, report *tracker.Report) ([]byte, error) {
	dst = append(dst, `{"rows":[`...)
	for i, row := range report.Rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendRow(dst, report.Columns, row); err != nil {
			return nil, err
		}
	}
	dst = append(dst, ']')
	for _, name := range slices.Sorted(maps.Keys(report.Extra)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(extra(report.Extra[name]))
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		dst = append(append(append(append(dst, ','), key...), ':'), value...)
	}
	return append(dst, "}\n"...), nil
}

// appendLines appends the rows as one JSON object a line.
func appendLines(dst []byte, report *tracker.Report) ([]byte, error) {
	for _, row := range report.Rows {
		var err error
		if dst, err = appendRow(dst, report.Columns, row); err != nil {
			return nil, err
		}
		dst = append(dst, '\n')
	}
	return dst, nil
}

// writeCSV writes the rows as RFC 4180 has them, below a line of names. What
// is null in JSON is empty here.
func writeCSV(w io.Writer, report *tracker.Report) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.Write(report.Columns); err != nil {
		return err
	}
	record := make([]string, len(report.Columns))
	for _, row := range report.Rows {
		for i := range record {
			text, err := csvCell(row[i])
			if err != nil {
				return fmt.Errorf("encode the column %s: %w", report.Columns[i], err)
			}
			record[i] = text
		}
		if err := c.Write(record); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// csvCell is the text of a value. A text that a spreadsheet would run as a
// formula gets an apostrophe in front: codes and names come from outside.
func csvCell(v any) (string, error) {
	switch v := cell(v).(type) {
	case nil:
		return "", nil
	case string:
		if v != "" && isText(v) && slices.Contains([]byte("=+-@\t\r"), v[0]) {
			return "'" + v, nil
		}
		return v, nil
	default:
		encoded, err := json.Marshal(v)
		return string(encoded), err
	}
}

// isText reports whether a string is no amount: those begin with a minus, too.
func isText(s string) bool {
	_, err := decimal.NewFromString(s)
	return err != nil
}
