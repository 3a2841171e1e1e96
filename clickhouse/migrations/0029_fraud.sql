-- Fraud. What a referral (programme, referrer, referee) looks like is measured from the facts as they are now, and judged by
-- the rules that were in force when it began: fraud_signals, fraud_scores. What follows from it is a log: whenever the
-- result of a referral changes, a decision fraud_assessment says so, and what somebody decides is a
-- fraud_decision. The view fraud is the end of that log, since rewards must follow what was said, and not a query.
--
-- Anybody can send an unverified action with any user's name. So a referral of which something verified is known is
-- measured by that alone, and among such referrals alone; else anybody could make anybody look like a cheat.

-- A text as it is compared: one case, no runs of white space, and no more of it than a name has.
{{define "spelling"}}substringUTF8(lowerUTF8(trim(BOTH ' ' FROM replaceRegexpAll(toValidUTF8({{.}}), '\\s+', ' '))), 1, 64){{end}}

-- What the owner of an e-mail address chose of it: the local part without +tag and dots, which many providers ignore. Whose
-- local part names a role chose the domain.
{{define "mailbox"}}if({{.}} = '' OR splitByChar('@', {{.}})[1] IN ('info', 'contact', 'kontakt', 'office', 'mail', 'hello', 'hi', 'admin', 'sales', 'support', 'service', 'team', 'post', 'booking'),
        {{.}}, splitByChar('@', {{.}})[1]){{end}}

-- How alike the two texts of a pair are: 1 - d / n, with the Levenshtein distance d (V. I. Levenshtein, Soviet Physics
-- Doklady 10, 1966, 707-710) and the number n of characters of the longer one. 0 where either is unknown.
-- Jaro-Winkler was rejected: it gives 0.8 to every other pair of short names.
{{define "alike"}}arrayMax(arrayMap(pair -> if(pair.1 = '' OR pair.2 = '', 0.,
        1 - levenshteinDistanceUTF8(pair.1, pair.2) / greatest(lengthUTF8(pair.1), lengthUTF8(pair.2))), {{.}})){{end}}

-- Actions with what betrays their sender: the visitor, the address and the network of the click, else of the browser that
-- reported them, and the e-mail address and name that the customer sent along.
CREATE OR REPLACE VIEW waymark.fraud_actions
AS SELECT
    a.program                                          AS program,
    a.party                                            AS party,
    a.user_id                                          AS user_id,
    a.referrer                                         AS referrer,
    a.referrer_type                                    AS referrer_type,
    a.time                                             AS time,
    a.event                                            AS event,
    a.stage                                            AS stage,
    if(a.order_id != '', concat('o:', a.order_id), concat('i:', a.id)) AS action,
    bitAnd(a.reasons, 128) = 0                         AS verified,
    -- A click after its action did not bring it.
    if(toUnixTimestamp64Milli(a.click_time) != 0 AND a.click_time <= a.time, a.click_time, NULL) AS clicked_at,
    if(isNull(clicked_at), '', concat(toString(toUnixTimestamp64Milli(a.click_time)), '-', toString(a.click_node), '-', toString(a.click_sequence))) AS click,
    if(a.visitor_id != 0, a.visitor_id, h.visitor_id)  AS visitor,
    if(h.found, h.address_hash, p.address_hash)        AS address,
    toDate(if(h.found, a.click_time, a.time))          AS address_day,
    if(h.found, h.network, a.network)                  AS network,
    bitAnd(if(h.found, h.reasons, a.reasons), 16) != 0 AS datacenter,
    {{template "spelling" "p.email"}}                  AS email,
    {{template "spelling" "p.name"}}                   AS name
FROM waymark.actions AS a
LEFT ANY JOIN
(
    SELECT source, partition, offset, address_hash, properties['email'] AS email, properties['name'] AS name
    FROM waymark.events
    WHERE stage NOT IN ('clicked', 'invited') AND (address_hash != 0 OR mapContains(properties, 'email') OR mapContains(properties, 'name'))
) AS p ON p.source = a.source AND p.partition = a.partition AND p.offset = a.offset
LEFT ANY JOIN
(
    SELECT time, node, sequence, true AS found, visitor_id, address_hash, network, reasons
    FROM waymark.events
    WHERE stage = 'clicked'
        AND toDate(time) IN (SELECT toDate(click_time) FROM waymark.actions_by_party)
        AND (time, node, sequence) IN (SELECT click_time, click_node, click_sequence FROM waymark.actions_by_party)
) AS h ON h.time = a.click_time AND h.node = a.click_node AND h.sequence = a.click_sequence
WHERE a.stage != 'invited' AND a.event != 'refund'
COMMENT 'Actions with what betrays their sender: visitor, address and network of the click, e-mail and name';

