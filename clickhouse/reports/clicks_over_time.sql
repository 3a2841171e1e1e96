-- Clicks per hour, day, week (from Monday) or month of a time zone; key is the start of it. The same sources as
-- clicks.sql. Of more rows than the limit, the latest stay.
SELECT *
FROM
(
    SELECT
        toDateTime(bucket, {tz:String})   AS key,
        sum(u.{hits:Identifier})       AS clicks,
        sum(u.visitors)               AS visitors,
        sum(u.gross)                  AS gross,
        sum(u.valid)                  AS valid,
        sum(u.unique)                 AS unique
    FROM
    (
        SELECT dateTrunc({granularity:String}, hour, {tz:String}) AS bucket, sum(c.gross) AS gross, sum(c.valid) AS valid, sum(c.unique) AS unique, 0 AS visitors
        FROM waymark.clicks_hourly AS c
        WHERE dimension = 'total'
            AND hour >= {rollup_from:DateTime64(3, 'UTC')} AND hour < {rollup_to:DateTime64(3, 'UTC')}
            AND ({program:String} = '' OR program = {program:String})
        GROUP BY bucket
        UNION ALL
        SELECT dateTrunc({granularity:String}, toDateTime(time, 'UTC'), {tz:String}) AS bucket, countIf(h.gross), countIf(h.valid), countIf(h.unique), 0
        FROM waymark.hits AS h
        WHERE ((time >= {from:DateTime64(3, 'UTC')} AND time < {rollup_from:DateTime64(3, 'UTC')})
                OR (time >= {rollup_to:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}))
            AND ({program:String} = '' OR program = {program:String})
        GROUP BY bucket
        UNION ALL
        SELECT dateTrunc({granularity:String}, toDateTime(time, 'UTC'), {tz:String}) AS bucket, 0, 0, 0, uniqExactIf(visitor_id, visitor_id != 0) + countIf(visitor_id = 0)
        FROM waymark.hits AS h
        WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
            AND ({program:String} = '' OR program = {program:String})
            AND h.{hits:Identifier}
        GROUP BY bucket
    ) AS u
    GROUP BY key
    HAVING clicks > 0
    ORDER BY key DESC
    LIMIT {limit:UInt64}
)
ORDER BY key
