-- Clicks by a dimension. Whole hours come from the roll-up; what the period adds at its ends, from the hits. Visitors
-- are distinct over the whole period, so they are counted there.
SELECT
    key,
    sum(u.{hits:Identifier})       AS clicks,
    sum(u.visitors)               AS visitors,
    sum(u.gross)                  AS gross,
    sum(u.valid)                  AS valid,
    sum(u.unique)                 AS unique
FROM
(
    SELECT toString({rollup_key:Identifier}) AS key, sum(c.gross) AS gross, sum(c.valid) AS valid, sum(c.unique) AS unique, 0 AS visitors
    FROM waymark.clicks_hourly AS c
    WHERE dimension = {dimension:String}
        AND hour >= {rollup_from:DateTime64(3, 'UTC')} AND hour < {rollup_to:DateTime64(3, 'UTC')}
        AND ({program:String} = '' OR program = {program:String})
    GROUP BY key
    UNION ALL
    SELECT toString({by:Identifier}) AS key, countIf(h.gross), countIf(h.valid), countIf(h.unique), 0
    FROM waymark.hits AS h
    WHERE ((time >= {from:DateTime64(3, 'UTC')} AND time < {rollup_from:DateTime64(3, 'UTC')})
            OR (time >= {rollup_to:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}))
        AND ({program:String} = '' OR program = {program:String})
    GROUP BY key
    UNION ALL
    SELECT toString({by:Identifier}) AS key, 0, 0, 0, uniqExactIf(visitor_id, visitor_id != 0) + countIf(visitor_id = 0)
    FROM waymark.hits AS h
    WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
        AND ({program:String} = '' OR program = {program:String})
        AND h.{hits:Identifier}
    GROUP BY key
) AS u
GROUP BY key
HAVING clicks > 0
ORDER BY clicks DESC, key
LIMIT {limit:UInt64}
