-- The ledger: a row for each entry, as the decisions reward_entry carry them. An entry gives, changes, moves or takes back a
-- reward, or pays a party. `value` is what the party's account gains by it, so that the sum over a party is what the
-- programme has yet to pay it.
--
-- A reward, the payouts to a party and a batch of payouts are chains, each with entries numbered from 0. Of all that
-- claimed a place the first came in, since the place is the identity of the event. So there is nothing to merge here.
--
-- Sort key: a statement reads a party, and the ledger is read by programme in the order of chains. Who has only the id of
-- a reward finds it by the index.
CREATE TABLE IF NOT EXISTS waymark.reward_entries
(
    program        LowCardinality(String)               CODEC(ZSTD(1)),
    party          String                               COMMENT 'whose account it is; empty for what opens and closes a batch' CODEC(ZSTD(1)),
    reward         String                               COMMENT 'the chain: a reward, or the payouts to a party' CODEC(ZSTD(1)),
    n              UInt32                               COMMENT 'place in the chain' CODEC(ZSTD(1)),
    time           DateTime64(3, 'UTC')                 COMMENT 'when it takes effect' CODEC(ZSTD(1)),
    entry          LowCardinality(String)               COMMENT 'earn, adjust, reverse, move, expire, payout, open or close' CODEC(ZSTD(1)),
    state          LowCardinality(String)               COMMENT 'of the reward after it: pending, calculated, eligible, paid, expired or cancelled' CODEC(ZSTD(1)),
    value          Decimal(18, 6)                       COMMENT 'what the account gains' CODEC(ZSTD(1)),
    currency       LowCardinality(String)               CODEC(ZSTD(1)),
    rule           LowCardinality(String)               COMMENT 'name of the rule or milestone' CODEC(ZSTD(1)),
    fact           String                               COMMENT 'what it was earned by: event, then o: and the order or i: and the id' CODEC(ZSTD(1)),
    referrer       String                               CODEC(ZSTD(1)),
    referrer_type  LowCardinality(String)               CODEC(ZSTD(1)),
    referee        String                               CODEC(ZSTD(1)),
    campaign       LowCardinality(String)               CODEC(ZSTD(1)),
    base           String                               COMMENT 'amount before the multipliers' CODEC(ZSTD(1)),
    multipliers    String                               COMMENT 'such as annual 2 × first three 1.5' CODEC(ZSTD(1)),
    cap            LowCardinality(String)               COMMENT 'what cut the amount: cap, cap_monthly or budget' CODEC(ZSTD(1)),
    version        UInt64                               COMMENT 'of the programme' CODEC(ZSTD(1)),
    actor          LowCardinality(String)               COMMENT 'system, or the id of a key' CODEC(ZSTD(1)),
    reason         String                               CODEC(ZSTD(1)),
    batch          String                               COMMENT 'of a payout, and of what follows from it' CODEC(ZSTD(1)),
    lines          Array(Tuple(reward String, amount Decimal(18, 6)))
                                                        COMMENT 'of a payout: the rewards it settles, and by how much' CODEC(ZSTD(1)),
    recorded_at    DateTime64(3, 'UTC')                 COMMENT 'when it was written' CODEC(ZSTD(1)),

    INDEX chains reward TYPE bloom_filter GRANULARITY 1,
    INDEX batches batch TYPE bloom_filter GRANULARITY 1
)
ENGINE = {{engine "MergeTree"}}
ORDER BY (program, party, reward, n)
SETTINGS {{window}}, index_granularity = 1024
COMMENT 'The ledger of rewards and payouts, an entry a row';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.reward_entries_view TO waymark.reward_entries AS
SELECT
    program,
    user_id                                            AS party,
    p['reward']                                        AS reward,
    toUInt32OrZero(p['n'])                             AS n,
    time,
    p['entry']                                         AS entry,
    p['state']                                         AS state,
    value,
    currency,
    p['rule']                                          AS rule,
    p['fact']                                          AS fact,
    p['referrer']                                      AS referrer,
    p['referrer_type']                                 AS referrer_type,
    p['referee']                                       AS referee,
    p['campaign']                                      AS campaign,
    p['base']                                          AS base,
    p['multipliers']                                   AS multipliers,
    p['cap']                                           AS cap,
    toUInt64OrZero(p['version'])                       AS version,
    p['actor']                                         AS actor,
    p['reason']                                        AS reason,
    p['batch']                                         AS batch,
    arrayMap(line -> (splitByChar(':', line)[1], toDecimal64OrZero(splitByChar(':', line)[2], 6)),
        arrayFilter(line -> line != '', splitByChar(' ', arrayStringConcat(
            arrayMap(name -> p[name], arraySort(arrayFilter(name -> startsWith(name, 'lines_'), mapKeys(p)))), ' '))))
                                                       AS lines,
    parseDateTime64BestEffortOrZero(p['recorded_at'], 3, 'UTC') AS recorded_at
FROM (SELECT program, user_id, time, value, currency, properties AS p FROM waymark.decisions WHERE event = 'reward_entry');

-- What payouts settled, a reward a row: what it was worth and had not been paid or, negative, what had been paid too much.
CREATE OR REPLACE VIEW waymark.reward_settlements
AS SELECT
    e.program AS program, e.party AS party, line.1 AS reward, line.2 AS amount, e.time AS time, e.batch AS batch, e.actor AS actor
