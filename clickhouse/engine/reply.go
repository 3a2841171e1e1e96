package engine

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// summary counts what a statement did, for the X-ClickHouse-Summary header.
type summary struct {
	readRows, readBytes       uint64
	writtenRows, writtenBytes uint64
	resultRows, resultBytes   uint64
	elapsed                   time.Duration
}

// String is ClickHouse's JSON for it: numbers as strings.
func (s summary) String() string {
	return fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d","elapsed_ns":"%d"}`,
		s.readRows, s.readBytes, s.writtenRows, s.writtenBytes, s.resultRows, s.resultBytes, s.elapsed.Nanoseconds())
}

// reply writes the answer to one request: begin, any number of Writes, end; or fail at any moment.
type reply struct {
	http     http.ResponseWriter
	q        *request // nil when the request could not be read
	version  string
	tag      string
	began    bool
	encoding io.WriteCloser // HTTP compression, or nil
	plain    io.Writer      // below ClickHouse's compression
	out      io.Writer      // what the rows go through
}

// begin sends the header. format is that of the rows.
func (p *reply) begin(format string, s summary) {
	p.began = true
	p.tag = strings.ToLower(rand.Text()[:16])
	h := p.http.Header()
	h.Set("Content-Type", contentType(format))
	h.Set("X-ClickHouse-Format", format)
	h.Set("X-ClickHouse-Summary", s.String())
	h.Set("X-ClickHouse-Exception-Tag", p.tag)
	p.plain = p.http
	if name, w := encode(p.http, p.q.acceptEncoding); w != nil {
		h.Set("Content-Encoding", name)
		p.encoding, p.plain = w, w
	}
	p.out = p.plain
	if p.q.packed {
		p.out = newFrameWriter(p.plain, p.q.packMethod)
	}
}

func (p *reply) Write(rows []byte) (int, error) { return p.out.Write(rows) }

// end completes the answer.
func (p *reply) end() error {
	if p.encoding != nil {
		return p.encoding.Close()
	}
	return nil
}

// fail answers with an exception. Once rows have been sent the status is gone, so the exception is framed behind them, with
// the tag that the header announced, and the connection is cut to make the answer incomplete:
//
//	\r\n__exception__\r\n TAG \r\n message \n length-of-message SPACE TAG \r\n__exception__\r\n
func (p *reply) fail(err error) {
	e := asException(err)
	message := fmt.Sprintf("%s (version %s)\n", e.Message, p.version)
	if p.began {
		fmt.Fprintf(p.plain, "\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n", p.tag, message, len(message), p.tag)
		p.end()
		http.NewResponseController(p.http).Flush()
		panic(http.ErrAbortHandler)
	}
	h := p.http.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", fmt.Sprint(e.Code))
	h.Del("Content-Encoding")
	status := httpStatus(e.Code)
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	p.http.WriteHeader(status)
	var out io.Writer = p.http
	if p.q != nil && p.q.packed {
		out = newFrameWriter(p.http, p.q.packMethod)
	}
	io.WriteString(out, message)
}

// contentType is what ClickHouse sends with a format.
func contentType(format string) string {
	switch {
	case isLineJSON(format):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	case format == "CSV":
		return "text/csv; charset=UTF-8; header=absent"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8; header=present"
	case format == "XML":
		return "application/xml; charset=UTF-8"
	case format == "HTML":
		return "text/html; charset=UTF-8"
	case strings.HasPrefix(format, "Native"), strings.HasPrefix(format, "RowBinary"), strings.HasPrefix(format, "Arrow"),
		format == "Parquet", format == "ORC", format == "Avro", format == "MsgPack", format == "Npy", format == "BSONEachRow",
		strings.HasPrefix(format, "Protobuf"), strings.HasPrefix(format, "CapnProto"), format == "RawBLOB":
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}

func isLineJSON(format string) bool {
	switch format {
	case "JSONEachRow", "JSONCompactEachRow", "JSONStringsEachRow", "JSONCompactStringsEachRow", "JSONLines", "NDJSON":
		return true
	}
	return false
}

// streams tells whether the chunks of a stream in this format make one well-formed whole. The engine formats every chunk by
// itself, so formats with a header, a footer or anything between rows are not among them.
func streams(format string) bool {
	switch format {
	case "Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary":
		return true
	}
	return isLineJSON(format)
}
