package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nginxConfig is nginx at its best: one process that does nothing but answer,
// which keeps connections for as long as they last. Without a master there is
// one process to read the CPU time of; the worker is the same.
const nginxConfig = `
daemon off;
master_process off;
worker_processes 1;
pid DIR/pid;
error_log DIR/error.log;
events { worker_connections 4096; }
http {
	server_tokens off;
	keepalive_requests 1000000000;
	keepalive_timeout 75s;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	access_log LOG;
	server {
		listen LISTEN;
HEADERS
		return 302 "LOCATION";
	}
}
`

// startNginx starts an nginx that answers with the headers of the edge. The
// access log, in the format "combined" that is its default, goes to a file in
// memory, as the ring of Waymark does.
func (a *arena) startNginx(ctx context.Context, binary string, logged bool) (*contestant, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	name, log := "nginx, return 302", "off"
	if logged {
		name, log = "nginx, return 302, access log", filepath.Join(a.rings[0], "access.log")+" combined"
	}
	dir, err := os.MkdirTemp(a.dir, "nginx-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for nginx: %w", err)
	}
	var headers strings.Builder
	location := ""
	for _, header := range a.headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Location" {
			location = value
			continue
		}
		fmt.Fprintf(&headers, "\t\tadd_header %s %q always;\n", name, value)
	}
	text := strings.NewReplacer("DIR", dir, "LOG", log, "LISTEN", address, "HEADERS\n", headers.String(), "LOCATION", location).Replace(nginxConfig)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of nginx: %w", err)
	}
	return a.startServed(ctx, name, "http://"+address, binary, "-p", dir, "-c", config)
}

// startBare starts the fasthttp that does nothing else.
func (a *arena) startBare(ctx context.Context) (*contestant, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args := []string{"bare", "--listen", address}
	for _, header := range a.headers {
		args = append(args, "--header", header)
	}
	return a.startServed(ctx, "bare fasthttp, fixed 302", "http://"+address, a.self, args...)
}

// startServed starts a server on the server's core and waits until it answers.
func (a *arena) startServed(ctx context.Context, name, url, binary string, args ...string) (*contestant, error) {
	process, err := a.startServer(binary, args...)
	if err != nil {
		return nil, err
	}
	a.processes = append(a.processes, process)
	err = eventually(ctx, func() error {
		_, err := follow(ctx, url+"/", "")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", name, err)
	}
	return &contestant{name: name, pid: process.Process.Pid, url: url}, nil
}

// nginxPath is where nginx is installed, "" if it is not.
func nginxPath() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
