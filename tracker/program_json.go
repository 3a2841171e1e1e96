package tracker

import (
	"encoding/json"
	"reflect"
	"unicode/utf8"
)

// ParseProgram reads the programme of that name from a JSON object; members
// that are absent or null have their default. An unknown member and every
// wrong type is a *FieldError that names the path in the document; whether the
// values make sense is for Validate to say.
func ParseProgram(name string, data []byte) (Program, error) {
	p := NewProgram(name)
	if !utf8.Valid(data) {
		return p, fieldErrorf("", "is not valid UTF-8")
	}
	if !json.Valid(data) {
		return p, fieldErrorf("", "is not valid JSON")
	}
	if err := decodeStruct("", data, reflect.ValueOf(&p).Elem()); err != nil {
		return p, err
	}
	if p.Name != name {
		return p, fieldErrorf("name", "must be %q as in the address, or be left out", name)
	}
	return p, nil
}
