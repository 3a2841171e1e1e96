package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

var (
	edgeReady  = regexp.MustCompile(`edge is ready.* listen=(\S+)`)
	adminReady = regexp.MustCompile(`admin is ready.* admin=(\S+)`)
	ingestRuns = regexp.MustCompile(`ingest is running`)
)

// TestRolesAlone: roles of their own beside an `up` do what those inside it
// do, on the same Kafka and ClickHouse.
func TestRolesAlone(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	paths, secret := prepare(s)
	kafka, clickhouse := "--kafka="+s.kafka, "--clickhouse=http://"+s.clickhouse
	edgeArgs := func(data string, more ...string) []string {
		return append([]string{"edge", "--data", data, "--spool-ring", h.ring, ringBytes, "--listen=127.0.0.1:0", kafka}, more...)
	}
	// One edge shares the directory, as on one machine; the other has its own
	// and is given the secrets, as on another machine.
	sharing := run(t, nil, edgeArgs(h.data)...)
	away := edgeArgs(filepath.Join(t.TempDir(), "away"), "--secrets", filepath.Join(h.data, "secrets.json"))
	distant := run(t, nil, away...)
	ingest := run(t, nil, "ingest", "--data", h.data, kafka, clickhouse, "--instance=second")
	admin := run(t, nil, "admin", "--data", h.data, "--admin=127.0.0.1:0", kafka, clickhouse)
	edges := []string{s.public, sharing.match(edgeReady)[1], distant.match(edgeReady)[1]}
	admins := []string{s.admin, admin.match(adminReady)[1]}
	ingest.match(ingestRuns)

	l := startLoad(t, secret, paths, edges...)
	race(s, admins)
	for i, address := range admins {
		code := fmt.Sprintf("everywhere-%d", i)
		s.mustCall(http.StatusCreated, "POST", address, "/v1/links", map[string]any{"code": code, "url": "https://shop.example/"}, nil)
		for _, edge := range edges {
			eventually(t, "edge "+edge+" to serve "+code, func() error { _, err := follow(edge, "/"+code); return err })
		}
	}
	l.await(600)
	distant.kill()
	l.moveTo(2, "")
	l.await(300)
	distant = run(t, nil, away...)
	l.moveTo(2, distant.match(edgeReady)[1])
	l.await(600)
	sharing.interrupt()
	l.moveTo(1, "")
	ingest.interrupt()
	l.await(300)
	l.finish()
	l.check(s)
	l.checkClickIDs(s, 60)
	if nodes := s.mustSQL("SELECT uniqExact(node) FROM waymark.events WHERE stage = 'clicked'"); nodes[0][0] != "3" {
		t.Errorf("clicks come from %s nodes, expected 3: each edge has a number of its own and keeps it", nodes[0][0])
	}
	distant.interrupt()
	admin.interrupt()
	s.interrupt()
}

// race makes the same links on two admins at once: each code is made once.
func race(s *server, admins []string) {
	s.t.Helper()
	const codes = 25
	statuses := make([][]int, codes)
	for i := range statuses {
		statuses[i] = make([]int, len(admins))
	}
	var group sync.WaitGroup
	for a, address := range admins {
		group.Go(func() {
			for i := range codes {
				status, body, err := s.call("POST", address, "/v1/links", map[string]any{
					"code": fmt.Sprintf("race-%d", i), "url": fmt.Sprintf("https://shop.example/%d", a),
				})
				if err != nil || status != http.StatusCreated && status != http.StatusConflict {
					s.t.Errorf("create race-%d on admin %d: %d %s %v", i, a, status, body, err)
				}
				statuses[i][a] = status
			}
		})
	}
	group.Wait()
	won := make([]int, len(admins))
	for i, answers := range statuses {
		made, by := 0, 0
		for a, status := range answers {
			if status == http.StatusCreated {
				made, by = made+1, a
			}
		}
		if made != 1 {
			s.t.Errorf("code race-%d: the admins answered %v, expected one 201 and one 409", i, answers)
			continue
		}
		won[by]++
		var link struct{ URL string }
		for _, address := range admins {
			s.mustCall(http.StatusOK, "GET", address, fmt.Sprintf("/v1/links/race-%d", i), nil, &link)
			if want := fmt.Sprintf("https://shop.example/%d", by); link.URL != want {
				s.t.Errorf("admin %s has race-%d lead to %s, expected %s, which was answered 201", address, i, link.URL, want)
			}
		}
	}
	s.t.Logf("of %d codes the admins made %v", codes, won)
}
