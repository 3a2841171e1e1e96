-- Campaigns whose time overlaps the period, and those that no document has, each whole: a part of a campaign has no target.
SELECT *
FROM waymark.campaigns AS c
WHERE ({program:String} = '' OR c.program = {program:String})
    AND (c.starts_at IS NULL OR c.starts_at < {to:DateTime64(3, 'UTC')}) AND (c.ends_at IS NULL OR c.ends_at > {from:DateTime64(3, 'UTC')})
ORDER BY value DESC, program, campaign
LIMIT {limit:UInt64}
