package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// readAs asks the engine as some user and returns the status and the text of its answer.
func (s *server) readAs(user, password, query string) (int, string) {
	s.t.Helper()
	request, err := http.NewRequest("POST", "http://"+s.clickhouse+"/?output_format_pretty_row_numbers=0&default_format=PrettyCompactNoEscapesMonoBlock", strings.NewReader(query))
	if err != nil {
		s.t.Fatal(err)
	}
	request.SetBasicAuth(user, password)
	answer, err := httpClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// newKey makes an API key and returns its id and secret.
func (s *server) newKey(role, program string) (id, secret string) {
	s.t.Helper()
	var made struct{ ID, Secret string }
	s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/keys", map[string]string{"role": role, "program": program}, &made)
	return made.ID, made.Secret
}

// TestReaders runs the demo, and reads what it left as people do: by SQL with keys, by the questions of the documentation, by
// the metrics of the dashboards.
func TestReaders(t *testing.T) {
	s := newHome(t).up(t)
	demo := run(t, nil, "demo", "--data", s.data, "--admin", s.admin, "--listen", s.public, "--users", "2000", "--seed", "1", "--wait", patience.String())
	if code := demo.wait(2 * patience); code != 0 {
		t.Fatalf("the demo ended with %d", code)
	}
	t.Run("Keys", func(t *testing.T) { readWithKeys(s.in(t)) })
	t.Run("Questions", func(t *testing.T) { askQuestions(s.in(t)) })
	t.Run("Metrics", func(t *testing.T) { findMetrics(s.in(t)) })
}

func readWithKeys(s *server) {
	const count = "SELECT program, count() AS rows FROM waymark.links FINAL GROUP BY program ORDER BY program FORMAT TSV"
	s.createLink(map[string]any{"code": "elsewhere", "url": "https://shop.example/"}) // of the programme general
	s.waitSQL("SELECT count() FROM waymark.links WHERE program = 'general'", "1")
	_, all := s.newKey("read", "")
	weddingID, wedding := s.newKey("read", "wedding")
	_, event := s.newKey("event", "")
	for _, c := range []struct {
		user, password string
		status         int
		answer         string
	}{
		{"waymark", s.password, http.StatusOK, "general\t1\nwedding\t1080\n"},
		{"reader", all, http.StatusOK, "general\t1\nwedding\t1080\n"},
		{"reader", s.key, http.StatusOK, "general\t1\nwedding\t1080\n"},
		{"reader", wedding, http.StatusOK, "wedding\t1080\n"},
		{"reader", event, http.StatusForbidden, ""},
		{"reader", "", http.StatusForbidden, ""},
		{"reader", wedding + "x", http.StatusForbidden, ""},
		{"waymark", wedding, http.StatusForbidden, ""},
		{"default", wedding, http.StatusForbidden, ""},
	} {
		if status, answer := s.readAs(c.user, c.password, count); status != c.status || status == http.StatusOK && answer != c.answer {
			s.t.Errorf("%s with %.14s: %d %s", c.user, c.password, status, answer)
		}
	}
	for _, sql := range []string{"DROP TABLE waymark.links", "INSERT INTO waymark.programs (name) VALUES ('x')", "SELECT file('/etc/hostname')", "SET readonly = 0"} {
		for _, password := range []string{all, wedding} {
			if status, answer := s.readAs("reader", password, sql); status == http.StatusOK {
				s.t.Errorf("a reader may %s: %s", sql, answer)
			}
		}
	}
	s.mustCall(http.StatusNoContent, "DELETE", s.admin, "/v1/keys/"+url.PathEscape(weddingID), nil, nil)
	if status, answer := s.readAs("reader", wedding, "SELECT 1"); status != http.StatusForbidden {
		s.t.Errorf("a revoked key still reads: %d %s", status, answer)
	}
}

// waitSQL waits until a query of one cell answers so.
func (s *server) waitSQL(query, want string) {
	s.t.Helper()
	eventually(s.t, query, func() error {
		rows, err := s.sql(query)
		if err == nil && rows[0][0] != want {
			err = fmt.Errorf("it is %s, not %s", rows[0][0], want)
		}
		return err
	})
}

// question is SQL in the documentation with the answer below it.
var question = regexp.MustCompile("(?s)```sql\n([^`]*)```\n\n```\n([^`]*)```")

// askQuestions compares the answers that the documentation shows with those that a key of the programme gets.
func askQuestions(s *server) {
	text, err := os.ReadFile("../../clickhouse/README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	_, wedding := s.newKey("read", "wedding")
	questions := question.FindAllStringSubmatch(string(text), -1)
	if len(questions) < 8 {
		s.t.Fatalf("found %d questions with their answers", len(questions))
	}
	for _, q := range questions {
		if status, answer := s.readAs("reader", wedding, q[1]); status != http.StatusOK || answer != q[2] {
			s.t.Errorf("%s\nis answered\n%s\nand shown as\n%s", q[1], answer, q[2])
		}
	}
}

// findMetrics looks up every metric of the operators' dashboard and of the alerts in a running process, with its labels.
func findMetrics(s *server) {
	labels := map[string][]string{} // by name of a series
	for name, family := range s.families() {
		for _, m := range family {
			for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
				labels[name+suffix] = append(labels[name+suffix], append(m, "le", "instance")...)
			}
		}
	}
	board, err := os.ReadFile("../../deploy/grafana/dashboards/operations.json")
	if err != nil {
		s.t.Fatal(err)
	}
	var parsed struct {
		Panels []struct {
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(board, &parsed); err != nil {
		s.t.Fatal(err)
	}
	texts := []string{`{{instance}}`}
	for _, panel := range parsed.Panels {
		for _, target := range panel.Targets {
			texts = append(texts, target.Expr+" "+target.LegendFormat)
		}
	}
	alerts, err := os.ReadFile(filepath.Join("../../deploy/prometheus", "alerts.yml"))
	if err != nil {
		s.t.Fatal(err)
	}
	texts = append(texts, regexp.MustCompile(`expr: .*`).FindAllString(string(alerts), -1)...)
	found := 0
	for _, text := range texts {
		names := regexp.MustCompile(`\b(waymark|process)_[a-z_]+`).FindAllString(text, -1)
		found += len(names)
		var has []string
		for _, name := range names {
			if len(labels[name]) == 0 {
				s.t.Errorf("no running process has the metric %s", name)
			}
			has = append(has, labels[name]...)
		}
		for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(text, -1) {
			if len(names) > 0 && !slices.Contains(has, label[1]) {
				s.t.Errorf("no metric of %s has the label %s", text, label[1])
			}
		}
	}
	if found < 50 {
		s.t.Errorf("found %d metrics", found)
	}
}

// families are the label names of every series of /metrics, by the name of the metric.
func (s *server) families() map[string][][]string {
	s.t.Helper()
	request, err := http.NewRequest("GET", "http://"+s.admin+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	response, err := httpClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string][][]string{}
	for name, family := range families {
		for _, m := range family.Metric {
			names := []string{}
			for _, label := range m.Label {
				names = append(names, label.GetName())
			}
			all[name] = append(all[name], names)
		}
	}
	return all
}
