package main

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"
)

// load sends n requests over so many kept-alive connections, one at a time on
// each, and checks that every answer is a 302.
func load(ctx context.Context, address, path string, n, conns int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range conns {
		share := n / conns
		if i < n%conns {
			share++
		}
		group.Go(func() error { return loadConn(ctx, address, path, share) })
	}
	return group.Wait()
}

const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

func loadConn(ctx context.Context, address, path string, n int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: " + browser +
		"\r\nAccept-Language: en-GB,en;q=0.9\r\nAccept: text/html\r\n\r\n")
	reader := bufio.NewReaderSize(conn, 4096)
	for i := range n {
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("send request %d: %w", i, err)
		}
		if err := readRedirect(reader); err != nil {
			return fmt.Errorf("read answer %d: %w", i, err)
		}
	}
	return nil
}

// readRedirect reads one answer without a body. A redirect has none that
// matters: both contestants send Content-Length: 0.
func readRedirect(reader *bufio.Reader) error {
	status, err := reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(status) < 12 || string(status[9:12]) != "302" {
		return fmt.Errorf("expected a 302, got %q", status)
	}
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			return nil
		}
	}
}
