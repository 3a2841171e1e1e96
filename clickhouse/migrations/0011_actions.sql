-- Every action with the programme and the link it belongs to. What an action brought itself counts; what it left out
-- comes from the user's journey: the programme from the earliest signup, the link from the journey's credit. So a
-- purchase that named a user only follows the signup, whichever of the two arrived first.
--
-- An invitation is made by the referrer, so it takes no credit from a journey: that would name who invited the inviter.
-- Without a link and a referrer of its own, the user who sent it is the referrer.
--
-- A link, a referrer or a campaign says that an action has a click of its own: imported ones may know no more than the
-- campaign. A channel alone does not, the customer may report that of any action; it is kept, beside the user's
-- link. Where no user is named, there is no journey to take anything from.
--
-- An unverified action is worth nothing, and where it names a user, the user's journey decides the credit.
{{define "actions" -}}
SELECT
    a.time                                             AS time,
    a.stage                                            AS stage,
    a.event                                            AS event,
    a.home                                             AS program,
    a.id                                               AS id,
    a.party                                            AS party,
    a.user_id                                          AS user_id,
    a.visitor_id                                       AS visitor_id,
    a.order_id                                         AS order_id,
    if(bitAnd(a.reasons, 128) = 0, a.value, toDecimal64(0, 6)) AS value,
    a.currency                                         AS currency,
    a.plan                                             AS plan,
    if(a.own, a.link, j.link)                          AS link,
    if(a.own, a.link_key, j.link_key)                  AS link_key,
    if(a.own, a.campaign, j.campaign)                  AS campaign,
    if(a.own OR a.channel != '', a.channel, j.channel) AS channel,
    multiIf(a.stage = 'invited' AND a.referrer_id = '', a.user_id,
            a.own, a.referrer_id, j.referrer)          AS referrer,
    if(a.own, a.referrer_type, j.referrer_type)        AS referrer_type,
    if(a.own, a.referee_type, j.referee_type)          AS referee_type,
    if(a.clicked, a.click_time, ifNull(j.clicked_at, toDateTime64(0, 3, 'UTC'))) AS click_time,
    if(a.clicked, a.click_node, j.click_node)          AS click_node,
    if(a.clicked, a.click_sequence, j.click_sequence)  AS click_sequence,
    a.country                                          AS country,
    a.region                                           AS region,
    a.city                                             AS city,
    a.network                                          AS network,
    a.device                                           AS device,
    a.browser                                          AS browser,
    a.os                                               AS os,
    a.language                                         AS language,
    a.referrer_host                                    AS referrer_host,
    a.utm_source                                       AS utm_source,
    a.utm_medium                                       AS utm_medium,
    a.utm_campaign                                     AS utm_campaign,
    a.utm_term                                         AS utm_term,
    a.utm_content                                      AS utm_content,
    a.reasons                                          AS reasons,
    a.source                                           AS source,
    a.partition                                        AS partition,
    a.offset                                           AS offset,
    cityHash64(a.party)                                AS who,
    ''                                                 AS total
FROM
(
    SELECT
        e.*,
        if(e.program = '', h.home, e.program)          AS home,
        (e.link != 0 OR e.referrer_id != '' OR e.campaign != '') AND bitAnd(e.reasons, 128) = 0 OR e.user_id = '' OR e.stage = 'invited' AS own,
        own OR toUnixTimestamp64Milli(e.click_time) != 0 AS clicked
    FROM (SELECT * FROM waymark.actions_by_party {{.}}) AS e
    LEFT JOIN (SELECT * FROM waymark.homes {{.}}) AS h ON h.party = e.user_id
) AS a
LEFT JOIN ({{template "journeys" .}}) AS j ON j.party = a.user_id AND j.program = a.home
{{- end}}
CREATE OR REPLACE VIEW waymark.actions
AS {{template "actions" ""}}
COMMENT 'Every action (signup, purchase, …) with the programme and link it belongs to';

-- One row per hit on a link, valid or not, with the columns named as the dimensions of the reports are.
CREATE OR REPLACE VIEW waymark.hits
AS SELECT
    0 AS bucket, time, node, sequence, event, program, campaign, channel, link, code, domain, link_key,
    referrer_id AS referrer, referrer_type, referee_type,
    visitor_id, if(visitor_id != 0, visitor_id, cityHash64(time, node, sequence)) AS visitor, click, gross, valid, unique, reasons, reason_names,
    country, region, city, toString(network) AS network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, '' AS total
