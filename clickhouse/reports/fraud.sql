-- Referrals that began in the period, by referrer or otherwise, with what was last said of them. By signal, a referral counts
-- under each that was triggered.
SELECT
    key,
    count()                                            AS referrals,
    countIf(f.risk = 'low')                            AS low,
    countIf(f.risk = 'medium')                         AS medium,
    countIf(f.risk = 'high')                           AS high,
    countIf(f.action = 'approve')                      AS approve,
    countIf(f.action = 'review')                       AS review,
    countIf(f.action = 'hold')                         AS hold,
    countIf(f.action = 'reject')                       AS reject,
    countIf(f.decision != '')                          AS decided,
    avg(f.score)                                       AS mean_score
FROM waymark.fraud AS f
ARRAY JOIN multiIf({breakdown:String} = 'signal', f.signals, [toString(multiIf({breakdown:String} = 'program', f.program,
    {breakdown:String} = 'referrer_type', f.referrer_type, {breakdown:String} = 'risk', f.risk, f.referrer))]) AS key
WHERE f.referred_at >= {from:DateTime64(3, 'UTC')} AND f.referred_at < {to:DateTime64(3, 'UTC')}
    AND ({program:String} = '' OR f.program = {program:String})
GROUP BY key
ORDER BY mean_score DESC, referrals DESC, key
LIMIT {limit:UInt64}
