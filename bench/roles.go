package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/valyala/fasthttp"
	"net"
)

// serveBare is the baseline: fasthttp with a handler that sets three headers.
func serveBare(ctx context.Context, o options) error {
	server := &fasthttp.Server{
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetStatusCode(fasthttp.StatusFound)
			ctx.Response.Header.Set("Location", o.Location)
			ctx.Response.Header.Set("Cache-Control", "private, no-store")
			ctx.Response.Header.Set("Set-Cookie", o.Cookie)
		},
	}
	context.AfterFunc(ctx, func() { server.Shutdown() })
	return server.ListenAndServe(o.Listen)
}

// serveBroker is the broker that Waymark delivers to.
func serveBroker(ctx context.Context, o options) error {
	_, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(number), kfake.DataDir(o.Dir))
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	<-ctx.Done()
	cluster.Close()
	return nil
}
