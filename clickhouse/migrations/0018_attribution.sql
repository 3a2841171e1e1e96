-- Up to when what the edge saw has arrived: a node ships its hits in order, so before its newest hit nothing of it is
-- missing, and before the earliest of these nothing of any node. A node that has been silent for a day, by the newest hit
-- of all, is taken to have nothing to ship; else one that was switched off would hold the time back for ever.
--
-- It cannot speak for the customer, who may report an action with any time of the past, nor for imported history.
CREATE OR REPLACE VIEW waymark.arrivals
AS SELECT min(newest)                                  AS final_until
FROM
(
    SELECT node, maxOrNull(time)                       AS newest
    FROM waymark.events
    WHERE stage = 'clicked' AND time >= (SELECT max(hour) FROM waymark.clicks_hourly WHERE dimension = 'total') - INTERVAL 1 DAY
    GROUP BY node
) AS nodes
COMMENT 'One row: the time before which every hit of the edge has arrived';

-- The way to each conversion. A conversion is a party that reached the stage converted in the period (from <= time < to),
-- once per programme, at its first such action; `value` is what it paid in the period, verified, refunds not taken off. So
-- conversions and value add up to those of conversion_rates.
--
-- Touches are the hits, of those that `hits` counts (valid, unique or gross), that lie at most the programme's attribution
-- window before the conversion and not after it, oldest first. They come from events, as far back as the
-- window and from every browser of the party, not only from what one cookie held: the party's browsers are the visitors
-- that its actions in the programme name and those of the clicks that they name. A click without a visitor (DNT, Sec-GPC) is
-- a browser of its own, as in the view hits. What the visitor's own browser reported ties a browser to a party of which nothing verified is
-- known, and to no other: else anybody could put his clicks into anybody's journey.
--
-- With by = 'channel' (campaign, link, referrer, …) touches name that alone, the rest is empty and not read; by = '' is all.
--
-- Browsers are found twice, for the set that filters hits and for the join. A join alone, without the set, put the
-- hits of the whole period into its hash table.
CREATE OR REPLACE VIEW waymark.paths_between
AS WITH
    -- Conversions, with what ties them to browsers: the visitor and the click of each action of the party.
    conversions AS
    (
        SELECT
            if(a.program = '', h.home, a.program)      AS program,
            a.party                                    AS party,
            minIf(a.time, a.counts)                    AS converted_at,
            countIf(a.counts)                          AS orders,
            sumIf(a.value, a.counts AND a.verified)    AS value,
            max(a.verified)                            AS vouched,
            groupUniqArrayIf((a.verified, a.visitor_id, a.click_time, a.click_node, a.click_sequence),
                a.visitor_id != 0 OR toUnixTimestamp64Milli(a.click_time) != 0) AS ties
        FROM
        (
            SELECT
                program, party, user_id, time, value, visitor_id, click_time, click_node, click_sequence,
                bitAnd(reasons, 128) = 0               AS verified,
                stage = 'converted' AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AS counts
            FROM waymark.actions_by_party
            WHERE stage != 'invited' AND party IN
            (
                SELECT party
                FROM waymark.events
                WHERE stage = 'converted' AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
                    AND ({program:String} = '' OR program IN ('', {program:String}))
            )
        ) AS a
        LEFT JOIN
        (
            SELECT party, home
            FROM waymark.homes
            WHERE party IN
            (
                SELECT party
                FROM waymark.events
                WHERE stage = 'converted' AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
                    AND ({program:String} = '' OR program IN ('', {program:String}))
            )
        ) AS h ON h.party = a.user_id
        WHERE {program:String} = '' OR if(a.program = '', h.home, a.program) = {program:String}
        GROUP BY program, party
        HAVING orders > 0
    ),
    windows AS
    (
        SELECT name, argMax(attribution_window_days, version) AS days FROM waymark.programs GROUP BY name
    ),
    -- A row per tie, and one without, so that no conversion is lost.
    tied AS
    (
        SELECT
            c.program AS program, c.party AS party, c.converted_at AS converted_at, c.orders AS orders, c.value AS value,
            c.converted_at - toIntervalDay(if(w.name = '', 30, w.days)) AS opened_at,
            tie.2 AS visitor_id, tie.3 AS click_time, tie.4 AS click_node, tie.5 AS click_sequence
        FROM conversions AS c
        LEFT JOIN windows AS w ON w.name = c.program
        ARRAY JOIN arrayPushFront(arrayFilter(t -> t.1 = c.vouched, c.ties), defaultValueOfTypeName('Tuple(Bool, UInt64, DateTime64(3, \'UTC\'), UInt16, UInt16)')) AS tie
    ),
    hits AS
    (
        SELECT
            program, time, node, sequence,
            if(visitor_id != 0, visitor_id, cityHash64(time, node, sequence)) AS visitor,
            (
                time, node, sequence,
                if({by:String} IN ('', 'link'), link_key, ''),
                if({by:String} IN ('', 'campaign'), toString(campaign), ''),
                if({by:String} IN ('', 'channel'), toString(channel), ''),
                if({by:String} IN ('', 'referrer'), referrer_id, ''),
                if({by:String} IN ('', 'referrer_type'), toString(referrer_type), ''),
                if({by:String} IN ('', 'referee_type'), toString(referee_type), '')
            )::Tuple(time DateTime64(3, 'UTC'), node UInt16, sequence UInt16, link String, campaign String, channel String, referrer String, referrer_type String, referee_type String) AS touch,
            bitAnd(reasons, multiIf({hits:String} = 'unique', 1855, {hits:String} = 'gross', 4, 1823)) = 0 AS counts
        FROM waymark.events
        WHERE stage = 'clicked'
    ),
    browsers AS
    (
        SELECT DISTINCT program, party, converted_at, orders, value, opened_at, arrayJoin([t.visitor_id, h.visitor]) AS visitor
        FROM (SELECT time, node, sequence, visitor FROM hits) AS h
        RIGHT JOIN tied AS t ON h.time = t.click_time AND h.node = t.click_node AND h.sequence = t.click_sequence
    )
