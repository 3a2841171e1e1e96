-- Actions as they were resolved a while ago. Resolving one (its programme, link and country) joins it with its party's
-- others and with its click: 8 µs each, too long for a report over millions. So each half hour all are resolved
-- anew into a table, and a report takes from it the parties about which nothing newer is known, and resolves
-- the others itself. Its answer is the same as without the table, which holds nothing until there are 200,000 actions:
-- fewer are resolved faster than anybody waits.
--
-- "Newer" is an action at or beyond the position of its partition that settled_until names. A partition is inserted in
-- order, block by block, but a block may be in one target of the views and not yet in the next while it is
-- resolved. So these are the positions that the table before this one had reached: those blocks were complete.
--
-- What comes later than its action is the exception: a click that is not there yet when its action is settled gives it
-- its country with the next settling. (Touches are no exception, see settled_paths.)
--
-- Each server settles for itself, so these tables are not replicated.
CREATE TABLE IF NOT EXISTS waymark.settled
(
    stage          LowCardinality(String)  CODEC(ZSTD(1)),
    time           DateTime64(3, 'UTC')    CODEC(T64, ZSTD(1)),
    event          LowCardinality(String)  CODEC(ZSTD(1)),
    program        LowCardinality(String)  CODEC(ZSTD(1)),
    campaign       LowCardinality(String)  CODEC(ZSTD(1)),
    channel        LowCardinality(String)  CODEC(ZSTD(1)),
    link           UInt32                  CODEC(ZSTD(1)),
    link_key       String                  CODEC(ZSTD(1)),
    referrer       String                  CODEC(ZSTD(1)),
    referrer_type  LowCardinality(String)  CODEC(ZSTD(1)),
    referee_type   LowCardinality(String)  CODEC(ZSTD(1)),
    country        LowCardinality(String)  CODEC(ZSTD(1)),
    region         LowCardinality(String)  CODEC(ZSTD(1)),
    city           LowCardinality(String)  CODEC(ZSTD(1)),
    network        LowCardinality(String)  CODEC(ZSTD(1)),
    device         LowCardinality(String)  CODEC(ZSTD(1)),
    browser        LowCardinality(String)  CODEC(ZSTD(1)),
    os             LowCardinality(String)  CODEC(ZSTD(1)),
    language       LowCardinality(String)  CODEC(ZSTD(1)),
    referrer_host  LowCardinality(String)  CODEC(ZSTD(1)),
    utm_source     LowCardinality(String)  CODEC(ZSTD(1)),
    utm_medium     LowCardinality(String)  CODEC(ZSTD(1)),
    utm_campaign   LowCardinality(String)  CODEC(ZSTD(1)),
    utm_term       LowCardinality(String)  CODEC(ZSTD(1)),
    utm_content    LowCardinality(String)  CODEC(ZSTD(1)),
    who            UInt64                  COMMENT 'cityHash64 of the party' CODEC(ZSTD(1)),
    value          Decimal(18, 6)          CODEC(ZSTD(1)),
    click_time     DateTime64(3, 'UTC')    CODEC(ZSTD(1)),
    source         UInt32                  CODEC(ZSTD(1)),
    partition      UInt16                  CODEC(ZSTD(1)),
    offset         UInt64                  CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (stage, toDate(time))
COMMENT 'Actions with programme, link and country resolved, renewed each half hour; read through view resolved';

CREATE TABLE IF NOT EXISTS waymark.settled_journeys
(
    program        LowCardinality(String)            CODEC(ZSTD(1)),
    party          String                            CODEC(ZSTD(1)),
    link           UInt32                            CODEC(ZSTD(1)),
    link_key       String                            CODEC(ZSTD(1)),
    campaign       LowCardinality(String)            CODEC(ZSTD(1)),
    channel        LowCardinality(String)            CODEC(ZSTD(1)),
    referrer       String                            CODEC(ZSTD(1)),
    referrer_type  LowCardinality(String)            CODEC(ZSTD(1)),
    referee_type   LowCardinality(String)            CODEC(ZSTD(1)),
    clicked_at     Nullable(DateTime64(3, 'UTC'))    CODEC(ZSTD(1)),
    signed_up_at   Nullable(DateTime64(3, 'UTC'))    CODEC(ZSTD(1)),
    activated_at   Nullable(DateTime64(3, 'UTC'))    CODEC(ZSTD(1)),
    converted_at   Nullable(DateTime64(3, 'UTC'))    CODEC(ZSTD(1)),
    retained_at    Nullable(DateTime64(3, 'UTC'))    CODEC(ZSTD(1)),
    total          LowCardinality(String)            CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (program, party)
COMMENT 'Journeys as they were resolved with the settled actions; read through view resolved_journeys';

-- The days of the hits of each node and partition, with their newest offset and time. By the first, the days that have hits
-- newer than a position are found, where `events` would have to be read whole; by the second, up to when a node has sent.
CREATE TABLE IF NOT EXISTS waymark.hit_days
(
    source         UInt32                                           CODEC(ZSTD(1)),
    partition      UInt16                                           CODEC(ZSTD(1)),
    node           UInt16                                           CODEC(ZSTD(1)),
    day            Date                                             COMMENT 'UTC' CODEC(Delta, ZSTD(1)),
    newest_offset  SimpleAggregateFunction(max, UInt64)             CODEC(ZSTD(1)),
    newest         SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (source, partition, node, day)
SETTINGS {{window}}
COMMENT 'Days of hits by node and partition, with the newest offset and time of each';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.hit_days_view TO waymark.hit_days AS
SELECT source, partition, node, toDate(time) AS day, max(offset) AS newest_offset, max(time) AS newest
FROM waymark.events
WHERE stage = 'clicked'
GROUP BY source, partition, node, day;

-- How far the settled tables are, in one row: everything below the positions is in all of them. `settling` is taken before
-- they are renewed, settled_until is a copy of it when all of them are: never ahead of any, and never of an insert.
{{define "positions" -}}
(
    partitions      Array(UInt64)  COMMENT 'source · 65536 + partition',
    positions       Array(UInt64)  COMMENT 'of these: the first action that may not be settled',
    hit_partitions  Array(UInt64)  COMMENT 'source · 65536 + partition',
    hit_positions   Array(UInt64)  COMMENT 'of these: the first hit that may not be settled'
)
ENGINE = MergeTree
ORDER BY tuple()
{{- end}}
CREATE TABLE IF NOT EXISTS waymark.settling
{{template "positions"}}
COMMENT 'How far the settled tables will be when they are renewed: one row';

CREATE TABLE IF NOT EXISTS waymark.settled_until
{{template "positions"}}
COMMENT 'How far the settled tables are: one row, or none before anything is settled';

-- Parties about which something is known that is not settled. The sentinel is for settled_until without a row:
-- everybody is unsettled then.
CREATE OR REPLACE VIEW waymark.unsettled
AS WITH (SELECT (any(partitions), any(positions)) FROM waymark.settled_until) AS settled
SELECT DISTINCT party
FROM waymark.actions_by_party
WHERE offset >= transform(bitShiftLeft(toUInt64(source), 16) + partition,
    arrayConcat([toUInt64(18446744073709551615)], settled.1), arrayConcat([toUInt64(0)], settled.2), toUInt64(0))
COMMENT 'Parties about which something is known that is not settled';

CREATE OR REPLACE VIEW waymark.resolved
AS SELECT time, stage, event, program, campaign, channel, link, link_key, referrer, referrer_type, referee_type, who, value, click_time, '' AS total
FROM waymark.settled
WHERE who NOT IN (SELECT cityHash64(party) FROM waymark.unsettled)
UNION ALL
SELECT time, stage, event, program, campaign, channel, link, link_key, referrer, referrer_type, referee_type, who, value, click_time, ''
FROM ({{template "actions" "WHERE party IN (SELECT party FROM waymark.unsettled)"}}) AS a
COMMENT 'The same rows as actions, from the settled ones where nothing newer is known: what the reports count. who is a hash of the party';

CREATE OR REPLACE VIEW waymark.resolved_visits
AS SELECT time, stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type, who, value, '' AS total,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content
FROM waymark.settled
WHERE who NOT IN (SELECT cityHash64(party) FROM waymark.unsettled)
UNION ALL
SELECT time, stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type, who, value, '',
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content
FROM ({{template "action_visits" "WHERE party IN (SELECT party FROM waymark.unsettled)"}}) AS v
COMMENT 'The same as resolved, with country, device, browser … of the click';

CREATE OR REPLACE VIEW waymark.resolved_journeys
AS SELECT program, party, link, link_key, campaign, channel, referrer, referrer_type, referee_type, clicked_at, signed_up_at,
    activated_at, converted_at, retained_at, total
FROM waymark.settled_journeys
WHERE party NOT IN (SELECT party FROM waymark.unsettled)
UNION ALL
SELECT program, party, link, link_key, campaign, channel, referrer, referrer_type, referee_type, clicked_at, signed_up_at,
    activated_at, converted_at, retained_at, total
FROM ({{template "journeys" "WHERE party IN (SELECT party FROM waymark.unsettled)"}}) AS j
COMMENT 'The same rows as journeys, from the settled ones where nothing newer is known';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settling_view
REFRESH EVERY 30 MINUTE TO waymark.settling
AS SELECT
    actions.1 AS partitions, actions.2 AS positions, hits.1 AS hit_partitions, hits.2 AS hit_positions
FROM
(
    SELECT (groupArray(key), groupArray(next)) AS actions
    FROM (SELECT bitShiftLeft(toUInt64(source), 16) + partition AS key, max(offset) + 1 AS next FROM waymark.settled GROUP BY key)
) AS a,
(
    SELECT (groupArray(key), groupArray(next)) AS hits
    FROM (SELECT bitShiftLeft(toUInt64(source), 16) + partition AS key, max(newest_offset) + 1 AS next FROM waymark.hit_days GROUP BY key)
) AS h
WHERE (SELECT count() FROM waymark.actions_by_party) >= 200000;

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settled_view
REFRESH EVERY 30 MINUTE DEPENDS ON waymark.settling_view TO waymark.settled
AS SELECT stage, time, event, program, campaign, channel, link, link_key, referrer, referrer_type, referee_type,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, who, value, click_time, source, partition, offset
FROM waymark.action_visits AS v
WHERE (SELECT count() FROM waymark.settling) > 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settled_journeys_view
REFRESH EVERY 30 MINUTE DEPENDS ON waymark.settled_view TO waymark.settled_journeys
AS SELECT program, party, link, link_key, campaign, channel, referrer, referrer_type, referee_type, clicked_at, signed_up_at,
    activated_at, converted_at, retained_at, total
FROM waymark.journeys
WHERE (SELECT notEmpty(any(partitions)) FROM waymark.settling);
