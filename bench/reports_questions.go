package main

import (
	"fmt"
	"time"

	"waymark/tracker"
)

// question is asked of the views, as a report or in SQL, and of the raw events.
// The raw one does without what makes the answer right: actions that name only
// a user have neither programme nor link there, nobody's late or unverified
// action is weighed, and of journeys and referrals it takes the shortest form
// that has the same rows in view. So it costs less than the answer would.
type question struct {
	name   string
	report tracker.ReportQuery // without a name: sql
	sql    string
	raw    string
}

const (
	rawClicks = "SELECT %s AS key, countIf(valid) AS clicks, uniqExactIf(visitor_id, valid), countIf(gross), countIf(unique) FROM waymark.events WHERE stage = 'clicked' GROUP BY key ORDER BY clicks DESC LIMIT 1000"
	rawAll    = "SELECT %s AS key, countIf(stage = 'clicked' AND valid) AS clicks, uniqExactIf(visitor_id, stage = 'clicked' AND valid), countIf(stage = 'invited'), uniqExactIf(user_id, stage = 'signed_up'), uniqExactIf(user_id, stage = 'activated'), uniqExactIf(user_id, stage = 'converted'), uniqExactIf(user_id, stage = 'retained'), sumIf(value, stage = 'converted'), sumIf(value, event = 'refund') FROM waymark.events GROUP BY key ORDER BY clicks DESC LIMIT 1000"

	rawUsers = "FROM waymark.events WHERE stage NOT IN ('clicked', 'invited') GROUP BY user_id"
	rawSpans = `SELECT %s FROM
		(SELECT dateDiff('millisecond', minIf(time, stage = 'signed_up') AS signed, minIf(time, stage = 'converted') AS bought) AS ms ` + rawUsers + ` HAVING toUnixTimestamp64Milli(signed) > 0 AND bought >= signed)`
	rawRanks = `SELECT key, count() AS signups, countIf(paid > 0), sum(paid) AS value FROM
		(SELECT anyIf(%s, stage = 'signed_up') AS key, sumIf(value, stage = 'converted') AS paid ` + rawUsers + `) GROUP BY key ORDER BY value DESC LIMIT 1000`
	rawCohorts = `SELECT cohort, dateDiff('month', cohort, month) AS period, uniqExact(user_id), sum(paid) FROM
		(SELECT user_id, toStartOfMonth(minIf(time, stage = 'signed_up')) AS cohort, groupArray((toStartOfMonth(time), value)) AS acts ` + rawUsers + `) ARRAY JOIN acts.1 AS month, acts.2 AS paid GROUP BY ALL`
	rawOrder = `SELECT level, count() FROM
		(SELECT windowFunnel(2592000)(toDateTime(time), stage = 'signed_up', stage = 'activated', stage = 'converted', stage = 'retained') AS level ` + rawUsers + `) GROUP BY level`
	rawViral  = "SELECT program, referrer_type, referee_type, countIf(stage = 'invited'), uniqExactIf(referrer_id, stage = 'invited'), uniqExactIf(user_id, stage = 'signed_up') FROM waymark.events WHERE stage IN ('invited', 'signed_up') GROUP BY ALL"
	rawWeekly = "SELECT program, toMonday(time) AS week, countIf(valid), uniqExactIf(user_id, stage = 'signed_up') FROM waymark.events WHERE stage IN ('clicked', 'signed_up') GROUP BY ALL"

	// The last touch alone, of the browser of the signup's click.
	rawTouches = `SELECT touched, count(), sum(paid) FROM
		(
			SELECT c.user_id, any(c.paid) AS paid, argMax(t.channel, t.time) AS touched
			FROM (SELECT user_id, min(time) AS at, sum(value) AS paid FROM waymark.events WHERE stage = 'converted' GROUP BY user_id) AS c
			JOIN (SELECT user_id, click_time, click_node, click_sequence FROM waymark.events WHERE stage = 'signed_up') AS s ON s.user_id = c.user_id
			JOIN
			(
				SELECT visitor_id, time, node, sequence FROM waymark.events
				WHERE stage = 'clicked' AND visitor_id != 0 AND (time, node, sequence) IN (SELECT click_time, click_node, click_sequence FROM waymark.events WHERE stage = 'signed_up')
			) AS k ON (k.time, k.node, k.sequence) = (s.click_time, s.click_node, s.click_sequence)
			JOIN
			(
				SELECT visitor_id, time, channel FROM waymark.events
				WHERE stage = 'clicked' AND valid AND visitor_id IN
				(
					SELECT visitor_id FROM waymark.events
					WHERE stage = 'clicked' AND (time, node, sequence) IN (SELECT click_time, click_node, click_sequence FROM waymark.events WHERE stage = 'signed_up')
				)
			) AS t ON t.visitor_id = k.visitor_id
			WHERE t.time <= c.at
			GROUP BY c.user_id
		)
		GROUP BY touched`
)

