package tracker

import (
	"crypto/rand"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	codeBytesMax   = 255
	domainBytesMax = 253 // RFC 1035

	// codeAlphabet has no 0, O, 1, I or L, which people confuse on paper, and
	// no other vowel, so that no word comes out that one would not print.
	codeAlphabet = "23456789BCDFGHJKMNPQRSTVWXYZ"

	codeLength         = 7 // 13 billion codes
	codeLengthPrefixed = 6
)

// reservedCodes are paths that the public listener needs itself; those ending
// in a slash reserve what is below them.
var reservedCodes = []string{
	"v1", "v1/", "healthz", "readyz", "metrics", "robots.txt", "favicon.ico", "openapi.json", ".well-known", ".well-known/",
}

// NewCode returns a random code, after the prefix and a hyphen if there is a
// prefix: LOVE-7G2K9Q. It may be taken already.
func NewCode(prefix string) string {
	if prefix == "" {
		return randomCode(codeLength)
	}
	return strings.TrimSuffix(prefix, "-") + "-" + randomCode(codeLengthPrefixed)
}

func randomCode(length int) string {
	code := make([]byte, 0, length)
	for len(code) < length {
		var random [16]byte
		rand.Read(random[:]) // never fails
		for _, b := range random {
			// A remainder would prefer the first letters.
			if at := int(b & 31); at < len(codeAlphabet) && len(code) < length {
				code = append(code, codeAlphabet[at])
			}
		}
	}
	return string(code)
}

// CheckCode returns a *FieldError if a link must not have this code.
//
// A code is compared byte for byte: it is not brought into a Unicode normal
// form, because the visitor's browser is not asked to use one either.
func CheckCode(code string) error {
	switch {
	case code == "":
		return fieldErrorf("code", "must not be empty")
	case len(code) > codeBytesMax:
		return fieldErrorf("code", "must have at most %d bytes, has %d", codeBytesMax, len(code))
	case !utf8.ValidString(code):
		return fieldErrorf("code", "must be valid UTF-8")
	}
	for _, r := range code {
		if !codeRune(r) {
			return fieldErrorf("code", "must not contain %q: letters, digits, punctuation and / are allowed, but no spaces, control characters, ?, #, %% or \\", r)
		}
	}
	for segment := range strings.SplitSeq(code, "/") {
		switch segment {
		case "":
			return fieldErrorf("code", "must not begin or end with / or contain //")
		case ".", "..":
			return fieldErrorf("code", "must not contain the path segment %s, which browsers remove", segment)
		}
	}
	for _, reserved := range reservedCodes {
		below := strings.HasSuffix(reserved, "/") && len(code) > len(reserved)
		if strings.EqualFold(code, reserved) || below && strings.EqualFold(code[:len(reserved)], reserved) {
			return fieldErrorf("code", "must not be %s, which Waymark needs itself", reserved)
		}
	}
	return nil
}

// codeRune reports whether a code may contain r: what one can see, and the
// joiners that some scripts cannot do without.
func codeRune(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	if r == nonJoiner || r == joiner {
		return true
	}
	return unicode.IsPrint(r) && r != utf8.RuneError && !strings.ContainsRune(" ?#%\\", r)
}
