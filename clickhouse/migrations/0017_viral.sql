-- The viral loop, three ways, over what happened in a period (from <= time < to):
--
-- one-sided   a flow referrer_type → referee_type: i = invitations per active referrer (one with an invitation in the
--             period), c = signups per invitation, K = i · c. Its cycle is the mean time from the latest invitation on
--             the same link, at or before the click of the signup (the signup itself where no click came before it), to the
--             signup; signups without such an invitation are left out of it.
-- two-sided   two opposite flows: K = (i₁ · c₁) · (i₂ · c₂), cycle = t₁ + t₂.
-- realised    the cohort of those who signed up in the period: referees who signed up within the programme's
--             attribution window after the member that referred them, per member.
--
-- With by = 'campaign', each campaign is a loop of its own, named by `key`; with by = '' the key is empty.
--
-- Doubling time = cycle · ln 2 / ln K, for K > 1.
--
-- Each of `resolved` and `resolved_journeys` is named once: a view is planned anew wherever a query names it, and so is
-- a CTE, which made up most of the time of an answer. What would be a join of flows, or of journeys, with themselves is a
-- GROUP BY in which every row takes each of its parts.

-- The flows of the period, with what the interval of their K needs: `squares` is the sum of the squares of the
-- invitations of each active referrer. A signup counts once per party and flow, at the earliest, which with its moment (of
-- the click) and link is one number of 48, 48 and 32 bits: the least of tuples took twice as long to find.
{{define "viral_flows" -}}
SELECT
    program, key, referrer_type, referee_type,
    sumIf(p.actions, stage = 'invited')                AS invitations,
    countIf(stage = 'invited' AND named)               AS referrers,
    countIf(stage = 'signed_up')                       AS signups,
    sumIf(p.actions, named)                            AS named_invitations,
    sumIf(p.actions * p.actions, named)                AS squares,
    avgOrNullIf(toInt64(bitShiftRight(p.earliest, 80)) - i.moment, i.link != 0) / 3600000 AS cycle
FROM
(
    SELECT
        stage, program, if({by:String} = 'campaign', campaign, '') AS key, referrer_type, referee_type,
        if(stage = 'signed_up', who, cityHash64(referrer)) AS party,
        stage = 'invited' AND referrer != ''           AS named,
        count()                                        AS actions,
        min(bitShiftLeft(toUInt128(toUnixTimestamp64Milli(time)), 80)
            + bitShiftLeft(toUInt128(toUnixTimestamp64Milli(if(toUnixTimestamp64Milli(click_time) = 0, time, least(click_time, time)))), 32)
            + if(stage = 'signed_up', r.link, 0))      AS earliest,
        toInt64(bitAnd(bitShiftRight(earliest, 32), 281474976710655)) AS moment,
        toUInt32(bitAnd(earliest, 4294967295))         AS link
    FROM waymark.resolved AS r
    WHERE stage IN ('invited', 'signed_up') AND (stage = 'invited' OR r.link != 0 OR referrer != '')
        AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
    GROUP BY stage, program, key, referrer_type, referee_type, party, named
) AS p
ASOF LEFT JOIN
(
    SELECT link, toUnixTimestamp64Milli(time) AS moment
    FROM waymark.events
    WHERE stage = 'invited' AND link != 0
) AS i ON i.link = p.link AND p.moment >= i.moment
GROUP BY program, key, referrer_type, referee_type
{{- end}}

-- The parties that signed up in the period, each with how many it referred that signed up within the programme's
-- attribution window after it.
{{define "viral_members" -}}
SELECT
    program, key, signed_up_at, if(w.found, w.days, 30) AS window_days,
    arrayCount(at -> at >= signed_up_at AND at < signed_up_at + toIntervalDay(window_days), times) AS referees
FROM
(
    SELECT
        program, place.1 AS node,
        anyIf(at, place.2)                             AS signed_up_at,
        anyIf(j.key, place.2)                          AS key,
        groupArrayIf(at, NOT place.2)                  AS times
    FROM
    (
        SELECT
            program, assumeNotNull(signed_up_at) AS at, if({by:String} = 'campaign', campaign, '') AS key,
            if(referrer IN ('', party), [(cityHash64(party), true)], [(cityHash64(party), true), (cityHash64(referrer), false)]) AS places
        FROM waymark.resolved_journeys
        WHERE signed_up_at >= {from:DateTime64(3, 'UTC')}
    ) AS j
    ARRAY JOIN places AS place
    GROUP BY program, node
    HAVING countIf(place.2) > 0 AND signed_up_at < {to:DateTime64(3, 'UTC')}
) AS m
LEFT JOIN
(
    SELECT name, true AS found, argMax(attribution_window_days, version) AS days
    FROM waymark.programs
    GROUP BY name
) AS w ON w.name = m.program
{{- end}}

-- The loops that a flow takes part in: its own and, between two types, one of which it is half.
{{define "viral_loops" -}}
arrayFilter(l -> l.2 != l.3 OR l.1 = 'one-sided', [
        ('one-sided', toString(f.referrer_type), toString(f.referee_type)),
        ('two-sided', least(toString(f.referrer_type), toString(f.referee_type)), greatest(toString(f.referrer_type), toString(f.referee_type)))])
{{- end}}

CREATE OR REPLACE VIEW waymark.viral_between
AS SELECT
    program,
    key,
    kind,
    referrer_type,
    referee_type,
    invitations,
    referrers,
    signups,
    per_referrer                                       AS invitations_per_referrer,
    per_invitation                                     AS signups_per_invitation,
    k,
    cycle                                              AS cycle_hours,
    multiIf(k > 1, 'viral growth', k > 0.7, 'near viral', k IS NOT NULL, 'sub-viral', '') AS status,
    if(k > 1, cycle * ln(2) / ln(k), NULL)             AS doubling_hours
FROM
(
    SELECT
        program, key, loop.1 AS kind, loop.2 AS referrer_type, loop.3 AS referee_type,
        sum(f.invitations)                             AS invitations,
        sum(f.referrers)                               AS referrers,
        sum(f.signups)                                 AS signups,
        if(kind = 'one-sided', invitations / nullIf(referrers, 0), NULL) AS per_referrer,
        if(kind = 'one-sided', signups / nullIf(invitations, 0), NULL)   AS per_invitation,
        groupArray((f.invitations / nullIf(f.referrers, 0)) * (f.signups / nullIf(f.invitations, 0))) AS ks,
        if(length(ks) = count(), arrayProduct(ks), NULL) AS k,
        if(count(f.cycle) = count(), sum(f.cycle), NULL) AS cycle
    FROM ({{template "viral_flows"}}) AS f
    ARRAY JOIN {{template "viral_loops"}} AS loop
    GROUP BY program, key, loop
    HAVING kind = 'one-sided' OR count() = 2
    UNION ALL
    SELECT program, key, 'realised', '', '', 0, count(), sum(c.referees), NULL, NULL, [], sum(c.referees) / count(), NULL
    FROM ({{template "viral_members"}}) AS c
    GROUP BY program, key
) AS l
ORDER BY program, key, kind, referrer_type, referee_type
COMMENT 'Viral coefficients of a period: SELECT * FROM waymark.viral_between(from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = '''')';

CREATE OR REPLACE VIEW waymark.viral
AS SELECT * EXCEPT key
FROM waymark.viral_between(from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '') AS v
COMMENT 'Viral coefficients of each programme over all time: one-sided and two-sided K, realised K, cycle and doubling time in hours';
