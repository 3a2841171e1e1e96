package tracker

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestJSONFromYAML(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1":                         `{"a":1}`,
		"a: 0.10":                      `{"a":0.10}`,
		"a: '1'":                       `{"a":"1"}`,
		"a: ~\nb: True\nc: []\nd: {}":  `{"a":null,"b":true,"c":[],"d":{}}`,
		"a: 2026-12-01":                `{"a":"2026-12-01"}`,
		"a: 2026-12-01T10:00:00+01:00": `{"a":"2026-12-01T10:00:00+01:00"}`,
		"a: 12-20":                     `{"a":"12-20"}`,
		"a: [NO, x: y]":                `{"a":["NO",{"x":"y"}]}`,
		"2024: x":                      `{"2024":"x"}`,
		`{"a": "é\n"}`:                 `{"a":"é\n"}`,
		"a: 1\na: 2":                   `{"a":1,"a":2}`, // for ParseProgram to refuse
	} {
		got, _, err := JSONFromYAML([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%q becomes %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                       ": is empty",
		"# nothing\n":            ": is empty",
		"a: 1\n---\nb: 2":        ": holds more than one document",
		"a:\n  - b\n c: d":       ": is not valid YAML: line 2",
		"x: &x 1\ny:\n  - *x":    "y[0]: is an alias: write out what it stands for (line 3)",
		"a:\n  b: 0x1F":          "a.b: 0x1F is a number in a form that JSON has not: write it in plain digits, or in quotes if it is text (line 2)",
		"a: 010":                 "a: 010 is a number",
		"a: .inf":                "a: .inf is a number",
		"a:\n  [1]: x":           "a: has a key that is no plain text (line 2)",
		"b: &b {}\na:\n  <<: *b": "a: has a key that is no plain text (line 3)",
	} {
		_, _, err := JSONFromYAML([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q gives %v, want %s", text, err, want)
		}
	}
}

func TestDocumentLines(t *testing.T) {
	_, lines, err := JSONFromYAML([]byte("rewards:\n  rules:\n    - name: a\n      on: b\n    - name: c\n      per_plan:\n        x: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"rewards.rules[1].per_plan.x": "rewards.rules[1].per_plan.x: is wrong (line 7)",
		"rewards.rules[1].on":         "rewards.rules[1].on: is wrong (line 5)", // missing: the line of its rule
		"rewards.rules[0].name":       "rewards.rules[0].name: is wrong (line 3)",
		"currency":                    "currency: is wrong",
		"":                            ": is wrong",
	} {
		if got := lines.Locate(fieldErrorf(field, "is wrong")).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if other := errors.New("no field"); lines.Locate(other) != other || lines.Locate(nil) != nil {
		t.Error("another error was changed")
	}
}

func TestYAMLFromJSON(t *testing.T) {
	got, err := YAMLFromJSON([]byte(`{"b":"10","a":[{"x":true,"y":[]}],"c":"yes: no","d":1.50,"e":null}`))
	want := "b: \"10\"\na:\n  - x: true\n    y: []\nc: 'yes: no'\nd: 1.50\ne: null\n"
	if err != nil || string(got) != want {
		t.Errorf("got\n%s%v, want\n%s", got, err, want)
	}
}

// FuzzJSONFromYAML checks that what is accepted is JSON, of a size in
// proportion, and that every path has its line.
func FuzzJSONFromYAML(f *testing.F) {
	f.Add([]byte("a: 1\nb: [x, 'y', \"z\\n\"]\nc: {d: 2026-01-01, e: ~}\n"))
	f.Add([]byte("a: &x {b: 1}\nc: *x\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("a: |\n  text\n  more\nb: !!binary aGk=\nc: !x 1\n"))
	f.Fuzz(func(t *testing.T, document []byte) {
		encoded, lines, err := JSONFromYAML(document)
		if err != nil {
			if _, ok := err.(*FieldError); !ok {
				t.Fatalf("%q gives %v", document, err)
			}
			return
		}
		if !json.Valid(encoded) {
			t.Fatalf("%q becomes %q", document, encoded)
		}
		// A byte is escaped with at most five more, and stands between quotes.
		if len(encoded) > 8*len(document)+16 {
			t.Fatalf("%d bytes become %d", len(document), len(encoded))
		}
		for path, line := range lines {
			if line < 1 || line > len(document)+2 { // what is left out at the end is behind it
				t.Fatalf("%q: %s is on line %d", document, path, line)
			}
		}
	})
}
