package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"waymark/clickhouse"
)

// readiness collects the reasons why a process should get no work, from each
// of its parts, and what an operator should know although it does work. It is
// safe for concurrent use.
type readiness struct {
	mu       sync.Mutex
	starting string // the reason until the process has started, then ""
	checks   []func() []string
	remarks  []func() []string
}

// newReadiness is that of a process that starts: part is not ready until
// started is called.
func newReadiness(part string) *readiness { return &readiness{starting: part + ": is starting"} }

// stuck says why starting takes its time.
func (r *readiness) stuck(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	part, _, _ := strings.Cut(r.starting, ":")
	r.starting = part + ": is starting: " + reason
}

// started leaves the verdict to the parts.
func (r *readiness) started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = ""
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

// remark takes what is no reason against the process, but worth knowing.
func (r *readiness) remark(remarks func() []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remarks = append(r.remarks, remarks)
}

// notes are the remarks of all parts.
func (r *readiness) notes() []string {
	r.mu.Lock()
	remarks := r.remarks
	r.mu.Unlock()
	var notes []string
	for _, remark := range remarks {
		notes = append(notes, remark()...)
	}
	return notes
}

func (r *readiness) reasons() []string {
	r.mu.Lock()
	starting, checks := r.starting, r.checks
	r.mu.Unlock()
	var reasons []string
	if starting != "" {
		reasons = append(reasons, starting)
	}
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

// watchClickHouse makes /readyz say that ClickHouse is away, also while nothing
// is asked of it, until the context ends.
func watchClickHouse(ctx context.Context, database *clickhouse.DB, ready *readiness) {
	answers := &probe{ask: database.Ping}
	go answers.run(ctx)
	ready.addErr("clickhouse", answers.trouble)
}

// newRegistry is a registry with the metrics of build, process and runtime.
func newRegistry() *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "waymark_build_info", Help: "1, with the version in the labels.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
		writeReadiness(w, ready)
	})
	slog.Info("serving metrics", "metrics", listener.Addr().String())
	go serveHTTP(ctx, listener, mux)
	return nil
}

// writeReadiness answers in the form of the edge's own /readyz.
func writeReadiness(w http.ResponseWriter, ready *readiness) {
	reasons := append([]string{}, ready.reasons()...)
	state := map[string]any{"ready": len(reasons) == 0, "reasons": reasons}
	if notes := ready.notes(); len(notes) > 0 {
		state["notes"] = notes
	}
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(state)
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
