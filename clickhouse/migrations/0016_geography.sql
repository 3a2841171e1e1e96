CREATE OR REPLACE VIEW waymark.geography
AS SELECT
    program,
    country                                            AS key,
    countIf(stage = 'clicked' AND valid)               AS clicks,
    uniqExactIf(visitor_id, stage = 'clicked' AND valid AND visitor_id != 0) + countIf(stage = 'clicked' AND valid AND visitor_id = 0) AS visitors,
    uniqExactIf(party, stage = 'signed_up')            AS signups,
    uniqExactIf(party, stage = 'converted')            AS conversions,
    sumIf(v.value, stage = 'converted')                AS value,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM waymark.visits AS v
WHERE stage IN ('clicked', 'signed_up', 'converted')
GROUP BY program, country
ORDER BY program, clicks DESC, key
COMMENT 'Where the visitors, users and conversions of each programme come from: key is the ISO 3166 country of the click';
