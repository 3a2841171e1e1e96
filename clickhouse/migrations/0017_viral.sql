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
CREATE OR REPLACE VIEW waymark.viral_between
AS WITH
    signups AS
    (
        SELECT
            program, key, referrer_type, referee_type, party,
            tupleElement(earliest, 1)                  AS signed_up_at,
            tupleElement(earliest, 2)                  AS moment,
            tupleElement(earliest, 3)                  AS link
        FROM
        (
            SELECT
                program, if({by:String} = 'campaign', campaign, '') AS key, referrer_type, referee_type, party,
                min((time, if(toUnixTimestamp64Milli(click_time) = 0, time, least(click_time, time)), a.link)) AS earliest
            FROM waymark.actions AS a
            WHERE stage = 'signed_up' AND (a.link != 0 OR referrer != '')
                AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
            GROUP BY program, key, referrer_type, referee_type, party
        )
    ),
    cycles AS
    (
        SELECT
            s.program AS program, s.key AS key, s.referrer_type AS referrer_type, s.referee_type AS referee_type,
            avg(dateDiff('millisecond', i.time, s.signed_up_at)) / 3600000 AS cycle
        FROM signups AS s
        ASOF INNER JOIN
        (
            SELECT link, time
            FROM waymark.events
            WHERE stage = 'invited' AND link != 0
        ) AS i ON i.link = s.link AND s.moment >= i.time
        GROUP BY program, key, referrer_type, referee_type
    ),
    counts AS
    (
        SELECT
            program, if({by:String} = 'campaign', campaign, '') AS key, referrer_type, referee_type,
            count() AS invitations, uniqExactIf(referrer, referrer != '') AS referrers, 0 AS signups
        FROM waymark.actions
        WHERE stage = 'invited'
            AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
        GROUP BY program, key, referrer_type, referee_type
        UNION ALL
        SELECT program, key, referrer_type, referee_type, 0, 0, count()
        FROM signups
        GROUP BY program, key, referrer_type, referee_type
    ),
    flows AS
    (
        SELECT
            f.program AS program, f.key AS key, f.referrer_type AS referrer_type, f.referee_type AS referee_type,
            f.invitations AS invitations, f.referrers AS referrers, f.signups AS signups,
            invitations / nullIf(referrers, 0)         AS per_referrer,
            signups / nullIf(invitations, 0)           AS per_invitation,
            per_referrer * per_invitation              AS k,
            if(t.found, t.cycle, NULL)                 AS cycle
        FROM
        (
            SELECT program, key, referrer_type, referee_type, sum(c.invitations) AS invitations, sum(c.referrers) AS referrers, sum(c.signups) AS signups
            FROM counts AS c
            GROUP BY program, key, referrer_type, referee_type
        ) AS f
        LEFT JOIN (SELECT *, true AS found FROM cycles) AS t
            ON t.program = f.program AND t.key = f.key AND t.referrer_type = f.referrer_type AND t.referee_type = f.referee_type
    ),
    windows AS
    (
        SELECT name, argMax(attribution_window_days, version) AS days FROM waymark.programs GROUP BY name
    ),
    cohorts AS
    (
        SELECT
            m.program                                  AS program,
            if({by:String} = 'campaign', m.campaign, '') AS key,
            count()                                    AS members,
            sum(length(arrayFilter(at -> at >= m.signed_up_at AND at < m.signed_up_at + toIntervalDay(if(w.name = '', 30, w.days)), r.times))) AS referees
        FROM waymark.journeys AS m
        LEFT JOIN
        (
            SELECT program, referrer, groupArray(assumeNotNull(signed_up_at)) AS times
            FROM waymark.journeys
            WHERE signed_up_at IS NOT NULL AND referrer NOT IN ('', party)
            GROUP BY program, referrer
        ) AS r ON r.program = m.program AND r.referrer = m.party
        LEFT JOIN windows AS w ON w.name = m.program
        WHERE m.signed_up_at >= {from:DateTime64(3, 'UTC')} AND m.signed_up_at < {to:DateTime64(3, 'UTC')}
        GROUP BY program, key
    ),
    loops AS
    (
        SELECT program, key, 'one-sided' AS kind, referrer_type, referee_type, invitations, referrers, signups, per_referrer, per_invitation, k, cycle
        FROM flows
        UNION ALL
        SELECT
            f1.program, f1.key, 'two-sided', f1.referrer_type, f1.referee_type,
            f1.invitations + f2.invitations, f1.referrers + f2.referrers, f1.signups + f2.signups,
            NULL, NULL, f1.k * f2.k, f1.cycle + f2.cycle
        FROM flows AS f1
        INNER JOIN flows AS f2 ON f2.program = f1.program AND f2.key = f1.key AND f2.referrer_type = f1.referee_type AND f2.referee_type = f1.referrer_type
        WHERE f1.referrer_type < f1.referee_type
        UNION ALL
        SELECT program, key, 'realised', '', '', 0, members, referees, NULL, NULL, referees / members, NULL
        FROM cohorts
    )
SELECT
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
FROM loops AS l
ORDER BY program, key, kind, referrer_type, referee_type
COMMENT 'Viral coefficients of a period: SELECT * FROM waymark.viral_between(from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = '''')';

CREATE OR REPLACE VIEW waymark.viral
AS SELECT * EXCEPT key
FROM waymark.viral_between(from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '') AS v
COMMENT 'Viral coefficients of each programme over all time: one-sided and two-sided K, realised K, cycle and doubling time in hours';
