-- What each channel (or another dimension) brings.
SELECT
    toString({by:Identifier})                          AS key,
    countIf(stage = 'invited')                         AS invitations,
    countIf(stage = 'clicked')                         AS clicks,
    uniqExactIf(visitor_id, stage = 'clicked' AND visitor_id != 0) + countIf(stage = 'clicked' AND visitor_id = 0) AS visitors,
    uniqExactIf(referrer, referrer != '')              AS referrers,
    uniqExactIf(party, stage = 'signed_up')            AS signups,
    uniqExactIf(party, stage = 'converted')            AS conversions,
    sumIf(f.value, stage = 'converted')                AS value,
    sumIf(f.value, event = 'refund')                   AS refunds,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM waymark.{facts:Identifier} AS f
WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
    AND ({program:String} = '' OR program = {program:String})
    AND (stage IN ('invited', 'clicked', 'signed_up', 'converted') OR event = 'refund') AND {hits:Identifier}
GROUP BY key
ORDER BY clicks DESC, signups DESC, conversions DESC, key
LIMIT {limit:UInt64}
