-- The volume of the next weeks, per programme: clicks of the kind that `hits` names (valid, unique or gross), or distinct
-- users who signed up or converted in the week, as conversion_rates by week counts them. Weeks are whole ones, from
-- Monday in the time zone. They end before `until`, the present at the latest; the week of the first event counts as partial
-- and is left out. At most the last year is read. Clicks come by whole hours: in a zone that is half an hour off, the hour
-- across midnight counts where it begins.
--
-- forecast is the straight line of least squares through the last twelve weeks, and never below zero; baseline says that every
-- week will be as the last one was. A longer memory (the season of a year takes two of them) would answer for few
-- programmes, and a line through fewer weeks follows the noise.
--
-- Both are tried on what they did not see: from each of the last 26 weeks that has twelve behind it, with that week as the
-- last known, for one to `weeks` weeks ahead. These are the rows of kind holdout, `lead` weeks after the last known one. From
-- all of a programme come the errors: mae, the mean absolute error, and wape, the sum of absolute errors per sum of what
-- was counted. `winner` is the one with the smaller mae, or baseline where they are equal. Fewer than twelve weeks, `weeks`
-- and three make too little history: then there are only the rows of kind history, and winner says so.
--
-- low and high of a row of kind forecast lie around the number of the winner as the middle four fifths of its errors at that
-- lead did on the held-out weeks. Of a handful of errors that is a rough interval.
CREATE OR REPLACE VIEW waymark.forecast_weeks
AS WITH
    toMonday(least({until:DateTime64(3, 'UTC')}, now64(3, 'UTC')), {tz:String}) AS running,
    weekly AS
    (
        SELECT program, toMonday(hour, {tz:String}) AS week,
            toFloat64(sum(multiIf({hits:String} = 'unique', c.unique, {hits:String} = 'gross', c.gross, c.valid))) AS amount
        FROM waymark.clicks_hourly AS c
        WHERE {measure:String} = 'clicks' AND dimension = 'total' AND hour >= toDateTime(running - 378, {tz:String}) AND hour < toDateTime(running, {tz:String})
            AND ({program:String} = '' OR program = {program:String})
        GROUP BY program, week
        UNION ALL
        SELECT program, toMonday(time, {tz:String}) AS week, toFloat64(uniqExact(who))
        FROM waymark.resolved AS r
        WHERE stage = transform({measure:String}, ['signups', 'conversions'], ['signed_up', 'converted'], 'none')
            AND time >= toDateTime(running - 378, {tz:String}) AND time < toDateTime(running, {tz:String})
            AND ({program:String} = '' OR program = {program:String})
        GROUP BY program, week
    ),
    series AS
    (
        SELECT
            program,
            min(week) + 7                              AS first,
            intDiv(running - first, 7)                 AS known,
            arrayMap(i -> arraySum(w -> if(w.1 = first + 7 * i, w.2, 0), groupArray((week, amount))), range(toUInt16(known))) AS counts
        FROM weekly
        GROUP BY program
    ),
    -- A row per week known (lead 0), and per week told `lead` weeks after the last known one. A function of arrays fits the
    -- line: joins and groups would have everything above counted twice.
    told AS
    (
        SELECT
            program, row.1 AS last, row.2 AS lead, first + 7 * (last + lead - 1) AS week,
            multiIf(lead = 0, 'history', last = known, 'forecast', 'holdout') AS kind,
            arraySlice(counts, greatest(1, last - 11), 12) AS fitted,
            arrayReduce('simpleLinearRegression', arrayEnumerate(fitted), fitted) AS line,
            if(kind = 'forecast', NULL, counts[last + lead]) AS actual,
            if(kind = 'history', NULL, greatest(0, line.2 + line.1 * (length(fitted) + lead))) AS forecast,
            if(kind = 'history', NULL, counts[last])   AS baseline
        FROM series
        ARRAY JOIN arrayConcat(
            arrayMap(last -> (last, 0), range(1, known + 1)),
            arrayFlatten(arrayMap(last -> arrayMap(lead -> (last, lead), range(1, {weeks:UInt8} + 1)),
                if(known >= 12 + {weeks:UInt8} + 3, range(greatest(12, known - 26), known + 1), [])))) AS row
        WHERE last = known OR last + lead <= known
    ),
    judged AS
    (
        SELECT
            *,
            avg(abs(actual - forecast)) OVER programs  AS forecast_mae,
            avg(abs(actual - baseline)) OVER programs  AS baseline_mae,
            nullIf(sum(if(kind = 'holdout', actual, 0)) OVER programs, 0) AS volume,
            sum(abs(actual - forecast)) OVER programs / volume AS forecast_wape,
            sum(abs(actual - baseline)) OVER programs / volume AS baseline_wape,
            multiIf(forecast_mae IS NULL, 'too little history', forecast_mae < baseline_mae, 'forecast', 'baseline') AS winner
        FROM told
        WINDOW programs AS (PARTITION BY program)
    )
SELECT
    program,
    kind,
    week,
    lead,
    actual,
    forecast,
    baseline,
    if(winner = 'forecast', forecast, baseline)        AS expected,
    if(kind = 'forecast', greatest(0, expected + quantileExactInclusive(0.1)(actual - expected) OVER leads), NULL) AS low,
    if(kind = 'forecast', greatest(0, expected + quantileExactInclusive(0.9)(actual - expected) OVER leads), NULL) AS high,
    winner,
    forecast_mae,
    baseline_mae,
    forecast_wape,
    baseline_wape
FROM judged
WINDOW leads AS (PARTITION BY program, lead)
ORDER BY program, kind = 'forecast', kind = 'holdout', week, lead
COMMENT 'Volume of the next weeks, beside a naive baseline and the errors of both: SELECT * FROM waymark.forecast_weeks(program = '''', measure = ''clicks'', hits = ''valid'', weeks = 4, tz = ''UTC'', until = ''2026-02-01 00:00:00'')';

CREATE OR REPLACE VIEW waymark.forecast
AS SELECT 'clicks' AS measure, *
FROM waymark.forecast_weeks(program = '', measure = 'clicks', hits = 'valid', weeks = 4, tz = 'UTC', until = '2200-01-01 00:00:00') AS c
UNION ALL
SELECT 'signups', *
FROM waymark.forecast_weeks(program = '', measure = 'signups', hits = 'valid', weeks = 4, tz = 'UTC', until = '2200-01-01 00:00:00') AS s
UNION ALL
SELECT 'conversions', *
FROM waymark.forecast_weeks(program = '', measure = 'conversions', hits = 'valid', weeks = 4, tz = 'UTC', until = '2200-01-01 00:00:00') AS p
COMMENT 'Volume of the next four weeks of each programme (WHERE measure = ''clicks'', ''signups'' or ''conversions'', in UTC), beside a naive baseline and the errors of both';
