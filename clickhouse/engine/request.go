package engine

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sort"
	"strings"
)

const (
	// statementBytesMax bounds the SQL of a request; the data of an INSERT is not part of it.
	statementBytesMax = 16 << 20
	formBytesMax      = 32 << 20 // of a multipart form kept in memory; more of it goes to files
)

// request is what a client asks for over HTTP.
type request struct {
	user      User
	statement statement
	data      io.Reader // of an INSERT, behind the statement

	database string
	format   string // where the statement has no FORMAT
	settings []setting
	readonly string // "1", "2" or "" for a session that may change everything
	params   []param
	tables   []externalTable

	queryID        string
	wait           bool   // wait_end_of_query: answer nothing before everything is known
	packed         bool   // compress: frames of ClickHouse's own compression
	packMethod     string // network_compression_method
	acceptEncoding string // "" unless enable_http_compression
	helloRevision  int    // client_protocol_version
}

type setting struct{ name, value string }

// externalTable is data sent along with a query, which reads it as a table of that name.
type externalTable struct {
	name, format, structure string
	data                    io.Reader
}

// notSettings are the parameters of ClickHouse's HTTP interface that mean something to the front or nothing at all;
// any other one is a setting. There are no sessions here, so session_id and its kin are accepted and do nothing: clients
// that make one up for every connection shall work, and those that rely on it see their temporary table missing.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "user": true, "password": true, "quota_key": true,
	"query_id": true, "compress": true, "decompress": true, "wait_end_of_query": true, "buffer_size": true,
	"stacktrace": true, "role": true, "session_id": true, "session_timeout": true, "session_check": true,
	"close_session": true, "client_protocol_version": true, "log_comment": true,
}

// readRequest reads everything but an INSERT's data.
func readRequest(user User, r *http.Request) (*request, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, exceptionf(36, "BAD_ARGUMENTS", "Cannot read the parameters of the URL: %v", err)
	}
	body, files, err := readBody(r, values)
	if err != nil {
		return nil, err
	}
	first := func(header, name string) string {
		if v := r.Header.Get(header); v != "" {
			return v
		}
		return values.Get(name)
	}
	q := &request{
		user:       user,
		database:   first("X-ClickHouse-Database", "database"),
		format:     first("X-ClickHouse-Format", "default_format"),
		queryID:    values.Get("query_id"),
		wait:       isTrue(values.Get("wait_end_of_query")),
		packed:     isTrue(values.Get("compress")),
		packMethod: values.Get("network_compression_method"),
	}
	if q.format == "" {
		q.format = "TabSeparated"
	}
	if isTrue(values.Get("enable_http_compression")) {
		q.acceptEncoding = r.Header.Get("Accept-Encoding")
	}
	fmt.Sscan(values.Get("client_protocol_version"), &q.helloRevision)
	q.readSettings(values, files, r.Method == http.MethodGet || r.Method == http.MethodHead)
	for name, data := range files {
		q.tables = append(q.tables, externalTable{name, values.Get(name + "_format"), values.Get(name + "_structure"), data})
	}

	source := body
	if sql := values.Get("query"); sql != "" {
		source = io.MultiReader(strings.NewReader(sql+"\n"), body)
	}
	q.statement, q.data, err = readStatement(source)
	return q, err
}

// readSettings takes what is left of the parameters. GET is read-only, as in ClickHouse, but may choose settings; a
// read-only user may send them too (ClickHouse would refuse), since most clients do without being asked.
func (q *request) readSettings(values url.Values, files map[string]io.Reader, get bool) {
	for name := range values {
		if after, ok := strings.CutPrefix(name, "param_"); ok {
			q.params = append(q.params, param{after, values.Get(name)})
			continue
		}
		if notSettings[name] || name == "readonly" || name == "" || describesTable(name, files) {
			continue
		}
		q.settings = append(q.settings, setting{name, values.Get(name)})
	}
	sort.Slice(q.settings, func(i, j int) bool { return q.settings[i].name < q.settings[j].name })
	switch readonly := values.Get("readonly"); {
	case q.user.ReadOnly || readonly == "1":
		q.readonly = "1"
	case get || readonly == "2":
		q.readonly = "2"
	}
}

// describesTable tells whether a parameter belongs to one of the tables sent along.
func describesTable(name string, files map[string]io.Reader) bool {
	for _, suffix := range []string{"_format", "_structure"} {
		if table, ok := strings.CutSuffix(name, suffix); ok && files[table] != nil {
			return true
		}
	}
	return false
}

// readBody undoes what the client did to the body. The fields of a multipart form join the values; its files are given
// by name.
func readBody(r *http.Request, values url.Values) (io.Reader, map[string]io.Reader, error) {
	body, err := decode(r.Body, r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, nil, fmt.Errorf("begin to unpack the request: %w", err)
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		r.Body = io.NopCloser(body)
		files, err := readForm(r, values)
		return strings.NewReader(""), files, err
	}
	if isTrue(values.Get("decompress")) {
		body = &frameReader{src: body}
	}
	return body, nil, nil
}

func readForm(r *http.Request, values url.Values) (map[string]io.Reader, error) {
	if err := r.ParseMultipartForm(formBytesMax); err != nil {
		return nil, exceptionf(36, "BAD_ARGUMENTS", "Cannot read the form: %v", err)
	}
	files := make(map[string]io.Reader)
	for name, list := range r.MultipartForm.Value {
		// clickhouse-go sends tables without a file name, which makes them look like fields.
		if values.Has(name + "_structure") {
			files[name] = strings.NewReader(list[0])
			continue
		}
		values[name] = list
	}
	for name, list := range r.MultipartForm.File {
		file, err := list[0].Open()
		if err != nil {
			return nil, fmt.Errorf("open file %s of the form: %w", name, err)
		}
		files[name] = file
	}
	return files, nil
}

// readStatement reads from src until it has the whole statement, which for anything but an INSERT with data is all of it.
// The rest is the data.
func readStatement(src io.Reader) (statement, io.Reader, error) {
	// What begins the data (a line end, say) must have arrived before it can be told from the data.
	const margin = 64
	var buf []byte
	for size := 64 << 10; ; size *= 2 {
		_, err := io.CopyN(appender{&buf}, src, int64(size-len(buf)))
		if err != nil && err != io.EOF {
			return statement{}, nil, fmt.Errorf("read the statement: %w", err)
		}
		whole := err == io.EOF
		st, parseErr := parseStatement(buf)
		if parseErr == nil && st.insert != nil && (whole || st.insert.data+margin < len(buf)) {
			return st, io.MultiReader(bytes.NewReader(buf[st.insert.data:]), src), nil
		}
		if whole {
			return st, nil, parseErr
		}
		if size >= statementBytesMax {
			return st, nil, exceptionf(codeQueryTooLarge, "QUERY_IS_TOO_LARGE", "The statement is longer than %d bytes", statementBytesMax)
		}
	}
}

// appender writes to the end of a slice.
type appender struct{ buf *[]byte }

func (a appender) Write(p []byte) (int, error) {
	*a.buf = append(*a.buf, p...)
	return len(p), nil
}

func isTrue(v string) bool { return v == "1" || strings.EqualFold(v, "true") }
