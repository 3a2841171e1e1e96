package engine

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	// Each source and its tokens, joined by |; a broken one as ✗.
	cases := []struct{ source, tokens string }{
		{"SELECT a,b", "SELECT|a|,|b"},
		{"a -- c\nb // d\nc # e\nd #!f\ne", "a|b|c|d|e"},
		{"/* a /* b */ c */ d", "d"},
		{"'it''s' 'a\\'b' 'c--d'", "'it''s'|'a\\'b'|'c--d'"},
		{"`a``b` \"c\\\"d\"", "`a``b`|\"c\\\"d\""},
		{"$$a;b$$ $x$ $ $x$ a$b", "$$a;b$$|$x$ $ $x$|a$b"},
		{"‘a\\’ “b”", "‘a\\’|“b”"},
		{"x'41\\' b'0'", "x'41\\'|b'0'"},
		{"1.5e-3", "1|.|5e|-|3"},
		{"'open", "✗"}, {"`open", "✗"}, {"/* open", "✗"}, {"/* /* */", "✗"}, {"a\x00b", "a|✗"}, {"‘open", "✗"},
		{"$x$ no end", "$x$|no|end"},
		{"", ""}, {"--", ""}, {"\u00a0\t\n", ""},
	}
	for _, c := range cases {
		l := lexer{src: []byte(c.source)}
		var got []string
		for {
			tok := l.next()
			if tok.kind == tokenEnd {
				break
			}
			text := l.text(tok)
			if tok.kind == tokenBroken {
				text = "✗"
			}
			got = append(got, text)
		}
		if joined := strings.Join(got, "|"); joined != c.tokens {
			t.Errorf("%q: %s, want %s", c.source, joined, c.tokens)
		}
	}
}

func TestStatements(t *testing.T) {
	cases := []struct {
		source  string
		verb    string
		format  string
		selects bool
		sql     string // what the engine gets, with % for the path
		data    string
	}{
		{source: "select 1 ; ", verb: "SELECT", selects: true, sql: "select 1 "},
		{source: "(SELECT 1) UNION ALL SELECT 2 FORMAT CSV", verb: "(", format: "CSV", selects: true, sql: "(SELECT 1) UNION ALL SELECT 2 FORMAT CSV"},
		{source: "SELECT format FROM (SELECT 1 AS format FORMAT CSV)", verb: "SELECT", selects: true, sql: "SELECT format FROM (SELECT 1 AS format FORMAT CSV)"},
		{source: "SELECT 1 FORMAT `JSON` SETTINGS max_threads=1", verb: "SELECT", format: "JSON", selects: true, sql: "SELECT 1 FORMAT `JSON` SETTINGS max_threads=1"},
		{source: "WITH 1 AS x INSERT INTO t SELECT x", verb: "WITH", sql: "WITH 1 AS x INSERT INTO t SELECT x"},
		{source: "INSERT INTO t VALUES (1)", verb: "INSERT", sql: "INSERT INTO t  FROM INFILE '%' COMPRESSION 'none'  FORMAT `Values`", data: " (1)"},
		{source: "insert into values (values, format) values (1, 2)", verb: "INSERT", sql: "insert into values (values, format)  FROM INFILE '%' COMPRESSION 'none'  FORMAT `Values`", data: " (1, 2)"},
		{source: "INSERT INTO db.`a b` (x) SETTINGS a = 1 FORMAT CSV \r\n1\n", verb: "INSERT", sql: "INSERT INTO db.`a b` (x)  FROM INFILE '%' COMPRESSION 'none' SETTINGS a = 1  FORMAT `CSV`", data: "1\n"},
		{source: "INSERT INTO t FORMAT TSV\n\n", verb: "INSERT", sql: "INSERT INTO t  FROM INFILE '%' COMPRESSION 'none'  FORMAT `TSV`", data: "\n"},
		{source: "INSERT INTO FUNCTION null('a Int8') VALUES (1)", verb: "INSERT", sql: "INSERT INTO FUNCTION null('a Int8')  FROM INFILE '%' COMPRESSION 'none'  FORMAT `Values`", data: " (1)"},
		{source: "INSERT INTO t SELECT 1 FORMAT Null", verb: "INSERT", format: "Null", sql: "INSERT INTO t SELECT 1 FORMAT Null"},
		{source: "INSERT INTO t SELECT a FROM input('a Int8') WHERE a > 1 FORMAT CSV 1", verb: "INSERT", sql: "INSERT INTO t SELECT a FROM  file('%', 'CSV', 'a Int8', 'none')  WHERE a > 1 ", data: "1"},
	}
	for _, c := range cases {
		st, err := parseStatement([]byte(c.source))
		if err != nil {
			t.Errorf("%q: %v", c.source, err)
			continue
		}
		sql, data := st.text, ""
		if st.insert != nil {
			sql, data = st.from("%"), c.source[st.insert.data:]
		}
		if st.verb != c.verb || st.format != c.format || st.selects != c.selects || sql != c.sql || data != c.data {
			t.Errorf("%q:\n verb %q format %q selects %v\n sql %q\n data %q", c.source, st.verb, st.format, st.selects, sql, data)
		}
	}
}

