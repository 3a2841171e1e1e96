package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// server speaks ClickHouse's HTTP interface for the engine.
type server struct {
	options Options
	storage *storage
	metrics *metrics
	uploads string // directory for uploads too large for memory

	// admitted holds a place for every request from its first byte to its last: what is running, and what waits or
	// uploads. It bounds the memory of uploads. When it is full a request is refused.
	admitted chan struct{}
	// running holds a place for every statement that the engine works on. When it is full requests wait.
	running chan struct{}
}

func newServer(options Options, st *storage, uploads string) *server {
	return &server{
		options: options, storage: st, metrics: newMetrics(options.Metrics), uploads: uploads,
		admitted: make(chan struct{}, options.QueriesMax+options.QueueMax),
		running:  make(chan struct{}, options.QueriesMax),
	}
}

// ServeHTTP routes like ClickHouse: the health checks answer to anyone, a query asks who it is.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", s.storage.displayName)
	if name := instance(); name != "" {
		w.Header().Set(instanceHeader, name)
	}
	switch {
	case r.URL.Path == "/ping" || r.URL.Path == "/replicas_status":
		writeText(w, http.StatusOK, "Ok.\n")
	case r.URL.Path != "/" && r.URL.Path != "/query":
		writeText(w, http.StatusNotFound, fmt.Sprintf("There is no handle %s\n\nUse / or /ping for health checks.\nUse POST with the statement in the body, or GET with it in the parameter query.\n", r.URL.Path))
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !r.URL.Query().Has("query"):
		writeText(w, http.StatusOK, "Ok.\n")
	case r.Method == http.MethodGet || r.Method == http.MethodPost:
		s.serveQuery(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		writeText(w, http.StatusMethodNotAllowed, fmt.Sprintf("Method %s is not supported: use GET or POST\n", r.Method))
	}
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	fmt.Fprint(w, text)
}

// serveQuery answers one statement, with an exception if need be.
func (s *server) serveQuery(w http.ResponseWriter, r *http.Request) {
	p := &reply{http: w, version: s.storage.version}
	start := time.Now()
	err := s.query(p, r)
	s.metrics.query(time.Since(start), err)
	if err == nil {
		return
	}
	if r.Context().Err() != nil {
		s.options.Logger.Debug("client of the engine went away", "err", err)
		panic(http.ErrAbortHandler)
	}
	p.fail(err)
}

