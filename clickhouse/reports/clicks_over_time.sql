-- Clicks per hour, day, week (from Monday) or month of a time zone; key is the start of it. Whole hours come from the
-- roll-up, what the period adds at its ends from the hits. Of more rows than the limit, the latest stay.
SELECT *
FROM
(
    SELECT
        toDateTime(bucket, {tz:String})      AS key,
        sum(u.{hits:Identifier})             AS clicks,
        least(sum(u.visitors), clicks)       AS visitors, -- an estimate may exceed it
        sum(u.gross)                         AS gross,
        sum(u.valid)                         AS valid,
        sum(u.unique)                        AS unique
    FROM
    (
        {{- if .Rollup}}
        SELECT dateTrunc({granularity:String}, hour, {tz:String}) AS bucket, sum(c.gross) AS gross, sum(c.valid) AS valid, sum(c.unique) AS unique, 0 AS visitors
        FROM waymark.clicks_hourly AS c
        WHERE dimension = {dimension:String}
            AND hour >= {rollup_from:DateTime64(3, 'UTC')} AND hour < {rollup_to:DateTime64(3, 'UTC')}
            AND ({program:String} = '' OR program = {program:String}){{.RollupWhere}}
        GROUP BY bucket
        UNION ALL
        {{- end}}
        SELECT dateTrunc({granularity:String}, toDateTime(time, 'UTC'), {tz:String}) AS bucket, countIf(h.gross) AS gross, countIf(h.valid) AS valid, countIf(h.unique) AS unique, 0 AS visitors
        FROM waymark.hits AS h
        WHERE ((time >= {from:DateTime64(3, 'UTC')} AND time < {rollup_from:DateTime64(3, 'UTC')})
                OR (time >= {rollup_to:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}))
            AND ({program:String} = '' OR program = {program:String}){{.Where}}{{.Links}}
        GROUP BY bucket
        UNION ALL
        SELECT dateTrunc({granularity:String}, toDateTime(time, 'UTC'), {tz:String}) AS start, 0, 0, 0, uniqExact(visitor) * {scale:UInt64}
        FROM waymark.{visitors:Identifier} AS h
        WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AND bucket < {buckets:UInt8}
            AND ({program:String} = '' OR program = {program:String}) AND h.{hits:Identifier}{{.Where}}{{.Links}}
        GROUP BY start
    ) AS u
    GROUP BY key
    HAVING clicks > 0
    ORDER BY key DESC
    LIMIT {limit:UInt64}
)
ORDER BY key
