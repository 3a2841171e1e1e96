-- Who refers most in a period (from <= time < to), by programme: users of theirs who signed up, users who reached the stage
-- converted, and what those paid, verified, refunds not taken off; counted as in conversion_rates by referrer, but for
-- those who referred themselves.
--
-- Ranked by value, then conversions, then signups; equal in all three is an equal rank, and the rank after is left out
-- (1, 2, 2, 4). `previous_rank` is that of the time before (before <= time < from), null for those who were not in it.
--
-- conversion_rate is conversions of signups, null without signups; above one where those converted who had signed up before.
CREATE OR REPLACE VIEW waymark.leaderboard_between
AS SELECT
    program,
    rank() OVER (PARTITION BY program, b.signups + b.conversions > 0 ORDER BY b.value DESC, b.conversions DESC, b.signups DESC) AS rank,
    referrer,
    referrer_type,
    signups,
    conversions,
    value,
    conversions / nullIf(signups, 0)                   AS conversion_rate,
    if(before_signups + before_conversions = 0, NULL, rank() OVER (
        PARTITION BY program, b.before_signups + b.before_conversions > 0
        ORDER BY b.before_value DESC, b.before_conversions DESC, b.before_signups DESC)) AS previous_rank
FROM
(
    SELECT
        program, referrer, max(r.referrer_type)        AS referrer_type,
        uniqExactIf(who, stage = 'signed_up' AND time >= {from:DateTime64(3, 'UTC')}) AS signups,
        uniqExactIf(who, stage = 'converted' AND time >= {from:DateTime64(3, 'UTC')}) AS conversions,
        sumIf(r.value, stage = 'converted' AND time >= {from:DateTime64(3, 'UTC')}) AS value,
        uniqExactIf(who, stage = 'signed_up' AND time < {from:DateTime64(3, 'UTC')}) AS before_signups,
        uniqExactIf(who, stage = 'converted' AND time < {from:DateTime64(3, 'UTC')}) AS before_conversions,
        sumIf(r.value, stage = 'converted' AND time < {from:DateTime64(3, 'UTC')}) AS before_value
    FROM waymark.resolved AS r
    WHERE stage IN ('signed_up', 'converted') AND time >= {before:DateTime64(3, 'UTC')} AND time < {to:DateTime64(3, 'UTC')}
        AND referrer != '' AND cityHash64(referrer) != who AND ({program:String} = '' OR program = {program:String})
    GROUP BY program, referrer
) AS b
QUALIFY signups + conversions > 0
ORDER BY program, rank, referrer
COMMENT 'Referrers of a period by rank: SELECT * FROM waymark.leaderboard_between(program = '''', before = ''2026-01-01 00:00:00'', from = ''2026-02-01 00:00:00'', to = ''2026-03-01 00:00:00'')';

-- The running week (from Monday), the running month, both in UTC, and all time. The rank before is that of the whole week or month before.
CREATE OR REPLACE VIEW waymark.leaderboard
AS SELECT 'week' AS period, *
FROM waymark.leaderboard_between(program = '', before = toString(toMonday(now('UTC')) - 7), from = toString(toMonday(now('UTC'))), to = '2200-01-01 00:00:00') AS w
UNION ALL
SELECT 'month', *
FROM waymark.leaderboard_between(program = '', before = toString(toStartOfMonth(now('UTC')) - toIntervalMonth(1)), from = toString(toStartOfMonth(now('UTC'))), to = '2200-01-01 00:00:00') AS m
UNION ALL
SELECT 'all', *
FROM waymark.leaderboard_between(program = '', before = '1970-01-01 00:00:00', from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00') AS a
COMMENT 'Referrers of each programme by rank in the running week and month and over all time (WHERE period = ''week'', ''month'' or ''all'')';
