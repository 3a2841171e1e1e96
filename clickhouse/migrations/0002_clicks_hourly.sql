-- Hits per hour, one roll-up per dimension: the row of dimension `country` and key `DE` counts the hour's hits from
-- Germany. A cube of all dimensions together would keep almost a row per click.
--
-- Counts only. Distinct visitors are counted in `events`, exactly: a state of them for each hour and key costs at least
-- eight bytes for each visitor in each of the eleven dimensions, twice the budget of a whole click.
--
-- Sort key: the key before the hour, since the hours of one key then differ by little and its text is stored once (by
-- hour first, link and referrer cost three times as much). A period prunes by partition; within it a dimension is read
-- whole, and all but two have few keys.
CREATE TABLE IF NOT EXISTS waymark.clicks_hourly
(
    dimension  LowCardinality(String)  COMMENT 'total, link, channel, campaign, referrer, referrer_type, country, device, browser, referrer_host or reason',
    program    LowCardinality(String),
    key        String                  COMMENT 'value of the dimension; for link the code, for total empty' CODEC(ZSTD(1)),
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

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.clicks_hourly_view TO waymark.clicks_hourly AS
SELECT
    entry.1                              AS dimension,
    program,
    entry.2                              AS key,
    toStartOfHour(toDateTime(time, 'UTC')) AS hour,
    count()                              AS hits,
    countIf(bitAnd(reasons, 4) = 0)      AS gross,
    countIf(bitAnd(reasons, 1823) = 0)   AS valid,
    countIf(bitAnd(reasons, 1855) = 0)   AS unique
FROM waymark.events
ARRAY JOIN arrayConcat(
    [('total', ''), ('link', if(domain = '', code, concat(domain, '/', code))), ('channel', toString(channel)),
     ('campaign', toString(campaign)), ('referrer', referrer_id), ('referrer_type', toString(referrer_type)),
     ('country', toString(country)), ('device', toString(device)), ('browser', toString(browser)),
     ('referrer_host', toString(referrer_host))],
    arrayMap(name -> ('reason', toString(name)), arrayMap(
        bit -> transform(bit,
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
            ['bot', 'prefetch', 'head', 'preview', 'datacenter', 'repeat', 'gpc', 'unverified', 'inactive', 'early', 'expired', 'simulated'],
            toString(bit)),
        bitmaskToArray(reasons)))) AS entry
WHERE stage = 'clicked'
GROUP BY dimension, program, key, hour;
