-- How many visitors sign up, activate and convert, by a dimension.
SELECT
    key, clicks, visitors, signups, activations, conversions, value,
    signups / nullIf(visitors, 0)                      AS signup_rate,
    activations / nullIf(signups, 0)                   AS activation_rate,
    conversions / nullIf(visitors, 0)                  AS conversion_rate,
    conversions / nullIf(signups, 0)                   AS signup_conversion_rate
FROM ({{template "measures" .}})
WHERE clicks + signups + activations + conversions > 0
{{template "ordered" .}}
