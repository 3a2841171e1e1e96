-- What the loops of the period lead to; the view explains it. The limit is one of loops, most referrers first, so that none
-- loses a step.
SELECT key, * EXCEPT key
FROM waymark.viral_projection_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {by:String}) AS v
QUALIFY dense_rank() OVER (ORDER BY referrers DESC, program, key, kind, referrer_type, referee_type) <= {limit:UInt64}
ORDER BY program, key, kind, referrers DESC, referrer_type, referee_type, step
