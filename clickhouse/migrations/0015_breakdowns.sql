-- Clicks, visitors and what they did by programme, dimension and value: the base of the three views below. Each dimension
-- is a branch of its own, so that a filter on dimension reads that one only.
{{define "breakdown" -}}
SELECT
    program, dimension, key, sum(b.clicks) AS clicks, sum(b.visitors) AS visitors, sum(b.invitations) AS invitations,
    sum(b.signups) AS signups, sum(b.activations) AS activations, sum(b.conversions) AS conversions,
    sum(b.value) AS value, sum(b.refunds) AS refunds
FROM
(
    {{- if or (eq . "link_key") (eq . "referrer")}}
    SELECT
        program, '{{template "dimension" .}}' AS dimension, {{.}} AS key, valid AS clicks, 0 AS visitors, 0 AS invitations,
        0 AS signups, 0 AS activations, 0 AS conversions, toDecimal128(0, 6) AS value, toDecimal128(0, 6) AS refunds
    FROM waymark.link_clicks_monthly
    {{- else}}
    SELECT
        program, '{{template "dimension" .}}' AS dimension, key, valid AS clicks, 0 AS visitors, 0 AS invitations,
        0 AS signups, 0 AS activations, 0 AS conversions, toDecimal128(0, 6) AS value, toDecimal128(0, 6) AS refunds
    FROM waymark.clicks_hourly AS c
    WHERE c.dimension = '{{template "dimension" .}}'
    {{- end}}
    UNION ALL
    SELECT program, '{{template "dimension" .}}', {{.}}, 0, toUInt64(any(weight) * uniqExact(visitor)), 0, 0, 0, 0, 0, 0
    FROM waymark.visitors
    GROUP BY program, {{.}}
    UNION ALL
    SELECT
        program, '{{template "dimension" .}}', {{.}}, 0, 0, countIf(stage = 'invited'), uniqExactIf(who, stage = 'signed_up'),
        uniqExactIf(who, stage = 'activated'), uniqExactIf(who, stage = 'converted'),
        sumIf(r.value, stage = 'converted'), sumIf(r.value, event = 'refund')
    FROM waymark.{{if eq . "country"}}resolved_visits{{else}}resolved{{end}} AS r
    GROUP BY program, {{.}}
) AS b
GROUP BY program, dimension, key
{{- end}}
{{define "dimension"}}{{if eq . "link_key"}}link{{else}}{{.}}{{end}}{{end}}

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
    {{template "breakdown" "total"}}
    UNION ALL
    {{template "breakdown" "campaign"}}
    UNION ALL
    {{template "breakdown" "channel"}}
    UNION ALL
    {{template "breakdown" "link_key"}}
    UNION ALL
    {{template "breakdown" "referrer"}}
    UNION ALL
    {{template "breakdown" "referrer_type"}}
) AS rates
COMMENT 'How many visitors sign up, activate and convert, by programme and one dimension (WHERE dimension = ''channel''; total for no breakdown)';

CREATE OR REPLACE VIEW waymark.channels
AS SELECT
    c.program                                          AS program,
    c.key                                              AS key,
    invitations,
    clicks,
    visitors,
    r.referrers                                        AS referrers,
    signups,
    conversions,
    value,
    refunds,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM ({{template "breakdown" "channel"}}) AS c
LEFT JOIN
(
    SELECT program, channel AS key, uniqExact(referrer) AS referrers
    FROM
    (
        SELECT program, channel, referrer FROM waymark.link_clicks_monthly WHERE valid > 0
        UNION ALL
        SELECT program, channel, referrer FROM waymark.resolved WHERE stage IN ('invited', 'signed_up', 'converted') OR event = 'refund'
    )
    WHERE referrer != ''
    GROUP BY program, channel
) AS r ON r.program = c.program AND r.key = c.key
WHERE invitations + clicks + signups + conversions > 0 OR refunds != 0
ORDER BY program, clicks DESC, key
COMMENT 'What each channel brings, per programme';

CREATE OR REPLACE VIEW waymark.geography
AS SELECT
    program,
    key,
    clicks,
    visitors,
    signups,
    conversions,
    value,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM ({{template "breakdown" "country"}}) AS c
WHERE clicks + signups + conversions > 0
ORDER BY program, clicks DESC, key
COMMENT 'Where the visitors, users and conversions of each programme come from: key is the ISO 3166 country of the click';
