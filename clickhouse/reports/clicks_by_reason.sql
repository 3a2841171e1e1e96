-- Clicks by reason: a hit counts for each of its reasons.
SELECT
    toString(reason)                                                     AS key,
    countIf(h.{hits:Identifier})                                           AS clicks,
    uniqExactIf(visitor_id, h.{hits:Identifier} AND visitor_id != 0) + countIf(h.{hits:Identifier} AND visitor_id = 0) AS visitors,
    countIf(h.gross)                                                     AS gross,
    countIf(h.valid)                                                     AS valid,
    countIf(h.unique)                                                    AS unique
FROM waymark.hits AS h
ARRAY JOIN reason_names AS reason
WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
    AND ({program:String} = '' OR program = {program:String}){{.Where}}{{.Links}}
GROUP BY key
HAVING clicks > 0
ORDER BY clicks DESC, key
LIMIT {limit:UInt64}
