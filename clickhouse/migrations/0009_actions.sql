-- Every action with the programme and the link it belongs to. What an action brought itself counts; what it left out
-- comes from the user's journey: the programme from the earliest signup, the link from the journey's credit. So a
-- purchase that named a user only follows the signup, whichever of the two arrived first.
--
-- An invitation is made by the referrer, so it takes no credit from a journey: that would name who invited the inviter.
-- Without a link and a referrer of its own, the user who sent it is the referrer.
--
-- An unverified action is worth nothing, and where it names a user, the user's journey decides the credit.
CREATE OR REPLACE VIEW waymark.actions
AS SELECT
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
    a.utm_source                                         AS utm_source,
    a.utm_medium                                         AS utm_medium,
    a.utm_campaign                                       AS utm_campaign,
    a.utm_term                                           AS utm_term,
    a.utm_content                                        AS utm_content,
    a.reasons                                          AS reasons
FROM
(
    SELECT
        e.*,
        e.party, e.link_key,
        if(e.program = '', h.home, e.program)          AS home,
        (e.link != 0 OR e.referrer_id != '') AND (bitAnd(e.reasons, 128) = 0 OR e.user_id = '') OR e.stage = 'invited' AS own,
        own OR toUnixTimestamp64Milli(e.click_time) != 0 AS clicked
    FROM waymark.events AS e
    LEFT JOIN waymark.homes AS h ON h.party = e.user_id
    WHERE e.stage != 'clicked'
) AS a
LEFT JOIN waymark.journeys AS j ON j.party = a.user_id AND j.program = a.home
COMMENT 'Every action (signup, purchase, …) with the programme and link it belongs to';
