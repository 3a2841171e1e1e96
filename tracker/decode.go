package tracker

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// decodeMember reads JSON into a value that has its defaults: a struct of
// tagged fields, or what such fields hold. Its *FieldErrors name the path in the
// document, as in rewards.rules[2].per_plan.starter. null leaves the default; an
// unknown or repeated member and every wrong type is an error.
//
// It is written by hand because encoding/json names no indexes and lets
// repeated members pass, and takes members in any case. Types must not be
// recursive, which bounds the depth.
func decodeMember(field string, data json.RawMessage, into reflect.Value) error {
	if isJSONNull(data) {
		return nil
	}
	switch into.Interface().(type) {
	case time.Time:
		return decodeTime(field, data, into)
	case decimal.Decimal:
		return decodeDecimal(field, data, into)
	}
	switch into.Kind() {
	case reflect.Struct:
		return decodeStruct(field, data, into)
	case reflect.Slice:
		return decodeList(field, data, into)
	case reflect.Map:
		return decodeMap(field, data, into)
	case reflect.Pointer:
		v := reflect.New(into.Type().Elem())
		into.Set(v)
		return decodeMember(field, data, v.Elem())
	case reflect.String:
		return decodePlain(field, data, into, "a string, in quotes")
	case reflect.Bool:
		return decodePlain(field, data, into, "true or false")
	case reflect.Int:
		return decodePlain(field, data, into, "an integer")
	case reflect.Float64:
		return decodePlain(field, data, into, "a number")
	}
	panic("BUG: no way to decode a " + into.Type().String())
}

func decodePlain(field string, data json.RawMessage, into reflect.Value, want string) error {
	if err := json.Unmarshal(data, into.Addr().Interface()); err != nil {
		return fieldErrorf(field, "must be %s", want)
	}
	return nil
}

func decodeStruct(field string, data json.RawMessage, into reflect.Value) error {
	return eachMember(field, data, func(name string, value json.RawMessage) error {
		at := memberPath(field, name)
		member, ok := memberOf(into, name)
		if !ok {
			return fieldErrorf(at, "unknown field")
		}
		return decodeMember(at, value, member)
	})
}

func memberPath(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// memberOf is the field of a struct that has this name in JSON.
func memberOf(v reflect.Value, name string) (reflect.Value, bool) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && tag != "" {
			return v.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

func decodeList(field string, data json.RawMessage, into reflect.Value) error {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return fieldErrorf(field, "must be a list")
	}
	list := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", field, i)
		if isJSONNull(item) {
			return fieldErrorf(at, "must not be null")
		}
		fillDefaults(list.Index(i))
		if err := decodeMember(at, item, list.Index(i)); err != nil {
			return err
		}
	}
	into.Set(list)
	return nil
}

// decodeMap puts members over those that the map has by default, into a map of
// its own.
func decodeMap(field string, data json.RawMessage, into reflect.Value) error {
	merged := reflect.MakeMap(into.Type())
	for entries := into.MapRange(); entries.Next(); {
		merged.SetMapIndex(entries.Key(), entries.Value())
	}
	err := eachMember(field, data, func(name string, value json.RawMessage) error {
		at := memberPath(field, name)
		if isJSONNull(value) {
			return fieldErrorf(at, "must not be null")
		}
		entry := reflect.New(into.Type().Elem()).Elem()
		fillDefaults(entry)
		if known := merged.MapIndex(reflect.ValueOf(name)); known.IsValid() {
			entry.Set(known)
		}
		if err := decodeMember(at, value, entry); err != nil {
			return err
		}
		merged.SetMapIndex(reflect.ValueOf(name), entry)
		return nil
	})
	into.Set(merged)
	return err
}

// fillDefaults gives a member of a list or map what its type has by default,
// and empty lists and maps in place of nil, which would be null in JSON.
func fillDefaults(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fillDefaults(v.Field(i))
			}
		}
	}
	if d, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
}

// decodeTime takes a time, or a day for its midnight in UTC, and keeps the
// milliseconds, which is what is stored.
func decodeTime(field string, data json.RawMessage, into reflect.Value) error {
	var text string
	err := json.Unmarshal(data, &text)
	var t time.Time
	if err == nil {
		if t, err = time.Parse(time.RFC3339, text); err != nil {
			t, err = time.Parse(time.DateOnly, text)
		}
	}
	if err != nil {
		return fieldErrorf(field, "must be a time as in RFC 3339, such as 2026-12-24T18:00:00Z, or a day, such as 2026-12-24")
	}
	into.Set(reflect.ValueOf(t.UTC().Truncate(time.Millisecond)))
	return nil
}

// decodeDecimal takes a number digit by digit, as it was written, or as text:
// 0.1 never passes through a float.
func decodeDecimal(field string, data json.RawMessage, into reflect.Value) error {
	text := string(data)
	if data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			text = ""
		}
	}
	canonical, err := parseValue(text)
	if err == nil && canonical != "" {
		var d decimal.Decimal
		if d, err = decimal.NewFromString(canonical); err == nil {
			into.Set(reflect.ValueOf(d))
			return nil
		}
	}
	return fieldErrorf(field, "must be a decimal such as 19.90, with at most %d digits before the point and %d after", actionValueIntegers, actionDecimalsMax)
}
