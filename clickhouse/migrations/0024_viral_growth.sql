-- Realised K by cohort: of those who signed up in one day, week (from Monday) or month of a time zone, how many more users
-- each brought. `referees` are whom the members referred, other than themselves, who signed up within the programme's
-- attribution window after the member that referred them (from its signup on, the end of the window excluded); k =
-- referees / members. The k of a cohort is `final` when the window of even its last possible member is over; before
-- that it can only rise. A period (from <= signup < to) that cuts a cohort leaves the rest of its members out.
--
-- granularity = '' is weeks and months. A cohort without members has no row.
CREATE OR REPLACE VIEW waymark.viral_cohorts_between
AS SELECT
    c.granularity                                      AS granularity,
    c.program                                          AS program,
    c.key                                              AS key,
    c.cohort                                           AS cohort,
    count()                                            AS members,
    sum(c.referees)                                    AS referees,
    referees / members                                 AS k,
    toBool(least(toDateTime64(multiIf(c.granularity = 'month', addMonths(c.cohort, 1), c.granularity = 'week', addWeeks(c.cohort, 1), addDays(c.cohort, 1)), 3, {tz:String}),
        {to:DateTime64(3, 'UTC')}) + toIntervalSecond(86400 * any(c.window_days)) <= now64(3)) AS final
