-- Copy of the topic waymark.links, for analysts: the edge never asks it. One row per link number; a deleted link stays,
-- since later conversions still belong to it.
CREATE TABLE IF NOT EXISTS waymark.links
(
    number         UInt32                               COMMENT 'given at creation, never reused',
    code           String,
    domain         LowCardinality(String),
    url            String,
    program        LowCardinality(String),
    campaign       LowCardinality(String),
    channel        LowCardinality(String),
    referrer_id    String,
    referrer_type  LowCardinality(String),
    referee_type   LowCardinality(String),
    tags           Array(LowCardinality(String)),
    status         UInt16,
    active         Bool,
    starts_at      Nullable(DateTime64(3, 'UTC')),
    expires_at     Nullable(DateTime64(3, 'UTC')),
    expired_url    String,
    forward_query  Bool,
    click_param    String,
    noindex        Bool,
    utm            Map(LowCardinality(String), String),
    created_at     DateTime64(3, 'UTC'),
    updated_at     DateTime64(3, 'UTC'),
    deleted        Bool,
    version        UInt64                               COMMENT 'Kafka offset of the record'
)
ENGINE = {{engine "ReplacingMergeTree" "version"}}
ORDER BY number
COMMENT 'Links as they are now; read with FINAL';
