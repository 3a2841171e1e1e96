-- Rewards that were earned in the period, by rule or otherwise, as they are now.
SELECT
    multiIf({breakdown:String} = 'party', r.party, {breakdown:String} = 'campaign', toString(r.campaign),
        {breakdown:String} = 'referrer_type', toString(r.referrer_type), {breakdown:String} = 'program', toString(r.program), toString(r.rule)) AS key,
    r.currency                                         AS currency,
    countIf(r.amount != 0)                             AS rewards,
    uniqExactIf(r.party, r.amount != 0)                AS parties,
    sum(r.amount)                                      AS amount,
    sumIf(r.balance, r.state IN ('pending', 'calculated')) AS pending,
    sumIf(r.balance - r.settled, r.state IN ('eligible', 'paid') AND r.balance > r.settled) AS eligible,
    sumIf(r.settled - r.balance, r.state = 'paid' AND r.settled > r.balance) AS owed,
    sum(r.settled)                                     AS paid,
    sumIf(r.amount, r.state = 'expired')               AS expired
FROM waymark.rewards AS r
WHERE r.earned_at >= {from:DateTime64(3, 'UTC')} AND r.earned_at < {to:DateTime64(3, 'UTC')}
    AND ({program:String} = '' OR r.program = {program:String})
GROUP BY key, currency
ORDER BY amount DESC, key, currency
LIMIT {limit:UInt64}
