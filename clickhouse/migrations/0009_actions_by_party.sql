-- Every action once more, in the order in which a party's actions meet: what one leaves out (its programme, its link)
-- others of the same party say, see view actions. In events they lie by stage and day, and the actions of a few parties
-- would cost a pass over all.
CREATE TABLE IF NOT EXISTS waymark.actions_by_party
(
    party           String                  CODEC(ZSTD(1)),
    time            DateTime64(3, 'UTC')    CODEC(ZSTD(1)),
    program         LowCardinality(String)  CODEC(ZSTD(1)),
    stage           LowCardinality(String)  CODEC(ZSTD(1)),
    event           LowCardinality(String)  CODEC(ZSTD(1)),
    id              String                  CODEC(ZSTD(1)),
    user_id         String                  CODEC(ZSTD(1)),
    visitor_id      UInt64                  CODEC(ZSTD(1)),
    order_id        String                  CODEC(ZSTD(1)),
    value           Decimal(18, 6)          CODEC(ZSTD(1)),
    currency        LowCardinality(String)  CODEC(ZSTD(1)),
    plan            LowCardinality(String)  CODEC(ZSTD(1)),
    link            UInt32                  CODEC(ZSTD(1)),
    link_key        String                  CODEC(ZSTD(1)),
    campaign        LowCardinality(String)  CODEC(ZSTD(1)),
    channel         LowCardinality(String)  CODEC(ZSTD(1)),
    referrer_id     String                  CODEC(ZSTD(1)),
    referrer_type   LowCardinality(String)  CODEC(ZSTD(1)),
    referee_type    LowCardinality(String)  CODEC(ZSTD(1)),
    click_time      DateTime64(3, 'UTC')    CODEC(ZSTD(1)),
    click_node      UInt16                  CODEC(ZSTD(1)),
    click_sequence  UInt16                  CODEC(ZSTD(1)),
    country         LowCardinality(String)  CODEC(ZSTD(1)),
    region          LowCardinality(String)  CODEC(ZSTD(1)),
    city            LowCardinality(String)  CODEC(ZSTD(1)),
    network         UInt32                  CODEC(ZSTD(1)),
    device          LowCardinality(String)  CODEC(ZSTD(1)),
    browser         LowCardinality(String)  CODEC(ZSTD(1)),
    os              LowCardinality(String)  CODEC(ZSTD(1)),
    language        LowCardinality(String)  CODEC(ZSTD(1)),
    referrer_host   LowCardinality(String)  CODEC(ZSTD(1)),
    utm_source      LowCardinality(String)  CODEC(ZSTD(1)),
    utm_medium      LowCardinality(String)  CODEC(ZSTD(1)),
    utm_campaign    LowCardinality(String)  CODEC(ZSTD(1)),
    utm_term        LowCardinality(String)  CODEC(ZSTD(1)),
    utm_content     LowCardinality(String)  CODEC(ZSTD(1)),
    reasons         UInt32                  CODEC(ZSTD(1)),
    source          UInt32                  CODEC(ZSTD(1)),
    partition       UInt16                  CODEC(ZSTD(1)),
    offset          UInt64                  CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
ORDER BY (party, time)
SETTINGS {{window}}
COMMENT 'Every action in the order of parties; read through view actions';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.actions_by_party_view TO waymark.actions_by_party AS
SELECT
    party, time, program, stage, event, id, user_id, visitor_id, order_id, value, currency, plan,
    link, link_key, campaign, channel, referrer_id, referrer_type, referee_type, click_time, click_node, click_sequence,
    country, region, city, network, device, browser, os, language, referrer_host,
    utm_source, utm_medium, utm_campaign, utm_term, utm_content, reasons, source, partition, offset
FROM waymark.events
WHERE stage != 'clicked';
