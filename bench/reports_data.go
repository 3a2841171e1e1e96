package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"
)

//go:embed reports_hits.sql
var reportsHitsSQL string

var reportsHits = template.Must(template.New("").Parse(reportsHitsSQL))

// reportsData makes events inside the engine: ten million through ingest take
// minutes, and the reports cannot tell.
type reportsData struct {
	Events, Links, Referrers int
	StartMS, SpanMS          int64
	First, Count             int
}

func newReportsData(events int) reportsData {
	return reportsData{
		Events: events, Links: max(1000, events/500), Referrers: max(300, events/1500),
		StartMS: time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), SpanMS: 365 * 24 * time.Hour.Milliseconds(),
	}
}

// reportsStep is the number of hits of an insert, about that of a block of
// ingest.
const reportsStep = 256 * 1024

// fill inserts all hits and what follows from them, through every view.
func (d reportsData) fill(ctx context.Context, e *engineProcess) error {
	progress := newProgress("events made", d.Events)
	for d.First = 0; d.First < d.Events; d.First += reportsStep {
		d.Count = min(reportsStep, d.Events-d.First)
		for _, sql := range d.statements() {
			if err := e.exec(ctx, sql+` SETTINGS max_threads = 1, max_insert_threads = 1, insert_deduplicate = 0, max_block_size = 65536,
				max_insert_block_size = 1000000, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0,
				min_insert_block_size_rows_for_materialized_views = 1000000, min_insert_block_size_bytes_for_materialized_views = 0`); err != nil {
				return fmt.Errorf("make the events from number %d: %w", d.First, err)
			}
		}
		progress.at(d.First + d.Count)
	}
	return nil
}

// statements insert a step: the hits, and then the actions. 1.5 % of the hits
// that count lead to a signup, which brings its click; what the user does after it
// is reported under the user's name alone, and has to be resolved.
func (d reportsData) statements() []string {
	var hits strings.Builder
	if err := reportsHits.Execute(&hits, d); err != nil {
		panic("BUG: render the hits: " + err.Error())
	}
	const link = "program, campaign, channel, link, code, referrer_id, referrer_type, referee_type"
	const none = "'', '', '', 0, '', '', '', ''"
	all := []string{`INSERT INTO waymark.events (event, stage, time, ` + link + `, node, sequence, reasons, visitor_id,
		country, region, city, network, device, browser, os, language, referrer_host, address_hash, source, partition, offset)
		SELECT if(i % 8 = 0, 'scan', 'click'), 'clicked', time, ` + link + `, node, sequence, reasons, visitor_id,
		country, region, city, network, device, browser, os, language, referrer_host, cityHash64(w, toDate(time)), 1, node, i
		FROM (` + hits.String() + `)`}
	signs := "a % 1000 < 15 AND bitAnd(reasons, 1823) = 0"
	for i, action := range []struct{ event, stage, when, after, fields, click, user, order, value string }{
		{"signup", "signed_up", signs, "intDiv(b, 16) % 7200", link, "time, node, sequence", "user", "''", "0"},
		{"activate", "activated", signs + " AND b % 10 < 6", "7200 + intDiv(b, 32) % 86400", none, "0, 0, 0", "user", "''", "0"},
		{"purchase", "converted", signs + " AND b % 10 < 5", "10000 + intDiv(b, 64) % 864000", none, "0, 0, 0", "user", "concat('o', toString(i))", "5 + intDiv(b, 128) % 200"},
		{"purchase", "converted", signs + " AND b % 10 < 2", "900000 + intDiv(b, 64) % 1864000", none, "0, 0, 0", "user", "concat('p', toString(i))", "5 + intDiv(b, 256) % 100"},
		{"refund", "", signs + " AND b % 20 = 0", "1000000 + intDiv(b, 64) % 864000", none, "0, 0, 0", "user", "concat('o', toString(i))", "5 + intDiv(b, 128) % 200"},
		{"retain", "retained", signs + " AND b % 10 < 3", "2592000 + intDiv(b, 64) % 864000", none, "0, 0, 0", "user", "''", "0"},
		{"invite", "invited", "a % 1000 BETWEEN 15 AND 19", "0", link, "0, 0, 0", "referrer_id", "''", "0"},
	} {
		all = append(all, fmt.Sprintf(`INSERT INTO waymark.events (event, stage, time, `+link+`, click_time, click_node, click_sequence,
			id, user_id, order_id, value, source, partition, offset)
			SELECT '%s', '%s', time + toIntervalSecond(%s), %s, %s, concat('%d-', toString(i)), %s, %s, %s, 2, i %% 4, i * 8 + %d
			FROM (SELECT *, cityHash64(i, 'a') AS a, cityHash64(i, 'b') AS b, concat('u', toString(i)) AS user FROM (%s)) WHERE %s`,
			action.event, action.stage, action.after, action.fields, action.click, i, action.user, action.order, action.value, i, hits.String(), action.when))
	}
	return all
}
