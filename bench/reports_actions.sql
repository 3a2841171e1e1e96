-- What follows from the hits. 1.5 % of those that count lead to a signup, which brings its click; what the user does after
-- it is reported under the user's name alone, and has to be resolved. Half a percent of all hits are invitations instead.
INSERT INTO waymark.events (event, stage, time, program, campaign, channel, link, code, referrer_id, referrer_type, referee_type,
    click_time, click_node, click_sequence, id, user_id, order_id, value, source, partition, offset)
WITH act.place < 7 AS users, act.place IN (1, 7) AS whole, act.place = 1 AS clicked
SELECT
    act.event, act.stage, time + toIntervalSecond(act.after),
    if(whole, program, ''), if(whole, campaign, ''), if(whole, channel, ''), if(whole, link, 0), if(whole, code, ''),
    if(whole, referrer_id, ''), if(whole, referrer_type, ''), if(whole, referee_type, ''),
    if(clicked, time, fromUnixTimestamp64Milli(toInt64(0), 'UTC')), if(clicked, node, 0), if(clicked, sequence, 0),
    concat(toString(act.place), '-', toString(i)), if(users, concat('u', toString(i)), referrer_id),
    if(act.order_id = '', '', concat(act.order_id, toString(i))), act.value, 2, i % 4, i * 8 + act.place
FROM
(
    SELECT *, cityHash64(i, 'a') % 1000 AS a, cityHash64(i, 'b') AS b
    FROM ({{template "all" .}})
    WHERE a < 20 AND (a >= 15 OR bitAnd(reasons, 1823) = 0)
)
ARRAY JOIN arrayFilter(act -> if(a < 15, act.place < 7 AND b % act.one_in < act.takes, act.place = 7), [
    (1, 'signup',   'signed_up', intDiv(b, 16) % 7200,            1,  1,  '',  0),
    (2, 'activate', 'activated', 7200 + intDiv(b, 32) % 86400,    10, 6,  '',  0),
    (3, 'purchase', 'converted', 10000 + intDiv(b, 64) % 864000,  10, 5,  'o', 5 + intDiv(b, 128) % 200),
    (4, 'purchase', 'converted', 900000 + intDiv(b, 64) % 1864000, 10, 2, 'p', 5 + intDiv(b, 256) % 100),
    (5, 'refund',   '',          1000000 + intDiv(b, 64) % 864000, 20, 1, 'o', 5 + intDiv(b, 128) % 200),
    (6, 'retain',   'retained',  2592000 + intDiv(b, 64) % 864000, 10, 3, '',  0),
    (7, 'invite',   'invited',   0,                               1,  1,  '',  0)
    ]::Array(Tuple(place UInt8, event String, stage String, after UInt32, one_in UInt8, takes UInt8, order_id String, value UInt32))) AS act
{{template "settings"}}
