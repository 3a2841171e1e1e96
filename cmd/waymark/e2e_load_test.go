package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load sends clicks and actions without a pause and keeps what was answered.
// Each click carries its number in utm_content and each action in its id, so
// that every single one can be looked for in ClickHouse.
type load struct {
	t       *testing.T
	targets []*atomic.Pointer[string] // addresses of edges; "" while one is down
	key     string
	paths   []string

	stop    atomic.Bool
	group   sync.WaitGroup
	next    atomic.Int64
	clicks  sync.Map // number → click id, of answered clicks
	actions sync.Map // id, of accepted actions
	counted struct{ clicks, actions atomic.Int64 }
}

const loadWorkers = 4 // per edge

// startLoad sends to edges until finish.
func startLoad(t *testing.T, key string, paths []string, edges ...string) *load {
	l := &load{t: t, key: key, paths: paths}
	for i := range edges {
		target := new(atomic.Pointer[string])
		target.Store(&edges[i])
		l.targets = append(l.targets, target)
		for range loadWorkers {
			l.group.Go(func() { l.work(target) })
		}
	}
	t.Cleanup(l.finish)
	return l
}

// moveTo says where an edge is now.
func (l *load) moveTo(edge int, address string) { l.targets[edge].Store(&address) }

func (l *load) work(target *atomic.Pointer[string]) {
	for !l.stop.Load() {
		address := *target.Load()
		if address != "" {
			_ = l.one(address, l.next.Add(1)) // tried again elsewhere, or later
		}
		time.Sleep(2 * time.Millisecond) // leaves the machine to what is tested
	}
}

// one sends a click and now and then an action that belongs to it. An error
// means that the edge is down.
func (l *load) one(address string, number int64) error {
	clickID, err := follow(address, fmt.Sprintf("%s?utm_content=%d", l.paths[number%int64(len(l.paths))], number))
	if err != nil {
		return err
	}
	if len(clickID) != 22 {
		l.t.Errorf("click %d was answered with the click id %q", number, clickID)
	}
	l.clicks.Store(number, clickID)
	l.counted.clicks.Add(1)
	if number%8 != 0 {
		return nil
	}
	id := fmt.Sprintf("action-%d", number)
	return l.act(address, map[string]any{"event": "signup", "id": id, "user_id": fmt.Sprintf("user-%d", number), "click_id": clickID}, id)
}

// act sends an action until it is known whether it was accepted or the edge is
// down.
func (l *load) act(address string, action map[string]any, id string) error {
	status, body, err := callAs(l.key, "POST", address, "/v1/events", action)
	if err != nil {
		return err
	}
	if status == http.StatusServiceUnavailable {
		return errors.New("not now")
	}
	if want := `{"accepted":1,"rejected":[]}`; status != http.StatusAccepted || string(body) != want {
		l.t.Errorf("action %s: %d %s, expected 202 %s", id, status, body, want)
		return nil
	}
	l.actions.Store(id, true)
	l.counted.actions.Add(1)
	return nil
}

// await waits for so many more answered clicks.
func (l *load) await(more int64) {
	l.t.Helper()
	want := l.counted.clicks.Load() + more
	eventually(l.t, fmt.Sprintf("%d more clicks", more), func() error {
		if missing := want - l.counted.clicks.Load(); missing > 0 {
			return fmt.Errorf("%d are missing", missing)
		}
		return nil
	})
}

// finish ends the load. It may be called more than once.
func (l *load) finish() {
	l.stop.Store(true)
	l.group.Wait()
}

// check compares what was answered with ClickHouse: everything is there, and
// nothing is there twice. What was sent but not answered, because the edge was
// killed, may be there once.
func (l *load) check(s *server) {
	s.t.Helper()
	l.checkAll(s, &l.clicks, int(l.counted.clicks.Load()), "utm_content", "stage = 'clicked' AND utm_content != ''", func(cell string) any {
		number, _ := strconv.ParseInt(cell, 10, 64)
		return number
	})
	l.checkAll(s, &l.actions, int(l.counted.actions.Load()), "id", "stage = 'signed_up'", func(cell string) any { return cell })
	l.checkViews(s)
}

