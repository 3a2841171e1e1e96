package tracker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// actionItemsMax is how many actions one request may report.
const actionItemsMax = 10_000

var (
	errNotJSON      = errors.New("the body is no JSON: send an object, an array of objects, or one object a line")
	errTooManyItems = errors.New("the body holds more than 10,000 actions: split it")
)

// ParseAction reads one action from JSON. An unknown field, a wrong type and a
// field that is given twice are refused, null and "" mean "not given". The
// error is a *FieldError, whose Field is "" when data is no JSON object.
func ParseAction(data []byte) (Action, error) {
	var a Action
	if !utf8.Valid(data) {
		return a, fieldErrorf("", "is not valid UTF-8")
	}
	err := eachMember("", data, func(name string, value json.RawMessage) error {
		switch name {
		case "referrer":
			return a.setReferrer(value)
		case "properties":
			return a.setProperties(value)
		case "referrer.id", "referrer.type":
			return fieldErrorf(name, "unknown field; write referrer as an object")
		case "time", "value":
			// A number is taken digit by digit, as it was written: 19.90 never
			// passes through a float. What is neither number nor text goes the
			// same way, for an error that says what these fields may be.
			if value[0] != '"' && !isJSONNull(value) {
				return a.Set(name, string(value))
			}
		}
		// A field that does not exist is refused as such, whatever its type.
		if err := a.Set(name, ""); err != nil {
			return err
		}
		text, err := jsonText(name, value)
		if err != nil {
			return err
		}
		return a.Set(name, text)
	})
	return a, err
}

func (a *Action) setReferrer(object json.RawMessage) error {
	if isJSONNull(object) {
		return nil
	}
	return eachMember("referrer", object, func(name string, value json.RawMessage) error {
		if name != "id" && name != "type" {
			return fieldErrorf("referrer."+name, "unknown field; a referrer has id and type")
		}
		text, err := jsonText("referrer."+name, value)
		if err != nil {
			return err
		}
		return a.Set("referrer."+name, text)
	})
}

// setProperties reads a flat object. Numbers and booleans become the text that
// they were written with; null leaves a property out.
func (a *Action) setProperties(object json.RawMessage) error {
	if isJSONNull(object) {
		return nil
	}
	return eachMember("properties", object, func(name string, value json.RawMessage) error {
		if isJSONNull(value) {
			return nil
		}
		field, text := "properties."+name, string(value)
		if value[0] == '{' || value[0] == '[' {
			return fieldErrorf(field, "must be a string, number or boolean: properties are flat")
		}
		if value[0] == '"' {
			var err error
			if text, err = jsonText(field, value); err != nil {
				return err
			}
		}
		return a.SetProperty(name, text)
	})
}

func isJSONNull(value json.RawMessage) bool { return string(value) == "null" }

// jsonText is the string that value holds, "" for null.
func jsonText(field string, value json.RawMessage) (string, error) {
	var text *string
	if err := json.Unmarshal(value, &text); err != nil {
		return "", fieldErrorf(field, "must be a string, in quotes")
	}
	if text == nil {
		return "", nil
	}
	return *text, nil
}

// eachMember calls visit for the members of a JSON object in their order. The
// standard decoder into a map would let the last of two equal names win
// silently, and which of two values is meant is not ours to guess.
func eachMember(field string, object []byte, visit func(name string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return fieldErrorf(field, "must be a JSON object")
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fieldErrorf(field, "is broken JSON: %v", err)
		}
		name := token.(string) // the decoder lets nothing else stand here
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fieldErrorf(field, "is broken JSON after %q: %v", name, err)
		}
		if seen[name] {
			if field != "" {
				name = field + "." + name
			}
			return fieldErrorf(name, "is given twice")
		}
		seen[name] = true
		if err := visit(name, value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fieldErrorf(field, "is broken JSON: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fieldErrorf(field, "has something after the object")
	}
	return nil
}

// splitActions cuts a body into its items, whatever its content type says: an
// array gives its elements, anything else is a stream of values. When that
// stream is broken, each line is an item of its own, so that one bad line of
// NDJSON costs only itself; a body in which no line is an object is no JSON.
// The items alias body.
func splitActions(body []byte) ([]json.RawMessage, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")))
	if len(body) == 0 {
		return nil, errNotJSON
	}
	if body[0] == '[' {
		var items []json.RawMessage
		if err := json.Unmarshal(body, &items); err != nil {
			// Not left to the lines: those of a torn array would half pass.
			return nil, errNotJSON
		}
		if len(items) > actionItemsMax {
			return nil, errTooManyItems
		}
		return items, nil
	}
	items, err := splitStream(body)
	if err == nil || errors.Is(err, errTooManyItems) {
		return items, err
	}
	return splitLines(body)
}

// splitStream cuts values that follow each other, on one line or over many.
func splitStream(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	objects := false
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var item json.RawMessage
		if err := dec.Decode(&item); err == io.EOF {
			break
		} else if err != nil {
			return nil, errNotJSON
		}
		if len(items) == actionItemsMax {
			return nil, errTooManyItems
		}
		items = append(items, item)
		objects = objects || item[0] == '{'
	}
	if !objects {
		return nil, errNotJSON
	}
	return items, nil
}

func splitLines(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	objects := false
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(items) == actionItemsMax {
			return nil, errTooManyItems
		}
		items = append(items, line)
		objects = objects || line[0] == '{' && json.Valid(line)
	}
	if !objects {
		return nil, errNotJSON
	}
	return items, nil
}
