-- What several reports are made of. Periods are from <= time < to. .Where holds the conditions of the filters, whose
-- columns have the same names in every table used here. .Key is the value of a row's dimension, or the start of its step.

-- Clicks by key: whole hours (or days and months) from a roll-up, what the period adds at its ends from the hits.
{{define "clicks" -}}
{{if eq .Rollup "clicks_hourly" -}}
SELECT {{.RollupKey}} AS key, sum(c.{hits:Identifier}) AS clicks, sum(c.gross) AS gross, sum(c.valid) AS valid, sum(c.unique) AS unique
FROM (SELECT *, '' AS total FROM waymark.clicks_hourly) AS c
WHERE dimension = {dimension:String} AND hour >= {rollup_from:DateTime64(3, 'UTC')} AND hour < {rollup_to:DateTime64(3, 'UTC')}
    AND ({program:String} = '' OR program = {program:String}){{.RollupWhere}}
GROUP BY key
UNION ALL
{{else if eq .Rollup "link_clicks" -}}
SELECT toString({by:Identifier}) AS key, sum(c.{hits:Identifier}) AS clicks, sum(c.gross) AS gross, sum(c.valid) AS valid, sum(c.unique) AS unique
FROM waymark.link_clicks_monthly AS c
WHERE month >= toDate({month_from:DateTime64(3, 'UTC')}) AND month < toDate({month_to:DateTime64(3, 'UTC')})
    AND ({program:String} = '' OR program = {program:String}){{.Where}}
GROUP BY key
UNION ALL
SELECT toString({by:Identifier}) AS key, sum(c.{hits:Identifier}) AS clicks, sum(c.gross) AS gross, sum(c.valid) AS valid, sum(c.unique) AS unique
FROM waymark.link_clicks_daily AS c
WHERE ((day >= toDate({rollup_from:DateTime64(3, 'UTC')}) AND day < toDate({month_from:DateTime64(3, 'UTC')}))
        OR (day >= toDate({month_to:DateTime64(3, 'UTC')}) AND day < toDate({rollup_to:DateTime64(3, 'UTC')})))
    AND ({program:String} = '' OR program = {program:String}){{.Where}}
GROUP BY key
UNION ALL
{{end -}}
SELECT {{.Key}} AS key, countIf(h.{hits:Identifier}) AS clicks, countIf(h.gross) AS gross, countIf(h.valid) AS valid, countIf(h.unique) AS unique
FROM waymark.hits AS h
WHERE ((time >= {from:DateTime64(3, 'UTC')} AND time < {rollup_from:DateTime64(3, 'UTC')})
        OR (time >= {rollup_to:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}))
    AND ({program:String} = '' OR program = {program:String}){{.Where}}{{.Links}}
GROUP BY key
{{- end}}

-- Distinct visitors by key, from all hits of the period or from a sample of the visitors.
{{define "visitors" -}}
SELECT {{.Key}} AS key, uniqExact(visitor) * {scale:UInt64} AS visitors
FROM waymark.{visitors:Identifier} AS h
WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')} AND bucket < {buckets:UInt8}
    AND ({program:String} = '' OR program = {program:String}) AND h.{hits:Identifier}{{.Where}}{{.Links}}
GROUP BY key
{{- end}}

-- Everything that is counted by key. Parties are distinct within the period.
{{define "measures" -}}
SELECT
    key,
    sum(m.clicks)                                      AS clicks,
    least(sum(m.visitors), clicks)                     AS visitors, -- an estimate may exceed it
    sum(m.invitations)                                 AS invitations,
    sum(m.signups)                                     AS signups,
    sum(m.activations)                                 AS activations,
    sum(m.conversions)                                 AS conversions,
    sum(m.retained)                                    AS retained,
    sum(m.value)                                       AS value,
    sum(m.refunds)                                     AS refunds
FROM
(
    SELECT key, clicks, 0 AS visitors, 0 AS invitations, 0 AS signups, 0 AS activations, 0 AS conversions, 0 AS retained, toDecimal128(0, 6) AS value, toDecimal128(0, 6) AS refunds
    FROM ({{template "clicks" .}})
    UNION ALL
    SELECT key, 0, visitors, 0, 0, 0, 0, 0, 0, 0
    FROM ({{template "visitors" .}})
    UNION ALL
    SELECT
        {{.Key}} AS key, 0, 0, countIf(stage = 'invited'), uniqExactIf(who, stage = 'signed_up'), uniqExactIf(who, stage = 'activated'),
        uniqExactIf(who, stage = 'converted'), uniqExactIf(who, stage = 'retained'), sumIf(r.value, stage = 'converted'), sumIf(r.value, event = 'refund')
    FROM waymark.{actions:Identifier} AS r
    WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
        AND ({program:String} = '' OR program = {program:String}){{.Where}}
    GROUP BY key
) AS m
GROUP BY key
{{- end}}

-- The largest keys first, or of steps of time the latest, in order.
{{define "ordered" -}}
{{if .OverTime -}}
QUALIFY row_number() OVER (ORDER BY key DESC) <= {limit:UInt64}
ORDER BY key
{{- else -}}
ORDER BY clicks DESC, signups DESC, conversions DESC, key
LIMIT {limit:UInt64}
{{- end}}
{{- end}}
