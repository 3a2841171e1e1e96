-- Actions as they were resolved a while ago. Resolving one (its programme, link and country) joins it with its party's
-- others and with its click: 8 µs each, too long for a report over millions. So each half hour all are resolved
-- anew into a table, and a report takes from it the parties about which nothing newer is known, and resolves
-- the others itself. Its answer is the same as without the table, which holds nothing until there are 200,000 actions:
-- fewer are resolved faster than anybody waits.
--
-- "Newer" is an action at or beyond the position of its partition that the table names. A partition is inserted in
-- order, block by block, but a block may be in one target of the views and not yet in the next while it is
-- resolved. So the table names the positions that the table before it had reached: those blocks were complete.
--
-- What comes later than its action is the exception: a click that is not there yet when its action is settled gives it
-- its country with the next settling.
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
    source         UInt32                  CODEC(ZSTD(1)),
    partition      UInt16                  CODEC(ZSTD(1)),
    offset         UInt64                  CODEC(T64, ZSTD(1)),
    partitions     Array(UInt64)           COMMENT 'source · 65536 + partition; the same in every row' CODEC(ZSTD(1)),
    positions      Array(UInt64)           COMMENT 'of the partitions: everything below is settled; the same in every row' CODEC(ZSTD(1))
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
    total          LowCardinality(String)            CODEC(ZSTD(1)),
    partitions     Array(UInt64)                     CODEC(ZSTD(1)),
    positions      Array(UInt64)                     CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY (program, party)
COMMENT 'Journeys as they were resolved with the settled actions; read through view resolved_journeys';

-- Parties about which something is known that is not settled. The positions are those of the journeys, which are settled
-- after the actions: never ahead of either. Of tables without a row the sentinel stays, and everybody is unsettled.
CREATE OR REPLACE VIEW waymark.unsettled
AS WITH
    (SELECT (any(partitions), any(positions)) FROM (SELECT partitions, positions FROM waymark.settled_journeys LIMIT 1)) AS settled
SELECT DISTINCT party
FROM waymark.actions_by_party
WHERE offset >= transform(bitShiftLeft(toUInt64(source), 16) + partition,
    arrayConcat([toUInt64(18446744073709551615)], settled.1), arrayConcat([toUInt64(0)], settled.2), toUInt64(0))
COMMENT 'Parties about which something is known that is not settled';

CREATE OR REPLACE VIEW waymark.resolved
AS SELECT time, stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type, who, value, '' AS total
FROM waymark.settled
WHERE who NOT IN (SELECT cityHash64(party) FROM waymark.unsettled)
UNION ALL
SELECT time, stage, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type, who, value, ''
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

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settled_view
REFRESH EVERY 30 MINUTE TO waymark.settled
AS WITH
    (
        SELECT (groupArray(key), groupArray(next))
        FROM (SELECT bitShiftLeft(toUInt64(source), 16) + partition AS key, max(offset) + 1 AS next FROM waymark.settled GROUP BY key)
    ) AS before
SELECT stage, time, event, program, campaign, channel, link_key, referrer, referrer_type, referee_type,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, who, value, source, partition, offset,
    before.1 AS partitions, before.2 AS positions
FROM waymark.action_visits AS v
WHERE (SELECT count() FROM waymark.actions_by_party) >= 200000;

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.settled_journeys_view
REFRESH EVERY 30 MINUTE DEPENDS ON waymark.settled_view TO waymark.settled_journeys
AS WITH
    (SELECT (any(partitions), any(positions)) FROM (SELECT partitions, positions FROM waymark.settled LIMIT 1)) AS settled
SELECT program, party, link, link_key, campaign, channel, referrer, referrer_type, referee_type, clicked_at, signed_up_at,
    activated_at, converted_at, retained_at, total,
    settled.1 AS partitions, settled.2 AS positions
FROM waymark.journeys
WHERE notEmpty(settled.1);
