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
