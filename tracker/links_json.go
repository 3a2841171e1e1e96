package tracker

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ParseLink reads a link from a JSON object; members that are absent or null
// have their default. The members that Waymark gives itself (number,
// created_at, updated_at) are ignored, so that what was read can be written.
// Any other unknown member and every wrong type is a *FieldError; whether the
// values make sense is for Validate to say.
func ParseLink(data []byte) (Link, error) {
	l := NewLink()
	defaults := NewLink()
	return l, mergeJSON(&l, &defaults, linkMembers, data)
}

// PatchLink returns l with a JSON merge patch (RFC 7396) applied: null resets a
// member to its default. Code and domain are what a link is known by and can't
// be changed. l itself stays as it is.
func PatchLink(l Link, data []byte) (Link, error) {
	patched, defaults := l, NewLink()
	patched.Tags, patched.UTM = slices.Clone(l.Tags), maps.Clone(l.UTM)
	if err := mergeJSON(&patched, &defaults, linkMembers, data); err != nil {
		return l, err
	}
	if patched.Code != l.Code {
		return l, fieldErrorf("code", "can't be changed: make another link and delete this one")
	}
	if patched.Domain != l.Domain {
		return l, fieldErrorf("domain", "can't be changed: make another link and delete this one")
	}
	return patched, nil
}

// jsonMember sets a member of an object from JSON. field is its name with the
// names of the objects around it.
type jsonMember[T any] func(object, defaults *T, field string, value json.RawMessage) error

// mergeJSON sets the members of object that data has.
func mergeJSON[T any](object, defaults *T, members map[string]jsonMember[T], data []byte) error {
	if !utf8.Valid(data) {
		return fieldErrorf("", "is not valid UTF-8")
	}
	return eachMember("", data, func(name string, value json.RawMessage) error {
		member, ok := members[name]
		if !ok {
			return fieldErrorf(name, "unknown field")
		}
		return member(object, defaults, name, value)
	})
}

// plainMember takes JSON of one type; want is what the user reads if it is
// another.
func plainMember[T, V any](want string, at func(*T) *V) jsonMember[T] {
	return func(object, defaults *T, field string, value json.RawMessage) error {
		if isJSONNull(value) {
			*at(object) = *at(defaults)
			return nil
		}
		var v V
		if err := json.Unmarshal(value, &v); err != nil {
			return fieldErrorf(field, "must be %s", want)
		}
		*at(object) = v
		return nil
	}
}

func textMember[T any](at func(*T) *string) jsonMember[T] { return plainMember("a string", at) }
func boolMember[T any](at func(*T) *bool) jsonMember[T]   { return plainMember("true or false", at) }
func intMember[T any](at func(*T) *int) jsonMember[T]     { return plainMember("an integer", at) }
func listMember[T any](at func(*T) *[]string) jsonMember[T] {
	return plainMember("a list of strings", at)
}

// timeMember takes a time and keeps its milliseconds, which is what is stored.
func timeMember(at func(*Link) **time.Time) jsonMember[Link] {
	plain := plainMember("a time as in RFC 3339, such as 2026-12-24T18:00:00Z", at)
	return func(l, defaults *Link, field string, value json.RawMessage) error {
		err := plain(l, defaults, field, value)
		if t := *at(l); err == nil && t != nil {
			kept := t.UTC().Truncate(time.Millisecond)
			*at(l) = &kept
		}
		return err
	}
}

// programMember takes "" for the default, as it is for a code.
func programMember(l, defaults *Link, field string, value json.RawMessage) error {
	err := plainMember("a string", func(l *Link) *string { return &l.Program })(l, defaults, field, value)
	if l.Program == "" {
		l.Program = defaults.Program
	}
	return err
}

func ignoreMember(*Link, *Link, string, json.RawMessage) error { return nil }

var linkMembers = map[string]jsonMember[Link]{
	"code":          textMember(func(l *Link) *string { return &l.Code }),
	"domain":        textMember(func(l *Link) *string { return &l.Domain }),
	"url":           textMember(func(l *Link) *string { return &l.URL }),
	"program":       programMember,
	"campaign":      textMember(func(l *Link) *string { return &l.Campaign }),
	"channel":       textMember(func(l *Link) *string { return &l.Channel }),
	"referrer":      mergeReferrer,
	"referee_type":  textMember(func(l *Link) *string { return &l.RefereeType }),
	"tags":          listMember(func(l *Link) *[]string { return &l.Tags }),
	"status":        intMember(func(l *Link) *int { return &l.Status }),
	"active":        boolMember(func(l *Link) *bool { return &l.Active }),
	"starts_at":     timeMember(func(l *Link) **time.Time { return &l.StartsAt }),
	"expires_at":    timeMember(func(l *Link) **time.Time { return &l.ExpiresAt }),
	"expired_url":   textMember(func(l *Link) *string { return &l.ExpiredURL }),
	"forward_query": boolMember(func(l *Link) *bool { return &l.ForwardQuery }),
	"click_param":   textMember(func(l *Link) *string { return &l.ClickParam }),
	"utm":           mergeUTM,
	"noindex":       boolMember(func(l *Link) *bool { return &l.NoIndex }),
	"password":      textMember(func(l *Link) *string { return &l.Password }),
	"rules":         plainMember("a list", func(l *Link) *[]any { return &l.Rules }),
	"variants":      plainMember("a list", func(l *Link) *[]any { return &l.Variants }),
	"preview":       plainMember("an object", func(l *Link) *map[string]any { return &l.Preview }),
	"ios_url":       textMember(func(l *Link) *string { return &l.IOSURL }),
	"android_url":   textMember(func(l *Link) *string { return &l.AndroidURL }),
	"number":        ignoreMember,
	"created_at":    ignoreMember,
	"updated_at":    ignoreMember,
}

func mergeReferrer(l, defaults *Link, field string, value json.RawMessage) error {
	if isJSONNull(value) {
		l.Referrer = defaults.Referrer
		return nil
	}
	return eachMember(field, value, func(name string, value json.RawMessage) error {
		text, err := jsonText(field+"."+name, value)
		if err != nil {
			return err
		}
		switch name {
		case "id":
			l.Referrer.ID = text
		case "type":
			l.Referrer.Type = text
		default:
			return fieldErrorf(field+"."+name, "unknown field; a referrer has id and type")
		}
		return nil
	})
}

// utmNames are the UTM parameters, by the names they have in a link.
var utmNames = []string{"source", "medium", "campaign", "term", "content"}

// mergeUTM takes the names of the parameters with and without "utm_"; null and
// "" remove one.
func mergeUTM(l, defaults *Link, field string, value json.RawMessage) error {
	if isJSONNull(value) {
		l.UTM = defaults.UTM
		return nil
	}
	if l.UTM == nil {
		l.UTM = map[string]string{}
	}
	given := make(map[string]bool)
	return eachMember(field, value, func(member string, value json.RawMessage) error {
		name := strings.TrimPrefix(member, "utm_")
		if !slices.Contains(utmNames, name) {
			return fieldErrorf(field+"."+member, "unknown field; there are %s", strings.Join(utmNames, ", "))
		}
		if given[name] {
			return fieldErrorf(field+"."+member, "is given twice, with and without utm_")
		}
		given[name] = true
		text, err := jsonText(field+"."+member, value)
		if err != nil {
			return err
		}
		if l.UTM[name] = text; text == "" {
			delete(l.UTM, name)
		}
		return nil
	})
}
