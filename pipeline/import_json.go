package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"waymark/tracker"
)

// importDepthMax is how deep objects may stand in each other in a row.
const importDepthMax = 8

// eachJSONText calls visit for every text, number and boolean in a JSON object,
// with its name, in which the names of objects around it come first, with dots
// between: referrer.id. Numbers come digit by digit, as they were written; null
// is passed over, a list is an error.
//
// The line is checked as a whole by the standard library, which leaves so
// little to do that walking it takes a fifth of the time of a json.Decoder.
func eachJSONText(line []byte, visit func(name, text string) error) error {
	switch {
	case !utf8.Valid(line):
		return errors.New("it is not valid UTF-8; convert the file, with iconv for example")
	case !json.Valid(line):
		return errors.New("it is no JSON object")
	}
	walk := jsonWalk{rest: bytes.TrimSpace(line), visit: visit}
	if walk.rest[0] != '{' {
		return errors.New("it is no JSON object")
	}
	return walk.object("", 0)
}

// jsonWalk goes through valid JSON.
type jsonWalk struct {
	rest  []byte
	visit func(name, text string) error
}

func (w *jsonWalk) object(prefix string, depth int) error {
	if depth == importDepthMax {
		return &tracker.FieldError{Field: prefix, Detail: "objects stand in each other too deep"}
	}
	w.take(1) // {
	for w.rest[0] != '}' {
		if w.rest[0] == ',' {
			w.take(1)
		}
		name := w.text()
		if prefix != "" {
			name = prefix + "." + name
		}
		w.take(1) // :
		if err := w.value(name, depth); err != nil {
			return err
		}
	}
	w.take(1)
	return nil
}

func (w *jsonWalk) value(name string, depth int) error {
	switch w.rest[0] {
	case '{':
		return w.object(name, depth+1)
	case '[':
		return &tracker.FieldError{Field: name, Detail: "must be a text, number or boolean"}
	case '"':
		return w.visit(name, w.text())
	}
	end := bytes.IndexAny(w.rest, ",}] \t\r\n") // of a number, true, false or null
	text := string(w.rest[:end])
	w.take(end)
	if text == "null" {
		return nil
	}
	return w.visit(name, text)
}

// text takes a string. One without escapes, as nearly all are, is copied as it
// stands.
func (w *jsonWalk) text() string {
	end, escaped := 1, false
	for w.rest[end] != '"' {
		if w.rest[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	quoted := w.rest[:end+1]
	text := string(quoted[1:end])
	if escaped {
		if err := json.Unmarshal(quoted, &text); err != nil {
			panic("BUG: decode a string of valid JSON: " + err.Error())
		}
	}
	w.take(end + 1)
	return text
}

// take passes over bytes and the white space after them.
func (w *jsonWalk) take(n int) {
	w.rest = w.rest[n:]
	for len(w.rest) > 0 && (w.rest[0] == ' ' || w.rest[0] == '\t' || w.rest[0] == '\r' || w.rest[0] == '\n') {
		w.rest = w.rest[1:]
	}
}