FROM waymark.events
WHERE stage = 'clicked'
COMMENT 'Every hit on a link; WHERE valid, unique or gross says which to count';

-- The sample in the shape of hits.
CREATE OR REPLACE VIEW waymark.sampled_hits
AS SELECT
    bucket, time, toUInt16(0) AS node, toUInt16(0) AS sequence, program, campaign, channel, link, code, domain, if(domain = '', code, concat(domain, '/', code)) AS link_key,
    referrer, referrer_type, referee_type, visitor,
    bitAnd(reasons, 4) = 0 AS gross, bitAnd(reasons, 1823) = 0 AS valid, bitAnd(reasons, 1855) = 0 AS unique, reasons,
    country, region, city, toString(network) AS network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, '' AS total
FROM waymark.visitor_sample AS s
COMMENT 'The hits of one visitor in sixteen, in the shape of hits';


-- Actions with where and how the visitor came. They are mostly reported by a server, so that is what their click says,
-- found by identity; without one, what their own browser said (the pixel). Apart from actions, since finding the
-- clicks costs a pass over the hits of their days.
{{define "action_visits" -}}
SELECT
    a.time AS time, a.stage AS stage, a.event AS event, a.program AS program, a.campaign AS campaign, a.channel AS channel, a.link AS link, a.link_key AS link_key, a.referrer AS referrer, a.referrer_type AS referrer_type, a.referee_type AS referee_type,
    a.visitor_id AS visitor_id, a.party AS party, a.value AS value, a.click_time AS click_time, a.source AS source, a.partition AS partition, a.offset AS offset,
    a.who AS who, a.total AS total,
    if(h.found, h.country, a.country) AS country, if(h.found, h.region, a.region) AS region, if(h.found, h.city, a.city) AS city,
    toString(if(h.found, h.network, a.network)) AS network, if(h.found, h.device, a.device) AS device, if(h.found, h.browser, a.browser) AS browser,
    if(h.found, h.os, a.os) AS os, if(h.found, h.language, a.language) AS language, if(h.found, h.referrer_host, a.referrer_host) AS referrer_host,
    if(h.found, h.utm_source, a.utm_source) AS utm_source, if(h.found, h.utm_medium, a.utm_medium) AS utm_medium, if(h.found, h.utm_campaign, a.utm_campaign) AS utm_campaign,
    if(h.found, h.utm_term, a.utm_term) AS utm_term, if(h.found, h.utm_content, a.utm_content) AS utm_content
FROM ({{template "actions" .}}) AS a
LEFT ANY JOIN
(
    SELECT
        time, node, sequence, true AS found, country, region, city, network, device, browser, os, language, referrer_host,
        utm_source, utm_medium, utm_campaign, utm_term, utm_content
    FROM waymark.events
    WHERE stage = 'clicked'
        -- The day is part of the sort key; the identity decides.
        AND toDate(time) IN (SELECT toDate(click_time) FROM waymark.actions_by_party {{.}})
        AND (time, node, sequence) IN (SELECT click_time, click_node, click_sequence FROM waymark.actions_by_party {{.}})
) AS h ON h.time = a.click_time AND h.node = a.click_node AND h.sequence = a.click_sequence
{{- end}}
CREATE OR REPLACE VIEW waymark.action_visits
AS {{template "action_visits" ""}}
COMMENT 'The actions with country, device, browser … of the click';

-- Hits and actions in one shape. valid, unique and gross select hits; on actions they are true. `total` is a dimension
-- with one value.
CREATE OR REPLACE VIEW waymark.facts
AS SELECT
    time, 'clicked' AS stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type,
    visitor_id, '' AS party, toDecimal64(0, 6) AS value, gross, valid, unique, total
FROM waymark.hits
UNION ALL
SELECT
    time, stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type,
    visitor_id, party, value, true, true, true, ''
FROM waymark.actions AS a
COMMENT 'Hits and actions in one shape: what the reports count';

-- The same with where and how the visitor came.
CREATE OR REPLACE VIEW waymark.visits
AS SELECT
    time, 'clicked' AS stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type,
    visitor_id, '' AS party, toDecimal64(0, 6) AS value, gross, valid, unique, total,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content
FROM waymark.hits
UNION ALL
SELECT
    time, stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type,
    visitor_id, party, value, true, true, true, '',
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content
FROM waymark.action_visits AS v
COMMENT 'The facts with country, device, browser … of the click';
