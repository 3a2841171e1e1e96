package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// decodeFlat is what eachJSONText should see, by the standard library alone:
// the texts of an object by name, in their order.
func decodeFlat(prefix string, value any, into map[string]string) {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			if prefix != "" {
				name = prefix + "." + name
			}
			decodeFlat(name, member, into)
		}
	case nil:
	default:
		into[prefix] = fmt.Sprint(value)
	}
}

func FuzzEachJSONText(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {"a" : "b" , "n":-1.50e3,"t":true,"x":null,"o":{"p":{"q":"\u00e9\"\\"}}}`, `{"a":[1]}`, `[]`, `{"a":"\ud800"}`, `{"a":1}{`,
		`{"referrer":{"id":"s-17","type":"supplier"},"value":19.90}`, `{"":""}`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		got := map[string]string{}
		twice := false
		err := eachJSONText(line, func(name, text string) error {
			_, known := got[name]
			twice = twice || known
			got[name] = text
			return nil
		})
		var value map[string]any
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber()
		if decodeErr := decoder.Decode(&value); decodeErr != nil || value == nil {
			if err == nil {
				t.Fatalf("%q was read as %v, and is no object: %v", line, got, decodeErr)
			}
			return
		}
		if err != nil || twice || bytes.Contains(line, []byte("[")) || bytes.Contains(line, []byte(`\`)) || ambiguous(value) {
			return
		}
		want := map[string]string{}
		decodeFlat("", value, want)
		if !reflect.DeepEqual(got, want) && !hasRepeats(line) {
			t.Fatalf("%q was read as %v, expected %v", line, got, want)
		}
	})
}

// ambiguous reports whether names with dots could be mistaken for objects.
func ambiguous(value map[string]any) bool {
	for name, member := range value {
		if inner, ok := member.(map[string]any); strings.Contains(name, ".") || name == "" || ok && ambiguous(inner) {
			return true
		}
	}
	return false
}

// hasRepeats reports whether some object may have a name twice, of which the
// standard library silently keeps one.
func hasRepeats(line []byte) bool {
	names := map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(line))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if name, ok := token.(string); ok {
			if names[name] {
				return true
			}
			names[name] = true
		}
	}
}
