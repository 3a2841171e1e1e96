-- What is to be expected: whether running campaigns reach their targets, and what each referrer brings in the next 30
-- days. Beside each number stands what a naive baseline says, and the errors of both on what they had not seen; `winner` names
-- the one with the smaller error, or says that there is too little history. `until` is the present, at the latest.

-- A referrer's conversions (users, each once, when it first converted by him) and their value, learnt from the last 90 days,
-- or fewer since the first link or referral of his, one day at least. Few days say little about one referrer, so his rate is
-- drawn towards that of the programme, by the credibility of H. Buehlmann and E. Straub (Bulletin of the Swiss Association of
-- Actuaries 70, 1970, 111-133): of a gamma-distributed rate of Poisson counts it is the exact posterior mean. a2 is the
-- variance between referrers beyond that of chance; where there is none, all have the rate of the programme. The value is
-- drawn by the same share. The baseline says: as in the last 30 days.
--
-- Both are tried on the three months before `until` (30, 60 and 90 days ago), each learnt from what came before it. The error
-- is the root of the mean squared error over all referrers known by then: the mean absolute error would prefer a
-- nought for everybody, since most bring nothing in a month.
CREATE OR REPLACE VIEW waymark.predict_partners
AS WITH
    least({until:DateTime64(3, 'UTC')}, now64(3, 'UTC')) AS present,
    brought AS
    (
        SELECT program, referrer, stage, time, value, row_number() OVER (PARTITION BY program, referrer, who, stage ORDER BY time) = 1 AS first
        FROM waymark.resolved AS a
        WHERE referrer != '' AND cityHash64(referrer) != who AND stage != 'invited' AND time < present AND ({program:String} = '' OR program = {program:String})
    ),
    known AS
    (
        SELECT program, referrer, min(s.began) AS since
        FROM
        (
            SELECT program, referrer_id AS referrer, created_at AS began
            FROM waymark.links
            WHERE referrer_id != '' AND ({program:String} = '' OR program = {program:String})
            UNION ALL
            SELECT program, referrer, time FROM brought
        ) AS s
        GROUP BY program, referrer
    ),
    months AS
    (
        SELECT
            program, referrer, ago, toFloat64(max(m.days)) AS days, toFloat64(sum(m.n)) AS n, toFloat64(sum(m.v)) AS v,
            toFloat64(sum(m.last_n)) AS last_n, toFloat64(sum(m.last_v)) AS last_v, toFloat64(sum(m.next_n)) AS next_n, toFloat64(sum(m.next_v)) AS next_v
        FROM
        (
            SELECT program, referrer, ago, least(90., greatest(1., dateDiff('millisecond', since, present - toIntervalDay(ago)) / 86400000)) AS days,
                0 AS n, toDecimal128(0, 6) AS v, 0 AS last_n, toDecimal128(0, 6) AS last_v, 0 AS next_n, toDecimal128(0, 6) AS next_v
            FROM known
            ARRAY JOIN [0, 30, 60, 90] AS ago
            WHERE since < present - toIntervalDay(ago)
            UNION ALL
            SELECT program, referrer, ago, 0., first AND learnt, if(learnt, value, 0), first AND last, if(last, value, 0), first AND next, if(next, value, 0)
            FROM
            (
                SELECT program, referrer, ago, value, first, present - toIntervalDay(ago) AS cut, time < cut AND time >= cut - toIntervalDay(90) AS learnt,
                    time < cut AND time >= cut - toIntervalDay(30) AS last, time >= cut AND time < cut + toIntervalDay(30) AS next
                FROM brought
                ARRAY JOIN [0, 30, 60, 90] AS ago
                WHERE stage = 'converted'
            )
        ) AS m
        GROUP BY program, referrer, ago
        HAVING days > 0
    ),
    rated AS
    (
        SELECT
            *,
            sum(days) OVER month AS all_days, sum(n) OVER month / all_days AS rate, sum(v) OVER month / all_days AS value_rate,
            (sum(n * n / days) OVER month - rate * sum(n) OVER month - (count() OVER month - 1) * rate) / (all_days - sum(days * days) OVER month / all_days) AS a2,
            if(isFinite(a2) AND a2 > 0, days / (days + rate / a2), 0.) AS credibility,
            30 * (credibility * n / days + (1 - credibility) * rate) AS told_n,
            30 * (credibility * v / days + (1 - credibility) * value_rate) AS told_v
        FROM months
        WINDOW month AS (PARTITION BY program, ago)
    ),
    judged AS
    (
        SELECT
            *,
            countIf(ago > 0) OVER programs             AS held_out,
            sqrt(sum(if(ago > 0, pow(told_n - next_n, 2), 0)) OVER programs / nullIf(held_out, 0)) AS error_n,
            sqrt(sum(if(ago > 0, pow(last_n - next_n, 2), 0)) OVER programs / nullIf(held_out, 0)) AS naive_n,
            sqrt(sum(if(ago > 0, pow(told_v - next_v, 2), 0)) OVER programs / nullIf(held_out, 0)) AS error_v,
            sqrt(sum(if(ago > 0, pow(last_v - next_v, 2), 0)) OVER programs / nullIf(held_out, 0)) AS naive_v
        FROM rated
        WINDOW programs AS (PARTITION BY program)
    )
