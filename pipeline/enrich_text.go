package pipeline

import (
	"strings"
	"unicode/utf8"

	"waymark/tracker/wire"
)

// Bounds of what a visitor's headers can put into ClickHouse, in bytes.
const (
	languageBytesMax = 35  // RFC 5646, section 4.4.1
	hostBytesMax     = 253 // RFC 1035
	utmBytesMax      = 128
)

// languageOf is the first tag of an Accept-Language header in the case that
// RFC 5646 recommends (pt-BR, zh-Hant-TW), or "" where that is no tag.
func languageOf(header string) string {
	tag, _, _ := strings.Cut(header, ",")
	tag, _, _ = strings.Cut(tag, ";")
	tag = strings.TrimSpace(tag)
	if len(tag) > languageBytesMax {
		return ""
	}
	var canonical [languageBytesMax]byte
	start, script := 0, false
	for i := 0; i <= len(tag); i++ {
		if i < len(tag) && tag[i] != '-' {
			if !isAlphanumeric(tag[i]) {
				return ""
			}
			canonical[i] = tag[i] | 0x20 // lower case; digits have the bit
			continue
		}
		length := i - start
		switch {
		case length == 0 || length > 8:
			return ""
		case start > 0 && length == 2:
			upper(canonical[start:i])
		case start > 0 && length == 4 && !script && tag[start] > '9':
			upper(canonical[start : start+1])
			script = true
		}
		if i < len(tag) {
			canonical[i] = '-'
		}
		start = i + 1
	}
	if string(canonical[:len(tag)]) == tag { // compared without a copy
		return tag
	}
	return string(canonical[:len(tag)])
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func upper(letters []byte) {
	for i, c := range letters {
		if c >= 'a' && c <= 'z' {
			letters[i] = c - 0x20
		}
	}
}

// refererHost is the host of a Referer header in lower case, without user,
// port and closing dot; for an Android app, its package. It is "" where there
// is none.
func refererHost(referer string) string {
	scheme, rest, ok := strings.Cut(referer, "://")
	if !ok || !(strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "android-app")) {
		return ""
	}
	if end := strings.IndexAny(rest, `/?#\`); end >= 0 {
		rest = rest[:end]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if strings.HasPrefix(rest, "[") {
		rest, _, _ = strings.Cut(rest[1:], "]")
	} else {
		rest, _, _ = strings.Cut(rest, ":")
	}
	rest = strings.TrimSuffix(rest, ".")
	if len(rest) > hostBytesMax || !utf8.ValidString(rest) {
		return ""
	}
	for i := 0; i < len(rest); i++ {
		if c := rest[i]; c < utf8.RuneSelf && !isAlphanumeric(c) && !strings.ContainsRune("-._:", rune(c)) {
			return ""
		}
	}
	return strings.ToLower(rest) // allocates only where there is upper case
}

// takeUTM sets the UTM fields that a visit's query has a value for. The others
// keep what the edge set, which is the link's. Of a parameter that is given
// more than once the first counts, so the query is read from its end.
func takeUTM(event *wire.Event, query string) {
	for len(query) > 0 {
		start := strings.LastIndexByte(query, '&')
		pair := query[start+1:]
		query = query[:max(start, 0)]
		name, ok := strings.CutPrefix(pair, "utm_")
		if !ok {
			continue
		}
		name, raw, _ := strings.Cut(name, "=")
		value := unescape(raw)
		if value == "" {
			continue
		}
		switch name {
		case "source":
			event.UtmSource = value
		case "medium":
			event.UtmMedium = value
		case "campaign":
			event.UtmCampaign = value
		case "term":
			event.UtmTerm = value
		case "content":
			event.UtmContent = value
		}
	}
}

// unescape decodes a query value as forms do. An escape that is none stays as
// it is, text that is not UTF-8 is replaced, and what exceeds utmBytesMax is
// cut. It allocates only where there is something to decode.
func unescape(raw string) string {
	decoded := raw
	if strings.ContainsAny(raw, "%+") {
		buf := make([]byte, 0, len(raw))
		for i := 0; i < len(raw); i++ {
			switch c := raw[i]; {
			case c == '+':
				buf = append(buf, ' ')
			case c == '%' && i+2 < len(raw) && unhex(raw[i+1]) >= 0 && unhex(raw[i+2]) >= 0:
				buf = append(buf, byte(unhex(raw[i+1])<<4|unhex(raw[i+2])))
				i += 2
			default:
				buf = append(buf, c)
			}
		}
		decoded = string(buf)
	}
	decoded = strings.ToValidUTF8(decoded, "\uFFFD")
	if len(decoded) <= utmBytesMax {
		return decoded
	}
	end := utmBytesMax
	for !utf8.RuneStart(decoded[end]) {
		end--
	}
	return decoded[:end]
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