FROM waymark.reward_entries AS e
ARRAY JOIN e.lines AS line
WHERE e.entry = 'payout'
COMMENT 'What payouts settled of each reward';

-- Rewards as they are now. What a payout took is paid from then on: the reward's own entry that says so follows.
CREATE OR REPLACE VIEW waymark.rewards
AS SELECT
    r.program                                          AS program,
    r.reward                                           AS reward,
    r.party                                            AS party,
    r.rule                                             AS rule,
    r.fact                                             AS fact,
    r.referrer                                         AS referrer,
    r.referrer_type                                    AS referrer_type,
    r.referee                                          AS referee,
    r.campaign                                         AS campaign,
    if(s.payouts > 0, 'paid', r.last_state)            AS state,
    r.amount                                           AS amount,
    r.balance                                          AS balance,
    s.settled                                          AS settled,
    r.currency                                         AS currency,
    r.base                                             AS base,
    r.multipliers                                      AS multipliers,
    r.cap                                              AS cap,
    r.version                                          AS version,
    r.earned_at                                        AS earned_at,
    r.eligible_at                                      AS eligible_at,
    if(s.payouts > 0, s.paid_at, NULL)                 AS paid_at,
    if(s.payouts > 0, greatest(r.moved_at, s.paid_at), r.moved_at) AS updated_at,
    if(s.payouts > 0, s.actor, r.actor)                AS actor,
    r.reason                                           AS reason,
    s.batch                                            AS batch,
    r.entries                                          AS entries
FROM
(
    SELECT
        program, party, reward,
        argMin(e.rule, e.n) AS rule, argMin(e.fact, e.n) AS fact, argMin(e.referrer, e.n) AS referrer, argMin(e.referrer_type, e.n) AS referrer_type,
        argMin(e.referee, e.n) AS referee, argMin(e.campaign, e.n) AS campaign, argMax(e.state, e.n) AS last_state,
        sumIf(e.value, e.entry != 'expire') AS amount, sum(e.value) AS balance, argMax(e.currency, e.n) AS currency,
        argMaxIf(e.base, e.n, e.base != '') AS base, argMaxIf(e.multipliers, e.n, e.base != '') AS multipliers, argMaxIf(e.cap, e.n, e.base != '') AS cap,
        argMaxIf(e.version, e.n, e.base != '') AS version, argMin(e.time, e.n) AS earned_at,
        maxOrNullIf(e.time, e.state = 'eligible' AND e.entry = 'move') AS eligible_at, argMax(e.time, e.n) AS moved_at,
        argMax(e.actor, e.n) AS actor, argMax(e.reason, e.n) AS reason, count() AS entries
    FROM waymark.reward_entries AS e
    WHERE e.entry NOT IN ('payout', 'open', 'close')
    GROUP BY program, party, reward
) AS r
LEFT JOIN
(
    SELECT program, reward, sum(t.amount) AS settled, count() AS payouts, max(t.time) AS paid_at, argMax(t.batch, t.time) AS batch, argMax(t.actor, t.time) AS actor
    FROM waymark.reward_settlements AS t
    GROUP BY program, reward
) AS s ON s.program = r.program AND s.reward = r.reward
COMMENT 'Each reward with its state now: amount is what it was calculated to be, balance what of it counts (an expired one has none), settled what payouts paid';

-- None of the balances is ever negative. `account` is the sum of the party's entries: pending and eligible less owed.
CREATE OR REPLACE VIEW waymark.reward_balances
AS SELECT
    program, party, any(r.currency) AS currency,
    sumIf(r.balance, r.state IN ('pending', 'calculated')) AS pending,
    sumIf(r.balance - r.settled, r.state IN ('eligible', 'paid') AND r.balance > r.settled) AS eligible,
    sumIf(r.settled - r.balance, r.state = 'paid' AND r.settled > r.balance) AS owed,
    greatest(eligible - owed, toDecimal128(0, 6))      AS payable,
    sum(r.settled)                                     AS paid,
    sumIf(r.amount, r.state = 'expired')               AS expired,
    pending + eligible - owed                          AS account,
    count()                                            AS rewards
FROM waymark.rewards AS r
GROUP BY program, party
COMMENT 'Balances of each party: what is pending, what can be paid, what was paid too much, paid and expired';

-- Months in which something moved. closing is opening plus earned, adjusted (negative for what was taken back) and expired
-- (negative), less paid.
CREATE OR REPLACE VIEW waymark.reward_statements
AS SELECT
    program, party, month, currency,
    closing - earned - adjusted - expired + paid       AS opening,
    earned, adjusted, expired, paid,
    sum(earned + adjusted + expired - paid) OVER (PARTITION BY program, party ORDER BY month ROWS UNBOUNDED PRECEDING) AS closing
FROM
(
    SELECT
        program, party, toStartOfMonth(e.time)         AS month, any(e.currency) AS currency,
        sumIf(e.value, e.entry = 'earn')               AS earned,
        sumIf(e.value, e.entry IN ('adjust', 'reverse')) AS adjusted,
        sumIf(e.value, e.entry = 'expire')             AS expired,
        -sumIf(e.value, e.entry = 'payout')            AS paid
    FROM waymark.reward_entries AS e
    WHERE e.party != ''
    GROUP BY program, party, month
) AS m
COMMENT 'The account of each party by month (UTC): opening, what moved it, closing';
