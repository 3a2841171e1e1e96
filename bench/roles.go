package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/valyala/fasthttp"
)

// bareRole is the baseline: fasthttp with a handler that sets fixed headers.
type bareRole struct {
	Listen string   `required:""`
	Header []string `sep:"none"`
}

func (r bareRole) Run(ctx context.Context) error {
	var names, values [][]byte
	for _, line := range r.Header {
		name, value, _ := strings.Cut(line, ": ")
		names, values = append(names, []byte(name)), append(values, []byte(value))
	}
	server := &fasthttp.Server{
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		ReadBufferSize:        16 << 10, // as much as Waymark takes
		Handler: func(ctx *fasthttp.RequestCtx) {
			h := &ctx.Response.Header
			h.SetStatusCode(fasthttp.StatusFound)
			for i, name := range names {
				h.SetCanonical(name, values[i])
			}
		},
	}
	context.AfterFunc(ctx, func() { server.Shutdown() })
	return server.ListenAndServe(r.Listen)
}

// brokerRole is the broker that Waymark delivers to. It takes SIGUSR1 to
// acknowledge half a second late, and SIGUSR2 to do so no more.
type brokerRole struct {
	Listen string `required:""`
	Dir    string `required:""`
}

// slowAck is how late a slow broker acknowledges: six times the slowest
// hundredth of a busy cluster's.
const slowAck = 500 * time.Millisecond

func (r brokerRole) Run(ctx context.Context) error {
	_, port, err := net.SplitHostPort(r.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(number), kfake.DataDir(r.Dir))
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	defer cluster.Close()
	var slow atomic.Bool
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if slow.Load() {
			cluster.SleepControl(func() { time.Sleep(slowAck) })
		}
		return nil, nil, false
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-signals:
			slow.Store(s == syscall.SIGUSR1)
		}
	}
}
