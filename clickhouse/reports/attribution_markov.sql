-- The Markov chain of all journeys, as counts of its steps: `kind` is start (at the key `target`), step (from `source` to
-- `target`), converted or lost (after `source`), or direct for the conversions without a touch.
--
-- A journey that did not convert is the hits of one visitor in the period and in one programme, unless the visitor
-- belongs to a conversion of the period. Where hits are too many to group by visitor, these journeys are those of the
-- sample, and each counts for as many visitors as one of it stands for; conversions are all there in any case.
--
-- Paths are named once, with a row for each path and a row for each of its visitors, which marks the visitor as taken:
-- read a second time, to leave out their visitors, they would take as long again.
SELECT
    step.1                                             AS kind,
    step.2                                             AS source,
    step.3                                             AS target,
    sum(weight)                                        AS journeys,
    sum(if(kind IN ('converted', 'direct'), j.value, 0)) AS value,
    (SELECT final_until FROM waymark.arrivals)         AS final_until
FROM
(
    SELECT
        any(g.value)                                   AS value,
        if(whole, 1, {scale:UInt64})                   AS weight,
        if(whole, any(path), arrayMap(touch -> touch.4, arraySort(groupArrayIf(touch, NOT taken)))) AS keys,
        multiIf(NOT whole, 'lost', empty(keys), 'direct', 'converted') AS end
    FROM
    (
        SELECT
            program, row.1 AS visitor, row.2 AS whole, NOT whole AS taken, value, if(whole, keys, []) AS path,
            (toDateTime64(0, 3, 'UTC'), toUInt16(0), toUInt16(0), '') AS touch
        FROM
        (
            SELECT
                program, party, value, visitors,
                multiIf(
                    {breakdown:String} = 'link',          touches.link,
                    {breakdown:String} = 'campaign',      touches.campaign,
                    {breakdown:String} = 'channel',       touches.channel,
                    {breakdown:String} = 'referrer',      touches.referrer,
                    {breakdown:String} = 'referrer_type', touches.referrer_type,
                    {breakdown:String} = 'referee_type',  touches.referee_type,
                                                          arrayMap(t -> toString(program), touches)) AS keys
            FROM waymark.paths_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {breakdown:String}, hits = {hits:String}) AS p
        )
        ARRAY JOIN arrayPushFront(arrayMap(v -> (v, false), visitors), (cityHash64(party), true)) AS row
        UNION ALL
        SELECT program, visitor, false, false, 0, [], (time, node, sequence, toString({by:Identifier}))
        FROM waymark.{visitors:Identifier}
        WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AND bucket < {buckets:UInt8}
            AND ({program:String} = '' OR program = {program:String}) AND {hits:Identifier}
    ) AS g
    GROUP BY program, visitor, whole
    HAVING whole OR NOT max(taken)
) AS j
ARRAY JOIN if(empty(keys), [(end, '', '')], arrayConcat(
    [('start', '', keys[1])],
    arrayMap((source, target) -> ('step', source, target), arrayPopBack(keys), arrayPopFront(keys)),
    [(end, keys[-1], '')])) AS step
GROUP BY kind, source, target
ORDER BY kind, source, target
LIMIT {steps_max:UInt64}
SETTINGS max_bytes_before_external_group_by = 500000000
