package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"waymark/clickhouse"
)

// engineProcess is a ClickHouse engine of its own, with the schema and no rows.
type engineProcess struct {
	command  *exec.Cmd
	dir      string
	url      string
	password string
}

// startEngine starts `waymark engine` on an empty directory below dir.
func startEngine(ctx context.Context, binary, dir string) (_ *engineProcess, err error) {
	if dir, err = os.MkdirTemp(dir, "engine-"); err != nil {
		return nil, fmt.Errorf("make a directory for the engine: %w", err)
	}
	return openEngine(ctx, binary, dir)
}

// openEngine starts `waymark engine` on a directory that may have data.
func openEngine(ctx context.Context, binary, dir string) (_ *engineProcess, err error) {
	e := &engineProcess{dir: dir}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	e.url = "http://" + address
	if e.command, err = startProcess(binary, "engine", "--data", e.dir, "--clickhouse-listen", address); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.stop()
		}
	}()
	if err := eventually(ctx, e.ping); err != nil {
		return nil, fmt.Errorf("wait for the engine: %w", err)
	}
	password, err := os.ReadFile(filepath.Join(e.dir, "clickhouse.password"))
	if err != nil {
		return nil, fmt.Errorf("read the engine's password: %w", err)
	}
	e.password = strings.TrimSpace(string(password))
	database, err := clickhouse.Open(e.url, "waymark", e.password)
	if err != nil {
		return nil, err
	}
	defer database.Close()
	return e, database.Migrate(ctx, clickhouse.MigrateOptions{Embedded: true, Logger: slog.New(slog.DiscardHandler)})
}

func (e *engineProcess) ping() error {
	response, err := http.Get(e.url + "/ping")
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (e *engineProcess) pid() int { return e.command.Process.Pid }

// stop stops the engine and leaves its data.
func (e *engineProcess) stop() { endProcess(e.command) }

// close stops the engine and removes its data.
func (e *engineProcess) close() {
	e.stop()
	os.RemoveAll(e.dir)
}

// do runs a statement, with body behind it as the data of an INSERT, and
// returns what it answers, in tab-separated lines unless it says otherwise.
func (e *engineProcess) do(ctx context.Context, sql string, body io.Reader, settings map[string]string) (io.ReadCloser, error) {
	parameters := url.Values{"query": {sql}}
	for name, value := range settings {
		parameters.Set(name, value)
	}
	request, err := http.NewRequestWithContext(ctx, "POST", e.url+"/?"+parameters.Encode(), body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth("waymark", e.password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the engine: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
		return nil, fmt.Errorf("ask the engine: %s: %s", firstWords(sql), strings.TrimSpace(string(text)))
	}
	return response.Body, nil
}

func firstWords(sql string) string {
	words := strings.Fields(sql)
	return strings.Join(words[:min(len(words), 8)], " ")
}

// rows runs a query and returns its lines, cut at the tabs.
func (e *engineProcess) rows(ctx context.Context, sql string) ([][]string, error) {
	answer, err := e.do(ctx, sql, nil, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		return nil, fmt.Errorf("read the engine's answer: %w", err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}

func (e *engineProcess) exec(ctx context.Context, sql string) error {
	_, err := e.rows(ctx, sql)
	return err
}

// number is the first value of a query's answer.
func (e *engineProcess) number(ctx context.Context, sql string) (int64, error) {
	rows, err := e.rows(ctx, sql)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return 0, fmt.Errorf("ask the engine: %s: no answer", firstWords(sql))
	}
	return strconv.ParseInt(rows[0][0], 10, 64)
}

// settle waits until the engine has merged what it is going to merge: two
// seconds without a merge.
func (e *engineProcess) settle(ctx context.Context) error {
	for quiet := 0; quiet < 4; {
		merges, err := e.number(ctx, "SELECT count() FROM system.merges")
		if err != nil {
			return err
		}
		if quiet++; merges > 0 {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}
