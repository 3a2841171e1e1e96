package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	purgeEvery = time.Minute
	// killGrace is how long statements may take to notice that they are cancelled.
	killGrace = 3 * time.Second
)

// Serve runs the engine in this process until ctx ends, and then stops it in order: statements have StopGrace to finish,
// are cancelled then, and the data is closed. It can be called once in a process, since the engine's library is never
// unloaded. Standard input becomes /dev/null.
//
// It returns nil after an orderly stop. Errors before it serves name what the user can change: a port that is taken, a
// directory that is locked or not writable, a library that is missing.
func Serve(ctx context.Context, options Options) error {
	if err := options.check(); err != nil {
		return err
	}
	options = options.withDefaults()
	library, err := options.library()
	if err != nil {
		return err
	}
	unlock, err := lockDir(options.Path)
	if err != nil {
		return err
	}
	defer unlock()
	// Listening comes before the data is opened: a taken port is found in no time, and clients wait instead of failing.
	listener, err := listen(options.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	uploads, err := emptyDir(filepath.Join(options.Path, "uploads"))
	if err != nil {
		return err
	}
	report, err := repair(options.Path)
	if err != nil {
		return err
	}
	if report.TornLines+report.Forgotten+report.SetAside > 0 {
		options.Logger.Warn("engine was killed: its deduplication logs are repaired", "tables", report.Tables,
			"torn_lines", report.TornLines, "blocks_forgotten", report.Forgotten, "logs_set_aside", report.SetAside)
	}
	st, err := openStorage(library, options.Path)
	if err != nil {
		return err
	}
	options.Logger.Info("engine is ready", "address", listener.Addr().String(), "version", st.version, "path", options.Path)
	return newServer(options, st, uploads).run(ctx, listener)
}

func (o Options) library() (string, error) {
	if o.Library != "" {
		return o.Library, nil
	}
	return FindLibrary()
}

// run serves until ctx ends, and closes the storage.
func (s *server) run(ctx context.Context, listener net.Listener) error {
	statements, cancelStatements := context.WithCancel(context.Background())
	defer cancelStatements()
	front := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    1 << 20, // as http_max_uri_size
		BaseContext:       func(net.Listener) context.Context { return statements },
		ErrorLog:          slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- front.Serve(listener) }()
	s.options.Ready(listener.Addr().String())

	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	for {
		select {
		case <-purge.C:
			if err := s.storage.purge(); err != nil {
				s.options.Logger.Warn("give the engine's spare memory back", "err", err)
			}
		case err := <-served:
			return fmt.Errorf("serve the engine on %s: %w", listener.Addr(), err)
		case <-ctx.Done():
			return s.stop(front, cancelStatements)
		}
	}
}

// stop ends the server in order. Statements that outlive even their cancelling make it leave the engine as it is: closing
// a session at work aborts the process, and what is committed survives its end anyway.
func (s *server) stop(front *http.Server, cancelStatements func()) error {
	grace, done := context.WithTimeout(context.Background(), s.options.StopGrace)
	defer done()
	err := front.Shutdown(grace)
	cancelStatements()
	if err != nil {
		last, done := context.WithTimeout(context.Background(), killGrace)
		defer done()
		if err := front.Shutdown(last); err != nil {
			s.options.Logger.Warn("stop the engine with statements still at work", "err", err)
			return nil
		}
	}
	s.storage.close()
	return nil
}

// lockDir creates the data directory and locks it for this process.
func lockDir(path string) (unlock func(), err error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("create the engine's data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "engine.lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("write to the engine's data directory: %w", err)
	}
	if err := soon(func() error { return lockFile(f) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the engine's data in %s: another waymark is running on it: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// soon tries f for up to a second: a killed engine keeps its lock and its port for a moment, and is often started again
// at once.
func soon(f func() error) error {
	deadline := time.Now().Add(time.Second)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) || !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func listen(address string) (net.Listener, error) {
	var listener net.Listener
	err := soon(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen for ClickHouse clients on %s: the port is taken; choose another with --clickhouse-listen", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for ClickHouse clients: %w", err)
	}
	return listener, nil
}

// emptyDir creates a directory, or empties it.
func emptyDir(path string) (string, error) {
	if err := os.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("empty the engine's upload directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o750); err != nil {
		return "", fmt.Errorf("create the engine's upload directory: %w", err)
	}
	return filepath.Abs(path)
}