SELECT
    b.program                                          AS program,
    b.party                                            AS party,
    any(b.converted_at)                                AS converted_at,
    any(b.orders)                                      AS orders,
    any(b.value)                                       AS value,
    groupUniqArrayIf(b.visitor, b.visitor != 0)        AS visitors,
    arraySort(groupUniqArrayIf(h.touch, h.visitor != 0 AND h.program = b.program AND h.time <= b.converted_at AND h.time >= b.opened_at)) AS touches
FROM
(
    SELECT program, time, visitor, touch
    FROM hits
    WHERE visitor IN (SELECT visitor FROM browsers) AND counts AND time < {to:DateTime64(3, 'UTC')}
        AND time >= {from:DateTime64(3, 'UTC')} - toIntervalDay(greatest(30, (SELECT max(attribution_window_days) FROM waymark.programs)))
) AS h
RIGHT JOIN browsers AS b ON h.visitor = b.visitor
GROUP BY program, party
COMMENT 'Conversions of a period with the touches before them: SELECT * FROM waymark.paths_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = '''', hits = ''valid'')';

-- Conversions and their value, divided between the keys of their touches by a model:
--
-- first, last    all to the first or last touch
-- linear         the same to each touch
-- time_decay     half as much to a touch half_life_days (7 by default in the report) before another
-- position       first_share to the first touch, last_share to the last, the rest evenly between them (0.4 and 0.4 by
--                default in the report); of two touches, each its share of the two; of one, everything
-- shapley        the Shapley value of the game in which a set of keys is worth the conversions whose keys all lie in it.
--                That game is a sum of unanimity games, one a conversion, so its value divides each conversion evenly
--                between its distinct keys (L. S. Shapley, A Value for n-Person Games, 1953; K. Zhao, S. H. Mahboobi and
--                S. R. Bagheri, arXiv:1804.05327): exact for any number of keys, where 2ⁿ sets could be gone through for a dozen
--
-- The first five are as Google defines them: https://developers.google.com/google-ads/api/reference/rpc/latest/AttributionModelEnum.AttributionModel
-- (40/20/40, half-life of 7 days). A conversion without a touch goes to the key (direct).
--
-- The weights of a conversion are floats and sum to one. Its value is cut into millionths at the running sums of the
-- weights, so that the parts sum to it exactly.
--
-- A step names what the next one uses more than once. In one SELECT, where an alias used again is analysed again, the
-- formulas took longer to analyse than to run.
CREATE OR REPLACE VIEW waymark.attribution_between
AS WITH
    asked AS
    (
        SELECT
            program, toInt128(value * 1000000) AS micros,
            if(empty(touches), [converted_at], touches.time) AS times,
            arrayJoin(if({model:String} = '', ['first', 'last', 'linear', 'time_decay', 'position', 'shapley'], [{model:String}])) AS model,
            arrayJoin(if({by:String} = '', ['link', 'campaign', 'channel', 'referrer', 'referrer_type', 'referee_type'], [{by:String}])) AS dimension,
            multiIf(
                empty(touches),              ['(direct)'],
                dimension = 'link',          touches.link,
                dimension = 'campaign',      touches.campaign,
                dimension = 'channel',       touches.channel,
                dimension = 'referrer',      touches.referrer,
                dimension = 'referrer_type', touches.referrer_type,
                dimension = 'referee_type',  touches.referee_type,
                                             arrayMap(t -> toString(program), touches)) AS touched
        FROM waymark.paths_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {by:String}, hits = {hits:String}) AS p
    ),
    credited AS
    (
        SELECT
            program, model, dimension, micros,
            if(model = 'shapley', arrayDistinct(touched), touched) AS keys,
            multiIf(
                model = 'first',      arrayMap(i -> toFloat64(i = 1), arrayEnumerate(touched)),
                model = 'last',       arrayMap(i -> toFloat64(i = length(touched)), arrayEnumerate(touched)),
                model = 'time_decay', arrayMap(t -> exp2(dateDiff('millisecond', times[-1], t) / (86400000 * {half_life_days:Float64})), times),
                model = 'position',   arrayMap(i -> multiIf(i = 1, {first_share:Float64}, i = length(touched), {last_share:Float64},
                                          (1 - {first_share:Float64} - {last_share:Float64}) / (length(touched) - 2)), arrayEnumerate(touched)),
                model = 'shapley',    arrayMap(key -> 1., arrayDistinct(touched)),
                                      arrayMap(key -> 1., touched)) AS credits
        FROM asked
    ),
    weighed AS
    (
        SELECT program, model, dimension, micros, keys, arraySum(credits) AS total, arrayMap(c -> c / total, credits) AS weights
        FROM credited
    ),
    cut AS
    (
        SELECT
            program, model, dimension, keys, weights,
            arrayMap((share, i) -> if(i = length(keys), micros, toInt128(round(share * toFloat64(micros)))), arrayCumSum(weights), arrayEnumerate(keys)) AS ends
        FROM weighed
    )
SELECT
    program,
    model,
    dimension,
    key,
    sum(weight)                                        AS conversions,
    toDecimal128(sum(part), 6) / 1000000               AS value,
    (SELECT final_until FROM waymark.arrivals)         AS final_until
FROM cut
ARRAY JOIN
    keys                                               AS key,
    weights                                            AS weight,
    arrayMap((end, start) -> end - start, ends, arrayPushFront(arrayPopBack(ends), toInt128(0))) AS part
GROUP BY program, model, dimension, key
COMMENT 'Conversions of a period divided between what touched them: SELECT * FROM waymark.attribution_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = ''channel'', model = ''linear'', half_life_days = 7, first_share = 0.4, last_share = 0.4, hits = ''valid'')';

CREATE OR REPLACE VIEW waymark.attribution
AS SELECT *
FROM waymark.attribution_between(program = '', from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '', model = '', half_life_days = 7, first_share = 0.4, last_share = 0.4, hits = 'valid') AS a
COMMENT 'Conversions of each programme over all time, divided between what touched them (WHERE model = ''linear'' AND dimension = ''channel''), final for conversions before final_until';
