-- The viral loop of the period; the view explains every column.
SELECT key, * EXCEPT key
FROM waymark.viral_between(from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {by:String}) AS v
WHERE {program:String} = '' OR program = {program:String}
ORDER BY program, key, kind, invitations DESC, referrer_type, referee_type
LIMIT {limit:UInt64}
