-- Referrals that began in the period, as they are now, by partner or otherwise.
SELECT *
FROM waymark.partners_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {breakdown:String}) AS p
ORDER BY revenue DESC, key
LIMIT {limit:UInt64}
