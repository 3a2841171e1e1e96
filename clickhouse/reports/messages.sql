-- The funnel of messages in the period, by message, segment or programme.
SELECT *
FROM waymark.messages_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')}, by = {breakdown:String}) AS m
ORDER BY sent DESC, key
LIMIT {limit:UInt64}
