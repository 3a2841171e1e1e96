-- Conversions and their value, divided between what touched them; the view explains the models.
SELECT key, sum(a.conversions) AS conversions, sum(a.value) AS value, any(a.final_until) AS final_until
FROM waymark.attribution_between(program = {program:String}, from = {from:DateTime64(3, 'UTC')}, to = {to:DateTime64(3, 'UTC')},
    by = {breakdown:String}, model = {model:String}, half_life_days = {half_life_days:Float64},
    first_share = {first_share:Float64}, last_share = {last_share:Float64}, hits = {hits:String}) AS a
GROUP BY key
ORDER BY conversions DESC, key
LIMIT {limit:UInt64}
