package engine

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// binding is the part of libchdb's C interface (chdb.h) that the server needs. Handles are opaque C pointers, kept as
// uintptr so that the garbage collector never looks at them.
//
// purego, and not cgo, because the library is found when the program starts and not when it is built: a cgo binary
// would refuse to start (even for `waymark edge`) on a machine that has no libchdb.
type binding struct {
	connect       func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn     func(handle unsafe.Pointer)
	query         queryFunc
	streamQuery   queryFunc
	streamFetch   func(conn, stream uintptr) uintptr
	streamCancel  func(conn, stream uintptr)
	destroyResult func(result uintptr)

	resultBuffer      func(result uintptr) unsafe.Pointer
	resultLength      func(result uintptr) uintptr
	resultElapsed     func(result uintptr) float64
	resultRows        func(result uintptr) uint64
	resultReadRows    func(result uintptr) uint64
	resultReadBytes   func(result uintptr) uint64
	resultWrittenRows func(result uintptr) uint64
	resultWritten     func(result uintptr) uint64
	resultError       func(result uintptr) unsafe.Pointer
}

// queryFunc is chdb_query_with_params_n or its streaming twin: connection, statement, format, and parallel arrays of
// parameter names and values, every string with its length.
type queryFunc func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr,
	names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr

// loadBinding maps the library into the process and resolves its functions. The library is never unloaded: its threads
// and its exit handlers outlive every connection.
func loadBinding(path string) (*binding, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load the engine library %s: %w", path, err)
	}
	b := new(binding)
	for name, fn := range map[string]any{
		"chdb_connect":                    &b.connect,
		"chdb_close_conn":                 &b.closeConn,
		"chdb_query_with_params_n":        &b.query,
		"chdb_stream_query_with_params_n": &b.streamQuery,
		"chdb_stream_fetch_result":        &b.streamFetch,
		"chdb_stream_cancel_query":        &b.streamCancel,
		"chdb_destroy_query_result":       &b.destroyResult,
		"chdb_result_buffer":              &b.resultBuffer,
		"chdb_result_length":              &b.resultLength,
		"chdb_result_elapsed":             &b.resultElapsed,
		"chdb_result_rows_read":           &b.resultRows,
		"chdb_result_storage_rows_read":   &b.resultReadRows,
		"chdb_result_storage_bytes_read":  &b.resultReadBytes,
		"chdb_result_rows_written":        &b.resultWrittenRows,
		"chdb_result_bytes_written":       &b.resultWritten,
		"chdb_result_error":               &b.resultError,
	} {
		symbol, err := purego.Dlsym(lib, name)
		if err != nil {
			return nil, fmt.Errorf("load the engine library %s: it lacks %s; waymark is built for chdb %s: %w", path, name, libraryVersion, err)
		}
		purego.RegisterFunc(fn, symbol)
	}
	return b, nil
}

// param is one value of a parameterised query, in ClickHouse's escaped text form (a tab is `\t`, a null `\N`).
type param struct{ name, value string }

// open connects with the arguments of a ClickHouse command line and boots the engine when this is the first connection
// of the process. The engine has one storage path per process.
func (b *binding) open(args ...string) (*connection, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	for _, arg := range append([]string{"waymark"}, args...) {
		c := append([]byte(arg), 0)
		pin.Pin(&c[0])
		argv = append(argv, unsafe.Pointer(&c[0]))
	}
	argv = append(argv, nil)
	pin.Pin(&argv[0])
	handle := b.connect(int32(len(args)+1), unsafe.Pointer(&argv[0]))
	if handle == nil {
		return nil, errors.New("the engine refused the connection")
	}
	return &connection{b: b, handle: handle, conn: *(*uintptr)(handle)}, nil
}

// connection is a session of the engine. It runs one statement at a time; its methods must not be called concurrently.
type connection struct {
	b      *binding
	handle unsafe.Pointer // chdb_connection *, for closing
	conn   uintptr        // chdb_connection, for everything else
}

// close ends the session; closing the last one of the process shuts the engine down. Nothing may be running on it.
func (c *connection) close() { c.b.closeConn(c.handle) }

