-- What money is paid on: every action at stage converted, with the click it belongs to and the touches before it, in
-- the order in which periods and programmes are read. Not one row per user: each order counts its own value.
CREATE TABLE IF NOT EXISTS waymark.conversions
(
    program         LowCardinality(String)  COMMENT 'as reported; empty where only a user was named' CODEC(ZSTD(1)),
    time            DateTime64(3, 'UTC')    CODEC(Delta, ZSTD(1)),
    event           LowCardinality(String)  CODEC(ZSTD(1)),
    party           String                  CODEC(ZSTD(1)),
    user_id         String                  CODEC(ZSTD(1)),
    id              String                  CODEC(ZSTD(1)),
    order_id        String                  CODEC(ZSTD(1)),
    value           Decimal(18, 6)          CODEC(ZSTD(1)),
    currency        LowCardinality(String)  CODEC(ZSTD(1)),
    plan            LowCardinality(String)  CODEC(ZSTD(1)),
    link            UInt32                  CODEC(ZSTD(1)),
    link_key        String                  CODEC(ZSTD(1)),
    campaign        LowCardinality(String)  CODEC(ZSTD(1)),
    channel         LowCardinality(String)  CODEC(ZSTD(1)),
    referrer        String                  CODEC(ZSTD(1)),
    referrer_type   LowCardinality(String)  CODEC(ZSTD(1)),
    referee_type    LowCardinality(String)  CODEC(ZSTD(1)),
    visitor_id      UInt64                  CODEC(ZSTD(1)),
    click_time      DateTime64(3, 'UTC')    CODEC(ZSTD(1)),
    click_node      UInt16                  CODEC(ZSTD(1)),
    click_sequence  UInt16                  CODEC(ZSTD(1)),
    touches         Nested
    (
        link        UInt32,
        time        DateTime64(3, 'UTC'),
        channel     LowCardinality(String)
    ),
    reasons         UInt32                  CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(time)
ORDER BY (program, time)
SETTINGS {{window}}
COMMENT 'Every action at stage converted, with its click and touches';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.conversions_view TO waymark.conversions AS
SELECT
    program, time, event, party, user_id, id, order_id, value, currency, plan,
    link, link_key, campaign, channel, referrer_id AS referrer, referrer_type, referee_type,
    visitor_id, click_time, click_node, click_sequence,
    touches.link, touches.time, touches.channel, reasons
FROM waymark.events
WHERE stage = 'converted';