// reportQuestions are over all events unless they say otherwise.
func reportQuestions(data reportsData) []question {
	var all []question
	ask := func(raw string, report tracker.ReportQuery, more string) {
		name := "report " + report.Name
		if report.By != "" {
			name += " by " + report.By
		}
		report.Limit = 1000
		all = append(all, question{name: name + more, raw: raw, report: report})
	}
	for _, d := range [][2]string{{"channel", "channel"}, {"campaign", "campaign"}, {"country", "country"}, {"device", "device"}, {"referrer", "referrer_id"}, {"link", "code"}} {
		ask(fmt.Sprintf(rawClicks, d[1]), tracker.ReportQuery{Name: "clicks", By: d[0]}, "")
		ask(fmt.Sprintf(rawAll, d[1]), tracker.ReportQuery{Name: "conversion_rates", By: d[0]}, "")
	}
	for _, r := range [][2]string{{"funnel", "channel"}, {"channels", "channel"}, {"geography", "country"}} {
		ask(fmt.Sprintf(rawAll, r[1]), tracker.ReportQuery{Name: r[0], By: r[1]}, "")
	}
	end := time.UnixMilli(data.StartMS + data.SpanMS).UTC().Truncate(24 * time.Hour)
	ask(fmt.Sprintf(rawClicks, "toDate(time, 'Europe/Berlin')"), tracker.ReportQuery{Name: "clicks", TZ: "Europe/Berlin"}, " per day")
	ask(fmt.Sprintf(rawAll, "''"), tracker.ReportQuery{Name: "funnel"}, "")
	ask(fmt.Sprintf(rawAll, "''"), tracker.ReportQuery{Name: "funnel", From: end.AddDate(0, 0, -30), To: end}, ", last 30 days")
	ask(rawOrder, tracker.ReportQuery{Name: "funnel", Mode: "cohort", Stages: "signed_up,activated,converted,retained"}, " of signups, in order")
	ask(fmt.Sprintf(rawSpans, "quantilesExactInclusive(0.5, 0.75, 0.9)(ms)"), tracker.ReportQuery{Name: "time_to_convert"}, "")
	ask(fmt.Sprintf(rawSpans, "histogram(9)(ms)"), tracker.ReportQuery{Name: "time_to_convert", View: "histogram"}, ", histogram")
	ask(rawCohorts, tracker.ReportQuery{Name: "cohorts", Granularity: "month"}, "")
	for _, model := range []string{"last", "linear", "shapley", "markov"} {
		ask(rawTouches, tracker.ReportQuery{Name: "attribution", Model: model, By: "channel"}, ", "+model)
	}
	ask(rawViral, tracker.ReportQuery{Name: "viral"}, "")
	ask(rawViral, tracker.ReportQuery{Name: "viral_cohorts", Granularity: "month"}, "")
	ask(rawViral, tracker.ReportQuery{Name: "viral_projection"}, "")
	ask(fmt.Sprintf(rawRanks, "referrer_id"), tracker.ReportQuery{Name: "leaderboard"}, "")
	ask(rawWeekly, tracker.ReportQuery{Name: "forecast", Measure: "clicks"}, ", clicks")
	ask(rawWeekly, tracker.ReportQuery{Name: "forecast", Measure: "signups"}, ", signups")
	ask(fmt.Sprintf(rawRanks, "channel"), tracker.ReportQuery{Name: "partners", By: "channel"}, "")
	return append(all,
		question{name: "view clicks", sql: "SELECT key, sum(clicks) FROM waymark.clicks WHERE dimension = 'country' GROUP BY key", raw: "SELECT country, countIf(valid) FROM waymark.events WHERE stage = 'clicked' GROUP BY country"},
		question{name: "view funnel", sql: "SELECT * FROM waymark.funnel", raw: fmt.Sprintf(rawAll, "program")},
		question{name: "view conversion_rates", sql: "SELECT * FROM waymark.conversion_rates WHERE dimension = 'campaign'", raw: fmt.Sprintf(rawAll, "(program, campaign)")},
		question{name: "view channels", sql: "SELECT * FROM waymark.channels", raw: fmt.Sprintf(rawAll, "(program, channel)")},
		question{name: "view geography", sql: "SELECT * FROM waymark.geography", raw: fmt.Sprintf(rawAll, "(program, country)")},
		question{name: "view time_to_convert", sql: "SELECT * FROM waymark.time_to_convert", raw: fmt.Sprintf(rawSpans, "quantilesExactInclusive(0.5, 0.75, 0.9)(ms)")},
		question{name: "view attribution", sql: "SELECT * FROM waymark.attribution WHERE model = 'linear' AND dimension = 'channel'", raw: rawTouches},
		question{name: "view viral", sql: "SELECT * FROM waymark.viral", raw: rawViral},
		question{name: "view leaderboard", sql: "SELECT * FROM waymark.leaderboard WHERE period = 'all' AND rank <= 100", raw: fmt.Sprintf(rawRanks, "referrer_id")},
	)
}
