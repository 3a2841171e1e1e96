package engine

import (
	"bytes"
	"strings"
)

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // bare word: keyword, identifier or number
	tokenQuoted           // identifier in backticks or double quotes
	tokenString           // string literal or heredoc
	tokenPunct            // any other byte
	tokenBroken           // a quote or comment without end, or a byte that SQL does not have
)

// token is a piece of the source; comments and white space are none.
type token struct {
	kind       tokenKind
	start, end int
}

// lexer cuts SQL the way ClickHouse's lexer does. It has to agree with it on what is a string or comment and what is not,
// since the guards of the front (one statement, no files, read-only) look at what is left; where it cannot be sure it says
// tokenBroken and the statement is refused. It never fails on any input.
type lexer struct {
	src []byte
	pos int
}

func (l *lexer) text(t token) string { return string(l.src[t.start:t.end]) }

// is tells whether the token is the bare word, in any case.
func (l *lexer) is(t token, word string) bool {
	return t.kind == tokenWord && t.end-t.start == len(word) && strings.EqualFold(l.text(t), word)
}

// punct tells whether the token is that byte.
func (l *lexer) punct(t token, c byte) bool { return t.kind == tokenPunct && l.src[t.start] == c }

// identifier is the name that a word or quoted token stands for, or "" for another token.
func (l *lexer) identifier(t token) string {
	switch t.kind {
	case tokenWord:
		return l.text(t)
	case tokenQuoted:
		return unquote(l.text(t))
	}
	return ""
}

// next gives the next token; at the end of the source, and after a broken token, tokenEnd for ever.
func (l *lexer) next() token {
	if !l.skipBlank() {
		return l.broken()
	}
	if l.pos >= len(l.src) {
		return token{tokenEnd, len(l.src), len(l.src)}
	}
	start, rest := l.pos, l.src[l.pos:]
	switch c := rest[0]; {
	case c == '\'':
		return l.quoted(tokenString, c)
	case c == '`' || c == '"':
		return l.quoted(tokenQuoted, c)
	case bytes.HasPrefix(rest, []byte("‘")):
		return l.until(tokenString, len("‘"), "’")
	case bytes.HasPrefix(rest, []byte("“")):
		return l.until(tokenQuoted, len("“"), "”")
	case c == '$':
		if tag := heredocTag(rest); tag != "" && bytes.Contains(rest[len(tag):], []byte(tag)) {
			return l.until(tokenString, len(tag), tag)
		}
		return l.word()
	case (c|0x20 == 'x' || c|0x20 == 'b') && len(rest) > 1 && rest[1] == '\'':
		return l.until(tokenString, 2, "'") // x'4142': no escapes inside
	case isWord(c):
		return l.word()
	case c < 0x20 || c == 0x7f:
		return l.broken()
	}
	l.pos++
	return token{tokenPunct, start, l.pos}
}

func (l *lexer) broken() token {
	t := token{tokenBroken, min(l.pos, len(l.src)), len(l.src)}
	l.pos = len(l.src)
	return t
}

func (l *lexer) word() token {
	start := l.pos
	for l.pos < len(l.src) && (isWord(l.src[l.pos]) || l.src[l.pos] == '$') {
		l.pos++
	}
	return token{tokenWord, start, l.pos}
}

// quoted reads to the closing quote; a backslash escapes any byte and a doubled quote stands for itself.
func (l *lexer) quoted(kind tokenKind, quote byte) token {
	for i := l.pos + 1; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(l.src) && l.src[i+1] == quote {
				i++
				continue
			}
			t := token{kind, l.pos, i + 1}
			l.pos = t.end
			return t
		}
	}
	return l.broken()
}

// until reads to the first occurrence of end after skip bytes.
func (l *lexer) until(kind tokenKind, skip int, end string) token {
	n := bytes.Index(l.src[l.pos+skip:], []byte(end))
	if n < 0 {
		return l.broken()
	}
	t := token{kind, l.pos, l.pos + skip + n + len(end)}
	l.pos = t.end
	return t
}

// skipBlank passes white space and comments; false means a comment without end.
func (l *lexer) skipBlank() bool {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case isSpace(rest[0]):
			l.pos++
		case bytes.HasPrefix(rest, []byte("\u00a0")):
			l.pos += len("\u00a0")
		case bytes.HasPrefix(rest, []byte("--")), bytes.HasPrefix(rest, []byte("//")),
			bytes.HasPrefix(rest, []byte("# ")), bytes.HasPrefix(rest, []byte("#!")):
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest) - 1
			}
			l.pos += n + 1
		case bytes.HasPrefix(rest, []byte("/*")):
			if !l.skipComment() {
				return false
			}
		default:
			return true
		}
	}
	return true
}

// skipComment passes a block comment; they nest.
func (l *lexer) skipComment() bool {
	depth := 0
	for i := l.pos; i+1 < len(l.src); i++ {
		switch {
		case l.src[i] == '/' && l.src[i+1] == '*':
			depth++
			i++
		case l.src[i] == '*' && l.src[i+1] == '/':
			depth--
			i++
			if depth == 0 {
				l.pos = i + 1
				return true
			}
		}
	}
	return false
}

func isSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r'
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// heredocTag is the opening `$tag$` of a heredoc at the start of src, or "".
func heredocTag(src []byte) string {
	for i := 1; i < len(src); i++ {
		if src[i] == '$' {
			return string(src[:i+1])
		}
		if !isWord(src[i]) {
			return ""
		}
	}
	return ""
}

// unquote undoes the quotes and escapes of a quoted identifier.
func unquote(s string) string {
	if r := []rune(s); r[0] == '“' {
		return string(r[1 : len(r)-1])
	}
	quote, s := s[0], s[1:len(s)-1]
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if (s[i] == '\\' || s[i] == quote) && i+1 < len(s) {
			i++
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
