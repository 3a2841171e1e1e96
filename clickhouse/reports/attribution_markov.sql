-- The Markov chain of all journeys, as counts of its steps: `kind` is start (at the key `target`), step (from `source` to
-- `target`), converted or lost (after `source`), or direct for the conversions without a touch.
--
-- A journey that did not convert is the hits of one visitor in the period and in one programme, unless the visitor
-- belongs to a conversion of the period. Visitors are grouped on disk where they do not fit: they may be as many as hits.
WITH
    paths AS
    (
        SELECT program, value, visitors, touches
        FROM waymark.paths_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {breakdown:String}, hits = {hits:String}) AS p
    ),
    journeys AS
    (
        SELECT
            if(empty(touches), 'direct', 'converted')  AS end,
            value,
            multiIf(
                {breakdown:String} = 'link',          touches.link,
                {breakdown:String} = 'campaign',      touches.campaign,
                {breakdown:String} = 'channel',       touches.channel,
                {breakdown:String} = 'referrer',      touches.referrer,
                {breakdown:String} = 'referrer_type', touches.referrer_type,
                {breakdown:String} = 'referee_type',  touches.referee_type,
                                                      arrayMap(t -> toString(program), touches)) AS keys
        FROM paths
        UNION ALL
        SELECT 'lost', 0, arrayMap(touch -> touch.4, arraySort(groupArray(touch)))
        FROM
        (
            SELECT program, visitor, (time, node, sequence, toString({by:Identifier})) AS touch, false AS converted
            FROM
            (
                SELECT
                    program, time, node, sequence, if(visitor_id != 0, visitor_id, cityHash64(time, node, sequence)) AS visitor,
                    link_key, campaign, channel, referrer_id AS referrer, referrer_type, referee_type
                FROM waymark.events
                WHERE stage = 'clicked' AND time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
                    AND ({program:String} = '' OR program = {program:String}) AND {hits:Identifier}
            )
            UNION ALL
            SELECT program, arrayJoin(visitors), (toDateTime64(0, 3, 'UTC'), 0, 0, ''), true
            FROM paths
        )
        GROUP BY program, visitor
        HAVING NOT max(converted)
    )
SELECT
    step.1                                             AS kind,
    step.2                                             AS source,
    step.3                                             AS target,
    count()                                            AS journeys,
    sum(if(kind IN ('converted', 'direct'), j.value, 0)) AS value,
    (SELECT final_until FROM waymark.arrivals)         AS final_until
FROM journeys AS j
ARRAY JOIN if(empty(keys), [(end, '', '')], arrayConcat(
    [('start', '', keys[1])],
    arrayMap((source, target) -> ('step', source, target), arrayPopBack(keys), arrayPopFront(keys)),
    [(end, keys[-1], '')])) AS step
GROUP BY kind, source, target
ORDER BY kind, source, target
LIMIT {steps_max:UInt64}
SETTINGS max_bytes_before_external_group_by = 500000000
