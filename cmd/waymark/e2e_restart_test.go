package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
)

// prepare makes links, a programme and keys, and returns the paths of the
// links and the secret of a key of role event.
func prepare(s *server) (paths []string, secret string) {
	s.t.Helper()
	s.mustCall(http.StatusOK, "PUT", s.admin, "/v1/programs/partners", map[string]any{"currency": "USD", "party_types": []string{"agent"}}, nil)
	for i := range 20 {
		link := map[string]any{"code": fmt.Sprintf("load/%d", i), "url": "https://shop.example/landing", "channel": "link"}
		if i%2 == 0 {
			link["program"], link["referrer"] = "partners", map[string]string{"id": fmt.Sprint("agent-", i), "type": "agent"}
		}
		s.createLink(link)
		paths = append(paths, fmt.Sprintf("/load/%d", i))
	}
	var key struct{ Secret string }
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/keys", map[string]any{"role": "event"}, &key)
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/keys", map[string]any{"role": "read", "program": "partners"}, nil)
	return paths, key.Secret
}

// TestRestart: whatever was answered before `up` is killed is in ClickHouse
// exactly once after it was started again, and so is everything else that it
// was told.
func TestRestart(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	paths, secret := prepare(s)
	before := s.snapshot()
	l := startLoad(t, secret, paths, s.public)
	for range 2 {
		l.await(800)
		engine := s.engine()
		s.kill()
		eventually(t, "the engine to die with its parent", func() error {
			if syscall.Kill(engine, 0) == nil {
				return errors.New("it lives")
			}
			return nil
		})
		s = h.up(t)
		if after := s.snapshot(); after != before {
			t.Fatalf("links, programmes and keys were\n%s\nbefore the kill and are\n%s", before, after)
		}
		l.moveTo(0, s.public)
	}
	l.await(500)
	s.interrupt() // in the middle of the load
	l.finish()

	s = h.up(t)
	l.check(s)
	l.checkClickIDs(s, 200)
	if after := s.snapshot(); after != before {
		t.Errorf("links, programmes and keys were\n%s\nand are after three starts\n%s", before, after)
	}
	s.interrupt()
}

// TestEngineDies: the engine is started again when it is killed, and meanwhile
// nothing that was answered is lost or doubled.
func TestEngineDies(t *testing.T) {
	s := newHome(t).up(t)
	paths, secret := prepare(s)
	l := startLoad(t, secret, paths, s.public)
	for range 2 {
		l.await(500)
		dead := s.engine()
		if err := syscall.Kill(dead, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l.await(200) // the edge goes on meanwhile
		eventually(t, "another engine", func() error {
			if children := s.children(); len(children) != 1 || slices.Contains(children, dead) {
				return fmt.Errorf("there are the children %v", children)
			}
			_, err := s.sql("SELECT 1")
			return err
		})
	}
	l.finish()
	l.check(s)
	l.checkClickIDs(s, 50)
	s.interrupt()
}

// TestDrainWithHungParts: when the engine hangs, an interrupt still ends
// everything in time, and what could not be inserted is inserted at the next
// start.
func TestDrainWithHungParts(t *testing.T) {
	h := newHome(t)
	s := h.up(t)
	paths, secret := prepare(s)
	l := startLoad(t, secret, paths, s.public)
	l.await(500)
	engine := s.engine()
	if err := syscall.Kill(engine, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.await(500)
	s.interrupt()
	l.finish()
	eventually(t, "the hung engine to be gone", func() error {
		if syscall.Kill(engine, 0) == nil {
			return errors.New("it lives")
		}
		return nil
	})
	s = h.up(t)
	l.check(s)
	s.interrupt()
}
