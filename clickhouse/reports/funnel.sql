-- Distinct parties at each stage within the period: invitations, then visitors (a hit without a visitor counts as one
-- of its own), then users. The last SELECT of the union is the funnel of no facts at all. The limit is one of keys,
-- largest first (of steps of time, the latest), so that no funnel is cut.
SELECT
    key,
    ['invited', 'clicked', 'signed_up', 'activated', 'converted', 'retained'][position] AS stage,
    position,
    counts[position]                                                 AS count,
    if(position > 1, count / nullIf(counts[position - 1], 0), NULL)  AS step_rate,
    count / nullIf(counts[1], 0)                                     AS overall_rate
FROM
(
    SELECT key, [sum(m.invitations), sum(m.visitors), sum(m.signups), sum(m.activations), sum(m.conversions), sum(m.retained)] AS counts, arraySum(counts) AS size
    FROM
    (
        SELECT key, invitations, visitors, signups, activations, conversions, retained
        FROM ({{template "measures" .}})
        {{- if not .OverTime}}
        UNION ALL
        SELECT '', 0, 0, 0, 0, 0, 0 WHERE {by:String} = 'total'
        {{- end}}
    ) AS m
    GROUP BY key
    HAVING size > 0 OR {by:String} = 'total'
    ORDER BY {{if .OverTime}}key DESC{{else}}size DESC, key{{end}}
    LIMIT {limit:UInt64}
) AS keys
ARRAY JOIN arrayEnumerate(counts) AS position
ORDER BY {{if not .OverTime}}size DESC, {{end}}key, position
