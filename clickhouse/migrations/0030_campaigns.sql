-- The document of each programme that holds now: see program_versions.
CREATE OR REPLACE VIEW waymark.program_rules
AS SELECT
    name                                               AS program,
    if(countIf(v.effective_from <= now64(3)) > 0,
        argMaxIf(v.document, (v.effective_from, v.version), v.effective_from <= now64(3)),
        argMin(v.document, (v.effective_from, -toInt64(v.version)))) AS document
FROM waymark.program_versions AS v FINAL
GROUP BY name
COMMENT 'The document of each programme that holds now, as JSON';

-- Campaigns as the documents have them, a campaign a row.
CREATE OR REPLACE VIEW waymark.campaign_terms
AS SELECT
    program,
    JSONExtractString(c, 'name')                       AS campaign,
    parseDateTime64BestEffortOrZero(JSONExtractString(c, 'starts_at'), 3, 'UTC') AS starts_at,
    parseDateTime64BestEffortOrNull(JSONExtractString(c, 'ends_at'), 3, 'UTC') AS ends_at,
    JSONExtract(c, 'audience', 'Array(String)')        AS audience,
    JSONExtract(c, 'variants', 'Array(String)')        AS variants,
    toDecimal128OrNull(JSONExtractString(c, 'budget'), 6) AS budget,
    toDecimal128OrZero(JSONExtractString(c, 'spend'), 6) AS fixed_spend,
    JSONExtractUInt(c, 'targets', 'clicks')            AS target_clicks,
    JSONExtractUInt(c, 'targets', 'signups')           AS target_signups,
    JSONExtractUInt(c, 'targets', 'conversions')       AS target_conversions,
    toDecimal128OrZero(JSONExtractString(c, 'targets', 'value'), 6) AS target_value
FROM waymark.program_rules AS r
ARRAY JOIN JSONExtractArrayRaw(r.document, 'campaigns') AS c
COMMENT 'Campaigns as the documents of the programmes that hold now have them';

-- What belongs to a campaign: its name, its time, and its audience, as for the rewards that it multiplies. A hit on a link
-- that nobody shared is of every audience. Of a campaign that no document has, everything belongs to it.
{{define "of campaign"}}{{.}} >= t.starts_at AND {{.}} < ifNull(t.ends_at, toDateTime64('2200-01-01 00:00:00', 3, 'UTC')) AND (empty(t.audience) OR referrer_type = '' OR has(t.audience, referrer_type)){{end}}

-- Whole days are counted by link and day, the first and the last of a campaign that begins or ends within one in the hits.
CREATE OR REPLACE VIEW waymark.campaign_clicks
AS SELECT program, campaign, sum(c.valid) AS clicks
FROM
(
    SELECT d.program AS program, d.campaign AS campaign, d.valid AS valid
    FROM waymark.link_clicks_daily AS d
    LEFT JOIN waymark.campaign_terms AS t ON t.program = d.program AND t.campaign = d.campaign
    WHERE d.campaign != '' AND {{template "of campaign" "toDateTime64(d.day, 3, 'UTC')"}}
        AND toDateTime64(d.day + 1, 3, 'UTC') <= ifNull(t.ends_at, toDateTime64('2200-01-01 00:00:00', 3, 'UTC'))
    UNION ALL
    SELECT h.program, h.campaign, 1
    FROM waymark.hits AS h
    INNER JOIN waymark.campaign_terms AS t ON t.program = h.program AND t.campaign = h.campaign
    WHERE h.valid AND h.campaign != '' AND {{template "of campaign" "h.time"}}
        AND toDate(h.time) IN (SELECT toDate(starts_at) FROM waymark.campaign_terms UNION ALL SELECT toDate(assumeNotNull(ends_at)) FROM waymark.campaign_terms WHERE ends_at IS NOT NULL)
        AND (toDateTime64(toDate(h.time), 3, 'UTC') < t.starts_at
            OR toDateTime64(toDate(h.time) + 1, 3, 'UTC') > ifNull(t.ends_at, toDateTime64('2200-01-01 00:00:00', 3, 'UTC')))
) AS c
GROUP BY program, campaign
COMMENT 'Valid clicks of each campaign, in its time and of its audience';

