-- The identities of all actions and decisions, so that a repeat counts once for ever. Ingest asks it for thousands at a time by hash;
-- event and key are kept too, since two identities that share a hash must not silence a conversion. Imported hits are
-- here, too: they have an id, which hits that a node took have not.
CREATE TABLE IF NOT EXISTS waymark.action_ids
(
    hash       UInt64                  COMMENT 'xxHash64 of event, a zero byte and key',
    event      LowCardinality(String)  CODEC(ZSTD(1)),
    key        String                  COMMENT 'o: and the order, else i: and the id; u before that if unverified' CODEC(ZSTD(1)),
    program    LowCardinality(String)  COMMENT 'empty matches any' CODEC(ZSTD(1)),
    source     UInt32                  CODEC(ZSTD(1)),
    partition  UInt16                  CODEC(ZSTD(1)),
    offset     UInt64                  CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
ORDER BY hash
SETTINGS {{window}}, index_granularity = 1024
COMMENT 'Identities of all actions, decisions and imported hits, by which ingest drops repeats';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.action_ids_view TO waymark.action_ids AS
SELECT
    xxHash64(concat(event, '\0', key))                     AS hash,
    event,
    concat(if(bitAnd(reasons, 128) = 0, '', 'u'), if(order_id != '', concat('o:', order_id), concat('i:', id))) AS key,
    program, source, partition, offset
FROM waymark.events
WHERE order_id != '' OR id != '';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.decision_ids_view TO waymark.action_ids AS
SELECT xxHash64(concat(event, '\0', key)) AS hash, event, concat('i:', id) AS key, program, source, partition, offset
FROM waymark.decisions;
