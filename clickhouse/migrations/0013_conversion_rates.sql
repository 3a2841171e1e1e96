-- One row per programme, dimension and value. GROUPING SETS count all dimensions in one pass over the facts.
CREATE OR REPLACE VIEW waymark.conversion_rates
AS SELECT
    program,
    dimension,
    key,
    clicks,
    visitors,
    signups,
    activations,
    conversions,
    value,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    activations / nullIf(signups, 0)                   AS activation_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate,
    conversions / nullIf(signups, 0)                   AS signup_conversion_rate
FROM
(
    SELECT
        program,
        multiIf(grouping(campaign) = 0, 'campaign', grouping(channel) = 0, 'channel', grouping(link_key) = 0, 'link',
                grouping(referrer) = 0, 'referrer', grouping(referrer_type) = 0, 'referrer_type', 'total') AS dimension,
        concat(campaign, channel, link_key, referrer, referrer_type)    AS key,
        countIf(stage = 'clicked' AND valid)           AS clicks,
        uniqExactIf(visitor_id, stage = 'clicked' AND valid AND visitor_id != 0) + countIf(stage = 'clicked' AND valid AND visitor_id = 0) AS visitors,
        uniqExactIf(party, stage = 'signed_up')        AS signups,
        uniqExactIf(party, stage = 'activated')        AS activations,
        uniqExactIf(party, stage = 'converted')        AS conversions,
        sumIf(f.value, stage = 'converted')            AS value
    FROM waymark.facts AS f
    GROUP BY GROUPING SETS ((program), (program, campaign), (program, channel), (program, link_key), (program, referrer), (program, referrer_type))
) AS rates
COMMENT 'How many visitors sign up, activate and convert, by programme and one dimension (WHERE dimension = ''channel''; total for no breakdown)';
