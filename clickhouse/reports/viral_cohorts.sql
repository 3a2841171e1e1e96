-- Realised K by cohort; the view explains it. The cohort is the start of its day, week or month in the time zone. The limit
-- is one of programmes and keys, largest first, so that none loses a cohort.
SELECT key, program, toDateTime(cohort, {tz:String}) AS cohort, members, referees, k, final
FROM
(
    SELECT *, sum(members) OVER (PARTITION BY program, key) AS size
    FROM waymark.viral_cohorts_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')},
        by = {by:String}, granularity = {granularity:String}, tz = {tz:String}) AS v
) AS c
QUALIFY dense_rank() OVER (ORDER BY size DESC, program, key) <= {limit:UInt64}
ORDER BY size DESC, program, key, c.cohort
LIMIT {cells_max:UInt64}
