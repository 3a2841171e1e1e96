package fault

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
)

// queryPeek is how much of a body is looked at for the first word of a query.
const queryPeek = 4 << 10

// isInsert reports whether a request is an INSERT: by the parameter query or,
// where there is none, by the start of the body, unless that is compressed. The
// body stays as it was.
func isInsert(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false // ClickHouse writes for no other method
	}
	query := r.URL.Query().Get("query")
	if strings.TrimSpace(query) == "" {
		body := bufio.NewReaderSize(r.Body, queryPeek)
		start, err := body.Peek(queryPeek)
		if err != nil && !errors.Is(err, io.EOF) {
			return false // the proxy will meet the error, too
		}
		query = string(start)
		r.Body = struct {
			io.Reader
			io.Closer
		}{body, r.Body}
	}
	return insertsFirst(query)
}

// insertsFirst reports whether the first word of a query, after white space and
// comments, is INSERT.
func insertsFirst(query string) bool {
	for {
		query = strings.TrimLeft(query, " \t\r\n\f\v")
		end := ""
		switch {
		case strings.HasPrefix(query, "--"), strings.HasPrefix(query, "#"):
			end = "\n"
		case strings.HasPrefix(query, "/*"):
			end = "*/"
		default:
			const word = "INSERT"
			return len(query) > len(word) && strings.EqualFold(query[:len(word)], word) &&
				strings.ContainsAny(query[len(word):len(word)+1], " \t\r\n\f\v/-")
		}
		_, rest, found := strings.Cut(query, end)
		if !found {
			return false
		}
		query = rest
	}
}

// insertsInto reports whether the query of a request, which stands in its address,
// is an insert into a table.
func insertsInto(r *http.Request, table string) bool {
	query := r.URL.Query().Get("query")
	return insertsFirst(query) && strings.Contains(query, table)
}
