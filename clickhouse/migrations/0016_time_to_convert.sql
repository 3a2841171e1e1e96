-- Hours between the first times of two stages, over the parties that reached both in this order. Quantiles are exact,
-- with linear interpolation between neighbours (the median of two values is their mean).
CREATE OR REPLACE VIEW waymark.time_to_convert
AS SELECT
    program,
    pair.1                                             AS from_stage,
    pair.2                                             AS to_stage,
    count()                                            AS count,
    avg(hours)                                         AS mean_hours,
    quantileExactInclusive(0.5)(hours)                 AS median_hours,
    quantileExactInclusive(0.75)(hours)                AS p75_hours,
    quantileExactInclusive(0.9)(hours)                 AS p90_hours
FROM
(
    SELECT
        program,
        pair,
        dateDiff('millisecond', assumeNotNull(pair.3), assumeNotNull(pair.4)) / 3600000 AS hours
    FROM waymark.resolved_journeys
    ARRAY JOIN
    [
        ('clicked', 'signed_up', clicked_at, signed_up_at),
        ('signed_up', 'activated', signed_up_at, activated_at),
        ('activated', 'converted', activated_at, converted_at),
        ('converted', 'retained', converted_at, retained_at),
        ('clicked', 'converted', clicked_at, converted_at),
        ('signed_up', 'converted', signed_up_at, converted_at)
    ]                                                  AS pair
    WHERE pair.3 <= pair.4
) AS pairs
GROUP BY program, from_stage, to_stage
ORDER BY program, from_stage, to_stage
COMMENT 'Hours between two stages of the funnel per programme: mean, median, p75 and p90 over the parties that reached both';
