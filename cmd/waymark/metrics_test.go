package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape reads /metrics as Prometheus does: the sum of each series' value by its
// name, and with its topic or result if it has one. A histogram gives its count
// under name_count and its sum under name_sum.
func scrape(t *testing.T, address, key string) map[string]float64 {
	t.Helper()
	request, err := http.NewRequest("GET", "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := httpClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics: %s, %v", response.Status, err)
	}
	values := map[string]float64{}
	for name, family := range families {
		for _, m := range family.Metric {
			of := ""
			for _, label := range m.Label {
				if label.GetName() == "topic" || label.GetName() == "result" {
					of = " " + label.GetValue()
				}
			}
			if family.GetType() == dto.MetricType_HISTOGRAM {
				values[name+"_count"+of] += float64(m.GetHistogram().GetSampleCount())
				values[name+"_sum"+of] += m.GetHistogram().GetSampleSum()
				continue
			}
			values[name+of] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// TestMetrics follows some events past every place where one can be, by what
// Prometheus sees of them.
func TestMetrics(t *testing.T) {
	const clicks, unknown = 40, 3
	s := newHome(t).up(t)
	s.createLink(map[string]any{"code": "seen", "url": "https://shop.example/"})
	for i := range clicks + unknown {
		path := "/seen"
		if i >= clicks {
			path = fmt.Sprintf("/unseen-%d", i)
		}
		response, err := httpClient.Get("http://" + s.public + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	for range 2 { // the second one is a repeat
		s.mustCall(http.StatusAccepted, "POST", s.public, "/v1/events", map[string]any{"id": "1", "event": "signup", "user_id": "u1"}, nil)
	}
	s.waitRows("stage = 'clicked'", clicks)

	want := map[string]float64{
		"waymark_build_info":                               1,
		"waymark_edge_requests_total redirect":             clicks,
		"waymark_edge_requests_total not_found":            unknown,
		"waymark_edge_hits_shed_total":                     0,
		"waymark_spool_appended_frames_total":              clicks,
		"waymark_spool_ring_bytes":                         0,
		"waymark_spool_ring_max_bytes":                     8 << 20,
		"waymark_spool_segment_bytes":                      0,
		"waymark_spool_unacked_bytes":                      0,
		"waymark_spool_oldest_age_seconds":                 0,
		"waymark_spool_shed_frames_total":                  0,
		"waymark_spool_ring_lost_state":                    0,
		"waymark_spool_shedding_state":                     0,
		"waymark_spool_corrupt_spans_total":                0,
		"waymark_journal_appended_frames_total":            2,
		"waymark_journal_unacked_bytes":                    0,
		"waymark_journal_corrupt_spans_total":              0,
		"waymark_journal_shed_frames_total":                0,
		"waymark_broker_refusing":                          0,
		"waymark_ingest_insert_errors_total":               0,
		"waymark_ingest_batch_rows_sum":                    clicks + 1 + 1, // the link's entry in the audit log
		"waymark_ingest_rows_total waymark.decisions":      1,
		"waymark_ingest_click_to_clickhouse_seconds_count": clicks,
		"waymark_engine_answering":                         1,
		"waymark_engine_starts_total":                      1,
	}
	for name, byTopic := range map[string][2]float64{ // clicks, actions
		"waymark_shipper_events_total":              {clicks, 2},
		"waymark_shipper_batch_events_sum":          {clicks, 2},
		"waymark_shipper_in_flight_events":          {0, 0},
		"waymark_shipper_corrupt_frames_total":      {0, 0},
		"waymark_ingest_rows_total":                 {clicks, 1},
		"waymark_ingest_deduplicated_records_total": {0, 1},
		"waymark_ingest_missing_ordinals_total":     {0, 0},
		"waymark_ingest_refused_records_total":      {0, 0},
		"waymark_ingest_lost_records_total":         {0, 0},
		"waymark_ingest_replayed_plans_total":       {0, 0},
		"waymark_ingest_replay_mismatches_total":    {0, 0},
		"waymark_ingest_lag_records":                {0, 0},
		"waymark_ingest_lag_seconds":                {0, 0},
	} {
		want[name+" waymark.clicks"], want[name+" waymark.actions"] = byTopic[0], byTopic[1]
	}
	// Rows are there before they are counted.
	eventually(t, "the metrics to say what was sent", func() error {
		got := scrape(t, s.admin, s.key)
		for name, value := range want {
			if found, known := got[name]; !known || found != value {
				return fmt.Errorf("%s is %v (%v), want %v", name, found, known, value)
			}
		}
		for _, name := range []string{
			"go_goroutines", "process_resident_memory_bytes", "waymark_engine_process_resident_memory_bytes",
			"waymark_shipper_ack_seconds_sum waymark.clicks", "waymark_ingest_insert_seconds_sum", "waymark_ingest_click_to_clickhouse_seconds_sum",
			"waymark_broker_log_bytes waymark.clicks", "waymark_links_live_count",
		} {
			if got[name] <= 0 {
				return fmt.Errorf("%s is %v", name, got[name])
			}
		}
		return nil
	})
}

// TestLostRingIsSeen: who wipes the tmpfs under a node that was killed is told.
func TestLostRingIsSeen(t *testing.T) {
	h := newHome(t)
	h.up(t).kill()
	rings, err := filepath.Glob(filepath.Join(h.ring, "*"))
	if err != nil || len(rings) != 1 {
		t.Fatalf("rings %q, %v", rings, err)
	}
	if err := os.Remove(rings[0]); err != nil {
		t.Fatal(err)
	}
	s := h.up(t)
	if value := scrape(t, s.admin, s.key)["waymark_spool_ring_lost_state"]; value != 1 {
		t.Errorf("the metric is %v", value)
	}
	if status, state := readyz(t, s.public); status != http.StatusOK || len(state.Notes) != 1 ||
		!strings.Contains(state.Notes[0], "the ring was lost") || !strings.Contains(state.Notes[0], "number 2") {
		t.Errorf("%d %+v", status, state)
	}
}

// readinessState is the body of /readyz.
type readinessState struct {
	Ready          bool
	Reasons, Notes []string
}

func readyz(t *testing.T, address string) (status int, state readinessState) {
	t.Helper()
	response, err := httpClient.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, state
}

var metricName = regexp.MustCompile(`waymark_[a-z_]+`)

// TestMetricsOfTheReadme: every metric that the README tells operators to look
// at exists.
func TestMetricsOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := newHome(t).up(t)
	known := map[string]bool{}
	for series := range scrape(t, s.admin, s.key) {
		name, _, _ := strings.Cut(series, " ")
		known[name] = true
		known[strings.TrimSuffix(name, "_count")] = true // of a histogram
	}
	names := metricName.FindAllString(string(readme), -1)
	if len(names) < 10 {
		t.Fatalf("the README names %d metrics", len(names))
	}
	for _, name := range names {
		if !known[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
}

var metricsServed = regexp.MustCompile(`serving metrics.* metrics=(\S+)`)

// TestReadyzWhileStarting: a process that waits for another system says for
// which, and why it does not come.
func TestReadyzWhileStarting(t *testing.T) {
	h := newHome(t)
	const nobody = "127.0.0.1:1"
	for _, c := range []struct {
		args    []string
		reasons []string
	}{
		{[]string{"edge", "--listen=127.0.0.1:0", "--spool-ring=" + h.ring, ringBytes, "--kafka=" + nobody},
			[]string{"edge: is starting: can't get a number for this new node from Kafka yet: ", "links: "}},
		{[]string{"ingest", "--kafka=" + nobody, "--clickhouse=http://" + nobody},
			[]string{"ingest: is starting: can't prepare ClickHouse yet: ", "clickhouse: "}},
	} {
		p := run(t, nil, append(c.args, "--metrics=127.0.0.1:0", "--data="+filepath.Join(t.TempDir(), c.args[0]))...)
		address := p.match(metricsServed)[1]
		eventually(t, c.args[0]+" to say what it waits for", func() error {
			status, state := readyz(t, address)
			if state.Ready || status != http.StatusServiceUnavailable {
				return fmt.Errorf("%d %+v", status, state)
			}
			for _, reason := range c.reasons {
				if !strings.Contains("\n"+strings.Join(state.Reasons, "\n"), "\n"+reason) {
					return fmt.Errorf("%q is not among %q", reason, state.Reasons)
				}
			}
			return nil
		})
		if values := scrape(t, address, ""); values["waymark_build_info"] != 1 {
			t.Errorf("%s: no build in its metrics", c.args[0])
		}
		p.interrupt()
	}
}