-- Users by what betrays them, as verified actions have it.
CREATE OR REPLACE VIEW waymark.fraud_users
AS SELECT
    program, user,
    concat(replaceAll(splitByChar('+', splitByChar('@', first_email)[1])[1], '.', ''),
        if(position(first_email, '@') > 0, concat('@', splitByChar('@', first_email)[-1]), '')) AS email,
    {{template "mailbox" "email"}}                     AS mailbox,
    name, visitors
FROM
(
    SELECT
        program,
        party                                          AS user,
        argMinIf(a.email, (a.time, a.email), a.email != '') AS first_email,
        argMinIf(a.name, (a.time, a.name), a.name != '') AS name,
        groupUniqArrayIf(a.visitor, a.visitor != 0)    AS visitors
    FROM waymark.fraud_actions AS a
    WHERE a.user_id != '' AND a.verified
    GROUP BY a.program, a.party
) AS u
COMMENT 'Users with the e-mail address, name and visitors by which one is told to be another';

-- A row per referral. It begins with the signup, else with the first action by it.
CREATE OR REPLACE VIEW waymark.fraud_referrals
AS SELECT
    program,
    lower(hex(substring(SHA256(concat(toString(length(a.program)), ':', a.program, toString(length(a.referrer)), ':', a.referrer, a.party)), 1, 16))) AS id,
    a.referrer                                         AS referrer,
    argMin(a.referrer_type, (a.time, a.action))        AS referrer_type,
    a.party                                            AS referee,
    a.verified                                         AS verified,
    ifNull(minOrNullIf(a.time, a.stage = 'signed_up'), min(a.time)) AS referred_at,
    argMin((a.event, a.action), (a.stage != 'signed_up', a.time, a.action)) AS began,
    minOrNullIf(a.clicked_at, isNotNull(a.clicked_at)) AS clicked_at,
    argMinIf(a.click, (a.clicked_at, a.click), isNotNull(a.clicked_at)) AS click,
    minOrNullIf(a.time, a.stage = 'converted')         AS converted_at,
    argMinIf((a.event, a.action), (a.time, a.action), a.stage = 'converted') AS converted,
    groupUniqArrayIf(a.visitor, a.visitor != 0)        AS visitors,
    argMinIf((a.address_day, a.address), (a.time, a.action), a.address != 0) AS address,
    argMinIf(a.network, (a.time, a.action), a.network != 0) AS network,
    max(a.datacenter)                                  AS datacenter
FROM waymark.fraud_actions AS a
WHERE a.referrer != ''
GROUP BY a.program, a.referrer, a.party, a.verified
ORDER BY verified DESC
LIMIT 1 BY program, referrer, referee
COMMENT 'Who referred whom, with what the signals of fraud are measured by';

-- What is measured of each referral; NULL where it cannot be.
--
-- similarity compares a referee with the hundred before and the hundred after of the same referrer, and finds equal ones
-- anywhere: cheats come in a row, and all pairs of a referrer with 10,000 referees would be 50 million.
--
-- regularity is 1 - s / m, with mean m and standard deviation s of the gaps between the referrals of a referrer, from five
-- gaps on: of all of them, or of one day's, whichever is larger, since a machine may rest over night.
--
-- flooding and injection go by the times from click to action, which clicks that nobody made do not change in the way that
-- real ones do: who floods is credited with what would have happened anyway, at any time later; who injects a click knows
-- that the conversion is under way.
CREATE OR REPLACE VIEW waymark.fraud_measures
AS SELECT
    program, id, referrer, referrer_type, referee, verified, referred_at,
    toFloat64(referrals_of_day)                        AS velocity,
    if(comparable, if(mailbox != '' AND same_mailbox > 1 OR name != '' AND same_name > 1, 1., {{template "alike" "others"}}), NULL) AS similarity,
    if(address.2 != 0, toFloat64(referrals_of_address), NULL) AS address,
    if(gaps >= 5 OR day_gaps >= 5, greatest(
        if(gaps >= 5 AND gap_mean > 0, greatest(0., 1 - gap_deviation / gap_mean), 0.),
        if(day_gaps >= 5 AND day_gap_mean > 0, greatest(0., 1 - day_gap_deviation / day_gap_mean), 0.)), NULL) AS regularity,
    seconds / 60                                       AS speed,
    toFloat64(referee = referrer OR hasAny(visitors, referrer_visitors) OR email != '' AND email = referrer_email) AS self_referral,
    if(accounts > 0, toFloat64(accounts), NULL)        AS shared_device,
    if(network != 0, toFloat64(referrals_of_network), NULL) AS shared_network,
    toFloat64(datacenter)                              AS datacenter,
    if(lags >= 5, if(lag_median >= 86400, clicks / referrals, 0.), NULL) AS flooding,
    -- Where a programme converts in seconds, seconds are no evidence.
    if(injected_typical >= 5 AND seconds * 10 > typical_seconds, NULL, seconds) AS injection
