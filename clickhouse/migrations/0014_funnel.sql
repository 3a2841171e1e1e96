-- Which hits the views without a period count visitors in, and how many visitors one of them stands for: all hits, up to
-- three million; beyond, the sample, and of that as many buckets as have some 1.6 million hits. The side that is not
-- taken reads nothing. The report API chooses in the same way by the hits of its period, see rollup.go.
CREATE OR REPLACE VIEW waymark.visitors
AS WITH
    (SELECT sum(hits) FROM waymark.clicks_hourly WHERE dimension = 'total') AS all_hits,
    multiIf(all_hits <= 25600000, 4, all_hits <= 51200000, 2, 1) AS buckets
SELECT time, program, campaign, channel, link, link_key, referrer, referrer_type, country, utm_content, visitor, 1 AS weight, '' AS total
FROM waymark.hits
WHERE all_hits <= 3000000 AND valid
UNION ALL
SELECT time, program, campaign, channel, link, link_key, referrer, referrer_type, country, utm_content, visitor, 64 / buckets, ''
FROM waymark.sampled_hits
WHERE all_hits > 3000000 AND bucket < buckets AND valid
COMMENT 'Hits to count distinct visitors in: toUInt64(any(weight) * uniqExact(visitor))';

-- Distinct parties: invitations, then visitors (a hit without a visitor counts as one of its own), then users.
CREATE OR REPLACE VIEW waymark.funnel
AS SELECT
    program,
    stages[position]                                   AS stage,
    position                                           AS position,
    counts[position]                                   AS count,
    if(position > 1, count / nullIf(counts[position - 1], 0), NULL) AS step_rate,
    count / nullIf(counts[1], 0)                       AS overall_rate
FROM
(
    SELECT
        program,
        ['invited', 'clicked', 'signed_up', 'activated', 'converted', 'retained'] AS stages,
        [sum(p.invited), sum(p.clicked), sum(p.signed_up), sum(p.activated), sum(p.converted), sum(p.retained)] AS counts
    FROM
    (
        SELECT program, 0 AS invited, toUInt64(any(weight) * uniqExact(visitor)) AS clicked, 0 AS signed_up, 0 AS activated, 0 AS converted, 0 AS retained
        FROM waymark.visitors
        GROUP BY program
        UNION ALL
        SELECT
            program, countIf(stage = 'invited'), 0, uniqExactIf(who, stage = 'signed_up'), uniqExactIf(who, stage = 'activated'),
            uniqExactIf(who, stage = 'converted'), uniqExactIf(who, stage = 'retained')
        FROM waymark.resolved
        WHERE stage != ''
        GROUP BY program
    ) AS p
    GROUP BY program
) AS programs
ARRAY JOIN arrayEnumerate(counts) AS position
ORDER BY program, position
COMMENT 'Funnel of each programme over all time: distinct invitations, visitors and users per stage, with the rate of each step';
