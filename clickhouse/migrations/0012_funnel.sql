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
        [
            countIf(stage = 'invited'),
            uniqExactIf(visitor_id, stage = 'clicked' AND valid AND visitor_id != 0) + countIf(stage = 'clicked' AND valid AND visitor_id = 0),
            uniqExactIf(party, stage = 'signed_up'),
            uniqExactIf(party, stage = 'activated'),
            uniqExactIf(party, stage = 'converted'),
            uniqExactIf(party, stage = 'retained')
        ]                                              AS counts
    FROM waymark.facts
    WHERE stage != ''
    GROUP BY program
) AS programs
ARRAY JOIN arrayEnumerate(counts) AS position
ORDER BY program, position
COMMENT 'Funnel of each programme over all time: distinct invitations, visitors and users per stage, with the rate of each step';
