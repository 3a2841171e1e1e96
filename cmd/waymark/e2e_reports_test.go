package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is a row of a report: numbers as float64, amounts as text, nil for null.
type row = map[string]any

// visitDimensions are what hits can be broken down by; linkDimensions, those
// of them that come with the link.
var (
	e2eLinkDimensions  = []string{"program", "campaign", "channel", "link", "referrer", "referrer_type", "referee_type"}
	e2eVisitDimensions = append(slices.Clone(e2eLinkDimensions), "country", "region", "city", "network", "device", "browser", "os", "language",
		"referrer_host", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
)

var funnelStages = []string{"invited", "clicked", "signed_up", "activated", "converted", "retained"}

// expect makes the rows of any report, in order.
func (r *e2eRecount) expect(q e2eQuery) []row {
	switch q.name {
	case "clicks":
		return r.expectClicks(q)
	case "funnel":
		return r.expectFunnel(q)
	case "time_to_convert":
		return r.expectTimes(q)
	case "viral":
		return r.expectViral(q)
	}
	return r.expectBreakdown(q)
}

// expectClicks counts hits by dimension, by reason or over time. Whichever
// hits are asked for, the other counts are shown beside them.
func (r *e2eRecount) expectClicks(q e2eQuery) []row {
	tallies := map[string]*e2eTally{}
	for _, f := range r.facts {
		if f.hit == nil || !q.holds(f.at) || q.program != "" && q.program != f.program {
			continue
		}
		keys := []string{f.dimension(q.by)}
		switch q.by {
		case "":
			keys[0] = bucket(f.at, q.granularity, q.zone)
		case "reason":
			keys = f.hit.reasons
		}
		for _, key := range keys {
			t := tallies[key]
			if t == nil {
				t = newTally(key)
				tallies[key] = t
			}
			t.gross += one(f.hit.counts("gross"))
			t.valid += one(f.hit.counts("valid"))
			t.unique += one(f.hit.counts("unique"))
			if f.hit.counts(q.hits) {
				t.add(f)
			}
		}
	}
	var counted []*e2eTally
	for _, t := range tallies {
		if t.clicks > 0 {
			counted = append(counted, t)
		}
	}
	slices.SortFunc(counted, func(a, b *e2eTally) int {
		if q.by == "" {
			return cmp.Compare(b.key, a.key) // of too many, the latest stay
		}
		return cmp.Or(cmp.Compare(b.clicks, a.clicks), cmp.Compare(a.key, b.key))
	})
	counted = counted[:min(q.limit, len(counted))]
	if q.by == "" {
		slices.Reverse(counted)
	}
	var rows []row
	for _, t := range counted {
		rows = append(rows, row{"key": t.key, "clicks": t.clicks, "visitors": t.visits(), "gross": t.gross, "valid": t.valid, "unique": t.unique})
	}
	return rows
}

func one(when bool) float64 {
	if when {
		return 1
	}
	return 0
}

// bucket is the start of the hour, day, week or month of a zone, in UTC.
func bucket(ms int64, granularity string, zone *time.Location) string {
	t := time.UnixMilli(ms).In(zone)
	year, month, day := t.Date()
	start := time.Date(year, month, day, 0, 0, 0, 0, zone)
	switch granularity {
	case "hour":
		start = t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	case "week":
		start = time.Date(year, month, day-(int(t.Weekday())+6)%7, 0, 0, 0, 0, zone)
	case "month":
		start = time.Date(year, month, 1, 0, 0, 0, 0, zone)
	}
	return start.UTC().Format(time.RFC3339)
}

// expectBreakdown is for conversion_rates, channels and geography.
func (r *e2eRecount) expectBreakdown(q e2eQuery) []row {
	stages := map[string][]string{
		"conversion_rates": {"clicked", "signed_up", "activated", "converted"},
		"channels":         {"invited", "clicked", "signed_up", "converted"},
		"geography":        {"clicked", "signed_up", "converted"},
	}[q.name]
	by := cmp.Or(q.by, map[string]string{"conversion_rates": "program", "channels": "channel", "geography": "country"}[q.name])
	tallies := tallyBy(r.chosen(q), func(f *e2eFact) string { return f.dimension(by) }, func(f *e2eFact) bool {
		return slices.Contains(stages, f.stage) || q.name == "channels" && f.event == "refund"
	})
	slices.SortFunc(tallies, func(a, b *e2eTally) int {
		return cmp.Or(cmp.Compare(b.clicks, a.clicks), cmp.Compare(b.reached("signed_up"), a.reached("signed_up")),
			cmp.Compare(b.reached("converted"), a.reached("converted")), cmp.Compare(a.key, b.key))
	})
	var rows []row
	for _, t := range tallies[:min(q.limit, len(tallies))] {
		rows = append(rows, t.breakdown(q.name))
	}
	return rows
}

// breakdown is the tally as a row of one of those reports.
func (t *e2eTally) breakdown(report string) row {
	signups, activations, conversions := t.reached("signed_up"), t.reached("activated"), t.reached("converted")
	cells := row{
		"key": t.key, "clicks": t.clicks, "visitors": t.visits(), "signups": signups, "conversions": conversions, "value": formatMicros(t.value),
		"signup_rate": rate(signups, t.visits()), "conversion_rate": rate(conversions, t.visits()),
	}
	switch report {
	case "conversion_rates":
		cells["activations"], cells["activation_rate"], cells["signup_conversion_rate"] = activations, rate(activations, signups), rate(conversions, signups)
	case "channels":
		cells["invitations"], cells["referrers"], cells["refunds"] = t.invits, float64(len(t.referrers)), formatMicros(t.refunds)
	}
	return cells
}

func (t *e2eTally) funnel() []float64 {
	return []float64{t.invits, t.visits(), t.reached("signed_up"), t.reached("activated"), t.reached("converted"), t.reached("retained")}
}

func (t *e2eTally) funnelSize() (size float64) {
	for _, count := range t.funnel() {
		size += count
	}
	return size
}

func (r *e2eRecount) expectFunnel(q e2eQuery) []row {
	tallies := tallyBy(r.chosen(q), func(f *e2eFact) string { return f.dimension(q.by) }, func(f *e2eFact) bool { return f.stage != "" })
	if q.by == "" && len(tallies) == 0 {
		tallies = []*e2eTally{newTally("")}
	}
	slices.SortFunc(tallies, func(a, b *e2eTally) int {
		return cmp.Or(cmp.Compare(b.funnelSize(), a.funnelSize()), cmp.Compare(a.key, b.key))
	})
	var rows []row
	for _, t := range tallies[:min(q.limit, len(tallies))] {
		counts := t.funnel()
		for i, stage := range funnelStages {
			cells := row{"stage": stage, "position": float64(i + 1), "count": counts[i], "step_rate": nil, "overall_rate": rate(counts[i], counts[0])}
			if i > 0 {
				cells["step_rate"] = rate(counts[i], counts[i-1])
			}
			if q.by != "" {
				cells["key"] = t.key
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// stagePairs are those between which the hours are reported.
var stagePairs = [][2]string{{"clicked", "signed_up"}, {"signed_up", "activated"}, {"activated", "converted"}, {"converted", "retained"}, {"clicked", "converted"}, {"signed_up", "converted"}}

func (r *e2eRecount) expectTimes(q e2eQuery) []row {
	spans := map[string]*[6][]float64{} // by key and pair, in ms
	if q.by == "" {
		spans[""] = new([6][]float64)
	}
	for _, j := range r.journeys {
		if q.program != "" && q.program != j.program {
			continue
		}
		key := (&e2eFact{program: j.program, campaign: j.credit.campaign, channel: j.credit.channel, link: linkKeyOf(j.credit.link),
			referrer: j.credit.referrer, referrerType: j.credit.referrerType, want: j.credit.want}).dimension(q.by)
		if spans[key] == nil {
			spans[key] = new([6][]float64)
		}
		for i, pair := range stagePairs {
			from, started := j.first[pair[0]]
			to, ended := j.first[pair[1]]
			if started && ended && from <= to && q.holds(to) {
				spans[key][i] = append(spans[key][i], float64(to-from))
			}
		}
	}
	type group struct {
		key   string
		pair  int
		total int
		cells row
	}
	var groups []group
	for key, pairs := range spans {
		total := 0
		for _, ms := range pairs {
			total += len(ms)
		}
		for i, ms := range pairs {
			if len(ms) == 0 && q.by != "" {
				continue
			}
			cells := timesRow(stagePairs[i], ms)
			if q.by != "" {
				cells["key"] = key
			}
			groups = append(groups, group{key, i, total, cells})
		}
	}
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.key, b.key), cmp.Compare(a.pair, b.pair))
	})
	var rows []row
	keys := map[string]bool{} // the limit is one of keys
	for _, g := range groups {
		if keys[g.key] = true; len(keys) <= q.limit {
			rows = append(rows, g.cells)
		}
	}
	return rows
}

func linkKeyOf(l *e2eLink) string {
	if l == nil {
		return ""
	}
	return l.key()
}

func timesRow(pair [2]string, ms []float64) row {
	cells := row{"from_stage": pair[0], "to_stage": pair[1], "count": float64(len(ms)), "mean_hours": nil, "median_hours": nil, "p75_hours": nil, "p90_hours": nil}
	if len(ms) == 0 {
		return cells
	}
	slices.Sort(ms)
	sum := 0.0
	for _, v := range ms {
		sum += v
	}
	cells["mean_hours"] = sum / float64(len(ms)) / 3600_000
	for name, p := range map[string]float64{"median_hours": 0.5, "p75_hours": 0.75, "p90_hours": 0.9} {
		cells[name] = quantile(ms, p) / 3600_000
	}
	return cells
}

// ask fetches a report in a format, as rows in order.
func (q e2eQuery) ask(s *server, format string) ([]row, []byte) {
	s.t.Helper()
	parameters := url.Values{"from": {q.from.Format(time.RFC3339Nano)}, "to": {q.to.Format(time.RFC3339Nano)}, "tz": {q.zone.String()},
		"hits": {q.hits}, "limit": {strconv.Itoa(q.limit)}, "format": {format}}
	for name, value := range map[string]string{"by": q.by, "program": q.program, "granularity": q.granularity} {
		if value != "" {
			parameters.Set(name, value)
		}
	}
	status, body, err := s.call("GET", s.admin, "/v1/reports/"+q.name+"?"+parameters.Encode(), nil)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("report %s?%s: %d %s %v", q.name, parameters.Encode(), status, body, err)
	}
	rows, err := parseReport(format, string(body))
	if err != nil {
		s.t.Fatalf("report %s?%s: %v in %s", q.name, parameters.Encode(), err, body)
	}
	return rows, body
}

