-- One row per hit on a link, valid or not, with the columns named as the dimensions of the reports are.
CREATE OR REPLACE VIEW waymark.hits
AS SELECT
    time, event, program, campaign, channel, link, code, domain, link_key,
    referrer_id AS referrer, referrer_type, referee_type,
    visitor_id, click, gross, valid, unique, reasons, reason_names,
    country, region, city, toString(network) AS network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, '' AS total
FROM waymark.events
WHERE stage = 'clicked'
COMMENT 'Every hit on a link; WHERE valid, unique or gross says which to count';

-- Hits and actions in one shape, so that a report is one pass: group by a dimension, count what is wanted. valid, unique
-- and gross select hits; on actions they are true. `total` is a dimension with one value.
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

-- The same with where and how the visitor came. Actions are mostly reported by a server, so theirs is that of their
-- click, found by identity; without one, what their own browser said (the pixel). A view apart, since finding the clicks
-- costs a pass over the hits.
CREATE OR REPLACE VIEW waymark.visits
AS SELECT
    time, 'clicked' AS stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type,
    visitor_id, '' AS party, toDecimal64(0, 6) AS value, gross, valid, unique, total,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content
FROM waymark.hits
UNION ALL
SELECT
    a.time, a.stage, a.event, a.program, a.campaign, a.channel, a.link_key, a.referrer, a.referrer_type, a.referee_type,
    a.visitor_id, a.party, a.value, true, true, true, '',
    if(h.found, h.country, a.country), if(h.found, h.region, a.region), if(h.found, h.city, a.city),
    toString(if(h.found, h.network, a.network)), if(h.found, h.device, a.device), if(h.found, h.browser, a.browser),
    if(h.found, h.os, a.os), if(h.found, h.language, a.language), if(h.found, h.referrer_host, a.referrer_host),
    if(h.found, h.utm_source, a.utm_source), if(h.found, h.utm_medium, a.utm_medium), if(h.found, h.utm_campaign, a.utm_campaign),
    if(h.found, h.utm_term, a.utm_term), if(h.found, h.utm_content, a.utm_content)
FROM waymark.actions AS a
LEFT ANY JOIN
(
    SELECT
        time, node, sequence, true AS found, country, region, city, network, device, browser, os, language, referrer_host,
        utm_source, utm_medium, utm_campaign, utm_term, utm_content
    FROM waymark.events
    WHERE stage = 'clicked'
        AND (time, node, sequence) IN
        (
            SELECT click_time, click_node, click_sequence
            FROM waymark.events
            WHERE stage != 'clicked' AND toUnixTimestamp64Milli(click_time) != 0
        )
) AS h ON h.time = a.click_time AND h.node = a.click_node AND h.sequence = a.click_sequence
COMMENT 'The facts with country, device, browser … of the click';
