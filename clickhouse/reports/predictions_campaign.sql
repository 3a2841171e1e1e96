-- Whether the campaigns that run at the end of the period, or now if that is earlier, reach their targets.
SELECT key, program, measure, ends_at, known, target, expected, baseline, probability, baseline_probability, winner, model_error, baseline_error, held_out
FROM waymark.predict_campaigns(program = {program:String}, until = {to:DateTime64(3, 'UTC')}) AS p
ORDER BY program, key, measure
LIMIT {limit:UInt64}
