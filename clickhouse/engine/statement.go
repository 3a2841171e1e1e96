package engine

import (
	"fmt"
	"strings"
)

// statement is one SQL statement as far as the front has to understand it.
type statement struct {
	text string // as sent, without the data that may follow it
	verb string // its first word in upper case; "(" for a parenthesised SELECT

	format     string // of its FORMAT clause, "" without one
	selects    bool   // a query whose rows can be streamed
	totals     bool   // WITH TOTALS: rows that a stream would lose
	insert     *insertClause
	identifier []call // every identifier, for the guard of read-only users
}

// call is an identifier of a statement.
type call struct {
	name    string
	called  bool // a parenthesis follows
	escaped bool // written with a backslash, so that the engine may read another name
}

// insertClause is an INSERT that brings its data with it.
type insertClause struct {
	infile  int    // where in the text FROM INFILE goes
	rest    int    // where FORMAT or VALUES begins
	data    int    // where in the source the data begins
	format  string // of the data
	input   int    // start and end of `input('structure')` in an INSERT … SELECT, else 0
	inputTo int
	columns string // the literal inside it
}

// parser walks the tokens of one statement.
type parser struct {
	lexer
	tok   token
	prev  token
	depth int
	st    statement
}

// parseStatement reads the statement at the beginning of src. An INSERT ends where its data begins; anything else must be
// the only statement in src. The error is an *Exception.
func parseStatement(src []byte) (statement, error) {
	p := &parser{lexer: lexer{src: src}}
	p.advance()
	switch {
	case p.tok.kind == tokenEnd:
		return p.st, exceptionf(codeSyntaxError, "SYNTAX_ERROR", "Syntax error: failed at position %d (end of query): Empty query", p.tok.start+1)
	case p.tok.kind == tokenWord:
		p.st.verb = strings.ToUpper(p.text(p.tok))
	case p.punct(p.tok, '('):
		p.st.verb = "("
	default:
		return p.st, p.syntaxError()
	}
	var err error
	if p.st.verb == "INSERT" {
		err = p.parseInsert()
	} else {
		err = p.parseQuery()
	}
	if err != nil {
		return p.st, err
	}
	return p.st, p.refuse()
}

