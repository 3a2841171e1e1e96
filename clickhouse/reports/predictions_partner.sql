-- What referrers bring in the 30 days after the end of the period, or from now on if that is earlier. The limit is one of
-- referrers, the most promising first.
SELECT key, program, measure, ends_at, known, target, expected, baseline, probability, baseline_probability, winner, model_error, baseline_error, held_out
FROM
(
    SELECT *, max(if(measure = 'conversions', expected, 0)) OVER (PARTITION BY program, key) AS promise
    FROM waymark.predict_partners(program = {program:String}, until = {to:DateTime64(3, 'UTC')}) AS p
) AS r
QUALIFY dense_rank() OVER (ORDER BY promise DESC, program, key) <= {limit:UInt64}
ORDER BY promise DESC, program, key, measure
