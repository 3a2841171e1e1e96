-- Offsets below which ingest is through and that have no row: repeats, records that are no event, and numbers
-- that Kafka gave to no record. Once Kafka has trimmed them, nothing else could tell the audit that they are not missing.
-- The same plan leaves out the same offsets, so a replay writes rows that merge with those that are there.
CREATE TABLE IF NOT EXISTS waymark.left_out
(
    source     UInt32  COMMENT 'number of the Kafka topic' CODEC(ZSTD(1)),
    partition  UInt16  COMMENT 'Kafka partition' CODEC(ZSTD(1)),
    from       UInt64  COMMENT 'first offset' CODEC(T64, ZSTD(1)),
    to         UInt64  COMMENT 'offset after the last one' CODEC(T64, ZSTD(1))
)
ENGINE = {{engine "ReplacingMergeTree"}}
ORDER BY (source, partition, from, to)
COMMENT 'Ranges of Kafka offsets that ingest left out: repeats and what is no event';
