package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waymark/deploy"
)

// programs runs `waymark programs` and returns what it printed and its exit code.
func (s *server) programs(args ...string) (string, int) {
	s.t.Helper()
	p := run(s.t, []string{"WAYMARK_ADMIN_KEY=" + s.key}, append([]string{"programs", args[0], "--admin", s.admin}, args[1:]...)...)
	code := p.wait(patience)
	return p.out.String(), code
}

// TestProgramsEndToEnd writes the examples as somebody would at a prompt, and
// sees the edge, the API and ClickHouse go by them.
func TestProgramsEndToEnd(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"general", "wedding", "insurance", "contest"} {
		content, err := deploy.Programs.ReadFile("programs/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, name+".yaml"))
		if err := os.WriteFile(files[len(files)-1], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newHome(t).up(t)
	t.Run("Apply", func(t *testing.T) { applyExamples(s.in(t), files) })
	t.Run("Stages", func(t *testing.T) { reachOwnStages(s.in(t)) })
	t.Run("Versions", func(t *testing.T) { changeWedding(s.in(t), files[1]) })
	s.interrupt()
}

func applyExamples(s *server, files []string) {
	out, code := s.programs(append([]string{"apply"}, files...)...)
	if code != 0 || strings.Count(out, ": in force from ") != 4 {
		s.t.Fatalf("apply ended with %d: %s", code, out)
	}
	if out, code = s.programs(append([]string{"apply"}, files...)...); code != 0 || strings.Count(out, ": unchanged, ") != 4 {
		s.t.Errorf("apply again ended with %d: %s", code, out)
	}
	// What show prints is what apply reads, and means no date by it.
	shown, code := s.programs("show", "wedding", "--yaml")
	file := filepath.Join(s.t.TempDir(), "shown.yaml")
	if err := os.WriteFile(file, []byte(shown), 0o600); err != nil || code != 0 {
		s.t.Fatal(code, err)
	}
	if out, code = s.programs("apply", file); code != 0 || !strings.Contains(out, "wedding: unchanged, ") || !strings.Contains(shown, "\n# effective_from: ") {
		s.t.Errorf("apply what was shown ended with %d: %s", code, out)
	}
	if out, code = s.programs("list"); code != 0 || !strings.Contains(out, "insurance") {
		s.t.Errorf("list ended with %d: %s", code, out)
	}
	wrong := filepath.Join(s.t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("name: wedding\nrewards:\n  rules:\n    - name: a\n      on: click\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, code = s.programs("apply", wrong); code != 1 || !strings.Contains(out, "rewards.rules[0].on: ") || !strings.Contains(out, "(line 5)") {
		s.t.Errorf("a wrong document ended with %d: %s", code, out)
	}
}

func reachOwnStages(s *server) {
	s.createLink(map[string]any{"code": "agent-1", "url": "https://example.com/", "program": "insurance",
		"referrer": map[string]string{"id": "a-1", "type": "agent"}, "referee_type": "lead"})
	s.mustCall(http.StatusUnprocessableEntity, "POST", s.admin, "/v1/links", map[string]any{"url": "https://example.com/", "program": "insurance",
		"referrer": map[string]string{"id": "a-1", "type": "lead"}, "referee_type": "agent"}, nil)
	actions := []map[string]any{
		{"event": "policy_issued", "code": "agent-1", "user_id": "l-1", "id": "p-1", "value": "100"},
		{"event": "renewal", "program": "insurance", "user_id": "l-1", "id": "r-1"},
		{"event": "policy_issued", "program": "wedding", "user_id": "l-1", "id": "p-1"},
		{"event": "sent", "program": "contest", "user_id": "c-1", "id": "m-1"},
		{"event": "bounced", "program": "contest", "user_id": "c-1", "id": "m-1"},
		{"event": "reward_entry", "program": "contest", "user_id": "c-1", "id": "forged/0", "value": "1000"},
	}
	var answer struct {
		Accepted int
		Rejected []struct {
			Index int
			Field string
		}
	}
	s.mustCall(http.StatusAccepted, "POST", s.public, "/v1/events", actions, &answer)
	if answer.Accepted != 5 || len(answer.Rejected) != 1 || answer.Rejected[0].Index != 5 || answer.Rejected[0].Field != "event" {
		s.t.Errorf("answered %+v", answer)
	}
	s.waitRows("1", 5)
	rows := s.mustSQL("SELECT program, event, stage FROM waymark.events ORDER BY program, event")
	want := "[[contest bounced ] [contest sent invited] [insurance policy_issued converted] [insurance renewal retained] [wedding policy_issued ]]"
	if got := fmt.Sprint(rows); got != want {
		s.t.Errorf("events %s, want %s", got, want)
	}
}

// changeWedding writes a version for later and one for the past: the edge goes
// by what was written last, and every version can be read.
func changeWedding(s *server, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, from := range []string{"2027-06-01", "2026-01-01"} {
		changed := filepath.Join(s.t.TempDir(), "wedding.yaml")
		if err := os.WriteFile(changed, append([]byte("effective_from: "+from+"\n"), content...), 0o600); err != nil {
			s.t.Fatal(err)
		}
		if out, code := s.programs("apply", changed); code != 0 || !strings.Contains(out, "wedding: in force from "+from+"T00:00:00Z") {
			s.t.Errorf("apply from %s ended with %d: %s", from, code, out)
		}
	}
	const total = 3 // with the first one
	eventually(s.t, "all versions in ClickHouse", func() error {
		rows, err := s.sql("SELECT count() FROM waymark.program_versions FINAL WHERE name = 'wedding'")
		if err == nil && rows[0][0] != fmt.Sprint(total) {
			err = fmt.Errorf("there are %s", rows[0][0])
		}
		return err
	})
	var list struct {
		Versions []struct {
			Version       uint64
			EffectiveFrom string `json:"effective_from"`
			Program       struct {
				CodePrefix string `json:"code_prefix"`
			}
		}
	}
	s.mustCall(http.StatusOK, "GET", s.admin, "/v1/programs/wedding/versions", nil, &list)
	if len(list.Versions) != total || list.Versions[total-2].EffectiveFrom != "2027-06-01T00:00:00Z" || list.Versions[total-1].Program.CodePrefix != "LOVE" {
		s.t.Errorf("versions %+v", list)
	}
	if out, code := s.programs("versions", "wedding"); code != 0 || strings.Count(out, "\n") != total+1 || !strings.Contains(out, "2026-01-01T00:00:00Z") {
		s.t.Errorf("versions ended with %d: %s", code, out)
	}
}