func (l *load) checkAll(s *server, answered *sync.Map, count int, column, where string, key func(string) any) {
	s.t.Helper()
	var rows [][]string
	eventually(s.t, fmt.Sprintf("the %d answered events where %s in ClickHouse", count, where), func() (err error) {
		if rows, err = s.sql(fmt.Sprintf("SELECT %s, count() FROM waymark.events WHERE %s GROUP BY 1", column, where)); err != nil {
			return err
		}
		found := 0
		for _, row := range rows {
			if _, ok := answered.Load(key(row[0])); ok {
				found++
			}
		}
		if found < count {
			return fmt.Errorf("%d of them are there", found)
		}
		return nil
	})
	unanswered := 0
	for _, row := range rows {
		if row[1] != "1" {
			s.t.Errorf("%s %s is %s times in events", column, row[0], row[1])
		}
		if _, ok := answered.Load(key(row[0])); !ok {
			unanswered++
		}
	}
	s.t.Logf("%s: %d answered, and %d that the kill left unanswered", where, count, unanswered)
}

// checkViews compares the views with the events behind them. A block is in
// events a moment before it is in the views, and where an insert was cut off
// in between, until its replay: so they are compared until they agree.
func (l *load) checkViews(s *server) {
	s.t.Helper()
	for _, compared := range [][2]string{
		{"SELECT sum(hits) FROM waymark.clicks WHERE dimension = 'total'", "SELECT count() FROM waymark.events WHERE stage = 'clicked'"},
		{"SELECT sum(hits) FROM waymark.clicks WHERE dimension = 'link'", "SELECT count() FROM waymark.events WHERE stage = 'clicked'"},
		{"SELECT count(), countIf(signed_up_at IS NOT NULL) FROM waymark.journeys", "SELECT uniqExact(party), uniqExact(party) FROM waymark.events WHERE stage = 'signed_up'"},
		{"SELECT count() FROM waymark.action_ids", "SELECT (SELECT count() FROM waymark.events WHERE stage != 'clicked') + (SELECT count() FROM waymark.decisions)"},
		{"SELECT count() FROM waymark.events WHERE stage = 'clicked'", "SELECT uniqExact(time, node, sequence) FROM waymark.events WHERE stage = 'clicked'"},
	} {
		eventually(s.t, compared[0]+" to agree with the events", func() error {
			view, err := s.sql(compared[0])
			if err != nil {
				return err
			}
			events, err := s.sql(compared[1])
			if err == nil && fmt.Sprint(view) != fmt.Sprint(events) {
				err = fmt.Errorf("it is %v, and %s is %v", view, compared[1], events)
			}
			return err
		})
	}
}

// checkClickIDs asks the admin API what some of the answered click ids are.
func (l *load) checkClickIDs(s *server, sample int) {
	s.t.Helper()
	l.clicks.Range(func(number, clickID any) bool {
		var click struct {
			Genuine, Arrived bool
			Explanation      string
			Actions          []struct{ ID string }
		}
		s.mustCall(http.StatusOK, "GET", s.admin, "/v1/clicks/"+clickID.(string), nil, &click)
		if !click.Genuine || !click.Arrived {
			s.t.Errorf("click %d: %+v, expected a genuine one that has arrived", number, click)
		}
		id := fmt.Sprintf("action-%d", number)
		if _, acted := l.actions.Load(id); acted && (len(click.Actions) != 1 || click.Actions[0].ID != id) {
			s.t.Errorf("click %d: %+v, expected the action %s", number, click, id)
		}
		sample--
		return sample > 0
	})
}

// allLinks reads every link, page by page.
func (s *server) allLinks() map[string]map[string]any {
	s.t.Helper()
	all := map[string]map[string]any{}
	for cursor := ""; ; {
		var page struct {
			Links  []map[string]any
			Cursor string
		}
		s.mustCall(http.StatusOK, "GET", s.admin, "/v1/links?limit=7&cursor="+cursor, nil, &page)
		for _, link := range page.Links {
			all[link["code"].(string)] = link
		}
		if cursor = page.Cursor; cursor == "" {
			return all
		}
	}
}

// snapshot is what the admin API shows of links, programmes and keys, as JSON.
func (s *server) snapshot() string {
	s.t.Helper()
	var programs, keys any
	s.mustCall(http.StatusOK, "GET", s.admin, "/v1/programs", nil, &programs)
	s.mustCall(http.StatusOK, "GET", s.admin, "/v1/keys", nil, &keys)
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", " ")
	if err := encoder.Encode([]any{s.allLinks(), programs, keys}); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}