FROM
(
    SELECT
        *,
        count() OVER days                              AS referrals_of_day,
        countIf(isNotNull(day_gap)) OVER days          AS day_gaps,
        avg(day_gap) OVER days                         AS day_gap_mean,
        stddevPop(day_gap) OVER days                   AS day_gap_deviation,
        count() OVER referrers                         AS referrals,
        countIf(isNotNull(gap)) OVER referrers         AS gaps,
        avg(gap) OVER referrers                        AS gap_mean,
        stddevPop(gap) OVER referrers                  AS gap_deviation,
        countIf(isNotNull(lag)) OVER referrers         AS lags,
        quantileExact(0.5)(lag) OVER referrers         AS lag_median,
        count() OVER (PARTITION BY program, referrer, verified, address) AS referrals_of_address,
        count() OVER (PARTITION BY program, referrer, verified, toDate(referred_at), network) AS referrals_of_network,
        count() OVER (PARTITION BY program, referrer, verified, mailbox) AS same_mailbox,
        count() OVER (PARTITION BY program, referrer, verified, name) AS same_name,
        groupArray((referee, mailbox, name)) OVER (PARTITION BY program, referrer, verified ORDER BY referred_at, referee ROWS BETWEEN 100 PRECEDING AND 100 FOLLOWING) AS neighbours,
        arrayConcat([(mailbox, referrer_mailbox), (name, referrer_name)],
            arrayFlatten(arrayMap(other -> [(mailbox, other.2), (name, other.3)], arrayFilter(other -> other.1 != referee, neighbours)))) AS others,
        countIf(isNotNull(first_median)) OVER programs AS injected_typical,
        quantileExact(0.5)(first_median) OVER programs AS typical_seconds
    FROM
    (
        SELECT
            *,
            -- Each referrer counts once among those that tell what is usual, however many referrals a cheat has.
            if(row_number() OVER (PARTITION BY program, referrer, verified ORDER BY referred_at, referee) = 1,
                quantileExactOrNull(0.5)(seconds) OVER (PARTITION BY program, referrer, verified), NULL) AS first_median
        FROM
        (
            SELECT
                r.program AS program, r.id AS id, r.referrer AS referrer, r.referrer_type AS referrer_type, r.referee AS referee, r.verified AS verified,
                r.referred_at AS referred_at, r.visitors AS visitors, r.address AS address, r.network AS network, r.datacenter AS datacenter,
                u.email AS email, u.mailbox AS mailbox, u.name AS name, u.mailbox != '' OR u.name != '' AS comparable,
                w.email AS referrer_email, w.mailbox AS referrer_mailbox, w.name AS referrer_name, w.visitors AS referrer_visitors,
                d.accounts AS accounts, c.clicks AS clicks,
                if(r.converted_at >= r.clicked_at, (toUnixTimestamp64Milli(r.converted_at) - toUnixTimestamp64Milli(r.clicked_at)) / 1000, NULL) AS seconds,
                if(r.referred_at >= r.clicked_at, (toUnixTimestamp64Milli(r.referred_at) - toUnixTimestamp64Milli(r.clicked_at)) / 1000, NULL) AS lag,
                toUnixTimestamp64Milli(r.referred_at) - lagInFrame(toNullable(toUnixTimestamp64Milli(r.referred_at)))
                    OVER (PARTITION BY r.program, r.referrer, r.verified ORDER BY r.referred_at, r.referee ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS gap,
                toUnixTimestamp64Milli(r.referred_at) - lagInFrame(toNullable(toUnixTimestamp64Milli(r.referred_at)))
                    OVER (PARTITION BY r.program, r.referrer, r.verified, toDate(r.referred_at) ORDER BY r.referred_at, r.referee ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS day_gap
            FROM waymark.fraud_referrals AS r
            LEFT JOIN waymark.fraud_users AS u ON u.program = r.program AND u.user = r.referee
            LEFT JOIN waymark.fraud_users AS w ON w.program = r.program AND w.user = r.referrer
            LEFT JOIN
            (
                SELECT program, user, max(users) AS accounts
                FROM
                (
                    SELECT program, user, count() OVER (PARTITION BY program, visitor) AS users
                    FROM waymark.fraud_users
                    ARRAY JOIN visitors AS visitor
                )
                GROUP BY program, user
            ) AS d ON d.program = r.program AND d.user = r.referee
            LEFT JOIN
            (
                SELECT program, referrer, sum(gross) AS clicks
                FROM waymark.link_clicks_monthly
                WHERE referrer != ''
                GROUP BY program, referrer
            ) AS c ON c.program = r.program AND c.referrer = r.referrer
        )
    )
    WINDOW
        days AS (PARTITION BY program, referrer, verified, toDate(referred_at)),
        referrers AS (PARTITION BY program, referrer, verified),
        programs AS (PARTITION BY program, verified)
) AS m
COMMENT 'The signals of fraud as they are measured of each referral, NULL where they cannot be';

-- By which rules a referral is judged: those of the version of its programme that was in force when it began. A programme of
-- which no version is known has the defaults, which a test holds equal to those of the program.
CREATE OR REPLACE VIEW waymark.fraud_rules
AS SELECT
    name                                               AS program,
    -- What happened before the first version follows the first.
    if(row_number() OVER (PARTITION BY name ORDER BY effective_from) = 1, toDateTime64(0, 3, 'UTC'), effective_from) AS since,
    version,
    JSONExtractFloat(document, 'fraud', 'medium')      AS medium,
    JSONExtractFloat(document, 'fraud', 'high')        AS high,
    arrayMap(risk -> JSONExtractString(document, 'fraud', 'actions', risk), ['low', 'medium', 'high']) AS actions,
    JSONExtract(document, 'fraud', 'signals', 'Map(String, Tuple(weight Float64, threshold Float64))') AS signals
FROM (SELECT name, effective_from, version, document FROM waymark.program_versions FINAL ORDER BY version DESC LIMIT 1 BY name, effective_from) AS v
COMMENT 'Versions of the rules about fraud, each with the time from which it is in force';

{{define "default_signals" -}}
map('velocity', (0.3, 10.), 'similarity', (0.25, 0.8), 'address', (0.2, 5.), 'regularity', (0.15, 0.9), 'speed', (0.1, 5.), 'self_referral', (1., 1.),
    'shared_device', (0.5, 2.), 'shared_network', (0.15, 10.), 'datacenter', (0.5, 1.), 'flooding', (0.5, 200.), 'injection', (0.5, 10.))
{{- end}}
-- A programme that pays nothing and says nothing of fraud has nothing to guard: its referrals are measured, see
-- fraud_scores, but no assessment is written down.
CREATE OR REPLACE VIEW waymark.fraud_watched
AS SELECT name AS program
FROM waymark.program_versions
WHERE JSONLength(document, 'rewards', 'rules') > 0 OR JSONLength(document, 'rewards', 'milestones') > 0
UNION DISTINCT
SELECT program
FROM waymark.fraud_rules AS r
WHERE medium != 0.4 OR high != 0.7 OR actions != ['approve', 'review', 'hold']
    OR toString(mapSort(signals)) != toString(mapSort({{template "default_signals"}}))
COMMENT 'Programmes whose referrals are assessed: those that pay, or that have rules of their own about fraud';

CREATE OR REPLACE VIEW waymark.fraud_signals
AS WITH {{template "default_signals"}} AS defaults
SELECT
    m.program                                          AS program,
    m.id                                               AS id,
    m.referrer                                         AS referrer,
    m.referrer_type                                    AS referrer_type,
    m.referee                                          AS referee,
    m.referred_at                                      AS referred_at,
    measured.1                                         AS signal,
    measured.2                                         AS value,
    (if(empty(r.signals), defaults, r.signals)[signal]).2 AS threshold,
    (if(empty(r.signals), defaults, r.signals)[signal]).1 AS weight,
    weight > 0 AND ifNull(multiIf(
        signal = 'velocity', value > threshold,
        signal IN ('speed', 'injection'), value < threshold,
        value >= threshold), false)                    AS triggered,
    r.version                                          AS version,
    if(empty(r.signals), 0.4, r.medium)                AS medium,
    if(empty(r.signals), 0.7, r.high)                  AS high,
    if(empty(r.signals), ['approve', 'review', 'hold'], r.actions) AS actions
FROM waymark.fraud_measures AS m
ASOF LEFT JOIN waymark.fraud_rules AS r ON r.program = m.program AND m.referred_at >= r.since
ARRAY JOIN
[
    ('velocity', toNullable(m.velocity)), ('similarity', m.similarity), ('address', m.address), ('regularity', m.regularity), ('speed', m.speed),
    ('self_referral', m.self_referral), ('shared_device', m.shared_device), ('shared_network', m.shared_network), ('datacenter', m.datacenter),
    ('flooding', m.flooding), ('injection', m.injection)
]                                                      AS measured
COMMENT 'Each signal of each referral: value (NULL where it cannot be measured), threshold, weight, and whether it is triggered, as the facts are now';

-- The score is rounded, since the risk is decided by whether it lies above a limit, and 0.3 + 0.25 + 0.15 is not 0.7.
CREATE OR REPLACE VIEW waymark.fraud_scores
AS SELECT
    program, id, any(s.referrer) AS referrer, any(s.referrer_type) AS referrer_type, any(s.referee) AS referee, any(s.referred_at) AS referred_at,
    least(1., round(sumIf(s.weight, s.triggered), 6))  AS score,
    multiIf(score > any(s.high), 'high', score > any(s.medium), 'medium', 'low') AS risk,
    any(s.actions)[indexOf(['low', 'medium', 'high'], risk)] AS action,
    arraySort(groupArrayIf(s.signal, s.triggered))     AS signals,
    arraySort(groupArrayIf((s.signal, round(assumeNotNull(s.value), 6), s.threshold, s.weight, s.triggered), isNotNull(s.value))) AS measured,
    any(s.version)                                     AS version
FROM waymark.fraud_signals AS s
GROUP BY s.program, s.id
COMMENT 'Score, risk and action of each referral as the facts are now; what was said of it is in view fraud';

-- Row by row, the events that the signals of one referral are measured by, whether they trigger it or not.
CREATE OR REPLACE VIEW waymark.fraud_evidence
AS SELECT
    found.1                                            AS signal,
    o.referred_at                                      AS time,
    o.referee                                          AS party,
    o.began.1                                          AS event,
    o.began.2                                          AS action,
    found.2                                            AS detail
FROM waymark.fraud_referrals AS t
INNER JOIN waymark.fraud_referrals AS o ON o.program = t.program AND o.referrer = t.referrer AND o.verified = t.verified
LEFT JOIN waymark.fraud_users AS u ON u.program = t.program AND u.user = t.referee
LEFT JOIN waymark.fraud_users AS v ON v.program = o.program AND v.user = o.referee
ARRAY JOIN arrayFilter(item -> item.1 != '',
[
    (if(toDate(o.referred_at) = toDate(t.referred_at), 'velocity', ''), ''),
    (if(o.address.2 != 0 AND o.address = t.address, 'address', ''), concat('address ', lower(hex(o.address.2)), ' of ', toString(o.address.1))),
    ('regularity', ''),
    (if(o.network != 0 AND o.network = t.network AND toDate(o.referred_at) = toDate(t.referred_at), 'shared_network', ''), concat('AS', toString(o.network))),
    (if(isNotNull(o.clicked_at), 'flooding', ''), concat(toString(round(dateDiff('second', o.clicked_at, o.referred_at) / 3600, 1)), ' hours after the click')),
    (if(o.referee != t.referee AND {{template "alike" "[(u.mailbox, v.mailbox), (u.name, v.name)]"}} >= 0.5, 'similarity', ''), concat(v.email, ' ', v.name))
])                                                     AS found
WHERE t.program = {program:String} AND t.referrer = {referrer:String} AND t.referee = {referee:String}
UNION ALL
SELECT
    found.1, found.2, t.referee, found.3, found.4, found.5
FROM waymark.fraud_referrals AS t
ARRAY JOIN arrayFilter(item -> item.4 != '',
[
    ('speed', t.clicked_at, 'click', t.click, ''),
    ('speed', t.converted_at, t.converted.1, t.converted.2, concat(toString(dateDiff('second', t.clicked_at, t.converted_at)), ' seconds after the click')),
    ('injection', t.clicked_at, 'click', t.click, ''),
    ('injection', t.converted_at, t.converted.1, t.converted.2, concat(toString(dateDiff('second', t.clicked_at, t.converted_at)), ' seconds after the click')),
    (if(t.datacenter, 'datacenter', 'none'), t.referred_at, t.began.1, t.began.2, '')
])                                                     AS found
WHERE t.program = {program:String} AND t.referrer = {referrer:String} AND t.referee = {referee:String} AND found.1 != 'none'
UNION ALL
-- The first action of each user by a device of the referee's.
SELECT
    found.1, a.time, a.party, a.event, a.action, found.2
FROM waymark.fraud_actions AS a
INNER JOIN waymark.fraud_referrals AS t ON t.program = a.program
LEFT JOIN waymark.fraud_users AS u ON u.program = t.program AND u.user = t.referee
LEFT JOIN waymark.fraud_users AS w ON w.program = t.program AND w.user = t.referrer
ARRAY JOIN arrayFilter(item -> item.1 != '',
[
    (if(has(t.visitors, a.visitor) OR has(u.visitors, a.visitor), 'shared_device', ''), concat('visitor ', lower(hex(a.visitor)))),
    (if(a.party = t.referrer AND (has(t.visitors, a.visitor) OR t.referrer = t.referee), 'self_referral', ''), concat('visitor ', lower(hex(a.visitor)))),
    (if(a.party = t.referrer AND a.email != '' AND u.email = w.email, 'self_referral', ''), a.email),
    (if(a.party = t.referrer AND {{template "alike" "[(u.mailbox, w.mailbox), (u.name, w.name)]"}} >= 0.5, 'similarity', ''), concat(w.email, ' ', w.name))
])                                                     AS found
WHERE t.program = {program:String} AND t.referrer = {referrer:String} AND t.referee = {referee:String} AND a.user_id != '' AND a.verified
ORDER BY a.time
LIMIT 1 BY found.1, found.2, a.party
COMMENT 'The events behind the signals of a referral: SELECT * FROM waymark.fraud_evidence(program = ''wedding'', referrer = ''s-17'', referee = ''c-4'')';

-- The log: assessments and decisions, each a chain of its own for every referral, numbered from 0.
CREATE TABLE IF NOT EXISTS waymark.fraud_entries
(
    program        LowCardinality(String)               CODEC(ZSTD(1)),
    referrer       String                               CODEC(ZSTD(1)),
    referee        String                               CODEC(ZSTD(1)),
    id             String                               COMMENT 'of the referral' CODEC(ZSTD(1)),
    entry          LowCardinality(String)               COMMENT 'assessment or decision' CODEC(ZSTD(1)),
    n              UInt32                               COMMENT 'place in the chain' CODEC(ZSTD(1)),
    time           DateTime64(3, 'UTC')                 COMMENT 'when it was made' CODEC(ZSTD(1)),
    referrer_type  LowCardinality(String)               CODEC(ZSTD(1)),
    referred_at    DateTime64(3, 'UTC')                 COMMENT 'when the referral began' CODEC(ZSTD(1)),
    score          Float64                              COMMENT 'of an assessment: the sum of the triggered weights' CODEC(ZSTD(1)),
    risk           LowCardinality(String)               COMMENT 'low, medium or high; empty for a referral that there is no more' CODEC(ZSTD(1)),
    action         LowCardinality(String)               COMMENT 'of an assessment: approve, review, hold or reject' CODEC(ZSTD(1)),
    signals        Array(LowCardinality(String))        COMMENT 'those that were triggered' CODEC(ZSTD(1)),
    measured       Array(Tuple(signal String, value Float64, threshold Float64, weight Float64, triggered Bool))
                                                        COMMENT 'all that could be measured then' CODEC(ZSTD(1)),
    version        UInt64                               COMMENT 'of the programme' CODEC(ZSTD(1)),
    decision       LowCardinality(String)               COMMENT 'of a decision: approve, reject, or withdraw for none any more' CODEC(ZSTD(1)),
    actor          LowCardinality(String)               COMMENT 'system, or the id of a key' CODEC(ZSTD(1)),
    reason         String                               CODEC(ZSTD(1)),

    INDEX ids id TYPE bloom_filter GRANULARITY 1
)
ENGINE = {{engine "MergeTree"}}
ORDER BY (program, referrer, referee, entry, n)
SETTINGS {{window}}, index_granularity = 1024
COMMENT 'The log of fraud, an assessment or decision a row';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.fraud_entries_view TO waymark.fraud_entries AS
SELECT
    program,
    p['referrer']                                      AS referrer,
    user_id                                            AS referee,
    p['referral']                                      AS id,
    if(event = 'fraud_decision', 'decision', 'assessment') AS entry,
    toUInt32OrZero(p['n'])                             AS n,
    time,
    p['referrer_type']                                 AS referrer_type,
    parseDateTime64BestEffortOrZero(p['referred_at'], 3, 'UTC') AS referred_at,
    round(toFloat64OrZero(p['score']), 6)              AS score, -- parsing alone may be off in the last bit
    p['risk']                                          AS risk,
    p['action']                                        AS action,
    arrayMap(s -> s.1, arrayFilter(s -> s.5, measured)) AS signals,
    arraySort(arrayMap(
        (name, text) -> (substring(name, 8), JSONExtractFloat(text, 'value'), JSONExtractFloat(text, 'threshold'), JSONExtractFloat(text, 'weight'), JSONExtractBool(text, 'triggered')),
        arrayFilter(name -> startsWith(name, 'signal.'), mapKeys(p)),
        arrayFilter((text, name) -> startsWith(name, 'signal.'), mapValues(p), mapKeys(p)))) AS measured,
    toUInt64OrZero(p['version'])                       AS version,
    p['decision']                                      AS decision,
    p['actor']                                         AS actor,
    p['reason']                                        AS reason
FROM (SELECT program, user_id, event, time, properties AS p FROM waymark.decisions WHERE event IN ('fraud_assessment', 'fraud_decision'));

CREATE OR REPLACE VIEW waymark.fraud_log
AS SELECT program, id, referrer, referee, entry, n, time, score, risk, action, signals, decision, actor, reason, version
FROM waymark.fraud_entries AS e
COMMENT 'Every assessment and every decision, append-only';

-- What was said last of each referral. A decision stands until another one, whatever is assessed later.
CREATE OR REPLACE VIEW waymark.fraud
AS SELECT
    program, id, referrer, referrer_type, referee, referred_at, score, risk,
    multiIf(decision = 'approve', 'approve', decision = 'reject', 'reject', assessed) AS action,
    assessed, decision, decider, decision_reason, signals, assessed_at, decided_at, version, assessments, decisions
FROM
(
    SELECT
        program, e.referrer AS referrer, e.referee AS referee, any(e.id) AS id,
        argMaxIf(e.referrer_type, e.n, e.entry = 'assessment') AS referrer_type,
        argMaxIf(e.referred_at, e.n, e.entry = 'assessment') AS referred_at,
        argMaxIf(e.score, e.n, e.entry = 'assessment') AS score,
        argMaxIf(e.risk, e.n, e.entry = 'assessment')  AS risk,
        argMaxIf(e.action, e.n, e.entry = 'assessment') AS assessed,
        argMaxIf(e.signals, e.n, e.entry = 'assessment') AS signals,
        argMaxIf(e.version, e.n, e.entry = 'assessment') AS version,
        argMaxIf(e.time, e.n, e.entry = 'assessment')  AS assessed_at,
        countIf(e.entry = 'assessment')                AS assessments,
        argMaxIf(e.decision, e.n, e.entry = 'decision') AS last_decision,
        countIf(e.entry = 'decision')                  AS decisions,
        if(last_decision = 'withdraw', '', last_decision) AS decision,
        if(decision = '', '', argMaxIf(e.actor, e.n, e.entry = 'decision')) AS decider,
        if(decision = '', '', argMaxIf(e.reason, e.n, e.entry = 'decision')) AS decision_reason,
        if(decision = '', NULL, argMaxIf(e.time, e.n, e.entry = 'decision')) AS decided_at
    FROM waymark.fraud_entries AS e
    GROUP BY e.program, e.referrer, e.referee
) AS r
WHERE risk != ''
COMMENT 'Each referral with what was last said of it: score, risk, action (a decision, else what was assessed), the signals that were triggered';
