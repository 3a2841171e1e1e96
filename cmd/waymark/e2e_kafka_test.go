package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"waymark/pipeline/realkafka"
)

// TestRealKafka: roles of their own do on an Apache Kafka what `up` does on the
// embedded broker, and each of them, and Kafka itself, may be killed while the
// load flows. They reach Kafka in every way that the flags know.
func TestRealKafka(t *testing.T) {
	secured := realkafka.Secure(t)
	k := realkafka.New(t, secured.Options)
	k.CreateUser("grace", "scram secret")
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte(realkafka.PlainPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	s := &server{t: t, home: h, clickhouse: realkafka.FreeAddress(t)}
	clickhouse := "--clickhouse=http://" + s.clickhouse
	var (
		inClear = []string{"--kafka=" + k.Address()}
		byTLS   = []string{"--kafka=" + secured.TLS, "--kafka-tls", "--kafka-ca=" + secured.CAFile}
		byPlain = []string{"--kafka=" + secured.SASL, "--kafka-ca=" + secured.CAFile,
			"--kafka-sasl=plain", "--kafka-user=" + realkafka.PlainUser, "--kafka-password-file=" + passwordFile}
		byScram = []string{"--kafka=" + secured.SASL, "--kafka-ca=" + secured.CAFile, "--kafka-sasl=scram-sha-512", "--kafka-user=grace"}
	)
	start := func(role string, kafka []string, args ...string) *process {
		var env []string
		if slices.Equal(kafka, byScram) {
			env = []string{"WAYMARK_KAFKA_PASSWORD=scram secret"}
		}
		return run(t, env, slices.Concat([]string{role}, kafka, args)...)
	}
	startEngine := func() *process {
		p := run(t, nil, "engine", "--data", h.data, "--clickhouse-listen", s.clickhouse)
		eventually(t, "the engine to answer", func() error {
			if s.password == "" {
				content, err := os.ReadFile(filepath.Join(h.data, "clickhouse.password"))
				if err != nil || len(content) == 0 {
					return fmt.Errorf("no password yet: %v", err)
				}
				s.password = h.secret(t, "clickhouse.password")
			}
			_, err := s.sql("SELECT 1")
			return err
		})
		return p
	}
	startAdmin := func(kafka []string) (*process, string) {
		p := start("admin", kafka, "--data", h.data, "--admin=127.0.0.1:0", clickhouse)
		return p, p.match(adminReady)[1]
	}
	startEdge := func(kafka []string, data string) (*process, string) {
		p := start("edge", kafka, "--data", data, "--secrets", filepath.Join(h.data, "secrets.json"),
			"--spool-ring", h.ring, ringBytes, "--listen=127.0.0.1:0")
		return p, p.match(edgeReady)[1]
	}
	startIngest := func() *process {
		return start("ingest", byPlain, "--data", h.data, clickhouse, "--instance=one")
	}

	engine := startEngine()
	ingest := startIngest()
	adminA, addressA := startAdmin(inClear)
	adminB, addressB := startAdmin(byScram)
	s.admin, s.key = addressA, h.secret(t, "admin.key")
	paths, secret := prepare(s)
	away := filepath.Join(t.TempDir(), "away")
	edgeA, first := startEdge(inClear, h.data)
	edgeB, second := startEdge(byTLS, away)
	l := startLoad(t, secret, paths, first, second)
	race(s, []string{addressA, addressB})
	links := s.snapshot()

	const between = 400 // clicks from one kill to the next
	for round := range 2 {
		l.await(between)
		edgeA.kill()
		l.moveTo(0, "")
		edgeA, first = startEdge(inClear, h.data)
		l.moveTo(0, first)
		l.await(between)
		ingest.kill()
		ingest = startIngest()
		l.await(between)
		engine.kill()
		engine = startEngine()
		l.await(between)
		k.Kill()
		l.await(between) // the edges need no Kafka
		if round == 1 {
			edgeB.kill() // what it had not shipped is in its ring
			l.moveTo(1, "")
			edgeB, second = startEdge(byTLS, away) // from the snapshot of the links
			l.moveTo(1, second)
			l.await(between)
		}
		k.Start()
		adminA.kill()
		adminA, s.admin = startAdmin(inClear)
		s.createLink(map[string]any{"code": fmt.Sprintf("after-%d", round), "url": "https://shop.example/"})
		for _, edge := range []string{first, second} {
			eventually(t, "edge "+edge+" to serve a link made after the kills", func() error {
				_, err := follow(edge, fmt.Sprintf("/after-%d", round))
				return err
			})
		}
		s.mustCall(http.StatusNoContent, "DELETE", s.admin, fmt.Sprintf("/v1/links/after-%d", round), nil, nil)
	}
	l.await(between)
	l.finish()
	l.check(s)
	l.checkClickIDs(s, 60)
	if nodes := s.mustSQL("SELECT uniqExact(node) FROM waymark.events WHERE stage = 'clicked'"); nodes[0][0] != "2" {
		t.Errorf("clicks come from %s nodes, expected 2: each edge keeps its number through kills", nodes[0][0])
	}
	for _, address := range []string{s.admin, addressB} {
		s.admin = address
		if after := s.snapshot(); after != links {
			t.Errorf("links, programmes and keys were\n%s\nand are on %s\n%s", links, address, after)
		}
	}
	for _, p := range []*process{edgeA, edgeB, ingest, adminA, adminB, engine} {
		p.interrupt()
	}
}