-- Return on investment is (value - refunds - spend) / spend, cost per acquisition is spend / conversions; spend is what the
-- rewards cost and what the document says that it cost besides. The budget caps what was earned, also what expired since.
CREATE OR REPLACE VIEW waymark.campaigns
AS SELECT
    m.program                                          AS program,
    m.campaign                                         AS campaign,
    multiIf(t.campaign = '', '', now64(3) < t.starts_at, 'planned', t.ends_at <= now64(3), 'ended', 'running') AS status,
    if(t.campaign = '', NULL, t.starts_at)             AS starts_at,
    t.ends_at                                          AS ends_at,
    t.audience                                         AS audience,
    p.currency                                         AS currency,
    m.invitations                                      AS invitations,
    m.clicks                                           AS clicks,
    m.visitors                                         AS visitors,
    m.signups                                          AS signups,
    m.conversions                                      AS conversions,
    m.value                                            AS value,
    m.refunds                                          AS refunds,
    m.signups / nullIf(m.visitors, 0)                  AS signup_rate,
    m.conversions / nullIf(m.visitors, 0)              AS conversion_rate,
    nullIf(t.target_clicks, 0)                         AS target_clicks,
    nullIf(t.target_signups, 0)                        AS target_signups,
    nullIf(t.target_conversions, 0)                    AS target_conversions,
    nullIf(t.target_value, 0)                          AS target_value,
    m.clicks / target_clicks                           AS clicks_attainment,
    m.signups / target_signups                         AS signups_attainment,
    m.conversions / target_conversions                 AS conversions_attainment,
    toFloat64(m.value) / toFloat64(nullIf(t.target_value, 0)) AS value_attainment,
    t.budget                                           AS budget,
    if(t.budget IS NULL, NULL, m.earned)               AS budget_used,
    if(t.budget IS NULL, NULL, greatest(assumeNotNull(t.budget) - m.earned, toDecimal128(0, 6))) AS budget_left,
    m.rewards                                          AS rewards,
    t.fixed_spend                                      AS fixed_spend,
    m.rewards + t.fixed_spend                          AS spend,
    toFloat64(m.rewards + t.fixed_spend) / nullIf(m.conversions, 0) AS cpa,
    toFloat64(m.value - m.refunds - m.rewards - t.fixed_spend) / toFloat64(nullIf(m.rewards + t.fixed_spend, 0)) AS roi
FROM
(
    SELECT
        program, campaign, sum(b.invitations) AS invitations, sum(b.clicks) AS clicks, sum(b.visitors) AS visitors, sum(b.signups) AS signups,
        sum(b.conversions) AS conversions, sum(b.value) AS value, sum(b.refunds) AS refunds, sum(b.rewards) AS rewards, sum(b.earned) AS earned
    FROM
    (
        SELECT
            program, campaign, 0 AS invitations, 0 AS clicks, 0 AS visitors, 0 AS signups, 0 AS conversions, toDecimal128(0, 6) AS value,
            toDecimal128(0, 6) AS refunds, toDecimal128(0, 6) AS rewards, toDecimal128(0, 6) AS earned
        FROM waymark.campaign_terms
        UNION ALL
        SELECT program, campaign, 0, clicks, 0, 0, 0, 0, 0, 0, 0
        FROM waymark.campaign_clicks
        UNION ALL
        SELECT v.program, v.campaign, 0, 0, toUInt64(any(v.weight) * uniqExact(v.visitor)), 0, 0, 0, 0, 0, 0
        FROM waymark.visitors AS v
        LEFT JOIN waymark.campaign_terms AS t ON t.program = v.program AND t.campaign = v.campaign
        WHERE v.campaign != '' AND {{template "of campaign" "v.time"}}
        GROUP BY v.program, v.campaign
        UNION ALL
        SELECT
            a.program, a.campaign, countIf(a.stage = 'invited'), 0, 0, uniqExactIf(a.who, a.stage = 'signed_up'), uniqExactIf(a.who, a.stage = 'converted'),
            sumIf(a.value, a.stage = 'converted'), sumIf(a.value, a.event = 'refund'), 0, 0
        FROM waymark.resolved AS a
        LEFT JOIN waymark.campaign_terms AS t ON t.program = a.program AND t.campaign = a.campaign
        WHERE a.campaign != '' AND {{template "of campaign" "a.time"}}
        GROUP BY a.program, a.campaign
        UNION ALL
        SELECT r.program, r.campaign, 0, 0, 0, 0, 0, 0, 0, sum(r.balance), sum(r.amount)
        FROM waymark.rewards AS r
        LEFT JOIN waymark.campaign_terms AS t ON t.program = r.program AND t.campaign = r.campaign
        WHERE r.campaign != '' AND {{template "of campaign" "r.earned_at"}}
        GROUP BY r.program, r.campaign
    ) AS b
    GROUP BY program, campaign
) AS m
LEFT JOIN waymark.campaign_terms AS t ON t.program = m.program AND t.campaign = m.campaign
LEFT JOIN (SELECT name, currency FROM waymark.programs FINAL) AS p ON p.name = m.program
ORDER BY program, campaign
COMMENT 'Each campaign against its targets and its budget: what it brought, what it cost, and what came of that';

