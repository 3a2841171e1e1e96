package tracker

import (
	"unicode"
	"unicode/utf8"
)

// appendFolded appends a code so that two codes that differ in case only, by
// the rule of strings.EqualFold, become the same bytes: each letter as the
// smallest of those that fold into each other. It never grows longer. Bytes
// that are no UTF-8 stay as they are.
func appendFolded(dst, code []byte) []byte {
	for len(code) > 0 {
		c := code[0]
		if c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			code = code[1:]
			continue
		}
		r, size := utf8.DecodeRune(code)
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		code = code[size:]
	}
	return dst
}

// foldRune is the smallest rune that folds into r.
func foldRune(r rune) rune {
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	return smallest
}
