-- Retention triangles; the view explains them. The cohort is the start of its day, week or month in the time zone. The
-- limit is one of keys, largest first, so that no triangle is cut.
SELECT key, toDateTime(cohort, {tz:String}) AS cohort, period, size, retained, retained / size AS rate, value
FROM
(
    SELECT
        key, cohort, period, sum(c.size) AS size, sum(c.retained) AS retained, sum(c.value) AS value,
        sum(if(period = 0, sum(c.size), 0)) OVER (PARTITION BY key) AS members
    FROM waymark.cohorts_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')},
        by = {breakdown:String}, granularity = {granularity:String}, tz = {tz:String}) AS c
    GROUP BY key, cohort, period
)
QUALIFY dense_rank() OVER (ORDER BY members DESC, key) <= {limit:UInt64}
ORDER BY members DESC, key, cohort, period
LIMIT {cells_max:UInt64}
