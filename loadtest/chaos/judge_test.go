package main

import (
	"encoding/json"
	"strings"
	"testing"

	"waymark/loadtest"
	"waymark/loadtest/verify"
)

// An equal number of clicks must be missing everywhere, and nothing else.
func TestJudgeReport(t *testing.T) {
	for _, tc := range []struct {
		name    string
		counted uint64
		change  func(clicks, hourly, actions *verify.Line, r *verify.Report)
		want    string // part of the complaint, "" for none
	}{
		{"all is there", 0, func(_, _, _ *verify.Line, _ *verify.Report) {}, ""},
		{"what was shed is missing", 7, func(c, h, _ *verify.Line, _ *verify.Report) { c.Lost, h.Lost = 7, 7 }, ""},
		{"a click is missing in events", 0, func(c, _, _ *verify.Line, _ *verify.Report) { c.Lost = 1 }, "events, clicks: ledger 0, ClickHouse 0, lost 1"},
		{"one more than was shed", 7, func(c, h, _ *verify.Line, _ *verify.Report) { c.Lost, h.Lost = 8, 7 }, "lost 8 (7 are accounted for)"},
		{"one less than was shed", 7, func(c, h, _ *verify.Line, _ *verify.Report) { c.Lost, h.Lost = 6, 7 }, "lost 6 (7 are accounted for)"},
		{"a view lacks more", 7, func(c, h, _ *verify.Line, _ *verify.Report) { c.Lost, h.Lost = 7, 8 }, "clicks_hourly"},
		{"an action is missing with the clicks", 7, func(c, h, a *verify.Line, _ *verify.Report) { c.Lost, h.Lost, a.Lost = 7, 7, 1 }, "events, actions"},
		{"doubled", 0, func(c, _, _ *verify.Line, _ *verify.Report) { c.Doubled = 1 }, "doubled 1"},
		{"foreign", 0, func(c, _, _ *verify.Line, _ *verify.Report) { c.Foreign = 1 }, "foreign 1"},
		{"altered", 0, func(_, _, a *verify.Line, _ *verify.Report) { a.Altered = 1 }, "altered 1"},
		{"the ledger has no end", 0, func(_, _, _ *verify.Line, r *verify.Report) { r.Unfinished = []string{"x"} }, "no end"},
		{"nothing was compared", 0, func(_, _, _ *verify.Line, r *verify.Report) { r.Lines = nil }, "compared 0"},
	} {
		clicks, hourly, actions := &verify.Line{Table: "events", What: "clicks"}, &verify.Line{Table: "clicks_hourly", What: "sums by total"}, &verify.Line{Table: "events", What: "actions"}
		report := &verify.Report{Lines: []*verify.Line{clicks, hourly, actions}}
		tc.change(clicks, hourly, actions, report)
		errs := judgeReport(report, tc.counted)
		if tc.want == "" && len(errs) == 0 {
			continue
		}
		if tc.want == "" || len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, errs, tc.want)
		}
	}
}

// The text is what `waymark audit --json` prints about a node of whose hits 70
// went with a segment.
const auditOfAGap = `{"results":[
 {"what":"waymark.clicks/0","range":{"unit":"offset","from":"0","to":"900"},"expected":900,"found":900,"verdict":"ok"},
 {"what":"node 2","range":{"unit":"ordinal","from":"1","to":"1001"},"expected":1000,"found":930,"verdict":"missing"},
 {"what":"node 2","range":{"unit":"ordinal","from":"101","to":"151"},"expected":50,"found":0,"verdict":"missing","detail":"neither in events nor in Kafka"},
 {"what":"node 2","range":{"unit":"ordinal","from":"301","to":"321"},"expected":20,"found":0,"verdict":"missing","detail":"neither in events nor in Kafka"}
],"differences":3,"unproven":0}`

func TestJudgeAudit(t *testing.T) {
	report := new(auditReport)
	if err := json.Unmarshal([]byte(auditOfAGap), report); err != nil {
		t.Fatal(err)
	}
	r := &round{deployment: &deployment{knownLines: map[string]bool{}}, broken: true}
	if missing, errs := r.judgeAudit(report); missing != 70 || len(errs) > 0 {
		t.Errorf("%d are missing, %v; want 70", missing, errs)
	}
	later := &round{deployment: r.deployment}
	if missing, errs := later.judgeAudit(report); missing != 0 || len(errs) > 0 {
		t.Errorf("in a later round %d are missing, %v", missing, errs)
	}
	whole := &round{deployment: &deployment{knownLines: map[string]bool{}}}
	if _, errs := whole.judgeAudit(report); len(errs) != 2 {
		t.Errorf("without a damaged spool: %v, want two complaints", errs)
	}
	for _, verdict := range []string{"repeated", "differs", "unproven", "missing"} {
		line := auditLine{What: "clicks_hourly", Verdict: verdict, Expected: 1}
		if _, errs := r.judgeAudit(&auditReport{Results: []auditLine{line}}); len(errs) != 1 {
			t.Errorf("%s: %v, want a complaint", verdict, errs)
		}
	}
	trimmed := &auditReport{Results: []auditLine{{What: "waymark.actions/1", Verdict: "unproven", Detail: "2 without a row and trimmed from Kafka"}}}
	if _, errs := r.judgeAudit(trimmed); len(errs) != 1 {
		t.Errorf("a broker of its own trimmed something: %v, want a complaint", errs)
	}
	inUp := &round{deployment: &deployment{topology: up}}
	if _, errs := inUp.judgeAudit(trimmed); len(errs) != 0 {
		t.Errorf("the broker of up trimmed something: %v", errs)
	}
	if _, errs := r.judgeAudit(new(auditReport)); len(errs) != 1 {
		t.Errorf("an audit of nothing: %v, want a complaint", errs)
	}
}

func TestCheckStatus(t *testing.T) {
	result := func(status map[int]uint64) *loadtest.Result {
		return &loadtest.Result{Status: status, Kinds: map[string]loadtest.KindSum{"unknown codes": {Answered: 3}}}
	}
	for _, tc := range []struct {
		result *loadtest.Result
		want   string
	}{
		{result(map[int]uint64{302: 90, 202: 5, 200: 1, 404: 3, 503: 1}), ""},
		{result(map[int]uint64{302: 90, 404: 5}), "2 requests for links that exist"},
		{result(map[int]uint64{302: 90, 500: 1}), "1 requests were answered 500"},
	} {
		err := checkStatus(tc.result)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%v: %v, want %q", tc.result.Status, err, tc.want)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	m := parseMetrics([]byte(`# HELP waymark_spool_unacked_bytes Bytes.
# TYPE waymark_spool_unacked_bytes gauge
waymark_spool_unacked_bytes 1.5e+06
lag{topic="a b",partition="1"} 3
lag{topic="c}d"} 4 1795000000000
broken
`))
	if m["waymark_spool_unacked_bytes"] != 1_500_000 || m["lag"] != 7 || len(m) != 2 {
		t.Errorf("%v", m)
	}
	if _, err := m.need("other"); err == nil {
		t.Error("a metric that is not there is there")
	}
}