-- A/B tests. A link is of the arm that one of its tags names, the first of them in the order of the document; the first
-- arm is the control. Conversions by visitors are compared:
--
-- * p_value: two-sided z-test of two proportions with the pooled variance (J. L. Fleiss, Statistical Methods for Rates and
--   Proportions, 2nd edition 1981, section 2.1, without continuity correction).
-- * difference_low and difference_high: the 95 % interval that R. G. Newcombe, Statistics in Medicine 17, 1998, 873-890, calls
--   method 10: from the two Wilson score intervals, which holds for few visitors and for rates near 0 as well.
--
-- confidence is 1 - p_value. Many looks at a running test find a difference sooner or later: decide beforehand when to look.
-- Where there are more conversions than visitors, as in an imported history without hits, there is no comparison.
CREATE OR REPLACE VIEW waymark.campaign_variants
AS WITH
    1.959963984540054 AS z,
    -- Score interval of a rate (E. B. Wilson, Journal of the American Statistical Association 22, 1927, 209-212).
    ((x, n) -> (2 * x + z * z - z * sqrt(greatest(z * z + 4 * x * (n - x) / n, 0))) / (2 * (n + z * z))) AS wilson_low,
    ((x, n) -> (2 * x + z * z + z * sqrt(greatest(z * z + 4 * x * (n - x) / n, 0))) / (2 * (n + z * z))) AS wilson_high
SELECT
    program,
    campaign,
    variant,
    toBool(position = 1)                               AS control,
    toUInt64(n)                                        AS visitors,
    toUInt64(x)                                        AS conversions,
    value,
    x / nullIf(n, 0)                                   AS conversion_rate,
    if(comparable, x / n - x0 / n0, NULL)              AS difference,
    if(comparable AND x0 > 0, (x / n) / (x0 / n0) - 1, NULL) AS improvement,
    if(comparable, x / n - x0 / n0 - sqrt(pow(x / n - wilson_low(x, n), 2) + pow(wilson_high(x0, n0) - x0 / n0, 2)), NULL) AS difference_low,
    if(comparable, x / n - x0 / n0 + sqrt(pow(wilson_high(x, n) - x / n, 2) + pow(x0 / n0 - wilson_low(x0, n0), 2)), NULL) AS difference_high,
    if(comparable AND x + x0 > 0 AND x + x0 < n + n0,
        erfc(abs(x / n - x0 / n0) / sqrt((x + x0) / (n + n0) * (1 - (x + x0) / (n + n0)) * (1 / n + 1 / n0)) / sqrt(2)), NULL) AS p_value,
    1 - p_value                                        AS confidence
