-- Clicks by a dimension.
SELECT
    key,
    sum(u.clicks)                        AS clicks,
    least(sum(u.visitors), clicks)       AS visitors, -- an estimate may exceed it
    sum(u.gross)                         AS gross,
    sum(u.valid)                         AS valid,
    sum(u.unique)                        AS unique
FROM
(
    SELECT key, clicks, 0 AS visitors, gross, valid, unique
    FROM ({{template "clicks" .}})
    UNION ALL
    SELECT key, 0, visitors, 0, 0, 0
    FROM ({{template "visitors" .}})
) AS u
GROUP BY key
HAVING clicks > 0
ORDER BY clicks DESC, key
LIMIT {limit:UInt64}
