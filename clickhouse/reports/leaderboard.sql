-- The referrers of the period by rank; previous_rank is of the period of equal length before it, tiers and milestones are
-- of all time.
SELECT
    l.program AS program, l.rank AS rank, l.referrer AS referrer, l.referrer_type AS referrer_type, l.signups AS signups, l.conversions AS conversions,
    l.value AS value, l.conversion_rate AS conversion_rate, l.previous_rank AS previous_rank,
    t.tier AS tier, t.badge AS badge, t.next_tier AS next_tier, t.conversions_missing AS conversions_missing,
    t.next_milestone AS next_milestone, t.milestone_missing AS milestone_missing
FROM waymark.leaderboard_between(
    program = {program:String},
    before = toString(fromUnixTimestamp64Milli(greatest(toInt64(0),
        2 * toUnixTimestamp64Milli({from:DateTime64(3, 'UTC')}) - toUnixTimestamp64Milli({to:DateTime64(3, 'UTC')})), 'UTC')),
    from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}) AS l
LEFT JOIN waymark.tiers AS t ON t.program = l.program AND t.party = l.referrer
ORDER BY rank, program, referrer
LIMIT {limit:UInt64}
