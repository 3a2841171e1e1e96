-- The referrers of the period by rank; previous_rank is of the period of equal length before it.
SELECT *
FROM waymark.leaderboard_between(
    program = {program:String},
    before = toString(fromUnixTimestamp64Milli(greatest(toInt64(0),
        2 * toUnixTimestamp64Milli({from:DateTime64(3, 'UTC')}) - toUnixTimestamp64Milli({to:DateTime64(3, 'UTC')})), 'UTC')),
    from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}) AS l
ORDER BY rank, program, referrer
LIMIT {limit:UInt64}
