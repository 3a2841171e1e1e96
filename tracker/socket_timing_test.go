//go:build !race

package tracker

import (
	"net"
	"testing"
)

// BenchmarkSocket is a request read and an answer written, on a connection of
// package net and on a socket; the client's half, of package net, is the same.
// Nobody waits: what was written on loopback can be read at once.
func BenchmarkSocket(b *testing.B) {
	for _, c := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{{"net", func(conn net.Conn) net.Conn { return conn }}, {"socket", newSocket}} {
		b.Run(c.name, func(b *testing.B) {
			client, conn := socketPair(b, longPatience)
			server := c.wrap(conn.(*impatientConn).Conn.(*socket).Conn)
			request, answer, buf := make([]byte, 500), make([]byte, 550), make([]byte, 1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Write(request); err != nil {
					b.Fatal(err)
				}
				if n, err := server.Read(buf); n != len(request) || err != nil {
					b.Fatal(n, err)
				}
				if _, err := server.Write(answer); err != nil {
					b.Fatal(err)
				}
				if n, err := client.Read(buf); n != len(answer) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
