-- Two stages of the funnel, and when a party first reached each.
{{define "stage_pairs" -}}
[
        ('clicked', 'signed_up', clicked_at, signed_up_at),
        ('signed_up', 'activated', signed_up_at, activated_at),
        ('activated', 'converted', activated_at, converted_at),
        ('converted', 'retained', converted_at, retained_at),
        ('clicked', 'converted', clicked_at, converted_at),
        ('signed_up', 'converted', signed_up_at, converted_at)
    ]
{{- end}}

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
    ARRAY JOIN {{template "stage_pairs"}}             AS pair
    WHERE pair.3 <= pair.4
) AS pairs
GROUP BY program, from_stage, to_stage
ORDER BY program, from_stage, to_stage
COMMENT 'Hours between two stages of the funnel per programme: mean, median, p75 and p90 over the parties that reached both';

-- The same spans of a period (from <= time of the second stage < to) in buckets with fixed edges, so that those of two
-- periods or channels lie over each other: 5 minutes, 1 and 6 hours, 1, 3, 7, 14 and 30 days. A span as long as an edge lies
-- above it. Who went through a pair of stages at all gives it a row per bucket, empty ones too, as a chart needs them.
{{define "key" -}}
multiIf({by:String} = 'link', link_key, {by:String} = 'campaign', toString(campaign), {by:String} = 'channel', toString(channel), {by:String} = 'referrer', referrer,
    {by:String} = 'referrer_type', toString(referrer_type), {by:String} = 'referee_type', toString(referee_type), {by:String} = 'program', toString(program), '')
{{- end}}
CREATE OR REPLACE VIEW waymark.time_to_convert_histogram_between
AS WITH
    [0, 5, 60, 360, 1440, 4320, 10080, 20160, 43200]   AS minutes,
    ['under 5 m', '5 m – 1 h', '1 – 6 h', '6 – 24 h', '1 – 3 d', '3 – 7 d', '7 – 14 d', '14 – 30 d', 'over 30 d'] AS labels
SELECT
    program,
    key,
    from_stage,
    to_stage,
    bucket,
    labels[bucket]                                     AS label,
    minutes[bucket] / 60                               AS from_hours,
    nullIf(minutes[bucket + 1], 0) / 60                AS to_hours,
    counts[bucket]                                     AS count,
    counts[bucket] / total                             AS share,
    arraySum(arraySlice(counts, 1, bucket)) / total    AS cumulative_share
FROM
(
    SELECT
        program,
        key,
        from_stage,
        to_stage,
        count()                                        AS total,
        sumForEach(arrayMap(b -> toUInt64(b = place), range(1, 10))) AS counts
    FROM
    (
        SELECT
            program,
            {{template "key"}} AS key,
            pair.1                                     AS from_stage,
            pair.2                                     AS to_stage,
            arrayCount(edge -> dateDiff('millisecond', assumeNotNull(pair.3), assumeNotNull(pair.4)) >= edge * 60000, minutes) AS place
        FROM waymark.resolved_journeys
        ARRAY JOIN {{template "stage_pairs"}}         AS pair
        WHERE pair.3 <= pair.4 AND pair.4 >= {from:DateTime64(3, 'UTC')} AND pair.4 < {to:DateTime64(3, 'UTC')}
            AND ({program:String} = '' OR program = {program:String})
    )
    GROUP BY program, key, from_stage, to_stage
)
ARRAY JOIN arrayEnumerate(counts) AS bucket
ORDER BY program, key, from_stage, to_stage, bucket
COMMENT 'Spans between two stages in buckets: SELECT * FROM waymark.time_to_convert_histogram_between(program = \'\', from = \'2026-01-01 00:00:00\', to = \'2027-01-01 00:00:00\', by = \'\')';
