-- The arms of the campaigns whose time overlaps the period.
SELECT v.*
FROM waymark.campaign_variants AS v
INNER JOIN waymark.campaign_terms AS t ON t.program = v.program AND t.campaign = v.campaign
WHERE ({program:String} = '' OR v.program = {program:String})
    AND t.starts_at < {to:DateTime64(3, 'UTC')} AND (t.ends_at IS NULL OR t.ends_at > {from:DateTime64(3, 'UTC')})
ORDER BY program, campaign, control DESC, variant
LIMIT {limit:UInt64}
