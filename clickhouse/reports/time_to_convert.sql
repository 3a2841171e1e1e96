-- Hours between the first times of two stages, over the parties that reached both in this order and the second within
-- the period. Quantiles are exact, with linear interpolation between neighbours. The limit is one of keys.
SELECT
    key,
    pairs[position].1                                  AS from_stage,
    pairs[position].2                                  AS to_stage,
    count,
    mean                                               AS mean_hours,
    quantiles[1]                                       AS median_hours,
    quantiles[2]                                       AS p75_hours,
    quantiles[3]                                       AS p90_hours
FROM
(
    SELECT
        key,
        position,
        {{template "pairs"}}                           AS pairs,
        count(ms)                                      AS count,
        avg(ms) / 3600000                              AS mean,
        arrayMap(q -> q / 3600000, [quantileExactInclusiveOrNull(0.5)(ms), quantileExactInclusiveOrNull(0.75)(ms), quantileExactInclusiveOrNull(0.9)(ms)]) AS quantiles,
        sum(count(ms)) OVER (PARTITION BY key)         AS size
    FROM ({{template "spans" .}}) AS times
    GROUP BY key, position
) AS stages
WHERE count > 0 OR {by:String} = 'total'
QUALIFY dense_rank() OVER (ORDER BY {{if .OverTime}}key DESC{{else}}size DESC, key{{end}}) <= {limit:UInt64}
ORDER BY {{if not .OverTime}}size DESC, {{end}}key, position

{{- define "pairs" -}}
[('clicked', 'signed_up'), ('signed_up', 'activated'), ('activated', 'converted'), ('converted', 'retained'), ('clicked', 'converted'), ('signed_up', 'converted')]
{{- end}}

{{- /* The milliseconds of each party between the stages of each pair, null where they do not count. Over time, a party
belongs to the step in which it reached the second. */ -}}
{{define "spans" -}}
SELECT
    {{if .OverTime}}toDateTime(dateTrunc({granularity:String}, toDateTime(assumeNotNull(span.2), 'UTC'), {tz:String}), {tz:String}){{else}}by{{end}} AS key,
    position,
    if(span.1 <= span.2 AND span.2 >= {from:DateTime64(3, 'UTC')} AND span.2 < {to:DateTime64(3, 'UTC')},
        dateDiff('millisecond', span.1, span.2), NULL) AS ms
FROM
(
    SELECT
        {{if .OverTime}}''{{else}}toString({by:Identifier}){{end}} AS by,
        [(clicked_at, signed_up_at), (signed_up_at, activated_at), (activated_at, converted_at), (converted_at, retained_at),
         (clicked_at, converted_at), (signed_up_at, converted_at)] AS spans
    FROM waymark.{journeys:Identifier} AS j
    WHERE ({program:String} = '' OR program = {program:String}){{.Where}}
    UNION ALL
    SELECT '', arrayWithConstant(6, (NULL::Nullable(DateTime64(3, 'UTC')), NULL::Nullable(DateTime64(3, 'UTC')))) WHERE {by:String} = 'total'
) AS journeys
ARRAY JOIN spans AS span, arrayEnumerate(spans) AS position
{{- end}}
