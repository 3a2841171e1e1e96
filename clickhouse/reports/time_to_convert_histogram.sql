-- How many parties took how long between two stages, in fixed buckets of hours; see time_to_convert. Each pair of stages
-- that anybody went through has a row per bucket, empty ones too. The limit is one of keys.
SELECT
    key,
    {{template "pairs"}}[position].1                   AS from_stage,
    {{template "pairs"}}[position].2                   AS to_stage,
    bucket,
    {{template "minutes"}}[bucket] / 60                AS from_hours,
    nullIf({{template "minutes"}}[bucket + 1], 0) / 60 AS to_hours,
    counts[bucket]                                     AS count,
    counts[bucket] / nullIf(total, 0)                  AS share,
    arraySum(arraySlice(counts, 1, bucket)) / nullIf(total, 0) AS cumulative_share
FROM
(
    SELECT
        key,
        position,
        count(ms)                                      AS total,
        -- A span that is as long as an edge lies above it.
        sumForEach(arrayMap(
            (low, high) -> toUInt64(ifNull(ms >= low * 60000 AND (ms < high * 60000 OR high = 0), false)),
            {{template "minutes"}}, arrayPushBack(arrayPopFront({{template "minutes"}}), 0))) AS counts,
        sum(count(ms)) OVER (PARTITION BY key)         AS size
    FROM ({{template "spans" .}}) AS times
    GROUP BY key, position
) AS stages
ARRAY JOIN arrayEnumerate(counts) AS bucket
WHERE total > 0
QUALIFY dense_rank() OVER (ORDER BY {{if .OverTime}}key DESC{{else}}size DESC, key{{end}}) <= {limit:UInt64}
ORDER BY {{if not .OverTime}}size DESC, {{end}}key, position, bucket
{{- define "minutes"}}[0, 5, 60, 360, 1440, 4320, 10080, 20160, 43200]{{end}}
