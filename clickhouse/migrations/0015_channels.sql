CREATE OR REPLACE VIEW waymark.channels
AS SELECT
    program,
    channel                                            AS key,
    countIf(stage = 'invited')                         AS invitations,
    countIf(stage = 'clicked' AND valid)               AS clicks,
    uniqExactIf(visitor_id, stage = 'clicked' AND valid AND visitor_id != 0) + countIf(stage = 'clicked' AND valid AND visitor_id = 0) AS visitors,
    uniqExactIf(referrer, referrer != '' AND valid)    AS referrers,
    uniqExactIf(party, stage = 'signed_up')            AS signups,
    uniqExactIf(party, stage = 'converted')            AS conversions,
    sumIf(f.value, stage = 'converted')                AS value,
    sumIf(f.value, event = 'refund')                   AS refunds,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM waymark.facts AS f
WHERE stage IN ('invited', 'clicked', 'signed_up', 'converted') OR event = 'refund'
GROUP BY program, channel
ORDER BY program, clicks DESC, key
COMMENT 'What each channel brings, per programme';
