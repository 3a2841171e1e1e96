package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// e2eSeed is the environment variable that repeats a run.
const e2eSeed = "WAYMARK_E2E_SEED"

// TestEndToEnd sends requests of every kind to a whole installation, and
// compares every report and view with what it knows of them itself.
func TestEndToEnd(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(e2eSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d repeats this", e2eSeed, seed)
	city, network := geoFiles(t)
	s := newHome(t).up(t, "--geoip", city, "--geoip", network, "--trusted-proxies=127.0.0.1")
	links := makeLinks(rand.New(rand.NewPCG(seed, 0)), 92)
	keys := setUp(s, links)
	all := driveAll(s, seed, links, keys)
	if t.Failed() {
		return
	}
	if all.sent < 20_000 {
		t.Errorf("%d requests were sent, expected 20,000", all.sent)
	}
	s.waitRows("1", len(all.hits)+len(all.actions))
	findTimes(s, all)
	reportVisitors(s, keys, all)
	s.waitRows("1", len(all.hits)+len(all.actions))
	recount := all.recount()
	t.Run("Events", func(t *testing.T) { compareEvents(s.in(t), all) })
	t.Run("Journeys", func(t *testing.T) { compareJourneys(s.in(t), recount) })
	t.Run("Reports", func(t *testing.T) { compareReports(t, s, recount) })
	t.Run("Formats", func(t *testing.T) { compareFormats(s.in(t), recount) })
	t.Run("Keys", func(t *testing.T) { compareKeys(s.in(t), keys, recount) })
	t.Run("Views", func(t *testing.T) { compareViews(s.in(t), recount) })
	s.interrupt()
}

// in is the server for a subtest.
func (s *server) in(t *testing.T) *server {
	sub := *s
	sub.t = t
	return &sub
}

// driveAll lets all workers send their requests.
func driveAll(s *server, seed uint64, links []*e2eLink, keys e2eKeys) *books {
	s.t.Helper()
	var group sync.WaitGroup
	drivers := make([]*e2eDriver, driveWorkers)
	for i := range drivers {
		d := &e2eDriver{
			books: books{kept: map[string][]string{}}, s: s, keys: keys, number: i, links: links,
			random: rand.New(rand.NewPCG(seed, uint64(i+1))), used: map[int64]bool{},
		}
		drivers[i] = d
		group.Go(d.drive)
	}
	group.Wait()
	for _, d := range drivers {
		if d.failed != nil {
			s.t.Error(d.failed)
		}
	}
	all := mergeBooks(drivers)
	kinds := map[string]int{}
	for _, h := range all.hits {
		for _, reason := range h.reasons {
			kinds[reason]++
		}
		kinds[h.event]++
	}
	for _, a := range all.actions {
		kinds[a.event]++
	}
	s.t.Logf("%d requests made %d hits and %d actions: %v", all.sent, len(all.hits), len(all.actions), kinds)
	return all
}

// findTimes asks for the exact time of the hits that were not simulated and
// that something came of. Of the others it is enough to know the quarter of
// an hour.
func findTimes(s *server, all *books) {
	s.t.Helper()
	wanted := map[*e2eHit]bool{}
	for _, a := range all.actions {
		if a.click != nil && a.click.now {
			wanted[a.click] = true
		}
	}
	for h := range wanted {
		var click struct {
			Arrived bool
			Time    time.Time
			Link    struct{ Code string }
			Hit     struct{ Reasons []string }
		}
		s.mustCall(http.StatusOK, "GET", s.admin, "/v1/clicks/"+h.clickID, nil, &click)
		late := click.Time.UnixMilli() - h.at
		if !click.Arrived || click.Link.Code != h.link.code || late < 0 || late > patience.Milliseconds() || len(click.Hit.Reasons) != len(h.reasons) {
			s.t.Errorf("click %s is %+v, expected one of %s at %s with %v", h.clickID, click, h.link.key(), rfc3339(h.at), h.reasons)
		}
		h.at += late
	}
	s.t.Logf("%d clicks have their time from /v1/clicks", len(wanted))
}

// reportVisitors reports actions by the visitor's number, which /v1/clicks
// tells, and checks that there is one number for each visitor.
func reportVisitors(s *server, keys e2eKeys, all *books) {
	s.t.Helper()
	numbers := map[int]string{}
	taken := map[string]int{}
	for i, h := range all.hits {
		if h.visitor == 0 || h.clickID == "" || i%397 != 0 {
			continue
		}
		var click struct {
			Hit struct {
				VisitorID string `json:"visitor_id"`
			}
		}
		s.mustCall(http.StatusOK, "GET", s.admin, "/v1/clicks/"+h.clickID, nil, &click)
		id := click.Hit.VisitorID
		if known := numbers[h.visitor]; len(id) != 16 || known != "" && known != id || taken[id] != 0 && taken[id] != h.visitor {
			s.t.Errorf("click %s is of visitor %q, who is also known as %q; others have %v", h.clickID, id, known, taken)
		}
		numbers[h.visitor], taken[id] = id, h.visitor
		a := &e2eAction{event: "retain", id: fmt.Sprint("v", i), at: h.at + 1, visitor: h.visitor, program: h.link.program.name}
		status, body, err := callAs(keys.event, "POST", s.public, "/v1/events", map[string]any{
			"event": a.event, "id": a.id, "time": rfc3339(a.at), "visitor_id": id, "program": a.program,
		})
		if err != nil || status != http.StatusAccepted {
			s.t.Fatalf("report of visitor %s: %d %s %v", id, status, body, err)
		}
		all.keep(a)
	}
	s.t.Logf("%d visitors have a number", len(numbers))
}

// compareEvents compares the raw table with the ledger, row by row.
func compareEvents(s *server, all *books) {
	s.t.Helper()
	want := map[string]int{}
	for _, h := range all.hits {
		at := rfc3339(h.at)
		if h.now {
			at = "now"
		}
		want[fmt.Sprint([]any{h.event, "clicked", at, h.link.program.name, h.link.campaign, h.link.channel, h.link.code, h.link.domain, h.link.referrer, h.link.referrerType,
			h.link.wanted, names(h.reasons), one(h.visitor != 0), "", "", "", "0", []string{}, describeVisit(h.visit)})]++
	}
	for _, a := range all.actions {
		code, domain, at := "", "", rfc3339(a.at)
		if a.link != nil {
			code, domain = a.link.code, a.link.domain
		}
		if a.at > simOver.UnixMilli() {
			at = "now"
		}
		want[fmt.Sprint([]any{a.event, a.stage(), at, a.program, a.campaign, a.channel, code, domain, a.referrer, a.referrerType,
			a.want, names(a.reasons), one(a.visitor != 0), a.user, a.id, a.order, formatMicros(a.micros), a.touches, describeVisit(a.visit)})]++
	}
	got := map[string]int{}
	for _, line := range s.mustSQL(`SELECT tuple(event, stage, if(` + simulated("time") + `, formatDateTime(time, '%Y-%m-%dT%H:%i:%S'), 'now'), toUnixTimestamp64Milli(time) % 1000,
		program, campaign, channel, code, domain, referrer_id, referrer_type, referee_type, arrayStringConcat(reason_names, ','), visitor_id != 0, user_id, id, order_id, toString(value),
		arrayMap((at, channel) -> concat(if(` + simulated("at") + `, toString(toUnixTimestamp64Milli(at)), 'now'), ' ', channel), touches.time, touches.channel),
		[country, region, city, toString(network), device, browser, os, language, referrer_host, utm_source, utm_medium, utm_campaign, utm_term, utm_content]) AS t
		FROM waymark.events FORMAT JSONCompactEachRow`) {
		var cells [][]any
		if err := json.Unmarshal([]byte(strings.Join(line, "\t")), &cells); err != nil {
			s.t.Fatal(err)
		}
		c := cells[0]
		at := c[2].(string)
		if at != "now" {
			at = fmt.Sprintf("%s.%03sZ", at, fmt.Sprint(c[3]))
		}
		got[fmt.Sprint(append([]any{c[0], c[1], at}, c[4:]...))]++
	}
	compareLines(s, "events", got, want)
}

// compareLines compares how often each line is there.
func compareLines(s *server, table string, got, want map[string]int) {
	s.t.Helper()
	differ := 0
	for line, count := range want {
		if got[line] != count && differ < 10 {
			differ++
			s.t.Errorf("%s has %d times, expected %d: %s", table, got[line], count, line)
		}
	}
	for line, count := range got {
		if want[line] == 0 && differ < 20 {
			differ++
			s.t.Errorf("%s has %d times what was never sent: %s", table, count, line)
		}
	}
}

// compareJourneys compares the referral graph with the recount, party by party.
func compareJourneys(s *server, r *e2eRecount) {
	s.t.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, j := range r.journeys {
		party, _, _ := strings.Cut(j.party, " ")
		line := fmt.Sprint([]string{j.program, party, linkKeyOf(j.credit.link), j.credit.campaign, j.credit.channel, j.credit.referrer, j.credit.referrerType, j.credit.want})
		for _, stage := range []string{"clicked", "signed_up", "activated", "converted", "retained"} {
			line += fmt.Sprint(" ", j.first[stage])
		}
		want[line]++
	}
	for _, cells := range s.mustSQL(`SELECT [program, splitByChar(':', party)[1], link_key, campaign, channel, referrer, referrer_type, referee_type] AS labels,
		arrayStringConcat(arrayMap(at -> toString(ifNull(toUnixTimestamp64Milli(at), 0)), [clicked_at, signed_up_at, activated_at, converted_at, retained_at]), ' ') AS times
		FROM waymark.journeys FORMAT JSONCompactEachRow`) {
		var row [2]any
		if err := json.Unmarshal([]byte(strings.Join(cells, "\t")), &row); err != nil {
			s.t.Fatal(err)
		}
		got[fmt.Sprint(row[0], " ", row[1])]++
	}
	compareLines(s, "journeys", got, want)
}

// simulated is SQL for whether a time is a simulated one.
func simulated(column string) string {
	return fmt.Sprintf("%s < '%s'", column, simOver.Format(time.DateTime))
}

// names are reasons as the table shows them, in the order of their bits.
func names(reasons []string) string {
	var ordered []string
	for _, name := range []string{"bot", "prefetch", "head", "preview", "datacenter", "repeat", "gpc", "unverified", "inactive", "early", "expired", "simulated", "late"} {
		if slices.Contains(reasons, name) {
			ordered = append(ordered, name)
		}
	}
	return strings.Join(ordered, ",")
}

func describeVisit(v e2eVisit) []string {
	return append([]string{v.place.country, v.place.region, v.place.city, strconv.Itoa(v.place.network), v.agent.device, v.agent.browser, v.agent.os,
		v.language, v.referrerHost}, v.utm[:]...)
}

// e2ePeriods are whole, ragged, and short of an hour.
func e2ePeriods() [][2]time.Time {
	return [][2]time.Time{
		{simStart, time.Now().Add(24 * time.Hour)},
		{simStart, simEnd},
		{simStart.Add(5*24*time.Hour + 13*time.Minute + 7*time.Second + 123*time.Millisecond), simEnd.Add(-9*24*time.Hour - 41*time.Minute - 999*time.Millisecond)},
		{simStart.Add(20*24*time.Hour + 5*time.Minute), simStart.Add(20*24*time.Hour + 55*time.Minute)},
	}
}

func mustZone(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// compareReports asks each report for every dimension, every kind of hits,
// and samples of the other parameters.
func compareReports(t *testing.T, s *server, r *e2eRecount) {
	for report, dimensions := range map[string][]string{
		"clicks": append(slices.Clone(e2eVisitDimensions), "reason"), "funnel": e2eVisitDimensions, "conversion_rates": e2eVisitDimensions,
		"channels": e2eVisitDimensions, "geography": e2eVisitDimensions, "time_to_convert": e2eLinkDimensions, "viral": {"campaign"},
	} {
		t.Run(report, func(t *testing.T) {
			t.Parallel()
			queries := e2eQueries(report, dimensions)
			if report == "clicks" {
				queries = append(queries, e2eTimeQueries(t)...)
			}
			for _, q := range queries {
				got, _ := q.ask(s.in(t), "json")
				if difference := compareRows(got, r.expect(q)); difference != "" {
					t.Errorf("report %v: %s", q, difference)
				}
			}
			t.Logf("%d queries", len(queries))
		})
	}
}

var (
	e2eHits = []string{"valid", "gross", "unique"}
	noLimit = 100_000
)

// e2eQueries are a report's with and without breakdown, over all and over
// parts.
func e2eQueries(report string, dimensions []string) []e2eQuery {
	periods := e2ePeriods()
	var queries []e2eQuery
	for i, by := range append([]string{""}, dimensions...) {
		q := e2eQuery{name: report, by: by, hits: e2eHits[i%3], granularity: "day", zone: time.UTC, from: periods[0][0], to: periods[0][1], limit: noLimit}
		queries = append(queries, q)
		if i%3 != 0 {
			continue
		}
		q.program, q.hits, q.limit = e2ePrograms[i/3%4].name, e2eHits[(i/3+1)%3], []int{noLimit, 3}[i/3%2]
		q.from, q.to = periods[1+i/3%3][0], periods[1+i/3%3][1]
		queries = append(queries, q)
	}
	for _, hits := range e2eHits[1:] {
		queries[0].hits = hits
		queries = append(queries, queries[0])
	}
	queries[0].hits = e2eHits[0]
	return queries
}

// e2eTimeQueries are those of clicks over time: steps of zones far from UTC
// and from whole hours.
func e2eTimeQueries(t *testing.T) []e2eQuery {
	periods := e2ePeriods()
	var queries []e2eQuery
	for i, zone := range []string{"UTC", "Europe/Vienna", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham"} {
		for j, granularity := range []string{"hour", "day", "week", "month"} {
			queries = append(queries, e2eQuery{
				name: "clicks", zone: mustZone(t, zone), granularity: granularity, hits: e2eHits[(i+j)%3], limit: []int{noLimit, 10}[j%2],
				from: periods[(i+j)%4][0], to: periods[(i+j)%4][1],
			})
		}
	}
	return queries
}

// compareFormats asks for the same in all formats, and for what JSON says
// beside the rows.
func compareFormats(s *server, r *e2eRecount) {
	period := e2ePeriods()[0]
	for _, q := range []e2eQuery{{name: "clicks", by: "link"}, {name: "clicks"}, {name: "funnel"}, {name: "funnel", by: "channel"}, {name: "conversion_rates", by: "referrer"},
		{name: "time_to_convert"}, {name: "channels"}, {name: "geography"}, {name: "viral"}} {
		q.from, q.to, q.hits, q.zone, q.limit = period[0], period[1], "valid", time.UTC, 100_000
		rows, body := q.ask(s, "json")
		lines, _ := q.ask(s, "ndjson")
		if difference := compareRows(lines, rows); difference != "" {
			s.t.Errorf("report %s in ndjson and json: %s", q.name, difference)
		}
		records, _ := q.ask(s, "csv")
		if difference := compareRows(records, texts(rows)); difference != "" {
			s.t.Errorf("report %s in csv and json: %s", q.name, difference)
		}
		if q.name != "funnel" || q.by != "" {
			continue
		}
		var worst any
		lowest := 2.0
		for _, cells := range r.expect(q) {
			if rate, ok := cells["step_rate"].(float64); ok && rate < lowest {
				worst, lowest = cells["stage"], rate
			}
		}
		var said map[string]any
		if err := json.Unmarshal(body, &said); err != nil || said["worst_step"] != worst {
			s.t.Errorf("the worst step is %v, expected %v", said["worst_step"], worst)
		}
	}
}

// compareKeys asks with a key that may read one programme.
func compareKeys(s *server, keys e2eKeys, r *e2eRecount) {
	period := e2ePeriods()[0]
	q := e2eQuery{name: "channels", program: "insurance", from: period[0], to: period[1], hits: "valid", zone: time.UTC, limit: noLimit}
	path := "/v1/reports/channels?from=" + period[0].Format(time.DateOnly) + "&to=" + period[1].AddDate(0, 0, 1).Format(time.DateOnly)
	status, body, err := callAs(keys.read, "GET", s.admin, path, nil)
	rows, parseErr := parseReport("json", string(body))
	if err != nil || parseErr != nil || status != http.StatusOK {
		s.t.Fatalf("report with a key of role read: %d %s %v %v", status, body, err, parseErr)
	}
	if difference := compareRows(rows, r.expect(q)); difference != "" {
		s.t.Errorf("a report with the key of %s: %s", q.program, difference)
	}
	for _, c := range []struct {
		key, method, path string
		body              any
		status            int
	}{
		{keys.read, "GET", path + "&program=wedding", nil, http.StatusForbidden},
		{keys.read, "POST", "/v1/links", map[string]any{"url": "https://shop.example/"}, http.StatusForbidden},
		{keys.event, "GET", "/v1/links", nil, http.StatusForbidden},
		{"wrong", "GET", "/v1/links", nil, http.StatusUnauthorized},
		{s.key, "GET", "/v1/reports/channels?by=nothing", nil, http.StatusUnprocessableEntity},
	} {
		if status, body, err := callAs(c.key, c.method, s.admin, c.path, c.body); err != nil || status != c.status {
			s.t.Errorf("%s %s: %d %s %v, expected %d", c.method, c.path, status, body, err, c.status)
		}
	}
}

// texts are the cells as CSV has them: nothing for null.
func texts(rows []row) []row {
	var all []row
	for _, cells := range rows {
		record := row{}
		for name, cell := range cells {
			encoded, err := json.Marshal(cell)
			if err != nil {
				panic(err)
			}
			record[name] = string(encoded)
			if text, ok := cell.(string); ok {
				record[name] = text
			}
			if cell == nil {
				record[name] = ""
			}
		}
		all = append(all, record)
	}
	return all
}

// compareViews reads the plain views through ClickHouse's own interface. What
// a report says of a programme, the view of its name says, too.
func compareViews(s *server, r *e2eRecount) {
	ever := e2eQuery{from: time.UnixMilli(0), to: time.Now().Add(24 * time.Hour), hits: "valid", zone: time.UTC, limit: 1 << 30}
	for _, view := range []struct{ name, report, by, sql string }{
		{"funnel", "funnel", "", "SELECT * EXCEPT program FROM waymark.funnel WHERE program = '%s' ORDER BY position"},
		{"channels", "channels", "channel", "SELECT * EXCEPT program FROM waymark.channels WHERE program = '%s' ORDER BY clicks DESC, signups DESC, conversions DESC, key"},
		{"geography", "geography", "country", "SELECT * EXCEPT program FROM waymark.geography WHERE program = '%s' ORDER BY clicks DESC, signups DESC, conversions DESC, key"},
		{"viral", "viral", "", "SELECT * FROM waymark.viral WHERE program = '%s' ORDER BY kind, invitations DESC, referrer_type, referee_type"},
		{"conversion_rates", "conversion_rates", "campaign", "SELECT * EXCEPT (program, dimension) FROM waymark.conversion_rates WHERE program = '%s' AND dimension = 'campaign' AND clicks + signups + activations + conversions > 0 ORDER BY clicks DESC, signups DESC, conversions DESC, key"},
		{"conversion_rates", "conversion_rates", "referrer", "SELECT * EXCEPT (program, dimension) FROM waymark.conversion_rates WHERE program = '%s' AND dimension = 'referrer' AND clicks + signups + activations + conversions > 0 ORDER BY clicks DESC, signups DESC, conversions DESC, key"},
		{"time_to_convert", "time_to_convert", "", "SELECT * EXCEPT program FROM waymark.time_to_convert WHERE program = '%s' ORDER BY from_stage, to_stage"},
		{"clicks", "clicks", "country", "SELECT key, sum(c.clicks) AS clicks, sum(c.gross) AS gross, sum(c.unique) AS unique FROM waymark.clicks AS c WHERE program = '%s' AND dimension = 'country' GROUP BY key HAVING clicks > 0 ORDER BY clicks DESC, key"},
	} {
		for _, p := range e2ePrograms {
			q := ever
			q.name, q.by, q.program = view.report, view.by, p.name
			want := r.expect(q)
			var got []row
			for _, line := range s.mustSQL(fmt.Sprintf(view.sql, p.name) + " FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0") {
				var cells row
				if err := json.Unmarshal([]byte(strings.Join(line, "\t")), &cells); err != nil {
					s.t.Fatal(err)
				}
				got = append(got, cells)
			}
			got, want = alike(view.name, got, want)
			if difference := compareRows(got, want); difference != "" {
				s.t.Errorf("view %s of %s by %q: %s", view.name, p.name, view.by, difference)
			}
		}
	}
	compareCounts(s, r)
}

// alike makes the rows of a view and of its report comparable: SQL writes
// amounts as numbers, has no row for what did not happen, and some views have
// fewer columns.
func alike(view string, got, want []row) ([]row, []row) {
	for _, cells := range want {
		for _, name := range []string{"value", "refunds"} {
			if text, ok := cells[name].(string); ok {
				cells[name], _ = strconv.ParseFloat(text, 64)
			}
		}
		if view == "clicks" {
			delete(cells, "visitors")
			delete(cells, "valid")
		}
	}
	if view == "time_to_convert" {
		want = slices.DeleteFunc(want, func(cells row) bool { return cells["count"] == 0.0 })
		slices.SortFunc(want, func(a, b row) int {
			return strings.Compare(fmt.Sprint(a["from_stage"], " ", a["to_stage"]), fmt.Sprint(b["from_stage"], " ", b["to_stage"]))
		})
	}
	return got, want
}

// compareCounts compares the events by name, with the query of the README.
func compareCounts(s *server, r *e2eRecount) {
	want := map[string]int{}
	for _, f := range r.facts {
		want[f.event]++
	}
	got := map[string]int{}
	for _, line := range s.mustSQL("SELECT event, count() FROM waymark.events GROUP BY event") {
		got[line[0]], _ = strconv.Atoi(line[1])
	}
	if !maps.Equal(got, want) {
		s.t.Errorf("events by name are %v, expected %v", got, want)
	}
}
