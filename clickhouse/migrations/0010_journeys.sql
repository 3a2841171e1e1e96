-- The home of a user: the programme of the earliest signup that named one. Actions that named only the user belong to it.
-- A programme of which only the visitor's browser has told comes last: a rank of 4 and more says that, see referrals.
CREATE OR REPLACE VIEW waymark.homes
AS SELECT
    party                                              AS party,
    argMin(program, (unverified, signed_up_at, program)) AS home
FROM
(
    -- The smallest credit has the smallest rank, and a number is merged at less cost than a tuple.
    SELECT r.party AS party, r.program AS program, min(tupleElement(r.credit, 1)) >= 4 AS unverified, min(r.signed_up_at) AS signed_up_at
    FROM waymark.referrals AS r
    WHERE r.program != ''
    GROUP BY r.party, r.program
)
WHERE signed_up_at IS NOT NULL
GROUP BY party
COMMENT 'The programme of each user: that of the earliest signup';

-- One row per party and programme, with what was reported under the user alone folded into the user's home. This is
-- the referral graph, too: an edge from `referrer` to `party` a row.
{{define "journeys" -}}
SELECT
    program,
    party,
    credit.link                                        AS link,
    credit.link_key                                    AS link_key,
    credit.campaign                                    AS campaign,
    credit.channel                                     AS channel,
    credit.referrer                                    AS referrer,
    credit.referrer_type                               AS referrer_type,
    credit.referee_type                                AS referee_type,
    -- A click before the attribution window is kept with its action, which then has no link: it brought nobody. An imported
    -- one may have no link either, but then its campaign or channel.
    if(credit.link = 0 AND credit.campaign = '' AND credit.channel = '', NULL, nullIf(credit.click_time, toDateTime64(0, 3, 'UTC'))) AS clicked_at,
    credit.click_node                                  AS click_node,
    credit.click_sequence                              AS click_sequence,
    signed_up_at,
    activated_at,
    converted_at,
    retained_at,
    orders,
    value,
    refunds,
    ''                                                 AS total
FROM
(
    SELECT
        if(r.program = '', h.home, r.program)          AS program,
        r.party                                        AS party,
        min(r.credit)                                  AS credit,
        min(r.signed_up_at)                            AS signed_up_at,
        min(r.activated_at)                            AS activated_at,
        min(r.converted_at)                            AS converted_at,
        min(r.retained_at)                             AS retained_at,
        sum(r.orders)                                  AS orders,
        sum(r.value)                                   AS value,
        sum(r.refunds)                                 AS refunds
    FROM (SELECT * FROM waymark.referrals {{.}}) AS r
    LEFT JOIN (SELECT * FROM waymark.homes {{.}}) AS h ON h.party = r.party
    GROUP BY if(r.program = '', h.home, r.program), r.party
) AS edges
{{- end}}
CREATE OR REPLACE VIEW waymark.journeys
AS {{template "journeys" ""}}
COMMENT 'One row per party and programme: who is credited, when each stage was first reached, orders and their value';
