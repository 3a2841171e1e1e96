-- Up to when what the edge saw has arrived: a node ships its hits in order, so before its newest hit nothing of it is
-- missing, and before the earliest of these nothing of any node. A node that has been silent for a day, by the newest hit
-- of all, is taken to have nothing to ship; else one that was switched off would hold the time back for ever.
--
-- It cannot speak for the customer, who may report an action with any time of the past, nor for imported history.
CREATE OR REPLACE VIEW waymark.arrivals
AS SELECT minOrNull(newest)                            AS final_until
FROM (SELECT node, max(d.newest) AS newest FROM waymark.hit_days AS d GROUP BY node) AS nodes
WHERE newest >= (SELECT max(newest) FROM waymark.hit_days) - INTERVAL 1 DAY
COMMENT 'One row: the time before which every hit of the edge has arrived';

-- The path to the conversions of a party in a programme, whatever the period and the attribution window: its actions at
-- stage converted (an unverified one is worth nothing), its browsers, and all their hits in the programme up to the last
-- of these actions, oldest first. Period, window and kind of hits are chosen from that as it is read.
--
-- Its browsers are the visitors that its actions in the programme name and those of the clicks that they name. A click
-- without a visitor (DNT, Sec-GPC) is a browser of its own, as in the view hits. What the visitor's own browser
-- reported ties a browser to a party of which nothing verified is known, and to no other: else anybody could put his
-- clicks into anybody's journey. `awaited` are hashes of the clicks named that are not there yet.
--
-- A browser has a number (the visitor, or a hash of the click's identity), and so has a click that an action names: by
-- these the actions of a party and the hits of its browsers meet. Hits are read twice, for the visitors of those
-- clicks and for the hits of all these visitors; a set of numbers spares the other columns of all other hits.
--
-- The argument chooses the parties: "settle" all that converted, "read" those that are not settled. For the latter, only the
-- days are read that a window before one of their conversions reaches, and those of the clicks that they name.
{{define "parties"}}{{if eq . "settle"}}SELECT party FROM waymark.conversions{{else}}SELECT arrayJoin(unsettled){{end}}{{end}}
{{define "paths" -}}
{{if eq . "read"}}WITH (SELECT groupArray(party) FROM waymark.unsettled_conversions) AS unsettled
{{end -}}
SELECT
    t.program                                          AS program,
    t.party                                            AS party,
    any(t.converted)                                   AS conversions,
    groupUniqArrayArrayIf([t.visitor, b.visitor], t.key != 0) AS named,
    arrayFilter(visitor -> visitor != 0, named)        AS visitors,
    groupUniqArrayIf(t.key, t.visitor = 0 AND b.visitor = 0 AND t.key != 0) AS awaited,
    arrayFilter(touch -> touch.program = program AND touch.time <= conversions[-1].1, arraySort(groupUniqArrayArray(b.touches))) AS touches
FROM
(
    SELECT program, party, converted, tie.2 AS key, tie.3 AS visitor
    FROM
    (
        SELECT
            if(a.program = '', h.home, a.program)      AS program,
            a.party                                    AS party,
            arraySort(groupArrayIf((a.time, if(a.verified, a.value, 0)), a.stage = 'converted')) AS converted,
            -- One without a browser, so that no conversion is lost.
            arrayFilter(tie -> tie.1 IN (2, max(a.verified)) AND (tie.1 = 2 OR tie.2 != 0), arrayPushFront(groupUniqArrayArray([
                (toUInt8(a.verified), a.visitor_id, a.visitor_id),
                (toUInt8(a.verified), if(toUnixTimestamp64Milli(a.click_time) = 0, 0, cityHash64(a.click_time, a.click_node, a.click_sequence)), 0)]),
                (2, 0, 0)))                            AS ties
        FROM
        (
            SELECT program, party, user_id, stage, time, value, visitor_id, click_time, click_node, click_sequence, bitAnd(reasons, 128) = 0 AS verified
            FROM waymark.actions_by_party
            WHERE stage != 'invited' AND party IN ({{template "parties" .}})
        ) AS a
        LEFT JOIN (SELECT party, home FROM waymark.homes WHERE party IN ({{template "parties" .}})) AS h ON h.party = a.user_id
        GROUP BY program, party
        HAVING notEmpty(converted)
    )
    ARRAY JOIN ties AS tie
) AS t
LEFT JOIN
(
    SELECT visitor, touches, key
    FROM
    (
        SELECT
            if(visitor_id != 0, visitor_id, identity)  AS visitor,
            groupArray((program, time, node, sequence, reasons, link_key, campaign, channel, referrer_id, referrer_type, referee_type)::
                Tuple(program String, time DateTime64(3, 'UTC'), node UInt16, sequence UInt16, reasons UInt32,
                    link String, campaign String, channel String, referrer String, referrer_type String, referee_type String)) AS touches,
            groupUniqArrayIf(identity, clicked)        AS clicks
        FROM
        (
            SELECT
                program, time, node, sequence, reasons, visitor_id, link_key, campaign, channel, referrer_id, referrer_type, referee_type,
                cityHash64(time, node, sequence)       AS identity,
                identity IN (SELECT cityHash64(click_time, click_node, click_sequence) FROM waymark.actions_by_party WHERE party IN ({{template "parties" .}})) AS clicked
            FROM waymark.events
            WHERE stage = 'clicked'
                {{- if eq . "read"}}
                AND toDate(time) IN
                (
                    SELECT arrayJoin(arrayMap(back -> day - back, range(1 + greatest(30, (SELECT max(attribution_window_days) FROM waymark.programs)))))
                    FROM (SELECT DISTINCT toDate(time) AS day FROM waymark.conversions WHERE party IN ({{template "parties" .}}))
                    UNION ALL
                    SELECT toDate(click_time) FROM waymark.actions_by_party WHERE party IN ({{template "parties" .}})
                )
                {{- end}}
                AND if(visitor_id != 0, visitor_id, cityHash64(time, node, sequence)) IN
                (
                    SELECT visitor_id FROM waymark.actions_by_party WHERE visitor_id != 0 AND party IN ({{template "parties" .}})
                    UNION ALL
                    SELECT if(visitor_id != 0, visitor_id, cityHash64(time, node, sequence))
                    FROM waymark.events
                    WHERE stage = 'clicked'
                        -- The day is part of the sort key; the identity decides.
                        AND toDate(time) IN (SELECT toDate(click_time) FROM waymark.actions_by_party WHERE party IN ({{template "parties" .}}))
                        AND (time, node, sequence) IN (SELECT click_time, click_node, click_sequence FROM waymark.actions_by_party WHERE party IN ({{template "parties" .}}))
                )
        )
        GROUP BY visitor
    )
    ARRAY JOIN arrayDistinct(arrayPushFront(clicks, visitor)) AS key
) AS b ON b.key = t.key
GROUP BY program, party
{{- end}}
CREATE TABLE IF NOT EXISTS waymark.settled_paths
(
    program            LowCardinality(String)         CODEC(ZSTD(1)),
    party              String                         CODEC(ZSTD(1)),
    last_at            DateTime64(3, 'UTC')           COMMENT 'time of its last action at stage converted' CODEC(ZSTD(1)),
    conversions        Array(Tuple(time DateTime64(3, 'UTC'), value Decimal(18, 6)))  COMMENT 'all of these, oldest first; worth 0 where unverified' CODEC(ZSTD(1)),
    visitors           Array(UInt64)                  COMMENT 'browsers' CODEC(ZSTD(1)),
    awaited            Array(UInt64)                  COMMENT 'hashes of clicks that are named and not there' CODEC(ZSTD(1)),
    times              Array(DateTime64(3, 'UTC'))    COMMENT 'of the touches, oldest first, as are all that follow' CODEC(ZSTD(1)),
    nodes              Array(UInt16)                  CODEC(ZSTD(1)),
    sequences          Array(UInt16)                  CODEC(ZSTD(1)),
    reasons            Array(UInt32)                  CODEC(ZSTD(1)),
    links              Array(String)                  CODEC(ZSTD(1)),
    campaigns          Array(LowCardinality(String))  CODEC(ZSTD(1)),
    channels           Array(LowCardinality(String))  CODEC(ZSTD(1)),
    referrers          Array(String)                  CODEC(ZSTD(1)),
    referrer_types     Array(LowCardinality(String))  CODEC(ZSTD(1)),
    referee_types      Array(LowCardinality(String))  CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (program, party)
COMMENT 'Paths to conversions as they were settled; read through view paths';

{{define "path_columns" -}}
program, party, conversions[-1].1 AS last_at, conversions, visitors, awaited,
    touches.time AS times, touches.node AS nodes, touches.sequence AS sequences, touches.reasons AS reasons, touches.link AS links, touches.campaign AS campaigns,
    touches.channel AS channels, touches.referrer AS referrers, touches.referrer_type AS referrer_types, touches.referee_type AS referee_types
{{- end}}
CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settled_paths_view
REFRESH EVERY 30 MINUTE DEPENDS ON waymark.settled_view TO waymark.settled_paths
AS SELECT {{template "path_columns"}}
FROM ({{template "paths" "settle"}}) AS p
WHERE (SELECT notEmpty(any(partitions)) FROM waymark.settling);

-- The last of the settled tables says how far all of them are.
CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settled_until_view
REFRESH EVERY 30 MINUTE DEPENDS ON waymark.settled_journeys_view, waymark.settled_paths_view TO waymark.settled_until
AS SELECT partitions, positions, hit_partitions, hit_positions
FROM waymark.settling
WHERE notEmpty(partitions);

-- Parties with a conversion whose path is not settled: something newer is known about them, or a hit of one of their
-- browsers, of a time before their conversion, has come since. So a click that comes late counts at once.
{{define "position" -}}
transform(bitShiftLeft(toUInt64(source), 16) + partition,
    arrayConcat([toUInt64(18446744073709551615)], settled.1), arrayConcat([toUInt64(0)], settled.2), toUInt64(0))
{{- end}}
CREATE OR REPLACE VIEW waymark.unsettled_conversions
AS WITH (SELECT (any(hit_partitions), any(hit_positions)) FROM waymark.settled_until) AS settled
SELECT party
FROM waymark.conversions
WHERE party IN (SELECT party FROM waymark.unsettled)
UNION ALL
SELECT party
FROM (SELECT party, arrayJoin(arrayConcat(visitors, awaited)) AS browser FROM waymark.settled_paths) AS p
WHERE browser IN
(
    SELECT arrayJoin([visitor_id, cityHash64(time, node, sequence)])
    FROM waymark.events
    WHERE stage = 'clicked' AND time <= (SELECT max(last_at) FROM waymark.settled_paths)
        AND toDate(time) IN (SELECT day FROM waymark.hit_days WHERE newest_offset >= {{template "position"}})
        AND offset >= {{template "position"}}
)
COMMENT 'Parties with a conversion whose path is not settled';

CREATE OR REPLACE VIEW waymark.unsettled_paths
AS SELECT {{template "path_columns"}}
FROM ({{template "paths" "read"}}) AS p
COMMENT 'Paths to the conversions of the parties that are not settled';

-- A view of its own for each part: analysing a query takes time for each of its expressions and each table below it, and a view
-- is a table to those above.
CREATE OR REPLACE VIEW waymark.paths
AS SELECT *
FROM waymark.settled_paths
WHERE party NOT IN (SELECT party FROM waymark.unsettled_conversions)
UNION ALL
SELECT *
FROM waymark.unsettled_paths AS u
COMMENT 'A row per programme and party that converted: its conversions, its browsers and all their hits before, whole; read through view paths_between';

-- The conversions of a period (from <= time < to), once per programme and party, at its first such action; `value` is
-- what it paid in the period, verified, refunds not taken off. So conversions and value add up to those of
-- conversion_rates. `at` are the places of their touches: the hits, of those that `hits` counts (valid, unique or gross),
-- that lie at most the programme's attribution window before the conversion and not after it.
--
-- Views share this as text, since a parameterised view is analysed twice by whatever reads it.
{{define "touched_by"}}visitors, links, campaigns, channels, referrers, referrer_types, referee_types, times, nodes, sequences{{end}}
{{define "paths_of_period" -}}
SELECT
    program, party, converted_at, orders, value, {{template "touched_by"}},
    arrayFilter((i, t, r) -> t >= opened_at AND t <= converted_at AND bitAnd(r, multiIf({hits:String} = 'unique', 1855, {hits:String} = 'gross', 4, 1823)) = 0,
        arrayEnumerate(times), times, reasons)         AS at
FROM
(
    SELECT
        c.program AS program, party, {{template "touched_by"}}, reasons,
        counted[1].1                                   AS converted_at,
        converted_at - toIntervalDay(if(w.name = '', 30, w.days)) AS opened_at,
        length(counted)                                AS orders,
        arraySum(c -> c.2, counted)                    AS value
    FROM
    (
        SELECT program, party, {{template "touched_by"}}, reasons, arrayFilter(c -> c.1 >= {from:DateTime64(3, 'UTC')} AND c.1 < {to:DateTime64(3, 'UTC')}, conversions) AS counted
        FROM waymark.paths
        WHERE last_at >= {from:DateTime64(3, 'UTC')} AND ({program:String} = '' OR program = {program:String})
    ) AS c
    LEFT JOIN (SELECT name, argMax(attribution_window_days, version) AS days FROM waymark.programs GROUP BY name) AS w ON w.name = c.program
    WHERE notEmpty(counted)
)
{{- end}}
-- With by = 'channel' (campaign, link, referrer, …) touches name that alone, the rest is empty and not read; by = '' is all.
CREATE OR REPLACE VIEW waymark.paths_between
AS SELECT
    program, party, converted_at, orders, value, visitors,
    arrayMap(i -> (
        times[i], nodes[i], sequences[i],
        if({by:String} IN ('', 'link'), links[i], ''),
        if({by:String} IN ('', 'campaign'), toString(campaigns[i]), ''),
        if({by:String} IN ('', 'channel'), toString(channels[i]), ''),
        if({by:String} IN ('', 'referrer'), referrers[i], ''),
        if({by:String} IN ('', 'referrer_type'), toString(referrer_types[i]), ''),
        if({by:String} IN ('', 'referee_type'), toString(referee_types[i]), '')
    ), at)::Array(Tuple(time DateTime64(3, 'UTC'), node UInt16, sequence UInt16, link String, campaign String, channel String, referrer String, referrer_type String, referee_type String)) AS touches
FROM ({{template "paths_of_period"}}) AS c
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
{{define "attribution" -}}
SELECT
    program,
    model,
    dimension,
    key,
    sum(weight)                                        AS conversions,
    toDecimal128(sum(part), 6) / 1000000               AS value,
    (SELECT final_until FROM waymark.arrivals)         AS final_until
FROM
(
    SELECT
        program, model, dimension, keys, weights,
        arrayMap((share, i) -> if(i = length(keys), micros, toInt128(round(share * toFloat64(micros)))), arrayCumSum(weights), arrayEnumerate(keys)) AS ends
    FROM
    (
        SELECT program, model, dimension, micros, keys, arraySum(credits) AS total, arrayMap(c -> c / total, credits) AS weights
        FROM
        (
            SELECT
                program, model, dimension, micros,
                if(model = 'shapley', arrayDistinct(touched), touched) AS keys,
                multiIf(
                    model = 'first',      arrayMap(i -> toFloat64(i = 1), arrayEnumerate(touched)),
                    model = 'last',       arrayMap(i -> toFloat64(i = length(touched)), arrayEnumerate(touched)),
                    model = 'time_decay', arrayMap(t -> exp2(dateDiff('millisecond', touched_at[-1], t) / (86400000 * {half_life_days:Float64})), touched_at),
                    model = 'position',   arrayMap(i -> multiIf(i = 1, {first_share:Float64}, i = length(touched), {last_share:Float64},
                                              (1 - {first_share:Float64} - {last_share:Float64}) / (length(touched) - 2)), arrayEnumerate(touched)),
                    model = 'shapley',    arrayMap(key -> 1., arrayDistinct(touched)),
                                          arrayMap(key -> 1., touched)) AS credits
            FROM
            (
                SELECT
                    program, toInt128(value * 1000000) AS micros,
                    if(empty(at), [converted_at], arrayMap(i -> times[i], at)) AS touched_at,
                    arrayJoin(if({model:String} = '', ['first', 'last', 'linear', 'time_decay', 'position', 'shapley'], [{model:String}])) AS model,
                    arrayJoin(if({by:String} = '', ['link', 'campaign', 'channel', 'referrer', 'referrer_type', 'referee_type'], [{by:String}])) AS dimension,
                    if(empty(at), ['(direct)'], arrayMap(i -> multiIf(
                        dimension = 'link',          links[i],
                        dimension = 'campaign',      toString(campaigns[i]),
                        dimension = 'channel',       toString(channels[i]),
                        dimension = 'referrer',      referrers[i],
                        dimension = 'referrer_type', toString(referrer_types[i]),
                        dimension = 'referee_type',  toString(referee_types[i]),
                                                     toString(program)), at)) AS touched
                FROM ({{template "paths_of_period"}}) AS c
            )
        )
    )
)
ARRAY JOIN
    keys                                               AS key,
    weights                                            AS weight,
    arrayMap((end, start) -> end - start, ends, arrayPushFront(arrayPopBack(ends), toInt128(0))) AS part
GROUP BY program, model, dimension, key
{{- end}}
CREATE OR REPLACE VIEW waymark.attribution_between
AS {{template "attribution"}}
COMMENT 'Conversions of a period divided between what touched them: SELECT * FROM waymark.attribution_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = ''channel'', model = ''linear'', half_life_days = 7, first_share = 0.4, last_share = 0.4, hits = ''valid'')';

CREATE OR REPLACE VIEW waymark.attribution
AS SELECT *
FROM waymark.attribution_between(program = '', from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '', model = '', half_life_days = 7, first_share = 0.4, last_share = 0.4, hits = 'valid') AS a
COMMENT 'Conversions of each programme over all time, divided between what touched them (WHERE model = ''linear'' AND dimension = ''channel''), final for conversions before final_until';