FROM
(
    SELECT
        program, campaign, variant, position, n, x, value,
        first_value(n) OVER arms AS n0, first_value(x) OVER arms AS x0,
        position > 1 AND n > 0 AND n0 > 0 AND x <= n AND x0 <= n0 AS comparable
    FROM
    (
        SELECT program, campaign, variant, any(b.place) AS position, toFloat64(sum(b.visitors)) AS n, toFloat64(sum(b.conversions)) AS x, sum(b.value) AS value
        FROM
        (
            SELECT program, campaign, variant, place, 0 AS visitors, 0 AS conversions, toDecimal128(0, 6) AS value
            FROM waymark.campaign_terms
            ARRAY JOIN variants AS variant, arrayEnumerate(variants) AS place
            UNION ALL
            SELECT v.program, v.campaign, l.variant, l.place, toUInt64(any(v.weight) * uniqExact(v.visitor)), 0, 0
            FROM waymark.visitors AS v
            INNER JOIN ({{template "arms"}}) AS l ON l.link = v.link
            INNER JOIN waymark.campaign_terms AS t ON t.program = v.program AND t.campaign = v.campaign
            WHERE has(t.variants, l.variant) AND {{template "of campaign" "v.time"}}
            GROUP BY v.program, v.campaign, l.variant, l.place
            UNION ALL
            SELECT a.program, a.campaign, l.variant, l.place, 0, uniqExact(a.who), sum(a.value)
            FROM waymark.resolved AS a
            INNER JOIN ({{template "arms"}}) AS l ON l.link = a.link
            INNER JOIN waymark.campaign_terms AS t ON t.program = a.program AND t.campaign = a.campaign
            WHERE a.stage = 'converted' AND has(t.variants, l.variant) AND {{template "of campaign" "a.time"}}
            GROUP BY a.program, a.campaign, l.variant, l.place
        ) AS b
        GROUP BY program, campaign, variant
    )
    WINDOW arms AS (PARTITION BY program, campaign ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
ORDER BY program, campaign, position
COMMENT 'A/B tests: the arms of each campaign with their conversion rates, and their difference from the control with its 95 % interval and p-value';

{{define "arms" -}}
SELECT links.number AS link, arrayFirst(arm -> has(links.tags, arm), t.variants) AS variant, indexOf(t.variants, variant) AS place
FROM (SELECT number, program, campaign, tags FROM waymark.links FINAL) AS links
INNER JOIN waymark.campaign_terms AS t ON t.program = links.program AND t.campaign = links.campaign
WHERE variant != ''
{{- end}}

-- Tiers and milestones that parties have reached by the users that they brought to the stage converted, counted as on the
-- leaderboard over all time, but without those whose referral was rejected. A tier is kept: refunds take nothing from it. Of
-- tiers and milestones for the party's type or for any, the last one reached stands here, and the next one to reach.
CREATE OR REPLACE VIEW waymark.tiers
AS SELECT
    c.program                                          AS program,
    c.party                                            AS party,
    c.party_type                                       AS party_type,
    c.conversions                                      AS conversions,
    arrayLast(s -> s.2 <= c.conversions, steps)        AS reached,
    arrayFirst(s -> s.2 > c.conversions, steps)        AS ahead,
    reached.1                                          AS tier,
    reached.3                                          AS badge,
    ahead.1                                            AS next_tier,
    if(next_tier = '', NULL, toInt64(ahead.2) - toInt64(c.conversions)) AS conversions_missing,
    arrayMap(s -> if(s.3 = '', s.1, s.3), arrayFilter(s -> s.2 <= c.conversions, goals)) AS milestones,
    (arrayFirst(s -> s.2 > c.conversions, goals) AS goal).1 AS next_milestone,
    if(next_milestone = '', NULL, toInt64(goal.2) - toInt64(c.conversions)) AS milestone_missing
FROM
(
    SELECT
        program, party, party_type, conversions,
        arraySort(s -> s.2, arrayMap(s -> (s.1, s.3, s.4), arrayFilter(s -> s.2 IN ('', party_type), r.tiers))) AS steps,
        arraySort(s -> s.2, arrayMap(s -> (s.1, s.3, s.4), arrayFilter(s -> s.2 IN ('', party_type), r.milestones))) AS goals
    FROM
    (
        SELECT program, referrer AS party, max(a.referrer_type) AS party_type, uniqExact(a.who) AS conversions
        FROM waymark.resolved AS a
        WHERE a.stage = 'converted' AND a.referrer != '' AND cityHash64(a.referrer) != a.who AND a.program IN (SELECT program FROM waymark.program_rules)
            AND (a.program, a.who) NOT IN
            (
                SELECT program, who
                FROM waymark.resolved AS j
                WHERE j.event IN ('accept', 'reject')
                GROUP BY program, who
                HAVING argMax(j.event, (j.time, j.event)) = 'reject'
            )
        GROUP BY program, referrer
    ) AS a
    INNER JOIN
    (
        SELECT
            program,
            arrayMap(t -> (JSONExtractString(t, 'name'), JSONExtractString(t, 'party_type'), JSONExtractUInt(t, 'conversions'), JSONExtractString(t, 'badge')),
                JSONExtractArrayRaw(document, 'tiers')) AS tiers,
            arrayMap(m -> (JSONExtractString(m, 'name'), JSONExtractString(m, 'party_type'), JSONExtractUInt(m, 'count'), JSONExtractString(m, 'badge')),
                arrayFilter(m -> JSONExtractString(m, 'stage') = 'converted', JSONExtractArrayRaw(document, 'rewards', 'milestones'))) AS milestones
        FROM waymark.program_rules
    ) AS r ON r.program = a.program
) AS c
COMMENT 'Tier, badge and milestones of each party by its converted referrals, and what is missing to the next';

-- What a mailer reports: that a message was sent to a party, opened, clicked, or bounced. The message is what the property
-- `message` says, else the campaign; the segment is the property `segment`.
CREATE TABLE IF NOT EXISTS waymark.message_events
(
    program  LowCardinality(String)  COMMENT 'as reported; empty where only a user was named' CODEC(ZSTD(1)),
    message  LowCardinality(String)  CODEC(ZSTD(1)),
    event    LowCardinality(String)  COMMENT 'sent, opened, clicked or bounced' CODEC(ZSTD(1)),
    party    String                  COMMENT 'user, else visitor, else click' CODEC(ZSTD(1)),
    segment  String                  COMMENT 'of the party' CODEC(ZSTD(1)),
    time     DateTime64(3, 'UTC')    CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
ORDER BY (program, message, event, party)
SETTINGS {{window}}
COMMENT 'What became of each message, as the mailer reported it; read through view message_facts';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.message_events_view TO waymark.message_events AS
SELECT program, if(properties['message'] = '', toString(campaign), properties['message']) AS message, event, party, properties['segment'] AS segment, time
FROM waymark.events
WHERE event IN ('sent', 'opened', 'clicked', 'bounced') AND stage != 'clicked';

-- The same with the programme of the user, where none was named.
{{define "message_events" -}}
SELECT if(e.program = '', h.home, e.program) AS program, e.message AS message, e.event AS event, e.party AS party, cityHash64(e.party) AS who, e.segment AS segment, e.time AS time
FROM waymark.message_events AS e
LEFT JOIN waymark.homes AS h ON h.party = e.party
{{- end}}

-- The message that a hit or an action belongs to: the one that its utm_content names, else that of its campaign; none where
-- it came by another channel.
{{define "message of" -}}
multiIf({{.}}.channel NOT IN ('email', ''), '',
        {{.}}.utm_content != '' AND ({{.}}.program, {{.}}.utm_content) IN (SELECT program, message FROM ({{template "message_events"}})), {{.}}.utm_content,
        ({{.}}.program, {{.}}.campaign) IN (SELECT program, message FROM ({{template "message_events"}})), toString({{.}}.campaign),
        '')
{{- end}}

-- Everything that is counted of messages. who is a party, or of kind visited a visitor, who cannot be told from a party
-- before an action names both: so visitors have no segment, and `followed` are the parties with an action that a message
-- brought.
CREATE OR REPLACE VIEW waymark.message_facts
AS SELECT
    f.program                                          AS program,
    f.message                                          AS message,
    s.segment                                          AS segment,
    f.kind                                             AS kind,
    f.who                                              AS who,
    f.weight                                           AS weight,
    f.value                                            AS value,
    f.time                                             AS time
FROM
(
    SELECT program, message, toString(event) AS kind, who, 1. AS weight, toDecimal64(0, 6) AS value, time
    FROM ({{template "message_events"}})
    UNION ALL
    SELECT v.program, {{template "message of" "v"}} AS message, 'visited', v.visitor, v.weight, 0, v.time
    FROM waymark.visitors AS v
    WHERE message != ''
    UNION ALL
    SELECT a.program, {{template "message of" "a"}} AS message, kind, a.who, 1, if(kind = 'converted', a.value, 0), a.time
    FROM waymark.resolved_visits AS a
    ARRAY JOIN if(a.stage = 'converted', ['followed', 'converted'], ['followed']) AS kind
    WHERE a.stage NOT IN ('', 'invited') AND message != ''
) AS f
LEFT JOIN
(
    SELECT program, message, who, argMax(e.segment, (e.time, e.segment)) AS segment
    FROM ({{template "message_events"}}) AS e
    WHERE e.segment != ''
    GROUP BY program, message, who
) AS s ON s.program = f.program AND s.message = f.message AND s.who = f.who
COMMENT 'What is counted of messages: kind is sent, opened, clicked, bounced (as reported), visited (visitors by its links), followed (parties whose action it brought) or converted';

-- The funnel of messages: each party counts once a message. Where the mailer reports clicks, those count, else the visitors of
-- its links.
{{define "message_funnel" -}}
    sent,
    opened,
    {{.}}                                              AS clicked,
    converted,
    bounced,
    value,
    opened / nullIf(sent, 0)                           AS open_rate,
    clicked / nullIf(opened, 0)                        AS click_rate,
    converted / nullIf(clicked, 0)                     AS conversion_rate,
    bounced / nullIf(sent, 0)                          AS bounce_rate,
    nullIf(t.open, 0)                                  AS target_open_rate,
    nullIf(t.click, 0)                                 AS target_click_rate,
    nullIf(t.conversion, 0)                            AS target_conversion_rate,
    nullIf(t.bounce, 0)                                AS target_bounce_rate,
    toFloat64(value) / nullIf(sent, 0)                 AS value_per_message
{{- end}}
{{define "message_targets" -}}
SELECT
    program, JSONExtractFloat(document, 'messages', 'open_rate') AS open, JSONExtractFloat(document, 'messages', 'click_rate') AS click,
    JSONExtractFloat(document, 'messages', 'conversion_rate') AS conversion, JSONExtractFloat(document, 'messages', 'bounce_rate') AS bounce
FROM waymark.program_rules
{{- end}}
{{define "message_counts" -}}
    uniqExactIf((f.message, f.who), f.kind = 'sent')        AS sent,
    uniqExactIf((f.message, f.who), f.kind = 'opened')      AS opened,
    uniqExactIf((f.message, f.who), f.kind = 'clicked')     AS reported,
    toUInt64(uniqExactIf((f.message, f.who), f.kind = 'visited') * maxIf(f.weight, f.kind = 'visited')) AS visited,
    uniqExactIf((f.message, f.who), f.kind = 'followed')    AS followed,
    uniqExactIf((f.message, f.who), f.kind = 'converted')   AS converted,
    uniqExactIf((f.message, f.who), f.kind = 'bounced')     AS bounced,
    sum(f.value)                                            AS value
{{- end}}
CREATE OR REPLACE VIEW waymark.messages
AS SELECT
    m.program                                          AS program,
    message,
    {{template "message_funnel" "if(reported > 0, reported, visited)"}}
FROM
(
    SELECT program, message,
    {{template "message_counts"}}
    FROM waymark.message_facts AS f
    GROUP BY program, message
) AS m
LEFT JOIN ({{template "message_targets"}}) AS t ON t.program = m.program
ORDER BY program, message
COMMENT 'The funnel of each message, sent to converted, with its rates, their targets, and what a message is worth';

CREATE OR REPLACE VIEW waymark.message_segments
AS SELECT
    m.program                                          AS program,
    message,
    segment,
    {{template "message_funnel" "if(reported_of_all > 0, reported, followed)"}}
FROM
(
    SELECT *, sum(s.reported) OVER (PARTITION BY program, message) AS reported_of_all
    FROM
    (
        SELECT program, message, segment,
        {{template "message_counts"}}
        FROM waymark.message_facts AS f
        GROUP BY program, message, segment
    ) AS s
) AS m
LEFT JOIN ({{template "message_targets"}}) AS t ON t.program = m.program
WHERE sent + opened + clicked + converted + bounced > 0
ORDER BY program, message, segment
COMMENT 'The funnel of each message by segment of its recipients; clicks that the mailer does not report are those of who acted on them';

-- The same by message, segment or programme in a period (from <= time < to). Targets are those of the programme, null where
-- a key has messages of several.
CREATE OR REPLACE VIEW waymark.messages_between
AS SELECT
    key,
    {{template "message_funnel" "multiIf(reported > 0, reported, {by:String} = 'segment', followed, visited)"}}
FROM
(
    SELECT
        multiIf({by:String} = 'message', toString(f.message), {by:String} = 'segment', f.segment, {by:String} = 'program', toString(f.program), '') AS key,
        if(uniqExact(f.program) = 1, any(f.program), '') AS program,
        {{template "message_counts"}}
    FROM waymark.message_facts AS f
    WHERE ({program:String} = '' OR f.program = {program:String}) AND f.time >= {from:DateTime64(3, 'UTC')} AND f.time < {to:DateTime64(3, 'UTC')}
    GROUP BY key
) AS m
LEFT JOIN ({{template "message_targets"}}) AS t ON t.program = m.program
WHERE sent + opened + clicked + converted + bounced > 0
ORDER BY key
COMMENT 'The funnel of messages in a period: SELECT * FROM waymark.messages_between(program = \'\', from = \'2026-01-01 00:00:00\', to = \'2027-01-01 00:00:00\', by = \'segment\')';
