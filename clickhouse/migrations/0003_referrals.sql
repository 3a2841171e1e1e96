-- One row per party and programme: when it reached each stage, what it is worth, and whom it is credited to. Rows of a
-- party meet by merging, so what arrives late (a signup after its purchase) repairs the row whenever it comes.
--
-- Every column is a SimpleAggregateFunction, so that SELECT … GROUP BY, or FINAL, reads it as it is. `credit` is a
-- tuple under min, and not argMin: the smallest rank wins, then the earliest, and ties are decided by the values
-- themselves, so that the answer never depends on the order of merges.
--
-- What is unverified, because the visitor's own browser reported it, counts as a stage reached. But it is worth nothing,
-- and gives credit only where nothing verified says anything: else anybody could take the credit for anybody.
--
-- Sort key: the party first, since actions that name a user only look their programme up by it.
CREATE TABLE IF NOT EXISTS waymark.referrals
(
    party         String                                                        COMMENT 'user, else visitor, else click' CODEC(ZSTD(1)),
    program       LowCardinality(String)                                        COMMENT 'as reported; empty where only a user was named' CODEC(ZSTD(1)),
    credit        SimpleAggregateFunction(min, Tuple(
        rank            UInt8,
        time            DateTime64(3, 'UTC'),
        link            UInt32,
        link_key        String,
        campaign        String,
        channel         String,
        referrer        String,
        referrer_type   String,
        referee_type    String,
        click_time      DateTime64(3, 'UTC'),
        click_node      UInt16,
        click_sequence  UInt16))                                   COMMENT 'rank 0: signup with a link or referrer, 1: another such action, 2: signup without, 3: another; 4 more if unverified' CODEC(ZSTD(1)),
    signed_up_at  SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))  CODEC(ZSTD(1)),
    activated_at  SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))  CODEC(ZSTD(1)),
    converted_at  SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))  CODEC(ZSTD(1)),
    retained_at   SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC')))  CODEC(ZSTD(1)),
    orders        SimpleAggregateFunction(sum, UInt64)                          COMMENT 'verified actions at stage converted' CODEC(ZSTD(1)),
    value         SimpleAggregateFunction(sum, Decimal(38, 6))                  COMMENT 'sum of their values' CODEC(ZSTD(1)),
    refunds       SimpleAggregateFunction(sum, Decimal(38, 6))                  COMMENT 'sum of the values of verified refunds' CODEC(ZSTD(1))
)
ENGINE = {{engine "AggregatingMergeTree"}}
ORDER BY (party, program)
SETTINGS {{window}}
COMMENT 'Referral edges: who brought whom, and how far each got. Read through view journeys';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.referrals_view TO waymark.referrals AS
SELECT
    party,
    program,
    min((
        toUInt8(if(link != 0 OR referrer_id != '', 0, 2) + if(stage = 'signed_up', 0, 1) + if(bitAnd(reasons, 128) = 0, 0, 4)),
        time, link, link_key, toString(campaign), toString(channel), referrer_id, toString(referrer_type), toString(referee_type),
        click_time, click_node, click_sequence))           AS credit,
    minOrNullIf(time, stage = 'signed_up')                 AS signed_up_at,
    minOrNullIf(time, stage = 'activated')                 AS activated_at,
    minOrNullIf(time, stage = 'converted')                 AS converted_at,
    minOrNullIf(time, stage = 'retained')                  AS retained_at,
    countIf(stage = 'converted' AND bitAnd(reasons, 128) = 0) AS orders,
    sumIf(value, stage = 'converted' AND bitAnd(reasons, 128) = 0) AS value,
    sumIf(events.value, event = 'refund' AND bitAnd(reasons, 128) = 0) AS refunds
FROM waymark.events
WHERE stage NOT IN ('clicked', 'invited')
GROUP BY party, program;
