-- Retention triangles. A cohort is the users who signed up in one day, week (from Monday) or month of a time zone, with
-- `by` (channel, campaign, link, referrer, …; '' for none) told apart by the key of what brought them. `period` counts
-- days, weeks or months from there. Of `size` users, `retained` did something in the period: any action of theirs but
-- signup, refund and churn. `value` is what they paid in it, verified, refunds not taken off.
--
-- Signups and actions count within from <= time < to. Each cohort has a row for every period, also one without anybody,
-- up to that in which a member of any did the last thing; it may be still running.
CREATE OR REPLACE VIEW waymark.cohorts_between
AS WITH
    members AS
    (
        SELECT
            program, party, key, cohort,
            count() OVER (PARTITION BY program, key, cohort) AS size
        FROM
        (
            SELECT
                program, party, assumeNotNull(signed_up_at) AS at,
                multiIf({granularity:String} = 'month', toStartOfMonth(at, {tz:String}), {granularity:String} = 'week', toMonday(at, {tz:String}), toDate(at, {tz:String})) AS cohort,
                {{template "key"}} AS key
            FROM waymark.resolved_journeys
            WHERE signed_up_at >= {from:DateTime64(3, 'UTC')} AND signed_up_at < {to:DateTime64(3, 'UTC')}
                AND ({program:String} = '' OR program = {program:String})
        )
    ),
    activity AS
    (
        SELECT
            program, who,
            multiIf({granularity:String} = 'month', toStartOfMonth(time, {tz:String}), {granularity:String} = 'week', toMonday(time, {tz:String}), toDate(time, {tz:String})) AS start,
            sumIf(r.value, stage = 'converted')        AS value
        FROM waymark.resolved AS r
        WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AND ({program:String} = '' OR program = {program:String})
            AND stage != 'signed_up' AND event NOT IN ('refund', 'churn')
        GROUP BY program, who, start
    ),
    -- The row of period -1 holds those who did nothing, so that no cohort is lost.
    active AS
    (
        SELECT
            m.program AS program, m.key AS key, m.cohort AS cohort, any(m.size) AS size,
            if(a.start < m.cohort, -1, dateDiff({granularity:String}, m.cohort, a.start)) AS period,
            count()                                    AS retained,
            sum(a.value)                               AS value,
            max(greatest(a.start, m.cohort))           AS newest
        FROM members AS m
        LEFT JOIN activity AS a ON a.program = m.program AND a.who = cityHash64(m.party)
        GROUP BY program, key, cohort, period
    ),
    triangles AS
    (
        SELECT
            program, key, cohort, any(size) AS size,
            groupArray(a.period) AS periods, groupArray(a.retained) AS counts, groupArray(a.value) AS amounts,
            max(max(newest)) OVER ()                   AS last
        FROM active AS a
        GROUP BY program, key, cohort
    )
SELECT
    program,
    key,
    cohort,
    period,
    size,
    if(has(periods, period), counts[indexOf(periods, period)], 0)  AS retained,
    retained / size                                    AS rate,
    if(has(periods, period), amounts[indexOf(periods, period)], toDecimal128(0, 6)) AS value
FROM triangles AS t
ARRAY JOIN range(0, dateDiff({granularity:String}, cohort, last) + 1) AS period
ORDER BY program, key, cohort, period
COMMENT 'Retention triangles: SELECT * FROM waymark.cohorts_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2027-01-01 00:00:00'', by = ''channel'', granularity = ''month'', tz = ''UTC'')';

CREATE OR REPLACE VIEW waymark.cohorts
AS SELECT 'month' AS granularity, * EXCEPT key
FROM waymark.cohorts_between(program = '', from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '', granularity = 'month', tz = 'UTC')
UNION ALL
SELECT 'week', * EXCEPT key
FROM waymark.cohorts_between(program = '', from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '', granularity = 'week', tz = 'UTC') AS c
COMMENT 'Retention triangles of each programme over all time (WHERE granularity = ''month'' or ''week'', in UTC)';