// run executes one statement and materialises its result, which the caller frees. A statement that fails gives an
// *Exception and no result.
func (c *connection) run(sql, format string, params []param) (*result, error) {
	return c.call(c.b.query, sql, format, params)
}

// stream starts a SELECT whose result is fetched in chunks. The caller closes the stream.
func (c *connection) stream(sql, format string, params []param) (*stream, error) {
	head, err := c.call(c.b.streamQuery, sql, format, params)
	if err != nil {
		return nil, err
	}
	return &stream{c: c, head: head}, nil
}

func (c *connection) call(query queryFunc, sql, format string, params []param) (*result, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	text := func(s string) unsafe.Pointer {
		b := append([]byte(s), 0)
		pin.Pin(&b[0])
		return unsafe.Pointer(&b[0])
	}
	n := len(params)
	// One spare element each, so that an empty list has an address too.
	names, values := make([]unsafe.Pointer, n+1), make([]unsafe.Pointer, n+1)
	nameLens, valueLens := make([]uintptr, n+1), make([]uintptr, n+1)
	for i, p := range params {
		names[i], nameLens[i] = text(p.name), uintptr(len(p.name))
		values[i], valueLens[i] = text(p.value), uintptr(len(p.value))
	}
	for _, list := range [][]unsafe.Pointer{names, values} {
		pin.Pin(&list[0])
	}
	for _, list := range [][]uintptr{nameLens, valueLens} {
		pin.Pin(&list[0])
	}
	r := query(c.conn, text(sql), uintptr(len(sql)), text(format), uintptr(len(format)),
		unsafe.Pointer(&names[0]), unsafe.Pointer(&nameLens[0]), unsafe.Pointer(&values[0]), unsafe.Pointer(&valueLens[0]), uintptr(n))
	return c.b.wrap(r)
}

// wrap turns a result handle into a result, or into the error that it carries.
func (b *binding) wrap(handle uintptr) (*result, error) {
	if handle == 0 {
		return nil, errors.New("the engine returned no result")
	}
	r := &result{b: b, handle: handle}
	if text := b.resultError(handle); text != nil {
		err := parseException(cString(text))
		r.free()
		return nil, err
	}
	return r, nil
}

// result is one materialised result, or one chunk of a stream.
type result struct {
	b      *binding
	handle uintptr
}

// bytes is the formatted result. It points into the engine's memory and is valid until free.
func (r *result) bytes() []byte {
	n := r.b.resultLength(r.handle)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(r.b.resultBuffer(r.handle)), int(n))
}

func (r *result) free() { r.b.destroyResult(r.handle) }

// summary counts what a materialised statement did.
func (r *result) summary() summary {
	return summary{
		readRows:     r.b.resultReadRows(r.handle),
		readBytes:    r.b.resultReadBytes(r.handle),
		writtenRows:  r.b.resultWrittenRows(r.handle),
		writtenBytes: r.b.resultWritten(r.handle),
		resultRows:   r.b.resultRows(r.handle),
		resultBytes:  uint64(r.b.resultLength(r.handle)),
		elapsed:      time.Duration(r.b.resultElapsed(r.handle) * float64(time.Second)),
	}
}

// stream is a running SELECT.
type stream struct {
	c    *connection
	head *result
}

// next gives the next chunk, which the caller frees, or nil at the end.
func (s *stream) next() (*result, error) {
	r, err := s.c.b.wrap(s.c.b.streamFetch(s.c.conn, s.head.handle))
	if err != nil {
		return nil, err
	}
	if s.c.b.resultLength(r.handle) == 0 {
		r.free()
		return nil, nil
	}
	return r, nil
}

// close frees the stream, cancelling the query if the stream has not been read to its end.
func (s *stream) close(finished bool) {
	if !finished {
		s.c.b.streamCancel(s.c.conn, s.head.handle)
	}
	s.head.free()
}

// cString copies a NUL-terminated string of the engine.
func cString(p unsafe.Pointer) string {
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// exec executes a statement for its effect.
func (c *connection) exec(sql string) error {
	r, err := c.run(sql, "Null", nil)
	if err == nil {
		r.free()
	}
	return err
}
