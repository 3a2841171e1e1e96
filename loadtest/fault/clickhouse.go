package fault

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
)

// ClickHouse stands in front of ClickHouse's HTTP interface and treats inserts
// badly when told to. All else, and inserts without a fault, pass as they come,
// in pieces: compression, formats, headers, trailers and cancellation. Its
// methods may be called from several goroutines.
//
// Faults add up: an insert meets all there are, the oldest first, until one
// keeps it from the server.
type ClickHouse struct {
	gate   *gate
	server *http.Server
	proxy  *httputil.ReverseProxy
	struck atomic.Int64

	named    string // a table; "" for none
	nameless atomic.Int64

	mu       sync.Mutex
	upstream string
	faults   []*insertFault
}

// insertFault is what happens to an insert. It calls next to have it carried out
// and the answer written, perhaps with another writer or request, or does not.
type insertFault func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)

// NewClickHouse starts a proxy from listen (host:port, port 0 takes a free one)
// to upstream (host:port), which may be "" until SetUpstream is called.
func NewClickHouse(listen, upstream string) (*ClickHouse, error) {
	gate, err := newGate(listen)
	if err != nil {
		return nil, err
	}
	c := &ClickHouse{gate: gate, upstream: upstream}
	c.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", c.target()
			r.Out.URL.RawQuery = r.In.URL.RawQuery // to the byte
		},
		Transport: &http.Transport{
			// The client says which encodings it takes.
			DisableCompression: true,
			// A connection that was idle while the server was replaced would
			// fail a request that the new one could have answered.
			DisableKeepAlives: true,
		},
		ErrorLog: log.New(io.Discard, "", 0),
		// What the server can't answer ends as it does without a proxy: the
		// connection breaks.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	c.server = &http.Server{Handler: http.HandlerFunc(c.serve), ErrorLog: log.New(io.Discard, "", 0)}
	go c.server.Serve(gate)
	return c, nil
}

// Addr is the host:port that clients connect to.
func (c *ClickHouse) Addr() string { return c.gate.Addr().String() }

// SetUpstream sends requests elsewhere from now on.
func (c *ClickHouse) SetUpstream(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upstream = addr
}

func (c *ClickHouse) target() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.upstream
}

// Away cuts every connection and turns new ones away until it is called with
// false. What the server had in hand is cancelled.
func (c *ClickHouse) Away(on bool) { c.gate.refuse(on) }

// Struck is how many inserts faults have hit: a fault that hit nothing has
// proved nothing.
func (c *ClickHouse) Struck() int64 { return c.struck.Load() }

// Watch counts from now on the inserts into a table, named as in the query, that
// have no insert_deduplication_token. What ClickHouse makes of such an insert when
// it comes again shows nothing: it knows equal blocks by their checksum. But that
// is not the same in all versions of it, and of the program that sends the block.
func (c *ClickHouse) Watch(table string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.named = table
}

// Nameless is how many inserts without a token were seen.
func (c *ClickHouse) Nameless() int64 { return c.nameless.Load() }

// Close cuts every connection and stops listening.
func (c *ClickHouse) Close() error {
	err := c.server.Close()
	c.gate.refuse(true)
	return err
}

// add begins a fault.
func (c *ClickHouse) add(do insertFault) (lift func()) {
	f := &do // to be told from others
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, f)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.faults = slices.DeleteFunc(c.faults, func(other *insertFault) bool { return other == f })
	}
}

// serve passes a request on, an insert through the faults of the moment.
func (c *ClickHouse) serve(w http.ResponseWriter, r *http.Request) {
	handle := c.proxy.ServeHTTP
	if isInsert(r) {
		c.mu.Lock()
		faults, named := slices.Clone(c.faults), c.named
		c.mu.Unlock()
		if named != "" && insertsInto(r, named) && r.URL.Query().Get("insert_deduplication_token") == "" {
			c.nameless.Add(1)
		}
		for _, f := range slices.Backward(faults) {
			next := handle
			handle = func(w http.ResponseWriter, r *http.Request) { (*f)(w, r, next) }
		}
	}
	handle(w, r)
}
