package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness collects the reasons why a process should get no work, from each
// of its parts. It is safe for concurrent use.
type readiness struct {
	mu     sync.Mutex
	checks []func() []string
}

// add takes a part's check, which returns the reasons against, none if there
// are none.
func (r *readiness) add(check func() []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, check)
}

// addErr is add for parts that know one error.
func (r *readiness) addErr(part string, check func() error) {
	r.add(func() []string {
		if err := check(); err != nil {
			return []string{part + ": " + err.Error()}
		}
		return nil
	})
}

func (r *readiness) reasons() []string {
	r.mu.Lock()
	checks := r.checks
	r.mu.Unlock()
	var reasons []string
	for _, check := range checks {
		reasons = append(reasons, check()...)
	}
	return reasons
}

// probe asks a part again and again whether it answers, so that /readyz knows
// without waiting for one that hangs.
type probe struct {
	ask func(context.Context) error
	err atomic.Pointer[error]
}

const (
	probeInterval = time.Second
	probeTimeout  = 3 * time.Second
)

// run probes until the context ends.
func (p *probe) run(ctx context.Context) error {
	for {
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		err := p.ask(asking)
		cancel()
		p.err.Store(&err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(probeInterval):
		}
	}
}

// trouble is why the part did not answer the last time, nil if it did.
func (p *probe) trouble() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	return errors.New("has not been asked yet")
}

// newRegistry is a registry with the metrics of process and runtime.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// serveMetrics answers /metrics, /healthz and /readyz until the context ends.
// It does nothing without an address.
func (f *metricsFlags) serve(ctx context.Context, registry *prometheus.Registry, ready *readiness) error {
	if f.Metrics == "" {
		return nil
	}
	listener, err := listen("metrics", f.Metrics)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeReadiness(w, ready.reasons())
	})
	go serveHTTP(ctx, listener, mux)
	return nil
}

// writeReadiness answers in the form of the edge's own /readyz.
func writeReadiness(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(map[string]any{"ready": len(reasons) == 0, "reasons": append([]string{}, reasons...)})
}

// serveHTTP serves until the context ends, then lets requests finish.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(grace)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	<-stopped
	return nil
}
