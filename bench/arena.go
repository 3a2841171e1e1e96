package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const adminKey = "bench-admin-key"

// arena is the contestants and what they need, each a process of its own.
type arena struct {
	dir              string
	conns            int
	processes        []*exec.Cmd
	bare, edge       int // process ids
	bareURL, edgeURL target
	kafka            *kadm.Client
	answered         int64 // clicks so far
}

type target struct{ address, path string }

func startArena(ctx context.Context, o options) (_ *arena, err error) {
	dir, err := os.MkdirTemp("", "waymark-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	a := &arena{dir: dir, conns: o.Conns}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	broker, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if _, err := a.start(self, "--role", "broker", "--listen", broker, "--dir", filepath.Join(dir, "broker")); err != nil {
		return nil, err
	}
	if err := a.startWaymark(ctx, o.Binary, broker); err != nil {
		return nil, err
	}
	answer, err := sample(ctx, a.edgeURL)
	if err != nil {
		return nil, err
	}
	if a.bareURL.address, err = freeAddress(); err != nil {
		return nil, err
	}
	a.bareURL.path = a.edgeURL.path
	a.bare, err = a.start(self, "--role", "bare", "--listen", a.bareURL.address,
		"--location", answer.Get("Location"), "--cookie", answer.Get("Set-Cookie"))
	if err != nil {
		return nil, err
	}
	if _, err := eventualSample(ctx, a.bareURL); err != nil {
		return nil, fmt.Errorf("wait for bare fasthttp: %w", err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return nil, err
	}
	a.kafka = kadm.NewClient(client)
	// The edge has answered twice: when it became ready, and for the sample.
	return a, a.drained(ctx, 2)
}

// startWaymark starts an edge and, to make one link, an admin.
func (a *arena) startWaymark(ctx context.Context, binary, broker string) error {
	edge, err := freeAddress()
	if err != nil {
		return err
	}
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	data := filepath.Join(a.dir, "data")
	if err := os.Setenv("WAYMARK_ADMIN_KEY", adminKey); err != nil {
		return err
	}
	if a.edge, err = a.start(binary, "edge", "--data", data, "--kafka", broker, "--listen", edge); err != nil {
		return err
	}
	if _, err = a.start(binary, "admin", "--data", data, "--kafka", broker, "--admin", admin); err != nil {
		return err
	}
	if err := eventually(ctx, func() error { return createLink(ctx, admin) }); err != nil {
		return fmt.Errorf("create the link to follow: %w", err)
	}
	a.edgeURL = target{edge, "/bench"}
	_, err = eventualSample(ctx, a.edgeURL)
	return err
}

func createLink(ctx context.Context, admin string) error {
	body := `{"code":"bench","url":"https://shop.example/landing","channel":"link","referrer":{"id":"ada","type":"user"}}`
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+admin+"/v1/links", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+adminKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusConflict {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return nil
}

// sample follows the target once and returns the headers of the redirect.
func sample(ctx context.Context, t target) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+t.address+t.path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", browser)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusFound {
		return nil, fmt.Errorf("%s answers %s", t.address, response.Status)
	}
	return response.Header, nil
}

func eventualSample(ctx context.Context, t target) (header http.Header, err error) {
	err = eventually(ctx, func() error {
		header, err = sample(ctx, t)
		return err
	})
	return header, err
}

// measure sends the requests, waits until drained says that all work is done,
// and returns the CPU time of the process per request in microseconds.
func (a *arena) measure(ctx context.Context, pid int, t target, requests int, drained func(context.Context, int) error) (float64, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	if err := load(ctx, t.address, t.path, requests, a.conns); err != nil {
		return 0, err
	}
	if drained != nil {
		if err := drained(ctx, requests); err != nil {
			return 0, err
		}
	}
	after, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	return float64((after - before).Nanoseconds()) / 1000 / float64(requests), nil
}

// drained waits until every answered click is in Kafka, and fails when there
// are more or, after a minute, fewer.
func (a *arena) drained(ctx context.Context, requests int) error {
	a.answered += int64(requests)
	return eventually(ctx, func() error {
		count, err := a.clicks(ctx)
		if err != nil {
			return err
		}
		if count != a.answered {
			return fmt.Errorf("%d clicks were answered, %d are in Kafka", a.answered, count)
		}
		return nil
	})
}

func (a *arena) clicks(ctx context.Context) (int64, error) {
	ends, err := a.kafka.ListEndOffsets(ctx, "waymark.clicks")
	if err != nil {
		return 0, fmt.Errorf("ask for the end of waymark.clicks: %w", err)
	}
	var sum int64
	ends.Each(func(end kadm.ListedOffset) { sum += max(end.Offset, 0) })
	return sum, nil
}

func (a *arena) start(name string, args ...string) (int, error) {
	command, err := startProcess(name, args...)
	if err != nil {
		return 0, err
	}
	a.processes = append(a.processes, command)
	return command.Process.Pid, nil
}

func (a *arena) close() {
	if a.kafka != nil {
		a.kafka.Close()
	}
	for i := len(a.processes) - 1; i >= 0; i-- {
		process := a.processes[i]
		process.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(10*time.Second, func() { process.Process.Kill() })
		process.Wait()
		timer.Stop()
	}
	os.RemoveAll(a.dir)
}
