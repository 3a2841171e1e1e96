-- Every version of every programme, a copy of the topic waymark.programs. What is earned, and by what score somebody is
-- held to be a cheat, follows the version of its time: the one with the largest effective_from that is not later, of
-- equal ones the largest version, and before the first of all, the first. The document is kept as it is, since only the
-- programs that calculate read all of it; JSONExtract answers the rest.
CREATE TABLE IF NOT EXISTS waymark.program_versions
(
    name            String,
    version         UInt64                   COMMENT 'Kafka offset of the record',
    effective_from  DateTime64(3, 'UTC')     COMMENT 'of the first fact that its rules hold for',
    written_at      DateTime64(3, 'UTC'),
    document        String                   COMMENT 'the programme as JSON, secrets of webhooks masked' CODEC(ZSTD(3))
)
ENGINE = {{engine "ReplacingMergeTree"}}
ORDER BY (name, version)
COMMENT 'All versions of the programmes; read with FINAL';
