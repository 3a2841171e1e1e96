package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// hostileCommand measures what a visitor feels of those who mean no good.
type hostileCommand struct {
	sceneFlags
	Idle  int `help:"Idle connections." default:"10000"`
	Slow  int `help:"Connections that send a byte a second." default:"2000"`
	Heads int `help:"Requests a second with 64 KB of headers." default:"500"`
}

// Run plays the scenes. Visitors make a quarter of the load that the edge can do,
// so that doubled it is half.
func (o hostileCommand) Run(ctx context.Context) error {
	cores, err := shareCores()
	if err != nil {
		return err
	}
	a, err := openArena(ctx, o.arenaFlags, cores)
	if err != nil {
		return err
	}
	defer a.close()
	scenes := []scene{
		{name: "as many clicks besides", doubled: a.mix.against(a.edge.url)},
		{name: "as many unknown codes besides", doubled: a.mix.withUnknown(a.edge.url)},
		{name: fmt.Sprintf("%d clients send a byte a second", o.Slow), begin: a.crowd(o.Slow, "dribble")},
		{name: fmt.Sprintf("%d requests a second with 64 KB of headers", o.Heads), begin: a.crowd(o.Heads, "shout")},
		{name: fmt.Sprintf("%d idle connections", o.Idle), begin: a.crowd(o.Idle, "idle")},
	}
	takes, err := o.play(ctx, a, 0.25, scenes)
	if err != nil {
		return err
	}
	note := "The clicks are a quarter of the load that the edge can do. CPU time is per request of any kind, but that of connections which never make one is in that of the clicks."
	return o.report("hostile", "Redirects under attack", note, cores.String(), scenes, takes).publish(o.Results, os.Stdout)
}

// crowd has a process of its own make so many connections do something, each
// again and again, until the scene is over. In the generator's process they would
// take turns with it, and its lateness would count as the edge's.
func (a *arena) crowd(n int, act string) func(context.Context) (func() error, error) {
	return func(context.Context) (func() error, error) {
		process, err := startProcess(a.self, "crowd", "--address", strings.TrimPrefix(a.edge.url, "http://"), "--act", act, "--connections", fmt.Sprint(n))
		if err != nil {
			return nil, err
		}
		if err := stepBack(process.Process.Pid); err != nil {
			endProcess(process)
			return nil, err
		}
		time.Sleep(crowdGathers + 500*time.Millisecond)
		return func() error {
			if endProcess(process); !process.ProcessState.Success() {
				return fmt.Errorf("connections that %s: %v", act, process.ProcessState)
			}
			return nil
		}, nil
	}
}

// crowdGathers is the time over which the connections of a crowd begin.
const crowdGathers = time.Second

// crowdRole is those who mean no good. It fails when the edge lets them do it, or
// when they had not the time to: an attack that did not take place shows nothing.
type crowdRole struct {
	Address     string `required:""`
	Act         string `required:"" enum:"dribble,shout,idle"`
	Connections int    `required:""`
}

func (r crowdRole) Run(ctx context.Context) error {
	act := map[string]func(context.Context, string) error{"dribble": dribble, "shout": shout, "idle": idle}[r.Act]
	var working sync.WaitGroup
	var once sync.Once
	var failure error
	var acts atomic.Int64
	began := time.Now()
	for i := range r.Connections {
		working.Go(func() {
			time.Sleep(time.Duration(i) * crowdGathers / time.Duration(r.Connections))
			for ctx.Err() == nil {
				acts.Add(1)
				if err := act(ctx, r.Address); err != nil && ctx.Err() == nil {
					once.Do(func() { failure = err })
					return
				}
			}
		})
	}
	<-ctx.Done()
	seconds := time.Since(began).Seconds() - crowdGathers.Seconds()
	working.Wait()
	least := float64(r.Connections)
	if r.Act == "shout" { // each comes again after a second
		least *= seconds / 2
	}
	if made := acts.Load(); failure == nil && float64(made) < least {
		return fmt.Errorf("%d of %.0f connections were made in %.1f s", made, least, seconds)
	}
	return failure
}

// connect dials and closes the connection when ctx ends.
func connect(ctx context.Context, address string) (net.Conn, func(), error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the edge: %w", err)
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { release(); conn.Close() }, nil
}

// dribble sends a request a byte a second, until the edge hangs up.
func dribble(ctx context.Context, address string) error {
	conn, end, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer end()
	request := "GET /" + strings.Repeat("x", 1000)
	for i := range request {
		if _, err := io.WriteString(conn, request[i:i+1]); err != nil {
			return nil // as it should
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	return errors.New("the edge let a request take 1,000 s")
}

// shout sends a request with 64 KB of headers and a second later comes again.
func shout(ctx context.Context, address string) error {
	conn, end, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer end()
	request := "GET /x HTTP/1.1\r\nHost: edge\r\nX-Long: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"
	io.WriteString(conn, request) // the edge may hang up before the end
	status, err := bufio.NewReader(conn).ReadSlice('\n')
	if err == nil && !bytes.Contains(status, []byte(fmt.Sprint(http.StatusRequestHeaderFieldsTooLarge))) {
		return fmt.Errorf("a request with 64 KB of headers was answered %q", status)
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return nil
}

// idle makes one request and keeps the connection.
func idle(ctx context.Context, address string) error {
	conn, end, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer end()
	io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n")
	if _, err := io.Copy(io.Discard, conn); err == nil && ctx.Err() == nil {
		return errors.New("the edge closed an idle connection at once")
	}
	return nil
}
