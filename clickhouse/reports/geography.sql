-- Where visitors, users and conversions come from.
SELECT
    key, clicks, visitors, signups, conversions, value,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate
FROM ({{template "measures" .}})
WHERE clicks + signups + conversions > 0
{{template "ordered" .}}
