-- Copies of the topics waymark.links and waymark.programs, for analysts and reports: the edge never asks them. One row per
-- link number; a deleted link stays,
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

-- Copy of the topic waymark.programs. Reports take the attribution window from it.
CREATE TABLE IF NOT EXISTS waymark.programs
(
    name                     String,
    party_types              Array(String),
    currency                 LowCardinality(String),
    attribution_window_days  UInt32,
    cookie_lifetime_days     UInt32,
    unique_window_hours      UInt32,
    code_prefix              String,
    case_insensitive         Bool,
    trust_pixel              Bool,
    app_schemes              Array(String),
    version                  UInt64                     COMMENT 'Kafka offset of the record'
)
ENGINE = {{engine "ReplacingMergeTree" "version"}}
ORDER BY name
COMMENT 'Programmes as they are now; read with FINAL';