// A statement that arrives in pieces is read the same as one that arrives whole.
func TestStatementAcrossReads(t *testing.T) {
	long := "INSERT INTO t (" + strings.Repeat("a, ", 40_000) + "b) FORMAT TSV\n"
	data := strings.Repeat("0123456789\n", 100_000)
	st, rest, err := readStatement(oneByteAtFirst{strings.NewReader(long + data)})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if _, err := io.Copy(&got, rest); err != nil || got.String() != data || st.insert.format != "TSV" {
		t.Errorf("%d bytes of data, %v; want %d", got.Len(), err, len(data))
	}
}

func FuzzStatement(f *testing.F) {
	for _, seed := range []string{
		"SELECT 'a', `b`, \"c\", $$d$$, x'41' -- e\n/* f */ FORMAT JSON", "INSERT INTO a.b (c) SETTINGS d = 1 FORMAT CSV\n1",
		"INSERT INTO t SELECT * FROM input('a Int8') FORMAT CSV 1", "INSERT INTO t VALUES (1)", "WITH x AS (SELECT 1) SELECT 2; ", "‘a’“b”",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		st, err := parseStatement([]byte(source))
		var e *Exception
		if err != nil {
			if !errors.As(err, &e) || httpStatus(e.Code) == 0 {
				t.Fatalf("%q: %v is no exception", source, err)
			}
			return
		}
		if st.insert == nil {
			if !strings.HasPrefix(source, st.text) {
				t.Fatalf("%q became %q", source, st.text)
			}
			return
		}
		// Head and data together are the source, and the rewritten head is one statement without data of its own.
		if st.insert.rest > st.insert.data || st.insert.data > len(source) || st.text != source[:st.insert.rest] {
			t.Fatalf("%q is cut at %d and %d of %d", source, st.insert.rest, st.insert.data, len(source))
		}
		if st.insert.input > 0 && st.insert.inputTo <= st.insert.input {
			t.Fatalf("%q: input at %d…%d", source, st.insert.input, st.insert.inputTo)
		}
		if strings.Contains(source, "INFILE") {
			return
		}
		l := lexer{src: []byte(st.from("/proc/self/fd/9"))}
		for tok := l.next(); tok.kind != tokenEnd; tok = l.next() {
			if tok.kind == tokenBroken || l.punct(tok, ';') {
				t.Fatalf("%q became %q", source, l.src)
			}
		}
	})
}

func FuzzUnquote(f *testing.F) {
	for _, seed := range []string{"`a``b`", "\"\\\"\"", "“x”", "`\\`"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		l := lexer{src: []byte(source)}
		for tok := l.next(); tok.kind != tokenEnd; tok = l.next() {
			l.identifier(tok)
		}
		// What is quoted here is read back as it was.
		l = lexer{src: []byte(quoteName(source))}
		if tok := l.next(); tok.kind != tokenQuoted || l.identifier(tok) != source {
			t.Fatalf("%q is quoted as %q and read as %q", source, l.src, l.identifier(tok))
		}
		if l = (lexer{src: []byte(quoteString(source))}); l.next().end != len(l.src) {
			t.Fatalf("%q is quoted as %q, which ends early", source, l.src)
		}
	})
}

// oneByteAtFirst gives its first bytes one by one, like a slow client.
type oneByteAtFirst struct{ src *strings.Reader }

func (r oneByteAtFirst) Read(p []byte) (int, error) {
	if r.src.Size()-int64(r.src.Len()) < 1000 && len(p) > 1 {
		p = p[:1]
	}
	return r.src.Read(p)
}