// query reads, admits and runs a request.
func (s *server) query(p *reply, r *http.Request) (err error) {
	defer recoverQuery(s, &err)
	select {
	case s.admitted <- struct{}{}:
		defer func() { <-s.admitted }()
	default:
		return exceptionf(codeTooManyQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many requests: %d are running or waiting", cap(s.admitted))
	}
	user, err := authenticate(r.Context(), s.options.Users, s.options.Others, r)
	if err != nil {
		return err
	}
	q, err := readRequest(user, r)
	if err != nil {
		return err
	}
	p.q = q
	if q.queryID == "" {
		q.queryID = rand.Text()
	}
	h := p.http.Header()
	h.Set("X-ClickHouse-Query-Id", q.queryID)
	h.Set("X-ClickHouse-Timezone", s.storage.timezone)
	if user.ReadOnly {
		if err := guard(q.statement, s.storage.tableFunctions); err != nil {
			return err
		}
		if len(q.tables) > 0 {
			// Their structure is SQL too, and may call functions.
			return exceptionf(codeReadonly, "READONLY", "Cannot send tables along with a query in readonly mode")
		}
	}
	if user.Rows != nil {
		if err := guardRows(q, s.storage.functions, s.storage.tableFunctions); err != nil {
			return err
		}
	}
	if q.isHello() {
		block, err := s.storage.hello(q.helloRevision)
		if err != nil {
			return err
		}
		return p.whole("Native", summary{resultRows: 1}, block)
	}
	return s.execute(r.Context(), p, q)
}

// recoverQuery turns a panic of our own into an error: one bad request must not end the engine.
func recoverQuery(s *server, err *error) {
	v := recover()
	if v == nil {
		return
	}
	s.options.Logger.Error("engine request panicked", "panic", v, "stack", string(debug.Stack()))
	*err = fmt.Errorf("BUG: the engine's front failed: %v", v)
}

// execute uploads what there is to upload, waits for a place and runs the statement in a session of its own.
func (s *server) execute(ctx context.Context, p *reply, q *request) error {
	sql := q.statement.text
	if q.statement.insert != nil {
		data, err := receive(q.data, s.uploads, uploadMemoryBytesMax)
		if err != nil {
			return fmt.Errorf("receive the data of an INSERT: %w", err)
		}
		defer data.close()
		s.metrics.uploaded(data.bytes)
		sql = q.statement.from(data.path())
	}
	if err := s.wait(ctx); err != nil {
		return err
	}
	defer func() { <-s.running }()

	c, err := s.storage.session()
	if err != nil {
		return err
	}
	defer c.close()
	tag := "waymark-" + rand.Text()
	if err := s.prepare(c, q, tag); err != nil {
		return err
	}
	defer s.killWhenDone(ctx, tag)()

	if q.statement.selects && !q.wait && !q.statement.totals && streams(q.outputFormat()) && !q.has("extremes") {
		return streamRows(c, p, q, sql)
	}
	r, err := c.run(sql, q.format, q.params)
	if err != nil {
		return err
	}
	defer r.free()
	return p.whole(q.outputFormat(), r.summary(), r.bytes())
}

// outputFormat is the format of the rows.
func (q *request) outputFormat() string {
	if q.statement.format != "" {
		return q.statement.format
	}
	return q.format
}

func (q *request) has(name string) bool {
	for _, s := range q.settings {
		if s.name == name {
			return true
		}
	}
	return false
}

// wait takes a place among the running statements.
func (s *server) wait(ctx context.Context) error {
	timer := time.NewTimer(s.options.QueueWait)
	defer timer.Stop()
	select {
	case s.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return exceptionf(codeTooManyQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "Waited %v for one of %d places", s.options.QueueWait, cap(s.running))
	}
}

// prepare makes the session the request's own: database, settings, external tables.
func (s *server) prepare(c *connection, q *request, tag string) error {
	if q.database != "" {
		if err := c.exec("USE " + quoteName(q.database)); err != nil {
			return err
		}
	}
	if q.user.Rows != nil {
		if err := q.user.Rows.confine(c); err != nil {
			return fmt.Errorf("confine the session to the rows of %s: %w", q.user.Name, err)
		}
	}
	// Without implicit_select, `selec 1` would be taken for an expression; with async_insert an INSERT would answer
	// before its rows are there, and the deduplication of a token would be another. Of two values the last one holds.
	set := fmt.Sprintf("SET implicit_select = 0, async_insert = 0, max_memory_usage = %d, log_comment = %s", s.options.MemoryBytesMax, quoteString(tag))
	for _, setting := range q.settings {
		set += ", " + quoteName(setting.name) + " = " + quoteString(setting.value)
	}
	if err := c.exec(set); err != nil {
		return err
	}
	for _, table := range q.tables {
		if err := s.externalTable(c, table); err != nil {
			return err
		}
	}
	if q.readonly != "" {
		// The last one: after it no setting can be changed.
		return c.exec("SET readonly = " + q.readonly)
	}
	return nil
}

// externalTable makes a temporary table of data that came with the query.
func (s *server) externalTable(c *connection, table externalTable) error {
	data, err := receive(table.data, s.uploads, uploadMemoryBytesMax)
	if err != nil {
		return fmt.Errorf("receive the external table %s: %w", table.name, err)
	}
	defer data.close()
	format := table.format
	if format == "" {
		format = "TabSeparated"
	}
	return c.exec(fmt.Sprintf("CREATE TEMPORARY TABLE %s ENGINE = Memory AS SELECT * FROM file(%s, %s, %s, 'none')", quoteName(table.name),
		quoteString(data.path()), quoteString(format), quoteString(table.structure)))
}

// killWhenDone cancels the statement when ctx ends first. The function it gives must be called after the statement and
// returns once no more KILL will come: the session is closed next.
func (s *server) killWhenDone(ctx context.Context, tag string) func() {
	finished := make(chan struct{})
	var killing sync.WaitGroup
	killing.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer killing.Done()
		// Again and again: the statement may not have reached the engine yet, or may be between two of its steps.
		for {
			if err := s.storage.kill(tag); err != nil {
				s.options.Logger.Warn("cancel a statement of the engine", "err", err)
			}
			select {
			case <-finished:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() {
		close(finished)
		if stop() {
			killing.Done()
		}
		killing.Wait()
	}
}