SELECT
    program,
    referrer                                           AS key,
    m.1                                                AS measure,
    present + toIntervalDay(30)                        AS ends_at,
    m.2                                                AS known,
    CAST(NULL AS Nullable(Float64))                    AS target,
    m.3                                                AS expected,
    m.4                                                AS baseline,
    CAST(NULL AS Nullable(Float64))                    AS probability,
    CAST(NULL AS Nullable(Float64))                    AS baseline_probability,
    multiIf(held_out < 20, 'too little history', m.5 < m.6, 'model', 'baseline') AS winner,
    m.5                                                AS model_error,
    m.6                                                AS baseline_error,
    held_out
FROM judged
ARRAY JOIN [('conversions', n, told_n, last_n, error_n, naive_n), ('value', v, told_v, last_v, error_v, naive_v)] AS m
WHERE ago = 0
COMMENT 'Conversions and value that each referrer brings in the next 30 days: SELECT * FROM waymark.predict_partners(program = \'\', until = \'2200-01-01 00:00:00\')';

-- Whether a running campaign reaches its targets by its end, from the whole days (UTC) that it has behind it. What is still to
-- come is a Poisson count whose rate is known from n in T days only (Jeffreys' prior, gamma with shape n + 1/2 and rate T), so
-- over the R days left it is negative binomial with mean m = (n + 1/2) R / T and variance m (1 + R / T). Days that differ by
-- more than chance widen it: the variance is multiplied by that of the daily counts per mean of them, 1 at least. probability
-- is that it makes up for what is missing, by the normal distribution of the same mean and variance where that is more than
-- 2000. The baseline goes on at the same pace, and is sure of it. Of users each counts on the day of the first such event.
-- Clicks are counted by whole days, those of the first also before the campaign began.
--
-- Both are tried on the programme's campaigns that are over, as they stood after a quarter, a half and three quarters of their
-- time. The error is Brier's: the mean squared difference of the probability from what came, 1 where the target was reached.
CREATE OR REPLACE VIEW waymark.predict_campaigns
AS WITH
    least({until:DateTime64(3, 'UTC')}, now64(3, 'UTC')) AS present,
    targets AS
    (
        SELECT program, campaign, audience, starts_at, assumeNotNull(t.ends_at) AS ends_at, goal.1 AS measure, toFloat64(goal.2) AS target
        FROM waymark.campaign_terms AS t
        ARRAY JOIN [('clicks', target_clicks), ('signups', target_signups), ('conversions', target_conversions)] AS goal
        WHERE t.ends_at IS NOT NULL AND goal.2 > 0 AND t.starts_at < present AND t.starts_at < t.ends_at AND ({program:String} = '' OR program = {program:String})
    ),
    days AS
    (
        SELECT program, campaign, measure, day, toFloat64(sum(d.n)) AS counted
        FROM
        (
            SELECT d.program AS program, d.campaign AS campaign, 'clicks' AS measure, d.day AS day, sum(d.valid) AS n
            FROM waymark.link_clicks_daily AS d
            INNER JOIN waymark.campaign_terms AS t ON t.program = d.program AND t.campaign = d.campaign
            WHERE d.day >= toDate(t.starts_at) AND toDateTime64(d.day, 3, 'UTC') < least(present, ifNull(t.ends_at, present))
                AND (empty(t.audience) OR referrer_type = '' OR has(t.audience, referrer_type))
            GROUP BY program, campaign, day
            UNION ALL
            SELECT program, campaign, measure, toDate(first) AS day, count() AS n
            FROM
            (
                SELECT a.program AS program, a.campaign AS campaign, if(a.stage = 'converted', 'conversions', 'signups') AS measure, min(a.time) AS first
                FROM waymark.resolved AS a
                INNER JOIN waymark.campaign_terms AS t ON t.program = a.program AND t.campaign = a.campaign
                WHERE a.stage IN ('signed_up', 'converted') AND a.time < present AND {{template "of campaign" "a.time"}}
                GROUP BY program, campaign, measure, a.who
            )
            GROUP BY program, campaign, measure, day
        ) AS d
        GROUP BY program, campaign, measure, day
    ),
    -- Each campaign as it stands now, or stood then.
    stands AS
    (
        SELECT
            program, campaign, measure, ends_at, target, running, cut,
            sum(s.counted) AS total, sumIf(s.counted, s.day < toDate(cut)) AS n, sumIf(s.counted * s.counted, s.day < toDate(cut)) AS squares,
            dateDiff('millisecond', starts_at, cut) / 86400000 AS elapsed, dateDiff('millisecond', cut, ends_at) / 86400000 AS left,
            toFloat64(dateDiff('day', toDate(starts_at), toDate(cut))) AS dates
        FROM
        (
            SELECT t.*, d.day AS day, d.counted AS counted, t.ends_at > present AS running,
                arrayJoin(if(running, [toStartOfDay(present)], arrayMap(share -> toStartOfDay(t.starts_at + toIntervalMillisecond(toInt64(share * dateDiff('millisecond', t.starts_at, t.ends_at)))), [0.25, 0.5, 0.75]))) AS cut
            FROM targets AS t
            LEFT JOIN days AS d ON d.program = t.program AND d.campaign = t.campaign AND d.measure = t.measure
        ) AS s
        WHERE cut > starts_at
        GROUP BY program, campaign, measure, starts_at, ends_at, target, running, cut
    ),
    told AS
    (
        SELECT
            *,
            if(dates > 1 AND n > 0, greatest(1, (squares - n * n / dates) / (dates - 1) / (n / dates)), 1) AS spread,
            (n + 0.5) * left / elapsed                 AS mean,
            spread * mean * (1 + left / elapsed)       AS variance,
            mean / variance                            AS p,
            mean * mean / (variance - mean)            AS r,
            target - n                                 AS missing,
            round(least(1, greatest(0, multiIf( -- six decimals, since more of 1 less a sum is noise
                missing <= 0, 1,
                missing > 2000, erfc((missing - 0.5 - mean) / sqrt(2 * variance)) / 2,
                1 - arraySum(k -> exp(lgamma(k + r) - lgamma(k + 1.) - lgamma(r) + r * log(p) + k * log(1 - p)), range(toUInt16(least(2000, greatest(0, missing)))))))), 6) AS chance,
            n * (elapsed + left) / elapsed             AS pace,
            toFloat64(pace >= target)                  AS pace_chance,
            countIf(NOT running) OVER programs         AS held_out,
            sum(if(running, 0, pow(chance - (total >= target), 2))) OVER programs / nullIf(held_out, 0) AS model_error,
            sum(if(running, 0, pow(pace_chance - (total >= target), 2))) OVER programs / nullIf(held_out, 0) AS baseline_error
        FROM stands
        WINDOW programs AS (PARTITION BY program)
    )
SELECT
    program,
    campaign                                           AS key,
    measure,
    ends_at,
    n                                                  AS known,
    CAST(target AS Nullable(Float64))                  AS target,
    n + mean                                           AS expected,
    pace                                               AS baseline,
    CAST(chance AS Nullable(Float64))                  AS probability,
    CAST(pace_chance AS Nullable(Float64))             AS baseline_probability,
    multiIf(held_out < 6, 'too little history', model_error < baseline_error, 'model', 'baseline') AS winner,
    model_error,
    baseline_error,
    held_out
FROM told
WHERE running
COMMENT 'Whether the running campaigns reach their targets by their end: SELECT * FROM waymark.predict_campaigns(program = \'\', until = \'2200-01-01 00:00:00\')';

CREATE OR REPLACE VIEW waymark.predictions
AS SELECT 'campaign' AS kind, * FROM waymark.predict_campaigns(program = '', until = '2200-01-01 00:00:00') AS c
UNION ALL
SELECT 'partner', * FROM waymark.predict_partners(program = '', until = '2200-01-01 00:00:00') AS p
COMMENT 'What is to be expected of running campaigns and of each referrer (WHERE kind = ''campaign'' or ''partner''), beside a naive baseline and the errors of both';
