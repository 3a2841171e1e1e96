-- What each channel (or another dimension) brings. Referrers are distinct over hits and actions together, so they are
-- counted apart: of the hits by link and day where the breakdown is one of links.
SELECT
    key, invitations, clicks, visitors, referrers, signups, conversions, value, refunds,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM ({{template "measures" .}}) AS m
LEFT JOIN
(
    SELECT key, uniqExact(referrer) AS referrers
    FROM
    (
        {{- if .LinkRollup}}
        SELECT toString({by:Identifier}) AS key, referrer
        FROM waymark.link_clicks_monthly AS c
        WHERE month >= toDate({month_from:DateTime64(3, 'UTC')}) AND month < toDate({month_to:DateTime64(3, 'UTC')})
            AND ({program:String} = '' OR program = {program:String}) AND c.{hits:Identifier} > 0{{.Where}}
        UNION ALL
        SELECT toString({by:Identifier}) AS key, referrer
        FROM waymark.link_clicks_daily AS c
        WHERE ((day >= toDate({day_from:DateTime64(3, 'UTC')}) AND day < toDate({month_from:DateTime64(3, 'UTC')}))
                OR (day >= toDate({month_to:DateTime64(3, 'UTC')}) AND day < toDate({day_to:DateTime64(3, 'UTC')})))
            AND ({program:String} = '' OR program = {program:String}) AND c.{hits:Identifier} > 0{{.Where}}
        UNION ALL
        {{- end}}
        SELECT {{.Key}} AS key, referrer
        FROM waymark.hits AS h
        WHERE ((time >= {from:DateTime64(3, 'UTC')} AND time < {day_from:DateTime64(3, 'UTC')})
                OR (time >= {day_to:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}))
            AND ({program:String} = '' OR program = {program:String}) AND h.{hits:Identifier}{{.Where}}{{.Links}}
        UNION ALL
        SELECT {{.Key}} AS key, referrer
        FROM waymark.{actions:Identifier} AS r
        WHERE time >= {from:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
            AND ({program:String} = '' OR program = {program:String})
            AND (stage IN ('invited', 'signed_up', 'converted') OR event = 'refund'){{.Where}}
    )
    WHERE referrer != ''
    GROUP BY key
) AS r ON r.key = m.key
WHERE invitations + clicks + signups + conversions > 0 OR refunds != 0
{{template "ordered" .}}
