package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStartErrors: what a newcomer gets wrong is one clear line and exit 1.
func TestStartErrors(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := func() string { return filepath.Join(t.TempDir(), "data") }
	for _, c := range []struct {
		name  string
		data  string
		env   []string
		args  []string
		parts []string // of the line
	}{
		{"public port taken", fresh(), nil, []string{"--listen=" + address}, []string{address, "in use", "--listen"}},
		{"admin port taken", fresh(), nil, []string{"--admin=" + address}, []string{address, "in use", "--admin"}},
		{"Kafka port taken", fresh(), nil, []string{"--kafka-listen=" + address}, []string{address, "taken", "--kafka-listen"}},
		{"ClickHouse port taken", fresh(), nil, []string{"--clickhouse-listen=" + address}, []string{address, "in use", "--clickhouse-listen"}},
		{"metrics port taken", fresh(), nil, []string{"--metrics=" + address}, []string{address, "in use", "--metrics"}},
		{"directory is a file", file, nil, nil, []string{file, "--data"}},
		{"directory below a file", filepath.Join(file, "data"), nil, nil, []string{file, "--data"}},
		{"directory of the kernel", "/proc/waymark", nil, nil, []string{"/proc/waymark", "--data"}},
		{"second instance", h.data, nil, nil, []string{h.data, "another `waymark up` runs"}},
		{"library missing", fresh(), []string{"CHDB_LIB_PATH=" + filepath.Join(fresh(), "libchdb.so")}, nil, []string{"CHDB_LIB_PATH", "library"}},
		{"proxies misspelt", fresh(), nil, []string{"--trusted-proxies=10.0.0.0/99"}, []string{"10.0.0.0/99", "--trusted-proxies"}},
		{"GeoIP missing", fresh(), nil, []string{"--geoip=" + filepath.Join(file, "geo.mmdb")}, []string{"geo.mmdb"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"up", "--data", c.data, "--spool-ring", h.ring, ringBytes}
			for _, port := range []string{"--listen", "--admin", "--kafka-listen", "--clickhouse-listen"} {
				if !strings.Contains(strings.Join(c.args, " "), port+"=") {
					args = append(args, port+"=127.0.0.1:0")
				}
			}
			p := run(t, c.env, append(args, c.args...)...)
			if code := p.wait(patience); code != 1 {
				t.Errorf("exit code %d, expected 1", code)
			}
			complaint := p.errs.String()
			if strings.Count(complaint, "\n") != 1 || !strings.HasPrefix(complaint, "waymark up: ") {
				t.Errorf("standard error has %q, expected one line that begins with \"waymark up: \"", complaint)
			}
			for _, part := range c.parts {
				if !strings.Contains(complaint, part) {
					t.Errorf("standard error has %q, which does not mention %q", complaint, part)
				}
			}
			if p.out.String() != complaint {
				t.Errorf("it printed %q besides", p.out.String())
			}
		})
	}
	// The other instance did not notice.
	s.createLink(map[string]any{"code": "still-there", "url": "https://shop.example/"})
	if _, err := follow(s.public, "/still-there"); err != nil {
		t.Error(err)
	}
	s.interrupt()
}
