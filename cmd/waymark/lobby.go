package main

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// lobby answers a listener while the process is not ready to: with 503 and the
// reasons, so that a load balancer sees one that starts and not one that hangs.
// A node without a number or links may wait for Kafka for hours.
type lobby struct {
	listener *net.TCPListener
	server   *http.Server
	closed   chan struct{}
}

func openLobby(listener net.Listener, ready *readiness) *lobby {
	l := &lobby{listener: listener.(*net.TCPListener), closed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeReadiness(w, ready)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "starting, try again", http.StatusServiceUnavailable)
	})
	l.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	l.server.SetKeepAlivesEnabled(false) // or the connections would outlive the lobby
	go func() {
		defer close(l.closed)
		l.server.Serve(keptListener{l.listener})
	}()
	return l
}

// close ends the lobby and leaves the listener to the next server.
func (l *lobby) close() error {
	if err := l.listener.SetDeadline(time.Now()); err != nil {
		return fmt.Errorf("take the listener over: %w", err)
	}
	<-l.closed
	if err := l.listener.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("take the listener over: %w", err)
	}
	return nil
}

// keptListener stays open when its server closes it, and reports a deadline as
// the end.
type keptListener struct{ *net.TCPListener }

func (l keptListener) Accept() (net.Conn, error) {
	conn, err := l.TCPListener.Accept()
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return nil, net.ErrClosed
	}
	return conn, err
}

func (keptListener) Close() error { return nil }
