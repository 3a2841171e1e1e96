-- Who refers most in a period (from <= time < to), by programme: users of theirs who signed up, users who reached the stage
-- converted, and what those paid, verified, refunds not taken off; counted as in conversion_rates by referrer, but for
-- those who referred themselves.
--
-- Ranked by value, then conversions, then signups; equal in all three is an equal rank, and the rank after is left out
-- (1, 2, 2, 4). `previous_rank` is that of the time before (before <= time < from), null for those who were not in it.
--
-- conversion_rate is conversions of signups, null without signups; above one where those converted who had signed up before.
--
-- The periods of all rows are counted in one pass, as bits of a number and places of an array: with a branch for each, a
-- WHERE on the period would still count them all. A referee is a row before a referrer is, since
-- a set of referees for each referrer takes more memory where most have one.
{{define "spans" -}}
{{if eq . "between" -}}
[({from:DateTime64(3, 'UTC')}, {to:DateTime64(3, 'UTC')}), ({before:DateTime64(3, 'UTC')}, {from:DateTime64(3, 'UTC')})]
{{- else -}}
arrayMap(s -> (toDateTime64(s.1, 3, 'UTC'), toDateTime64(s.2, 3, 'UTC')), [
    (toString(toMonday(now('UTC'))), '2200-01-01 00:00:00'), (toString(toMonday(now('UTC')) - 7), toString(toMonday(now('UTC')))),
    (toString(toStartOfMonth(now('UTC'))), '2200-01-01 00:00:00'), (toString(toStartOfMonth(now('UTC')) - toIntervalMonth(1)), toString(toStartOfMonth(now('UTC')))),
    ('1970-01-01 00:00:00', '2200-01-01 00:00:00'), ('1970-01-01 00:00:00', '1970-01-01 00:00:00')])
{{- end}}
{{- end}}
{{define "places"}}{{if eq . "between"}}range(2){{else}}range(6){{end}}{{end}}
{{define "standings" -}}
SELECT
    period,
    program,
    rank() OVER (PARTITION BY period, program, b.signups + b.conversions > 0 ORDER BY b.value DESC, b.conversions DESC, b.signups DESC) AS rank,
    referrer,
    referrer_type,
    signups,
    conversions,
    value,
    conversions / nullIf(signups, 0)                   AS conversion_rate,
    if(before_signups + before_conversions = 0, NULL, rank() OVER (
        PARTITION BY period, program, b.before_signups + b.before_conversions > 0
        ORDER BY b.before_value DESC, b.before_conversions DESC, b.before_signups DESC)) AS previous_rank
FROM
(
    SELECT
        place.1 AS period, program, referrer, p.referrer_type AS referrer_type,
        p.signups[place.2] AS signups, p.conversions[place.2] AS conversions, p.paid[place.2] AS value,
        p.signups[place.3] AS before_signups, p.conversions[place.3] AS before_conversions, p.paid[place.3] AS before_value
    FROM
    (
        SELECT
            program, referrer, max(e.referrer_type) AS referrer_type,
            sumForEach(arrayMap(i -> toUInt64(bitTest(e.signed_up, i)), {{template "places" .}})) AS signups,
            sumForEach(arrayMap(i -> toUInt64(bitTest(e.converted, i)), {{template "places" .}})) AS conversions,
            sumForEach(e.paid)                         AS paid
        FROM
        (
            SELECT
                program, referrer, who, max(s.referrer_type) AS referrer_type,
                groupBitOr(if(stage = 'signed_up', within, 0)) AS signed_up,
                groupBitOr(if(stage = 'converted', within, 0)) AS converted,
                sumForEach(arrayMap(i -> if(stage = 'converted' AND bitTest(within, i), s.value, 0), {{template "places" .}})) AS paid
            FROM
            (
                SELECT
                    program, referrer, referrer_type, who, stage, value,
                    toUInt8(arraySum((span, i) -> if(time >= span.1 AND time < span.2, bitShiftLeft(1, i), 0), {{template "spans" .}}, {{template "places" .}})) AS within
                FROM waymark.resolved AS r
                WHERE stage IN ('signed_up', 'converted') AND referrer != '' AND cityHash64(referrer) != who
                    {{- if eq . "between"}}
                    AND time >= {before:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AND ({program:String} = '' OR program = {program:String})
                    {{- end}}
            ) AS s
            GROUP BY program, referrer, who
        ) AS e
        GROUP BY program, referrer
    ) AS p
    ARRAY JOIN {{if eq . "between"}}[('', 1, 2)]{{else}}[('week', 1, 2), ('month', 3, 4), ('all', 5, 6)]{{end}} AS place
) AS b
QUALIFY signups + conversions > 0
{{- end}}
CREATE OR REPLACE VIEW waymark.leaderboard_between
AS SELECT * EXCEPT period
FROM ({{template "standings" "between"}}) AS l
ORDER BY program, rank, referrer
COMMENT 'Referrers of a period by rank: SELECT * FROM waymark.leaderboard_between(program = '''', before = ''2026-01-01 00:00:00'', from = ''2026-02-01 00:00:00'', to = ''2026-03-01 00:00:00'')';

-- The running week (from Monday), the running month, both in UTC, and all time. The rank before is that of the whole week or month before.
CREATE OR REPLACE VIEW waymark.leaderboard
AS {{template "standings" "running"}}
COMMENT 'Referrers of each programme by rank in the running week and month and over all time (WHERE period = ''week'', ''month'' or ''all'')';
