package admin

import (
	"encoding/csv"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

func TestReportFormats(t *testing.T) {
	f := newFixture(t)
	half := 0.5
	f.report = tracker.Report{
		Columns: []string{"key", "clicks", "rate", "value", "at", "none"},
		Rows: [][]any{
			{"=cmd()", uint64(3), 1.0 / 3, decimal.RequireFromString("-19.90"), time.Date(2026, 11, 20, 1, 0, 0, 5e6, time.FixedZone("", 3600)), nil},
			{"quote\" and, comma", int64(-1), math.NaN(), decimal.Zero, testNow, (*float64)(nil)},
		},
		Extra: map[string]any{"worst_step": "signed_up", "k": &half, "flows": []map[string]any{{"k": math.Inf(1)}}},
	}
	for format, c := range map[string]struct{ contentType, body string }{
		"": {"application/json", `{"rows":[` +
			`{"key":"=cmd()","clicks":3,"rate":0.3333333333333333,"value":"-19.9","at":"2026-11-20T00:00:00.005Z","none":null},` +
			`{"key":"quote\" and, comma","clicks":-1,"rate":null,"value":"0","at":"2026-11-20T12:00:00Z","none":null}],` +
			`"flows":[{"k":null}],"k":0.5,"worst_step":"signed_up"}` + "\n"},
		"ndjson": {"application/x-ndjson",
			`{"key":"=cmd()","clicks":3,"rate":0.3333333333333333,"value":"-19.9","at":"2026-11-20T00:00:00.005Z","none":null}` + "\n" +
				`{"key":"quote\" and, comma","clicks":-1,"rate":null,"value":"0","at":"2026-11-20T12:00:00Z","none":null}` + "\n"},
		"csv": {"text/csv; charset=utf-8; header=present",
			"key,clicks,rate,value,at,none\r\n" +
				"'=cmd(),3,0.3333333333333333,-19.9,2026-11-20T00:00:00.005Z,\r\n" +
				"\"quote\"\" and, comma\",-1,,0,2026-11-20T12:00:00Z,\r\n"},
	} {
		body := f.send("GET", "/v1/reports/funnel?format="+format, f.read, "")
		if f.lastStatus != 200 || body != c.body || f.lastHeader.Get("Content-Type") != c.contentType {
			t.Errorf("%s: %d %s\n%s\nwant\n%s", format, f.lastStatus, f.lastHeader.Get("Content-Type"), body, c.body)
		}
	}
	f.report.Rows = nil
	if body := f.send("GET", "/v1/reports/funnel", f.read, ""); !strings.HasPrefix(body, `{"rows":[],`) {
		t.Errorf("no rows: %s", body)
	}
	rows, err := csv.NewReader(strings.NewReader(f.send("GET", "/v1/reports/funnel?format=csv", f.read, ""))).ReadAll()
	if err != nil || len(rows) != 1 {
		t.Errorf("no rows: %v, %v", rows, err)
	}
}

func TestReportDefaults(t *testing.T) {
	f := newFixture(t)
	day := func(year int, month time.Month, day, hour int) time.Time {
		return time.Date(year, month, day, hour, 0, 0, 0, time.UTC)
	}
	defaults := tracker.ReportQuery{
		Name: "funnel", From: day(2026, 10, 22, 0), To: day(2026, 11, 21, 0), Hits: "valid", Granularity: "day", TZ: "UTC", Limit: 1000,
	}
	for _, c := range []struct {
		query  string
		key    string
		change func(*tracker.ReportQuery)
	}{
		{"", f.read, func(*tracker.ReportQuery) {}},
		{"", f.weddingRead, func(q *tracker.ReportQuery) { q.Program = "wedding" }},
		{"program=wedding&hits=unique&granularity=month&limit=5", f.read, func(q *tracker.ReportQuery) {
			q.Program, q.Hits, q.Granularity, q.Limit = "wedding", "unique", "month", 5
		}},
		{"model=position&half_life_days=3.5&first_share=0.5&last_share=0.25", f.read, func(q *tracker.ReportQuery) {
			q.Model, q.HalfLifeDays, q.FirstShare, q.LastShare = "position", 3.5, 0.5, 0.25
		}},
		{"mode=cohort&stages=clicked,converted&view=histogram&measure=signups&weeks=13", f.read, func(q *tracker.ReportQuery) {
			q.Mode, q.Stages, q.View, q.Measure, q.Weeks = "cohort", "clicked,converted", "histogram", "signups", 13
		}},
		{"from=2026-11-01&to=2026-11-03", f.read, func(q *tracker.ReportQuery) { q.From, q.To = day(2026, 11, 1, 0), day(2026, 11, 3, 0) }},
		{"from=2026-11-01T05:00:00%2B02:00", f.read, func(q *tracker.ReportQuery) { q.From = day(2026, 11, 1, 3) }},
		// It is 01:00 on the 21st in Auckland, UTC+13 in summer.
		{"channel=qr&country=DE", f.read, func(q *tracker.ReportQuery) { q.Filters = map[string]string{"channel": "qr", "country": "DE"} }},
		{"tz=Pacific/Auckland", f.read, func(q *tracker.ReportQuery) {
			q.TZ, q.From, q.To = "Pacific/Auckland", day(2026, 10, 22, 11), day(2026, 11, 21, 11)
		}},
		// Vienna is at UTC+2 until 25 October 2026, 01:00 UTC.
		{"tz=Europe/Vienna&from=2026-10-25&to=2026-10-26", f.read, func(q *tracker.ReportQuery) {
			q.TZ, q.From, q.To = "Europe/Vienna", day(2026, 10, 24, 22), day(2026, 10, 25, 23)
		}},
	} {
		want := defaults
		c.change(&want)
		f.want(t, 200, "GET", "/v1/reports/funnel?"+c.query, c.key, "")
		if !reflect.DeepEqual(f.query, want) {
			t.Errorf("%s: asked %+v\nwant %+v", c.query, f.query, want)
		}
	}
	f.want(t, 200, "GET", "/v1/reports/channels?by=campaign", f.read, "")
	if f.query.By != "campaign" {
		t.Errorf("asked by %q", f.query.By)
	}
}

func TestReportRefuses(t *testing.T) {
	f := newFixture(t)
	for query, field := range map[string]string{
		"channels?by=colour": "by", "funnel?by=channel": "by", "funnel?hits=all": "hits", "funnel?granularity=year": "granularity",
		"funnel?tz=Mars/Olympus": "tz", "funnel?tz=Local": "tz", "funnel?tz=../../etc/passwd": "tz",
		"funnel?from=yesterday": "from", "funnel?to=1e9": "to", "funnel?from=2026-11-02&to=2026-11-02": "from", "funnel?from=0001-01-01": "from",
		"funnel?to=2300-01-01": "to", "funnel?from=2027-01-01": "from",
		"funnel?model=middle": "model", "funnel?half_life_days=0": "half_life_days", "funnel?first_share=0": "first_share", "funnel?last_share=1.5": "last_share",
		"funnel?mode=all": "mode", "funnel?view=pie": "view", "funnel?measure=money": "measure", "funnel?weeks=0": "weeks", "funnel?weeks=14": "weeks",
		"funnel?limit=0": "limit", "funnel?limit=100001": "limit", "funnel?limit=ten": "limit", "funnel?format=xml": "format",
		"funnel?program=nope": "program", "funnel?sort=asc": "sort",
	} {
		f.wantFault(t, 422, field, "GET", "/v1/reports/"+query, f.read, "")
	}
	problem := f.want(t, 422, "GET", "/v1/reports/channels?by=colour", f.read, "")
	if !strings.Contains(problem["detail"].(string), "channel, campaign") {
		t.Errorf("does not say what by can be: %v", problem)
	}
	f.wantFault(t, 403, "program", "GET", "/v1/reports/funnel?program=general", f.weddingRead, "")
	f.wantFault(t, 404, "name", "GET", "/v1/reports/nope", f.read, "")
	f.answers.err = &tracker.FieldError{Field: "granularity", Detail: "must be day or longer over so long a period"}
	f.wantFault(t, 422, "granularity", "GET", "/v1/reports/funnel", f.read, "")
}