// parseReport reads the rows of a format. Those of CSV are texts.
func parseReport(format, body string) (rows []row, err error) {
	switch format {
	case "ndjson":
		for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
			var cells row
			if err := json.Unmarshal(lines.Bytes(), &cells); err != nil {
				return nil, err
			}
			rows = append(rows, cells)
		}
		return rows, nil
	case "csv":
		records, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil {
			return nil, err
		}
		for _, record := range records[1:] {
			cells := row{}
			for i, name := range records[0] {
				cells[name] = record[i]
			}
			rows = append(rows, cells)
		}
		return rows, nil
	}
	var report struct{ Rows []row }
	return report.Rows, json.Unmarshal([]byte(body), &report)
}

// compareRows says where two lists of rows differ, "" for nowhere.
func compareRows(got, want []row) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("row %d is missing: %v", i, want[i])
		case i >= len(want):
			return fmt.Sprintf("row %d is too many: %v", i, got[i])
		case len(got[i]) != len(want[i]):
			return fmt.Sprintf("row %d is %v, expected %v", i, got[i], want[i])
		}
		for name, cell := range want[i] {
			if other, ok := got[i][name]; !ok || !sameCell(other, cell) {
				return fmt.Sprintf("row %d: %s is %v, expected %v; the row is %v, expected %v", i, name, other, cell, got[i], want[i])
			}
		}
	}
	return ""
}

// sameCell compares counts and texts exactly; means and rates may differ in
// the last digits, since sums of floats depend on their order.
func sameCell(a, b any) bool {
	x, ok := a.(float64)
	y, also := b.(float64)
	if !ok || !also || x == math.Trunc(x) && y == math.Trunc(y) {
		return a == b
	}
	return math.Abs(x-y) <= 1e-12*math.Max(math.Abs(x), math.Abs(y))
}
