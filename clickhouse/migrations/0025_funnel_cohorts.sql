-- The cohort funnel: of those who entered in a period (from <= time < to), how many reached the stages after it in order.
-- `stages` lists them with commas, '' is clicked,signed_up,activated,converted,retained; the first is the entry, and each is
-- reached after the one before it in the list, or in the same millisecond, at most the programme's attribution window after
-- the entry. Who enters more than once counts once, with the entry that led furthest.
--
-- Who is counted depends on the entry:
--
-- clicked     People: parties with all their browsers, and each browser that no action ties to a party. As in paths_between, a
--             party's browsers are the visitors that its actions in the programme name and those of the clicks that they
--             name. Looked at are the parties that reached one of the stages between from and the window after to, with
--             all that they ever did in the programme. On a browser that two parties share, both clicked. `hits` says which clicks count.
-- signed_up   (or a later stage) Parties.
-- invited     Invitations, since nobody knows who got one. A click belongs to the last invitation with its link, not
--             longer before it than the window; an invitation gets as far as the one that came furthest of those who
--             clicked so. One without a link leads nowhere.
--
-- With `by` (channel, campaign, link, referrer, …; '' for none) each key has the funnel of the entries that it brought, so
-- the same person may be in several.
{{define "acts" -}}
stage IN ('signed_up', 'activated', 'converted', 'retained') AND has(stages, stage)
AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} + toIntervalDay(days_max)
{{- end}}
{{define "acting" -}}
SELECT party
FROM waymark.events
WHERE {{template "acts"}} AND ({program:String} = '' OR program IN ('', {program:String}))
{{- end}}
CREATE OR REPLACE VIEW waymark.funnel_cohort_between
AS WITH
    splitByChar(',', if({stages:String} = '', 'clicked,signed_up,activated,converted,retained', {stages:String})) AS stages,
    stages[1]                                          AS entry,
    -- Of an invitation, a click is what is known next.
    if(entry = 'invited' AND stages[2] = 'clicked', 2, 1) AS stages_known,
    arraySlice(stages, stages_known + 1)               AS stages_left,
    (SELECT greatest(30, max(attribution_window_days)) FROM waymark.programs) AS days_max,
    tied AS
    (
        SELECT program, who, tie.2 AS visitor_id, tie.3 AS click_time, tie.4 AS click_node, tie.5 AS click_sequence
        FROM
        (
            SELECT
                if(a.program = '', h.home, a.program)  AS program,
                cityHash64(a.party)                    AS who,
                max(a.verified)                        AS vouched,
                groupUniqArrayIf((a.verified, a.visitor_id, a.click_time, a.click_node, a.click_sequence),
                    a.visitor_id != 0 OR toUnixTimestamp64Milli(a.click_time) != 0) AS ties
            FROM
            (
                SELECT
                    program, party, user_id, visitor_id, click_time, click_node, click_sequence, bitAnd(reasons, 128) = 0 AS verified,
                    {{template "acts"}} AS acts
                FROM waymark.actions_by_party
                WHERE stage != 'invited' AND party IN ({{template "acting"}})
            ) AS a
            LEFT JOIN (SELECT party, home FROM waymark.homes WHERE party IN ({{template "acting"}})) AS h ON h.party = a.user_id
            GROUP BY program, who
            HAVING max(a.acts)
        )
        ARRAY JOIN arrayFilter(t -> t.1 = vouched, ties) AS tie
        WHERE entry IN ('invited', 'clicked')
    ),
    browsers AS
    (
        SELECT DISTINCT t.program AS program, t.who AS who, arrayJoin([t.visitor_id, h.visitor]) AS visitor
        FROM
        (
            SELECT time, node, sequence, if(visitor_id != 0, visitor_id, cityHash64(time, node, sequence)) AS visitor
            FROM waymark.events
            WHERE stage = 'clicked' AND entry IN ('invited', 'clicked')
                -- The day is part of the sort key; the join decides.
                AND toDate(time) IN (SELECT toDate(click_time) FROM waymark.actions_by_party WHERE party IN ({{template "acting"}}))
        ) AS h
        RIGHT JOIN tied AS t ON h.time = t.click_time AND h.node = t.click_node AND h.sequence = t.click_sequence
    ),
    invitations AS
    (
        SELECT
            if(e.program = '', h.home, e.program)      AS program,
            toUnixTimestamp64Milli(e.time)             AS at,
            e.link_key                                 AS link_key,
            e.campaign                                 AS campaign,
            e.channel                                  AS channel,
            if(e.referrer_id = '', e.user_id, e.referrer_id) AS referrer,
            e.referrer_type                            AS referrer_type,
            e.referee_type                             AS referee_type,
            {{template "key"}}                         AS key,
            cityHash64(e.event, e.id)                  AS unit
        FROM
        (
            SELECT time, program, event, id, user_id, link, link_key, campaign, channel, referrer_id, referrer_type, referee_type
            FROM waymark.events
            WHERE stage = 'invited' AND entry = 'invited' AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} + toIntervalDay(days_max)
        ) AS e
        LEFT JOIN waymark.homes AS h ON h.party = e.user_id
    ),
    hits AS
    (
        SELECT program, link_key, visitor, toUnixTimestamp64Milli(time) AS at, {{template "key"}} AS key
        FROM waymark.hits
        WHERE multiIf({hits:String} = 'unique', unique, {hits:String} = 'gross', gross, valid) AND entry IN ('invited', 'clicked')
            AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} + toIntervalDay(if(entry = 'invited', days_max, 0))
            AND ({program:String} = '' OR program = {program:String})
    ),
    -- An entry a row, but for invitations: those without a click, and those of each click. `at` is when the last of the
    -- stages_known was reached, `who` is 0 where nobody is known.
    entries AS
    (
        SELECT
            h.program AS program, if(entry = 'invited', i.key, h.key) AS key, b.who AS who,
            multiIf(entry = 'invited', i.unit, b.who != 0, b.who, h.visitor) AS unit,
            if(entry = 'invited', i.at, h.at) AS entered_at, h.at AS at, stages_known AS known
        FROM hits AS h
        ASOF LEFT JOIN
        (
            SELECT n.program AS program, n.link_key AS link_key, n.at AS at, max(n.unit) AS unit, argMax(n.key, n.unit) AS key
            FROM invitations AS n
            WHERE n.link_key != ''
            GROUP BY n.program, n.link_key, n.at
        ) AS i ON i.program = h.program AND i.link_key = h.link_key AND i.at <= h.at
        LEFT JOIN browsers AS b ON b.program = h.program AND b.visitor = h.visitor
        WHERE entry = 'clicked' OR i.unit != 0
        UNION ALL
        SELECT program, key, 0, unit, at, at, 1
        FROM invitations
        UNION ALL
        SELECT program, {{template "key"}}, who, who, toUnixTimestamp64Milli(time) AS at, at, 1
        FROM waymark.resolved
        WHERE stage = entry AND entry != 'invited' AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
    ),
    steps AS
    (
        SELECT program, who, arraySort(groupArray((toUnixTimestamp64Milli(time), toString(stage)))) AS taken
        FROM waymark.resolved
        WHERE {{template "acts"}}
        GROUP BY program, who
    ),
    -- How far each entry led: the time of each stage that follows in order, until one is missing.
    chains AS
    (
        SELECT
            e.program AS program, e.key AS key, e.unit AS unit,
            e.entered_at + 86400000 * if(w.name = '', 30, w.days) AS closed_at,
            multiIf(
                e.at > closed_at, 1,
                empty(s.taken), e.known,
                e.known + arrayCount(t -> t != 0, arrayPopFront(arrayFold(
                    (times, stage) -> arrayPushBack(times, if(times[-1] = 0, 0,
                        tupleElement(arrayFirst(step -> step.2 = stage AND step.1 >= times[-1] AND step.1 <= closed_at, s.taken), 1))),
                    stages_left, [e.at])))) AS reached
        FROM entries AS e
        LEFT JOIN (SELECT name, argMax(attribution_window_days, version) AS days FROM waymark.programs GROUP BY name) AS w ON w.name = e.program
        LEFT JOIN steps AS s ON s.program = e.program AND s.who = e.who
        WHERE e.entered_at >= toUnixTimestamp64Milli({from:DateTime64(3, 'UTC')}) AND e.entered_at < toUnixTimestamp64Milli({to:DateTime64(3, 'UTC')})
            AND ({program:String} = '' OR e.program = {program:String})
    )
SELECT
    program,
    key,
    stages[position]                                   AS stage,
    position,
    counts[position]                                   AS count,
    if(position > 1, count / nullIf(counts[position - 1], 0), NULL) AS step_rate,
    count / nullIf(counts[1], 0)                       AS overall_rate
FROM
(
    SELECT program, key, sumForEach(arrayMap(i -> toUInt64(reached >= i), arrayEnumerate(stages))) AS counts
    FROM (SELECT program, key, unit, max(c.reached) AS reached FROM chains AS c GROUP BY program, key, unit)
    GROUP BY program, key
)
ARRAY JOIN arrayEnumerate(counts) AS position
ORDER BY program, key, position
COMMENT 'Cohort funnel of those who entered in a period: SELECT * FROM waymark.funnel_cohort_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = ''channel'', stages = ''clicked,signed_up,converted'', hits = ''valid'')';
