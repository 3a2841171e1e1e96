-- Distinct parties at each stage within the period: invitations, then visitors (a hit without a visitor counts as one
-- of its own), then users. The last SELECT of the union is the funnel of no facts at all. The limit is one of keys,
-- largest first, so that no funnel is cut.
SELECT
    key,
    ['invited', 'clicked', 'signed_up', 'activated', 'converted', 'retained'][position] AS stage,
    position,
    counts[position]                                                 AS count,
    if(position > 1, count / nullIf(counts[position - 1], 0), NULL)  AS step_rate,
    count / nullIf(counts[1], 0)                                     AS overall_rate
FROM
(
    SELECT
        key,
        [
            countIf(stage = 'invited'),
            uniqExactIf(visitor_id, stage = 'clicked' AND visitor_id != 0) + countIf(stage = 'clicked' AND visitor_id = 0),
            uniqExactIf(party, stage = 'signed_up'),
            uniqExactIf(party, stage = 'activated'),
            uniqExactIf(party, stage = 'converted'),
            uniqExactIf(party, stage = 'retained')
        ]                                                            AS counts,
        arraySum(counts)                                             AS size
    FROM
    (
        SELECT toString({by:Identifier}) AS key, stage, visitor_id, party
        FROM waymark.{facts:Identifier}
        WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
            AND ({program:String} = '' OR program = {program:String})
            AND stage != '' AND {hits:Identifier}
        UNION ALL
        SELECT '', '', toUInt64(0), '' WHERE {by:String} = 'total'
    )
    GROUP BY key
    ORDER BY size DESC, key
    LIMIT {limit:UInt64}
) AS keys
ARRAY JOIN arrayEnumerate(counts) AS position
ORDER BY size DESC, key, position
