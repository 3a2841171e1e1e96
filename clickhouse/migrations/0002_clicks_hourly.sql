-- Hits per hour, one roll-up per dimension: the row of dimension `country` and key `DE` counts the hour's hits from
-- Germany. A cube of all dimensions together would keep almost a row per click. Links and referrers are too many for
-- hours, of which most would count a single hit: see link_clicks_daily.
--
-- Counts only. Distinct visitors come from visitor_sample or, where there are few hits, from `events` exactly.
--
-- Sort key: the key before the hour, since the hours of one key then differ by little and its text is stored once. A
-- period prunes by partition; within it a dimension is read whole, and has few keys.
CREATE TABLE IF NOT EXISTS waymark.clicks_hourly
(
    dimension  LowCardinality(String)  COMMENT 'total, channel, campaign, referrer_type, country, device, browser, referrer_host or reasons' CODEC(ZSTD(1)),
    program    LowCardinality(String)  CODEC(ZSTD(1)),
    key        String                  COMMENT 'value of the dimension: for reasons their names with commas, for total empty' CODEC(ZSTD(1)),
    hour       DateTime('UTC')         COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    hits       UInt64                  COMMENT 'every hit, HEAD requests too' CODEC(T64, ZSTD(1)),
    gross      UInt64                  COMMENT 'hits answered to GET' CODEC(T64, ZSTD(1)),
    valid      UInt64                  COMMENT 'hits that somebody followed' CODEC(T64, ZSTD(1)),
    unique     UInt64                  COMMENT 'valid, one per visitor and link within the programme''s window' CODEC(T64, ZSTD(1))
)
ENGINE = {{engine "SummingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (dimension, program, key, hour)
SETTINGS {{window}}
COMMENT 'Hits per hour and programme, one roll-up per dimension: filter on dimension before summing';

-- GROUPING SETS count each dimension in a hash table of its own from one reading of the block, in 60 % of the time that
-- an ARRAY JOIN over the dimensions takes; a view per dimension would add nine parts to the target with every insert.
CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.clicks_hourly_view TO waymark.clicks_hourly AS
SELECT
    multiIf(
        grouping(channel) = 0,       'channel',
        grouping(campaign) = 0,      'campaign',
        grouping(referrer_type) = 0, 'referrer_type',
        grouping(country) = 0,       'country',
        grouping(device) = 0,        'device',
        grouping(browser) = 0,       'browser',
        grouping(referrer_host) = 0, 'referrer_host',
        grouping(reason_set) = 0,    'reasons',
                                     'total')                      AS dimension,
    program,
    -- The columns outside of a grouping set are empty.
    concat(channel, campaign, referrer_type, country, device, browser, referrer_host,
        arrayStringConcat(arrayMap(
            bit -> transform(bit,
                [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
                ['bot', 'prefetch', 'head', 'preview', 'datacenter', 'repeat', 'gpc', 'unverified', 'inactive', 'early', 'expired', 'simulated', 'late'],
                toString(bit)),
            bitmaskToArray(reason_set)), ','))                     AS key,
    hour,
    count()                                                        AS hits,
    countIf(bitAnd(reasons, 4) = 0)                                AS gross,
    countIf(bitAnd(reasons, 1823) = 0)                             AS valid,
    countIf(bitAnd(reasons, 1855) = 0)                             AS unique
FROM
(
    SELECT
        program, channel, campaign, referrer_type, country, device, browser, referrer_host,
        reasons, reasons AS reason_set, toStartOfHour(toDateTime(time, 'UTC')) AS hour
    FROM waymark.events
    WHERE stage = 'clicked'
)
GROUP BY GROUPING SETS
(
    (program, hour),
    (program, hour, channel),
    (program, hour, campaign),
    (program, hour, referrer_type),
    (program, hour, country),
    (program, hour, device),
    (program, hour, browser),
    (program, hour, referrer_host),
    (program, hour, reason_set)
);
