-- The hit with an identity, the actions with it, and what the users that signed up with it did since under their name alone.
WITH tied AS
(
    SELECT user_id, program
    FROM waymark.events
    WHERE stage = 'signed_up' AND user_id != ''
        AND click_time = {time:DateTime64(3, 'UTC')} AND click_node = {node:UInt16} AND click_sequence = {sequence:UInt16} AND link = {link:UInt32}
)
SELECT
    event, stage, time, program, campaign, channel, link, code, domain, referrer_id, referrer_type, referee_type,
    node, sequence, ordinal, reasons, visitor_id, click_time, click_node, click_sequence,
    id, user_id, order_id, value, currency, plan, properties, touches.link, touches.time, touches.channel,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, address_hash, offset
FROM waymark.events
WHERE (stage = 'clicked' AND link = {link:UInt32} AND time = {time:DateTime64(3, 'UTC')} AND node = {node:UInt16} AND sequence = {sequence:UInt16})
    OR (stage != 'clicked'
        AND click_time = {time:DateTime64(3, 'UTC')} AND click_node = {node:UInt16} AND click_sequence = {sequence:UInt16})
    OR (stage NOT IN ('clicked', 'invited') AND link = 0 AND referrer_id = '' AND user_id IN (SELECT user_id FROM tied)
        AND (program = '' OR (user_id, program) IN (SELECT user_id, program FROM tied)))
ORDER BY stage = 'clicked' DESC, time
LIMIT 1001