// advance takes the next token, keeps the parenthesis depth and notes identifiers.
func (p *parser) advance() {
	p.prev, p.tok = p.tok, p.next()
	if n := len(p.st.identifier); n > 0 && p.punct(p.tok, '(') && p.identifier(p.prev) != "" {
		p.st.identifier[n-1].called = true
	}
	if name := p.identifier(p.tok); name != "" {
		p.st.identifier = append(p.st.identifier, call{name: name, escaped: strings.Contains(p.text(p.tok), `\`)})
	}
	switch {
	case p.punct(p.tok, '('), p.punct(p.tok, '['), p.punct(p.tok, '{'):
		p.depth++
	case p.punct(p.tok, ')'), p.punct(p.tok, ']'), p.punct(p.tok, '}'):
		p.depth--
	}
}

func (p *parser) syntaxError() error {
	near := p.text(p.tok)
	if len(near) > 40 {
		near = near[:40]
	}
	return exceptionf(codeSyntaxError, "SYNTAX_ERROR", "Syntax error: failed at position %d (%q)", p.tok.start+1, near)
}

// parseQuery reads a statement without data to its end.
func (p *parser) parseQuery() error {
	switch p.st.verb {
	case "SELECT", "WITH", "FROM", "(":
		p.st.selects = true
	}
	words := 0
	for p.tok.kind != tokenEnd && !p.punct(p.tok, ';') {
		words++
		if err := p.scanClause(); err != nil {
			return err
		}
	}
	if words == 1 {
		// No statement is a single word, and the engine takes some ("exit", "quit", "q") as commands of an
		// interactive client.
		return exceptionf(codeSyntaxError, "SYNTAX_ERROR", "Syntax error: failed at position 1 (%s): unfinished statement", p.st.verb)
	}
	p.st.text = string(p.src[:p.tok.start])
	for p.punct(p.tok, ';') {
		p.advance()
	}
	if p.tok.kind != tokenEnd {
		return exceptionf(codeSyntaxError, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed): failed at position %d", p.tok.start+1)
	}
	return nil
}

// scanClause looks at the current token for what the front needs to know, and passes it.
func (p *parser) scanClause() error {
	if p.tok.kind == tokenBroken {
		return p.syntaxError()
	}
	tok, before := p.tok, p.prev
	p.advance()
	switch {
	case p.is(before, "INTO") && p.is(tok, "OUTFILE"):
		return exceptionf(codeIntoOutfile, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
	case p.is(tok, "FORMAT") && p.depth == 0 && p.identifier(p.tok) != "" && p.closesQuery():
		p.st.format = p.identifier(p.tok)
	case p.is(tok, "INSERT") && p.depth == 0:
		p.st.selects = false // WITH … INSERT INTO … SELECT
	case p.is(before, "WITH") && p.is(tok, "TOTALS"):
		p.st.totals = true
	}
	return nil
}

// closesQuery tells whether nothing but settings follows the current token, as it does a FORMAT clause and not a column of
// that name.
func (p *parser) closesQuery() bool {
	ahead := p.lexer
	tok := ahead.next()
	return tok.kind == tokenEnd || ahead.punct(tok, ';') || ahead.is(tok, "SETTINGS")
}

// parseInsert reads an INSERT up to its data.
func (p *parser) parseInsert() error {
	p.advance()
	for _, word := range []string{"INTO", "TABLE", "FUNCTION"} {
		if p.is(p.tok, word) {
			p.advance()
		}
	}
	p.name()
	clause := insertClause{infile: -1}
	for {
		switch {
		case p.tok.kind == tokenEnd, p.punct(p.tok, ';'):
			return p.parseQuery() // the engine says what is missing
		case p.tok.kind == tokenBroken:
			return p.syntaxError()
		case p.depth > 0 || p.punct(p.tok, ')'):
		case p.is(p.tok, "SELECT"), p.is(p.tok, "WITH"):
			return p.parseInsertSelect()
		case p.is(p.prev, "FROM") && p.is(p.tok, "INFILE"):
			return exceptionf(codeSupportIsDisabled, "SUPPORT_IS_DISABLED", "Query has infile and was sent directly to server")
		case p.is(p.tok, "SETTINGS") && clause.infile < 0:
			clause.infile = p.tok.start
		case p.is(p.tok, "VALUES"):
			return p.dataAt(clause, p.tok.start, p.tok.end, "Values")
		case p.is(p.tok, "FORMAT"):
			return p.formatAt(clause)
		}
		p.advance()
	}
}

// name passes the table's name, which may be any word: `INSERT INTO values VALUES (1)`.
func (p *parser) name() {
	for p.identifier(p.tok) != "" {
		p.advance()
		if !p.punct(p.tok, '.') {
			return
		}
		p.advance()
	}
}

// parseInsertSelect reads the rest of an INSERT … SELECT, which brings data only if it reads from input().
func (p *parser) parseInsertSelect() error {
	clause := insertClause{infile: -1}
	for p.tok.kind != tokenEnd && !p.punct(p.tok, ';') {
		if clause.input > 0 && p.depth == 0 && p.is(p.tok, "FORMAT") {
			return p.formatAt(clause)
		}
		if p.is(p.tok, "input") {
			if err := p.inputCall(&clause); err != nil {
				return err
			}
			continue
		}
		if err := p.scanClause(); err != nil {
			return err
		}
	}
	return p.parseQuery()
}

// inputCall passes the word input and, if it is a call, its arguments.
func (p *parser) inputCall(clause *insertClause) error {
	start := p.tok.start
	p.advance()
	if !p.punct(p.tok, '(') {
		return nil
	}
	p.advance()
	if p.tok.kind != tokenString || clause.input > 0 {
		return exceptionf(codeNotImplemented, "NOT_IMPLEMENTED", "The embedded engine takes input('structure') once, with a literal structure")
	}
	clause.columns = p.text(p.tok)
	p.advance()
	if !p.punct(p.tok, ')') {
		return p.syntaxError()
	}
	clause.input, clause.inputTo = start, p.tok.end
	p.advance()
	return nil
}

// formatAt is at the word FORMAT of an INSERT: the data begins after the format's name and at most one line end, as the
// engine's own parser has it.
func (p *parser) formatAt(clause insertClause) error {
	start := p.tok.start
	p.advance()
	format := p.identifier(p.tok)
	if format == "" {
		return p.syntaxError()
	}
	data := p.tok.end
	for data < len(p.src) && (p.src[data] == ' ' || p.src[data] == '\t' || p.src[data] == '\f') {
		data++
	}
	if data < len(p.src) && p.src[data] == ';' {
		return exceptionf(codeSyntaxError, "SYNTAX_ERROR", "You have excessive ';' symbol before data for INSERT")
	}
	if data < len(p.src) && p.src[data] == '\r' {
		data++
	}
	if data < len(p.src) && p.src[data] == '\n' {
		data++
	}
	return p.dataAt(clause, start, data, format)
}

func (p *parser) dataAt(clause insertClause, rest, data int, format string) error {
	if clause.infile < 0 {
		clause.infile = rest
	}
	clause.rest, clause.data, clause.format = rest, data, format
	p.st.insert, p.st.text = &clause, string(p.src[:rest])
	return nil
}

// from is the statement with its data read from the file at path.
func (s statement) from(path string) string {
	c := s.insert
	if c.input > 0 {
		return fmt.Sprintf("%s file('%s', '%s', %s, 'none') %s", s.text[:c.input], path, c.format, c.columns, s.text[c.inputTo:])
	}
	return fmt.Sprintf("%s FROM INFILE '%s' COMPRESSION 'none' %s FORMAT %s", s.text[:c.infile], path, s.text[c.infile:], quoteName(c.format))
}

// quoteName writes an identifier so that it stays one.
func quoteName(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// quoteString writes a string literal.
func quoteString(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(s) + "'"
}

// refuse stops what would harm the process that the engine lives in, whoever asks.
func (p *parser) refuse() error {
	second := ""
	if len(p.st.identifier) > 1 {
		second = strings.ToUpper(p.st.identifier[1].name)
	}
	switch {
	case p.st.verb == "SYSTEM" && (second == "SHUTDOWN" || second == "KILL" || second == "SUSPEND"):
		return exceptionf(codeSupportIsDisabled, "SUPPORT_IS_DISABLED", "SYSTEM %s is not supported: the engine is part of waymark; stop waymark instead", second)
	case p.st.verb == "COPY":
		return exceptionf(codeSupportIsDisabled, "SUPPORT_IS_DISABLED", "COPY is not supported: use INSERT or SELECT")
	}
	return nil
}
