-- How far those came, in order, who entered in the period; the view explains who they are. A funnel without entries has
-- its stages all the same. The limit is one of keys, largest first, so that no funnel is cut.
SELECT
    key,
    stages[position]                                   AS stage,
    position,
    counts[position]                                   AS count,
    if(position > 1, count / nullIf(counts[position - 1], 0), NULL) AS step_rate,
    count / nullIf(counts[1], 0)                       AS overall_rate
FROM
(
    SELECT key, splitByChar(',', {stages:String}) AS stages, sumForEach(reached) AS counts
    FROM
    (
        SELECT program, key, arrayMap(f -> toUInt64(f.2), arraySort(groupArray((position, f.count)))) AS reached
        FROM waymark.funnel_cohort_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')},
            by = {breakdown:String}, stages = {stages:String}, hits = {hits:String}) AS f
        GROUP BY program, key
        UNION ALL
        SELECT '', '', arrayWithConstant(length(splitByChar(',', {stages:String})), toUInt64(0)) WHERE {breakdown:String} = ''
    )
    GROUP BY key
    ORDER BY counts[1] DESC, key
    LIMIT {limit:UInt64}
) AS keys
ARRAY JOIN arrayEnumerate(counts) AS position
ORDER BY counts[1] DESC, key, position
SETTINGS max_bytes_before_external_group_by = 500000000
