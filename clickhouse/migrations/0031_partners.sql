-- What the records of partners say, a change a row, as the decisions partner_change carry them. A record is a chain of changes
-- numbered from 0, each of which says all of it; of those that claimed a place the first came in, since the place is the
-- identity of the event. A change of kind `code` claims a code for a partner, first come first served.
CREATE TABLE IF NOT EXISTS waymark.partner_changes
(
    program          LowCardinality(String)  CODEC(ZSTD(1)),
    partner          String                  COMMENT 'the party, as links name it as their referrer' CODEC(ZSTD(1)),
    n                UInt32                  COMMENT 'place in the chain' CODEC(ZSTD(1)),
    kind             LowCardinality(String)  COMMENT 'record, or code' CODEC(ZSTD(1)),
    time             DateTime64(3, 'UTC')    COMMENT 'from which on it holds' CODEC(ZSTD(1)),
    code             String                  CODEC(ZSTD(1)),
    type             LowCardinality(String)  COMMENT 'of the party' CODEC(ZSTD(1)),
    name             String                  CODEC(ZSTD(1)),
    email            String                  CODEC(ZSTD(1)),
    status           LowCardinality(String)  COMMENT 'active, inactive, suspended or terminated' CODEC(ZSTD(1)),
    commission_rate  String                  COMMENT 'in per cent; empty for that of the rule' CODEC(ZSTD(1)),
    joined_at        DateTime64(3, 'UTC')    CODEC(ZSTD(1)),
    actor            LowCardinality(String)  COMMENT 'id of the key' CODEC(ZSTD(1)),
    recorded_at      DateTime64(3, 'UTC')    COMMENT 'when it was written' CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
ORDER BY (program, partner, n, kind)
SETTINGS {{window}}
COMMENT 'Records of partners, a change a row; read through views partner_history and partners';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.partner_changes_view TO waymark.partner_changes AS
SELECT
    program,
    user_id                                            AS partner,
    toUInt32OrZero(p['n'])                             AS n,
    p['kind']                                          AS kind,
    time,
    p['code']                                          AS code,
    p['type']                                          AS type,
    p['name']                                          AS name,
    p['email']                                         AS email,
    p['status']                                        AS status,
    p['commission_rate']                               AS commission_rate,
    parseDateTime64BestEffortOrZero(p['joined_at'], 3, 'UTC') AS joined_at,
    p['actor']                                         AS actor,
    parseDateTime64BestEffortOrZero(p['recorded_at'], 3, 'UTC') AS recorded_at
FROM (SELECT program, user_id, time, properties AS p FROM waymark.decisions WHERE event = 'partner_change');

CREATE OR REPLACE VIEW waymark.partner_history
AS SELECT program, partner, n, time, code, type, name, email, status, commission_rate, joined_at, actor, recorded_at
FROM waymark.partner_changes
WHERE kind = 'record'
COMMENT 'What the record of each partner said from a time on';

CREATE OR REPLACE VIEW waymark.partner_records
AS SELECT
    program, partner, argMax(h.type, h.n) AS type, argMax(h.code, h.n) AS code, argMax(h.name, h.n) AS name, argMax(h.email, h.n) AS email,
    argMax(h.status, h.n) AS status, argMax(h.commission_rate, h.n) AS commission_rate, argMax(h.joined_at, h.n) AS joined_at, max(h.time) AS updated_at
FROM waymark.partner_history AS h
GROUP BY program, partner
COMMENT 'The record of each partner as it is now';

-- The life of each referral. The referrer is the one that the referee's journey credits; who referred himself is none.
--
-- Accepted at once, or by an event `accept` where the programme wants that; the last of `accept` and `reject` holds. Expired
-- where the days of the programme have passed without a conversion; one that comes after that changes nothing. Paid
-- with the first payout to the referrer for it. What was reported by the visitor's own browser neither accepts nor rejects.
--
-- cost is what all rewards by the referral are worth, commission what the referrer has of it.
{{define "judges"}}e.event IN ('accept', 'reject') AND bitAnd(e.reasons, 128) = 0{{end}}
CREATE OR REPLACE VIEW waymark.referral_states
AS SELECT
    j.program                                          AS program,
    j.referrer                                         AS referrer,
    j.party                                            AS referee,
    j.referrer_type                                    AS referrer_type,
    j.referee_type                                     AS referee_type,
    j.campaign                                         AS campaign,
    j.channel                                          AS channel,
    a.source                                           AS source,
    multiIf(rejected_at IS NOT NULL, 'rejected', expired_at IS NOT NULL, 'expired', paid_at IS NOT NULL, 'paid',
        j.converted_at IS NOT NULL, 'converted', accepted_at IS NOT NULL, 'accepted', 'pending') AS state,
    a.created_at                                       AS created_at,
    multiIf(a.judgement = 'accept', a.judged_at, a.judgement = 'reject' OR r.acceptance = 'manual', NULL, a.created_at) AS accepted_at,
    if(a.judgement = 'reject', a.judged_at, NULL)      AS rejected_at,
    j.converted_at                                     AS converted_at,
    p.paid_at                                          AS paid_at,
    if(r.days > 0 AND addDays(a.created_at, r.days) < least(now64(3), ifNull(j.converted_at, now64(3))), addDays(a.created_at, r.days), NULL) AS expired_at,
    j.orders                                           AS orders,
    j.value                                            AS value,
    j.refunds                                          AS refunds,
    p.commission                                       AS commission,
    p.commission_paid                                  AS commission_paid,
    p.cost                                             AS cost
FROM waymark.journeys AS j
INNER JOIN
(
    SELECT
        if(e.program = '', h.home, e.program)          AS program,
        e.party                                        AS party,
        minIf(e.time, e.event NOT IN ('refund', 'accept', 'reject')) AS created_at,
        argMaxIf(e.event, (e.time, e.event), {{template "judges"}})   AS judgement,
        maxIf(e.time, {{template "judges"}})                          AS judged_at,
        argMinIf(s.said, (e.time, s.said), s.said != '') AS source
    FROM waymark.actions_by_party AS e
    LEFT JOIN waymark.homes AS h ON h.party = e.user_id
    LEFT ANY JOIN
    (
        SELECT source, partition, offset, properties['source'] AS said
        FROM waymark.events
        WHERE stage NOT IN ('clicked', 'invited') AND mapContains(properties, 'source')
    ) AS s ON s.source = e.source AND s.partition = e.partition AND s.offset = e.offset
    WHERE e.stage != 'invited'
    GROUP BY if(e.program = '', h.home, e.program), e.party
    HAVING countIf(e.event NOT IN ('refund', 'accept', 'reject')) > 0
) AS a ON a.program = j.program AND a.party = j.party
LEFT JOIN
(
    SELECT
        w.program AS program, w.referrer AS referrer, w.referee AS referee, minIf(w.paid_at, w.state = 'paid' AND w.party = w.referrer) AS paid_at,
        sumIf(w.balance, w.party = w.referrer) AS commission, sumIf(w.settled, w.party = w.referrer) AS commission_paid, sum(w.balance) AS cost
    FROM waymark.rewards AS w
    GROUP BY program, referrer, referee
) AS p ON p.program = j.program AND p.referrer = j.referrer AND p.referee = j.party
LEFT JOIN
(
    SELECT program, JSONExtractString(document, 'referrals', 'acceptance') AS acceptance, JSONExtractInt(document, 'referrals', 'expires_after_days') AS days
    FROM waymark.program_rules
) AS r ON r.program = j.program
WHERE j.referrer != '' AND j.referrer != j.party
COMMENT 'Each referral with its state (pending, accepted, rejected, converted, paid or expired), the times of its life, its source and what it cost';

-- What partners are measured by. `counted` says which referrals count.
--
-- customers are the referrals that converted and were neither rejected nor expired. cac (cost of acquisition) is cost by
-- customer, ltv (lifetime value) what a customer has paid so far less refunds, roi (revenue - refunds - cost) / cost.
{{define "partner_counts" -}}
    countIf(counted)                                        AS referrals,
    countIf(counted AND state = 'pending')                  AS pending,
    countIf(counted AND state = 'accepted')                 AS accepted,
    countIf(counted AND state = 'rejected')                 AS rejected,
    countIf(counted AND state = 'converted')                AS converted,
    countIf(counted AND state = 'paid')                     AS paid,
    countIf(counted AND state = 'expired')                  AS expired,
    countIf(counted AND accepted_at IS NOT NULL) / nullIf(countIf(counted AND (accepted_at IS NOT NULL OR rejected_at IS NOT NULL)), 0) AS acceptance_rate,
    countIf(counted AND state IN ('converted', 'paid'))     AS customers,
    customers / nullIf(referrals, 0)                        AS conversion_rate,
    sumIf(s.value, counted AND state IN ('converted', 'paid')) AS revenue,
    sumIf(s.refunds, counted AND state IN ('converted', 'paid')) AS refunds,
    sumIf(s.commission, counted)                            AS commission,
    sumIf(s.commission_paid, counted)                       AS commission_paid,
    sumIf(s.cost, counted)                                  AS cost,
    toFloat64(cost) / nullIf(customers, 0)                  AS cac,
    toFloat64(revenue - refunds) / nullIf(customers, 0)     AS ltv,
    toFloat64(revenue - refunds - cost) / toFloat64(nullIf(cost, 0)) AS roi
{{- end}}

-- Those with a record and those without. Active is who had a referral begin or convert in the last days.
CREATE OR REPLACE VIEW waymark.partners
AS SELECT
    if(m.partner = '', p.program, m.program)           AS program,
    if(m.partner = '', p.partner, m.partner)           AS partner,
    if(p.type = '', m.party_type, p.type)              AS type,
    p.code                                             AS code,
    p.name                                             AS name,
    p.status                                           AS status,
    toDecimal64OrNull(p.commission_rate, 6)            AS commission_rate,
    if(p.partner = '', NULL, p.joined_at)              AS joined_at,
    m.* EXCEPT (program, partner, party_type, last),
    if(m.referrals = 0, NULL, m.last)                  AS last_active_at,
    toBool(m.last >= now64(3) - toIntervalDay(30))     AS active_30,
    toBool(m.last >= now64(3) - toIntervalDay(90))     AS active_90
FROM
(
    SELECT
        program, referrer AS partner, max(s.referrer_type) AS party_type, max(greatest(s.created_at, ifNull(s.converted_at, s.created_at))) AS last,
        {{template "partner_counts"}}
    FROM (SELECT *, true AS counted FROM waymark.referral_states) AS s
    GROUP BY program, referrer
) AS m
FULL JOIN waymark.partner_records AS p ON p.program = m.program AND p.partner = m.partner
ORDER BY program, partner
COMMENT 'Partners, and whoever else refers: their record, their referrals by state, and what these brought and cost';

-- The same for referrals that began in a period (from <= time < to), by a dimension. Partners are all of them, also those
-- who never referred anybody, and active is who had a referral begin or convert in the last days, whatever the period.
CREATE OR REPLACE VIEW waymark.partners_between
AS SELECT
    key,
    partners,
    active_30,
    active_90,
    active_30 / nullIf(partners, 0)                    AS retention_30,
    active_90 / nullIf(partners, 0)                    AS retention_90,
    referrals, pending, accepted, rejected, converted, paid, expired, acceptance_rate, customers, conversion_rate,
    revenue, refunds, commission, commission_paid, cost, cac, ltv, roi
FROM
(
    SELECT
        key,
        uniqExact((s.program, s.partner))              AS partners,
        uniqExactIf((s.program, s.partner), s.last >= now64(3) - toIntervalDay(30)) AS active_30,
        uniqExactIf((s.program, s.partner), s.last >= now64(3) - toIntervalDay(90)) AS active_90,
        {{template "partner_counts"}}
    FROM
    (
        SELECT
            multiIf({by:String} = 'partner', r.referrer, {by:String} = 'type', toString(r.referrer_type), {by:String} = 'status', toString(p.status), {by:String} = 'source', r.source,
                {by:String} = 'campaign', toString(r.campaign), {by:String} = 'channel', toString(r.channel), {by:String} = 'program', toString(r.program), '') AS key,
            r.program AS program, r.referrer AS partner, greatest(r.created_at, ifNull(r.converted_at, r.created_at)) AS last,
            r.created_at >= {from:DateTime64(3, 'UTC')} AND r.created_at < {to:DateTime64(3, 'UTC')} AS counted,
            r.state AS state, r.accepted_at AS accepted_at, r.rejected_at AS rejected_at, r.value AS value, r.refunds AS refunds,
            r.commission AS commission, r.commission_paid AS commission_paid, r.cost AS cost
        FROM waymark.referral_states AS r
        LEFT JOIN waymark.partner_records AS p ON p.program = r.program AND p.partner = r.referrer
        WHERE {program:String} = '' OR r.program = {program:String}
        UNION ALL
        -- Partners who never referred anybody count among the partners.
        SELECT
            multiIf({by:String} = 'partner', p.partner, {by:String} = 'type', toString(p.type), {by:String} = 'status', toString(p.status), {by:String} = 'program', toString(p.program), ''),
            p.program, p.partner, toDateTime64(0, 3, 'UTC'), false, '', NULL, NULL, 0, 0, 0, 0, 0
        FROM waymark.partner_records AS p
        WHERE ({program:String} = '' OR p.program = {program:String}) AND {by:String} NOT IN ('source', 'campaign', 'channel')
    ) AS s
    GROUP BY key
)
ORDER BY key
COMMENT 'Referrals of a period as they are now: SELECT * FROM waymark.partners_between(program = \'\', from = \'2026-01-01 00:00:00\', to = \'2027-01-01 00:00:00\', by = \'source\')';

-- Who changed what through the admin API, as the decisions audit_entry carry it.
CREATE TABLE IF NOT EXISTS waymark.audit_entries
(
    time     DateTime64(3, 'UTC')    CODEC(ZSTD(1)),
    program  LowCardinality(String)  COMMENT 'empty where it was about none' CODEC(ZSTD(1)),
    id       String                  CODEC(ZSTD(1)),
    actor    LowCardinality(String)  COMMENT 'id of the key' CODEC(ZSTD(1)),
    role     LowCardinality(String)  CODEC(ZSTD(1)),
    action   LowCardinality(String)  COMMENT 'operation of the API' CODEC(ZSTD(1)),
    subject  String                  COMMENT 'path and parameters of the request' CODEC(ZSTD(1)),
    before   String                  COMMENT 'SHA-256 of the link, programme or key as it was' CODEC(ZSTD(1)),
    after    String                  COMMENT 'SHA-256 of the answer' CODEC(ZSTD(1))
)
ENGINE = {{engine "MergeTree"}}
ORDER BY (time, id)
SETTINGS {{window}}
COMMENT 'The audit log, an entry a row; read through view audit_log';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.audit_entries_view TO waymark.audit_entries AS
SELECT
    time, program, id,
    p['actor']                                         AS actor,
    p['role']                                          AS role,
    p['action']                                        AS action,
    p['subject']                                       AS subject,
    p['before']                                        AS before,
    p['after']                                         AS after
FROM (SELECT time, program, id, properties AS p FROM waymark.decisions WHERE event = 'audit_entry');

CREATE OR REPLACE VIEW waymark.audit_log
AS SELECT time, program, actor, role, action, subject, before, after, id
FROM waymark.audit_entries AS e
COMMENT 'Who changed what through the admin API';

-- What webhooks are told: that a referral came into a state, and each entry of a reward. Whoever was told of what is in the
-- audit log. The id has the time in it: if a late action moves that, it is told once more, as it turned out to be.
CREATE OR REPLACE VIEW waymark.webhook_changes
AS SELECT
    program, lower(hex(sipHash128(program, referrer, referee, step.1, step.2))) AS id, concat('referral.', step.1) AS event, assumeNotNull(step.2) AS time, position,
    referrer, referee, source, '' AS reward, '' AS party, toDecimal64(0, 6) AS amount
FROM waymark.referral_states AS s
ARRAY JOIN
    [('pending', toNullable(created_at)), ('accepted', accepted_at), ('rejected', rejected_at), ('converted', converted_at), ('paid', paid_at), ('expired', expired_at)] AS step,
    [1, 2, 3, 4, 5, 6]                                 AS position
WHERE step.2 IS NOT NULL
UNION ALL
SELECT
    program, concat(reward, '/', toString(n)), concat('reward.', state), time, toInt64(n) + 10,
    referrer, referee, '', reward, party, value
FROM waymark.reward_entries AS e
WHERE entry NOT IN ('payout', 'open', 'close')
COMMENT 'What webhooks are told: each state of each referral, and each entry of each reward';
