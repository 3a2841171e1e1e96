-- Where visitors, users and conversions come from.
SELECT
    toString({by:Identifier})                          AS key,
    countIf(stage = 'clicked')                         AS clicks,
    uniqExactIf(visitor_id, stage = 'clicked' AND visitor_id != 0) + countIf(stage = 'clicked' AND visitor_id = 0) AS visitors,
    uniqExactIf(party, stage = 'signed_up')            AS signups,
    uniqExactIf(party, stage = 'converted')            AS conversions,
    sumIf(f.value, stage = 'converted')                AS value,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM waymark.{facts:Identifier} AS f
WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
    AND ({program:String} = '' OR program = {program:String})
    AND stage IN ('clicked', 'signed_up', 'converted') AND {hits:Identifier}
GROUP BY key
ORDER BY clicks DESC, signups DESC, conversions DESC, key
LIMIT {limit:UInt64}