FROM
(
    SELECT
        m.*, granularity,
        multiIf(granularity = 'month', toStartOfMonth(signed_up_at, {tz:String}), granularity = 'week', toMonday(signed_up_at, {tz:String}), toDate(signed_up_at, {tz:String})) AS cohort
    FROM ({{template "viral_members"}}) AS m
    ARRAY JOIN if({granularity:String} = '', ['week', 'month'], [{granularity:String}]) AS granularity
    WHERE {program:String} = '' OR program = {program:String}
) AS c
GROUP BY granularity, program, key, cohort
ORDER BY granularity, program, key, cohort
COMMENT 'Realised K by cohort: SELECT * FROM waymark.viral_cohorts_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2027-01-01 00:00:00'', by = '''', granularity = ''week'', tz = ''Europe/Berlin'')';

CREATE OR REPLACE VIEW waymark.viral_cohorts
AS SELECT * EXCEPT key
FROM waymark.viral_cohorts_between(program = '', from = '1970-01-01 00:00:00', to = '2200-01-01 00:00:00', by = '', granularity = '', tz = 'UTC') AS c
COMMENT 'Realised K of each programme by cohort over all time (WHERE granularity = ''month'' or ''week'', in UTC)';

-- Where the loops of a period lead: how many new users its active referrers bring, cumulated over the next cycles, 1 to
-- 12, if i and c stay what they were. Each cycle multiplies those of the one before by K, so
--
-- one-sided   users(n) = A · (K + K² + … + Kⁿ), A the active referrers: as if all referees went on to refer as their referrers
--             did. Between two types that is the two-sided loop's to say:
-- two-sided   users(n) = (A₁·K₁·(1 + K₂) + A₂·K₂·(1 + K₁)) · (1 + K + … + Kⁿ⁻¹), K = K₁ · K₂: a cycle leads from each type by way
--             of the other back to itself, and the users of both halves of it are new.
--
-- For K < 1 it comes to an end, at `users_limit` (one-sided A · K / (1 − K)).
--
-- The interval holds the expectation, not the outcome, in nine of ten cases (z = 1.6449), as far as i and c are uncertain:
-- i, a mean over A referrers, within ± z · s / √A (normal), s² their variance, but at least i, that of a Poisson distribution: of
-- few referrers the variance is too small by chance; c, the share of invitations that led to a signup, in the interval of
-- Wilson (J. Am. Stat. Assoc. 22, 1927, p. 209), or where there are more signups than invitations as a Poisson count, ± z · √signups.
-- Their errors are independent and add up as squares, each taken from its own limit, so that the interval is as
-- asymmetric as they are (MOVER: Zou and Donner, Stat. Med. 27, 2008, p. 1693):
--
--             K_high = K + √((c · (i_high − i))² + (i · (c_high − c))²), and so downwards, 0 at the least.
--
-- In a two-sided loop the limits are taken where K₁ and K₂ go wrong together, each by as much as is its part of the error:
-- it moves by h / √(h₁² + h₂²) of its way to its own limit, h being its relative width there.
--
-- A loop whose flows lack invitations or referrers has no K and no row; `hours` is null where no cycle is known.
CREATE OR REPLACE VIEW waymark.viral_projection_between
AS SELECT
    program,
    key,
    kind,
    referrer_type,
    referee_type,
    toUInt64(step)                                     AS step,
    step * cycle                                       AS hours,
    referrers,
    grows[1].1                                         AS k,
    grows[2].1                                         AS k_low,
    grows[3].1                                         AS k_high,
    sums[1]                                            AS users,
    sums[2]                                            AS users_low,
    sums[3]                                            AS users_high,
    if(grows[1].1 < 1, grows[1].2 / (1 - grows[1].1), NULL) AS users_limit
FROM
(
    SELECT
        program, key, loop.1 AS kind, loop.2 AS referrer_type, loop.3 AS referee_type,
        sum(f.referrers)                               AS referrers,
        if(count(f.cycle) = count(), sum(f.cycle), NULL) AS cycle,
        arraySort(groupArray((toString(f.referrer_type), f.referrers, f.k, f.below, f.above, f.width_below, f.width_above))) AS flows,
        sqrt(sum(f.width_below * f.width_below))       AS widths_below,
        sqrt(sum(f.width_above * f.width_above))       AS widths_above
    FROM
    (
        -- `below` and `above`: from K down to its lower and up to its upper limit.
        SELECT
            program, key, referrer_type, referee_type, v.referrers AS referrers, v.cycle AS cycle,
            1.6448536269514722                         AS z,
            v.invitations                              AS n,
            n / v.referrers                            AS i,
            v.signups / n                              AS c,
            i * c                                      AS k,
            z * sqrt(greatest(i, (squares - named_invitations * named_invitations / v.referrers) / greatest(v.referrers - 1, 1)) / v.referrers) AS i_error,
            if(c <= 1, z * sqrt(c * (1 - c) / n + z * z / (4 * n * n)) / (1 + z * z / n), z * sqrt(v.signups) / n) AS c_error,
            if(c <= 1, (c + z * z / (2 * n)) / (1 + z * z / n), c) AS c_middle,
            least(k, sqrt(pow(c * least(i, i_error), 2) + pow(i * (c - c_middle + c_error), 2))) AS below,
            sqrt(pow(c * i_error, 2) + pow(i * (c_middle + c_error - c), 2)) AS above,
            if(k = 0, 0, below / k)                    AS width_below,
            above / (k + above)                        AS width_above
        FROM ({{template "viral_flows"}}) AS v
        WHERE ({program:String} = '' OR program = {program:String}) AND v.referrers > 0 AND v.invitations > 0
    ) AS f
    ARRAY JOIN {{template "viral_loops"}} AS loop
    GROUP BY program, key, loop
    HAVING kind = 'one-sided' OR count() = 2
) AS l
-- Arrays of one give the parts of a formula their names. Each has three: the estimate, its lower and its upper limit. What
-- is not in an array is 0, as is the second flow of a one-sided loop.
ARRAY JOIN [[
    arrayMap(w -> w.3, flows),
    arrayMap(w -> w.3 - w.4 * if(w.6 = 0, 0, w.6 / widths_below), flows),
    arrayMap(w -> w.3 + w.5 * if(w.7 = 0, 0, w.7 / widths_above), flows)]] AS ways
ARRAY JOIN [arrayMap(w -> (arrayProduct(w), flows[1].2 * w[1] * (1 + w[2]) + flows[2].2 * w[2] * (1 + w[1])), ways)] AS grows
ARRAY JOIN range(1, 13) AS step
ARRAY JOIN [arrayMap(g -> g.2 * arraySum(n -> pow(g.1, n), range(step)), grows)] AS sums
ORDER BY program, key, kind, referrer_type, referee_type, step
COMMENT 'Users that the active referrers of a period bring in the next cycles: SELECT * FROM waymark.viral_projection_between(program = '''', from = ''2026-01-01 00:00:00'', to = ''2026-02-01 00:00:00'', by = '''')';
